"""Settings: a wrong configuration cannot be made; every setting counts in the fingerprint, and runs on disk keep theirs."""

import copy
import dataclasses
import json
import pickle
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_lib import config as configs
from hybrid_lib import experiments
from hybrid_lib.config import ABSENT, FIELDS, LEFT_OUT, Config, as_dict, fingerprint, flat, paths
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import folder as folders
from hybrid_lib.experiments import with_settings

RESULTS = Path(__file__).parents[1] / "book" / "results"
PLAIN = Config("heat1d-eps15", 1 / 15)
KINDS = {path: type(value) for path, value in paths(PLAIN).items() if path not in configs.FIXED}


def changed(config, path, value):
    """`config` with one setting changed by ``dataclasses.replace``."""
    head, _, name = path.rpartition(".")
    owner = dataclasses.replace(getattr(config, head) if head else config, **{name: value})
    return dataclasses.replace(config, **{head: owner}) if head else owner


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("network.boundary_layers", np.bool_(False), False),
        ("network.boundary_layers", "0", False),
        ("training.steps", 1.0, 1),
        ("training.steps", np.int64(7), 7),
        ("training.steps", "1e3", 1000),
        ("training.balance_every", jnp.int32(0), 0),
        ("network.widths", [8, np.int64(4)], (8, 4)),
        ("network.widths", np.array([8, 4]), (8, 4)),
        ("network.widths", "(8, 4)", (8, 4)),
        ("network.widths", 16, (16,)),
        ("coarse.pieces", np.int32(3), 3),
        ("coarse.pieces", "none", None),
        ("coarse.delta", np.float32(0.25), 0.25),
        ("coarse.delta", 1, 1.0),
        ("dtype", np.str_("float64"), "float64"),
    ],
)
def test_typed_values_and_texts_become_python_values(path, value, kept):
    for config in (with_settings(PLAIN, {path: value}), changed(PLAIN, path, value)):
        found = paths(config)[path]
        assert found == kept and type(found) is type(kept)
        assert pickle.loads(pickle.dumps(config)) == config == copy.deepcopy(config)
        assert json.loads(json.dumps(as_dict(config)))


NUMBERS = [2.5, -1, True, np.nan, np.inf, 1j, "many", "", [1, 2], {}, np.array([[3]]), 2**40, slice(3)]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
@pytest.mark.parametrize("path", [path for path, kind in KINDS.items() if kind is int] + ["coarse.pieces", "coarse.order"])
def test_no_wrong_whole_number_is_kept(path, value):
    for make in (lambda: with_settings(PLAIN, {path: value}), lambda: changed(PLAIN, path, value)):
        with pytest.raises(InputError, match=rf"^{path}: expected an integer .*received ") as error:
            make()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [-1.0, True, "nan", np.inf, None, 1 + 1j, [0.1], np.datetime64("2020")], ids=repr)
@pytest.mark.parametrize("path", [path for path, kind in KINDS.items() if kind is float])
def test_no_wrong_number_is_kept(path, value):
    with pytest.raises(InputError, match=rf"^{path}: expected a (finite )?number"):
        with_settings(PLAIN, {path: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Config("", 0.1),
        lambda: Config("own", 0.1, network=None),
        lambda: Config("own", 0.1, coarse={"cells": 4}),
        lambda: dataclasses.replace(PLAIN, scale="huge"),
        lambda: dataclasses.replace(PLAIN, boundary="soft"),
        lambda: dataclasses.replace(PLAIN, network=dataclasses.replace(PLAIN.network, layer_factor=True)),
        lambda: with_settings(PLAIN, [("eps", 1)]),
        lambda: with_settings(PLAIN, {"network": PLAIN.network}),
        lambda: with_settings(PLAIN, {"network.widths": [8, True]}),
        lambda: experiments.assemble(experiments.heat1d_problem(0.1), {"eps": 0.1}, (0,)),
    ],
)
def test_no_wrong_configuration_can_be_made(make):
    with pytest.raises(InputError):
        make()


def test_settings_that_need_each_other_come_in_any_order():
    pair = {"boundary": "soft", "sampling.boundary_points": 4}
    assert with_settings(PLAIN, pair) == with_settings(PLAIN, dict(reversed(pair.items())))


def test_every_setting_has_words_and_what_its_absence_stands_for():
    assert set(ABSENT) == set(FIELDS) - {"experiment", "eps"}
    assert all(item.metadata["words"].endswith(".") for item in FIELDS.values())


OTHER = {int: 3, float: 0.5, tuple: (3,), type(None): 2}
FREE = with_settings(
    PLAIN,
    {
        "method": "pinn", "dtype": "float64", "network.kind": "two-scale", "sampling.boundary_points": 5,
        "sampling.resample_every": 7,
        "training.optimiser": "gauss-newton",
    },
)  # fmt: skip


@pytest.mark.parametrize("path", list(ABSENT))
def test_every_setting_counts_unless_it_may_change(path):
    """A default that changes in the library is a value that differs from the frozen one."""
    words = FIELDS[path].metadata["words"]
    kind = "windowed" if "(windowed" in words else "ms"
    base = FREE if "(two-scale" in words else with_settings(FREE, {"network.kind": kind})
    base = with_settings(base, {"formulation": "hypercircle"}) if "(hypercircle" in words else base
    now = paths(base)[path]
    if path == "scale":
        other = dataclasses.replace(base, scale="laptop")
    elif FIELDS[path].metadata["choices"]:
        other = with_settings(base, {path: next(c for c in FIELDS[path].metadata["choices"] if c != now)})
    else:
        other = with_settings(base, {path: not now if isinstance(now, bool) else OTHER[type(now)]})
    assert paths(other)[path] != now
    assert (fingerprint(other, (0,)) == fingerprint(base, (0,))) == (path in LEFT_OUT)


def test_a_setting_that_is_not_in_the_table_counts(monkeypatch):
    before = fingerprint(PLAIN, (0,))
    monkeypatch.delitem(configs.ABSENT, "coarse.parts")
    assert fingerprint(PLAIN, (0,)) != before


def stored(content):
    """The configuration of a run directory or an artefact, completed by what its version stood for."""
    settings = ABSENT | flat(content)
    fixed = {name: settings.pop(name) for name in configs.FIXED}
    return with_settings(Config(eps=settings["eps"], **fixed), settings)


RECORDS = sorted(p.name for p in RESULTS.glob("*.json") if '"fingerprint"' in p.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RECORDS)
def test_committed_artefacts_keep_their_fingerprints(name):
    record = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    assert fingerprint(stored(record["config"]), tuple(row["seed"] for row in record["seeds"])) == record["fingerprint"]
    for path in RESULTS.glob(name.replace(".json", ".checkpoint.zip")):
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("config.json"))
        assert fingerprint(stored(content["config"]), tuple(content["seeds"])) == content["fingerprint"] == record["fingerprint"]


def resume(folder, content, config=PLAIN):
    """What a resume finds in a directory whose config.json has this content."""
    (folder / "config.json").write_text(json.dumps({"config": content, "seeds": [0], "fingerprint": "old"}))
    with folders.claimed(folder, config, (0,), True) as claim:
        return claim.identity


def test_a_run_of_an_older_version_goes_on_under_its_own_fingerprint(tmp_path):
    """Written before a setting existed: its absence stands for a recorded value, whatever the default is now."""
    content = as_dict(PLAIN)
    del content["training"]["momentum"], content["network"]["corrector"], content["formulation"]
    assert resume(tmp_path, content) == "old"
    with pytest.raises(InputError, match=r"^resume, network\.corrector: expected False, as in .*; received True"):
        resume(tmp_path, content, with_settings(PLAIN, {"network.corrector": True}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"gate_tolerance": 1e-3}}, "resume, training.gate_tolerance: expected 0.001, as in"),
        ({"training": {"readings": "new"}}, "resume, training.readings: expected a setting of this version"),
        ({"network": 3}, "resume, network: expected a setting of this version"),
        ({"eps": None}, "resume, eps: expected None, as in"),
    ],
)
def test_a_resume_with_other_settings_is_refused(change, message, tmp_path):
    content = as_dict(PLAIN)
    for name, value in change.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    with pytest.raises(InputError) as error:
        resume(tmp_path, content)
    assert str(error.value).startswith(message)


@given(st.sampled_from(sorted(KINDS)), st.one_of(st.floats(), st.integers(), st.text(max_size=8), st.booleans(), st.none()))
def test_a_value_is_kept_as_its_type_or_refused_in_one_line(path, value):
    try:
        found = paths(with_settings(PLAIN, {path: value}))[path]
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, KINDS[path] if KINDS[path] is not type(None) else int | float | None)
        assert with_settings(PLAIN, {path: "none" if found is None else str(found)}) == with_settings(PLAIN, {path: found})
