"""Numbers in prose, tolerances and passports of the chapters."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib.bookkit.notebook import as_table, expectations, glue, passport
from hybrid_lib.errors import InputError


@pytest.fixture
def check(tmp_path):
    table = {
        "mean": {"value": 2.0, "rtol": 1e-3, "atol": 0.0, "why": "sampling"},
        "slopes": {"value": [2.0, 1.0], "rtol": 0.0, "atol": 0.1, "why": "pre-asymptotic"},
        "exact": {"value": 3, "rtol": 0.0, "atol": 0.0, "why": "a count"},
    }
    (tmp_path / "01.json").write_text(json.dumps(table))
    return expectations("01", tmp_path)


def test_check_prints_one_line_without_the_computed_digits(check, capsys):
    check("mean", 2.0011)
    check("mean", jnp.asarray(1.9991))
    check("slopes", np.array([1.95, 1.09]))
    check("exact", 3)
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == second == "mean ok: expected 2 within rtol 0.001 (sampling)"
    assert rest == [
        "slopes ok: expected [2. 1.] within atol 0.1 (pre-asymptotic)",
        "exact ok: expected 3 within no tolerance (a count)",
    ]


@pytest.mark.parametrize("value", [2.01, float("nan"), float("inf")])
def test_check_fails_with_both_values_and_the_reason(check, value):
    wanted = r"01, mean: computed \S+, expected 2 within rtol 0.001 \(sampling\)"
    with pytest.raises(AssertionError, match=wanted):
        check("mean", value)


def test_check_of_an_array_fails_when_one_entry_does(check):
    with pytest.raises(AssertionError, match="slopes"):
        check("slopes", [2.0, 1.2])


def test_check_names_known_keys_and_refuses_another_shape(check):
    with pytest.raises(InputError, match="expected one of mean, slopes, exact; received 'median'"):
        check("median", 1.0)
    with pytest.raises(InputError, match=r"value for 'slopes': expected shape \(2,\); received shape \(\)"):
        check("slopes", 1.0)


def test_expectations_need_a_file_and_a_reason(tmp_path):
    with pytest.raises(InputError, match="run the notebook in the folder book/"):
        expectations("02", tmp_path)
    (tmp_path / "02.json").write_text('{"mean": {"value": 1, "rtol": 0, "atol": 0, "why": ""}}')
    with pytest.raises(InputError, match="non-empty why"):
        expectations("02", tmp_path)


def test_glue_prints_in_a_notebook_that_cannot_show_it_in_the_text(monkeypatch, capsys):
    """As on Colab, which has no myst_nb."""
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr("hybrid_lib.bookkit.notebook.find_spec", lambda name: None if name == "myst_nb" else name)
    glue("percent", 38.16, ".1f")
    assert capsys.readouterr().out == "percent = 38.2\n"


def test_glue_does_nothing_outside_a_notebook(capsys):
    glue("a", 1.5, ".2f")
    glue("b", jnp.asarray(1.5), ".2f")
    glue("c", "one and a half")
    assert capsys.readouterr().out == ""


def test_passport_orders_fields_and_escapes_html():
    packages = {"jax": "0.7.2", "flax": "0.11.2"}
    shown = passport({"dtype": "float32", "experiment": "a<b", "packages": packages, "other": 1})
    assert repr(shown) == "experiment: a<b · dtype: float32 · with: jax 0.7.2, flax 0.11.2"
    assert "a&lt;b" in shown._repr_html_()


def test_passport_reads_a_run_directory_and_its_seed_rows(tmp_path):
    (tmp_path / "config.json").write_text('{"experiment": "heat2d", "method": "hybrid"}')
    rows = [{"seed": 3, "seconds": 2.0}, {"seed": 4, "seconds": 2.25}]
    (tmp_path / "summary.json").write_text(json.dumps({"seeds": rows}))
    assert repr(passport(tmp_path)) == "experiment: heat2d · method: hybrid · seeds: 3, 4 · wall time: 2.2 s"


def test_passport_needs_something_to_show(tmp_path):
    with pytest.raises(InputError, match="a run directory or a JSON file"):
        passport(tmp_path)
    with pytest.raises(InputError, match="some of the fields experiment"):
        passport({"colour": "red"})


def test_a_table_has_a_cell_for_each_entry_and_escapes_them():
    made = as_table("n | a < b", [(1, "x & y"), (2, 0.5)])
    assert made._repr_html_().count("<td>") == 4 and "a &lt; b" in made._repr_html_() and "x &amp; y" in made._repr_html_()
    assert repr(made) == "n | a < b\n1 | x & y\n2 | 0.5"
    with pytest.raises(InputError, match="expected 2 entries"):
        as_table("n | error", [(1,)])
