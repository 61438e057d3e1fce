"""The first page: its numbers are those of committed results, its statements hold, it is short, the README shows the same."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sphinx")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results"
sys.path.insert(0, str(ROOT / "book" / "_tools"))

import dark as pictures  # noqa: E402
import front  # noqa: E402
import front_picture  # noqa: E402


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_picture_is_that_of_the_committed_run():
    run = result("beyond/front")
    with np.load(RESULTS / "beyond" / "front.npz") as kept:
        assert run["percent_seconds"] == front_picture.stays_below(0.01, kept["cpu_seconds"], kept["rel_l2"])
        assert kept["rel_l2"][-1] == run["seeds"][0]["last_rel_l2"] and np.all(
            np.diff(kept["cpu_seconds"]) > 0
        )
        assert kept["network"].shape == (front_picture.SIDE, front_picture.SIDE)
    assert run["last"]["rel_l2"] == run["seeds"][0]["rel_l2"] < 2e-3, "the field in the picture has converged"
    assert run["environment"]["dtype"] == "float64" and run["environment"]["source"]


def test_facts_are_those_of_ledger_and_rivals():
    facts, rows = front.facts(), result("ledger")["rows"]
    assert sum(facts[verdict] for verdict in front.VERDICTS) == facts["claims"] == len(rows) > facts["statements"] == 47
    rivals = result("beyond/classical-rivals")["problems"]["heat2d"]["rows"]
    for method in ("P1", "P2"):
        row = next(
            r for r in rivals if r["method"] == method and r["cpu_seconds"] == facts[f"{method}_percent"]
        )
        assert row["rel_l2"] < 0.01


def test_statements_of_the_table_hold():
    f = front.facts()
    assert f["hybrid_100"] < f["alone_100"], "helps at 1/100"
    assert 1 / 1.25 < f["hybrid_15"] / f["printed_15"] < 1.25, "stalls at 1/15, as printed"
    assert f["alone_15"] > 10 * f["printed_alone_15"], "without it far above the print"
    assert f["none_15"] < 10 * f["defect_15"] and f["none_100"] > 10 * f["defect_100"], "where the coupling is worth something"
    assert max(f["P1_percent"], f["P2_percent"]) < f["net_percent"], "elements are sooner"
    assert f["bound"] < 0.01 and f["smallest"] == 1000, "one bound for all periods"


@pytest.mark.parametrize(
    ("value", "text"),
    [(554.0, "554"), (38.79, "39"), (0.339, "0.34"), (0.00118, "0.0012"), (1.28e-7, "1.3·10⁻⁷")],
)
def test_numbers_are_short(value, text):
    assert front.short(value) == text


def test_readme_shows_picture_and_caption_as_they_are_made():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert front.renewed(readme) == readme, "run: python book/_tools/front_picture.py"
    for name in re.findall(r'(?:src|srcset)="([^"]+)"', readme):
        assert (ROOT / name).is_file()


def test_first_page_is_short():
    page = (ROOT / "book" / "index.md").read_text(encoding="utf-8").split("## Reading paths")[0]
    words = [page, front.caption(), *(text for line in front.table() for text in line)]
    text = re.sub(r"```\{.*?```|\]\([^)]*\)|^:::+.*?$|\{[\w:]+\}", " ", "\n".join(words), flags=re.DOTALL | re.MULTILINE)
    assert len(front.table()) == 5 and 200 < len(text.split()) <= 350


def test_dark_rendering_keeps_areas_of_colour_and_inverts_text_and_ground():
    image = np.full((80, 120, 3), 255, np.uint8)
    image[20:60, 20:60] = 30, 140, 200  # a map,
    image[40, 20:60] = 255  # a line across it,
    image[24:56, 80:88] = 247  # a bar of a pale colour,
    image[68:76, 20:22] = 0  # a letter
    dark = pictures.night(image)
    assert np.all(dark[20:60, 20:60] == image[20:60, 20:60]) and np.all(dark[24:56, 80:88] == 247)
    assert np.all(dark[:10] == 18) and np.all(dark[68:76, 20:22] == 237)
