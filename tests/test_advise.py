"""Advice before solving: what it says of a problem is so, what it predicts comes true, and it does not flatter the network."""

import json
from pathlib import Path

import pytest

import hybrid_lib as hl
from hybrid_lib import Dirichlet, domains, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import advise, heat1d_problem

RECORD = Path(__file__).parents[1] / "book" / "results" / "beyond" / "advise.json"


def test_a_line_is_known_and_elements_win():
    found = advise(heat1d_problem(1 / 15), 0.01)
    assert (found.contrast, found.length, found.jumps) == (3.0, 1 / 15, False)
    ways = {way.method: way for way in found.ways}
    assert found.recommended in ("linear elements", "quadratic elements") and "no match" in found.reason
    solved = hl.solve(found.problem, 0.01)
    assert ways["linear elements"].reaches and len(solved.w) / 2 <= ways["linear elements"].unknowns <= 2 * len(solved.w)
    assert ways["network, defect coupling"].seconds > ways["linear elements"].seconds
    lines = str(found).splitlines()
    assert "contrast 3, smallest length 0.0667, no jumps" in lines[0] and len(lines) >= len(found.ways) + 3


def test_unknowns_of_an_adaptive_mesh_are_predicted():
    corner = hl.Problem(medium=media.constant(1.0, 2), source=1.0, domain=domains.lshape(), boundary=Dirichlet(0.0))
    found = advise(corner, 0.025)
    assert [way.method for way in found.ways] == ["linear elements", "network, hypercircle"]
    assert found.recommended == "linear elements" and "a network is no match" in found.reason
    assert found.ways[0].unknowns == pytest.approx(len(hl.solve(corner, 0.025).w), rel=0.5)


def test_a_network_that_cannot_be_says_what_is_missing(monkeypatch):
    import importlib

    steep = hl.Problem(medium=media.from_formula("1 + 2000*x", 1), source=1.0)
    found = advise(steep, 0.5)
    assert "smallest length of K" in found.reason and "own_configuration(problem, length=…)" in found.reason
    assert hl.own_configuration(steep, length=1.0).eps == 1.0 and "contrast 2,4" in str(found)

    def refuse(*_, **__):
        raise InputError("sides", "other ones", "these", "change them")

    monkeypatch.setattr(importlib.import_module("hybrid_lib.experiments.advise"), "own_configuration", refuse)
    assert advise(steep, 0.5).reason.endswith("as it is: sides: expected other ones; received these; change them.")


def test_what_no_method_reaches_is_said(monkeypatch):
    import importlib

    module = importlib.import_module("hybrid_lib.experiments.advise")
    monkeypatch.setitem(module.PILOT, 2, 100)
    rough = hl.Problem(medium=media.raster([[1.0, 1e4], [1e4, 1.0]]), boundary=Dirichlet(lambda x: x[0]))
    found = advise(rough, 1e-3)
    assert found.jumps and found.length == 0.5 and not found.ways[0].reaches
    assert found.reason.startswith("Nothing here is known to reach 0.001: linear elements end with bound")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None,), "problem: expected a Problem; received NoneType"),
        ((heat1d_problem(0.1), 0), "tolerance: expected a number > 0; received 0"),
        ((heat1d_problem(0.1), "a"), "tolerance: expected a number > 0; received 'a'"),
    ],
)
def test_bad_input_is_one_line(arguments, words):
    with pytest.raises(InputError) as caught:
        advise(*arguments)
    assert words in str(caught.value)


def test_record_holds_ten_problems_and_most_predictions_are_within_a_factor_of_two():
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    timed = [way for row in rows for way in row["ways"] if "measured" in way]
    assert len(rows) == 10 and all(any("measured" in way for way in row["ways"]) for row in rows)
    assert all(way["right"] == (0.5 <= way["measured"] / way["seconds"] <= 2) for way in timed)
    assert sum(way["right"] for way in timed) >= 0.8 * len(timed)
    assert not any(row["recommended"].startswith("network") for row in rows)


def test_a_network_is_named_after_its_method():
    kite = domains.polygon([[0.0, 0.0], [1.0, 0.0], [1.2, 1.0], [0.0, 1.0]])
    names = [way.method for way in advise(hl.Problem(medium=media.constant(2.0, 2), source=1.0, domain=kite), 0.1).ways]
    assert "network, no coupling" in names and "network, defect coupling" not in names


def test_a_problem_without_an_answer_but_zero_is_answered():
    nothing = hl.Problem(medium=media.paper_1d(0.25), direction=(0.0,))
    assert "elements" in advise(nothing).reason
