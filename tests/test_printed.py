"""The printed book and pages without a network: what is looked for in TeX's log, what the pages carry."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")

TOOLS = Path(__file__).resolve().parents[1] / "book" / "_tools"

LOG = r"""This is XeTeX
Overfull \hbox (3.1pt too wide) in paragraph at lines 7--9
Overfull \hbox (49.11266pt too wide) detected at line 3
Missing character: There is no X in font [cmunrm.ttf]!
Missing character: There is no X in font [cmunrm.ttf]!
LaTeX Warning: Hyper reference `book/a' on page 3 undefined on input line 4.
! Package amsmath Error: \tag not allowed here.
LaTeX Warning: Reference `b' on page 5 undefined on input line 6.
LaTeX Warning: There were undefined references.
"""


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    yield lambda name: __import__(name)
    for name in ("pdf", "printed", "offline"):
        sys.modules.pop(name, None)


def test_log_of_a_clean_run_has_no_faults(tool):
    assert tool("pdf").faults("This is XeTeX\nOutput written on hybrid_lib.pdf (10 pages).\n") == []


def test_faults_are_found_each_once(tool):
    found = tool("pdf").faults(LOG)
    assert [line.split(":")[0] for line in found] == [
        "! Package amsmath Error",
        "Missing character",
        "LaTeX Warning",
        "LaTeX Warning",
    ]


def test_wide_lines_are_shown_with_their_source(tool):
    assert tool("pdf").wide(LOG, ["one", "two", "three", "four"]) == ["49 pt, line 3: one two three"]


def test_missing_tex_is_named_with_the_packages_that_bring_it(tool, monkeypatch):
    pdf = tool("pdf")
    monkeypatch.setattr(pdf.shutil, "which", lambda program: None)
    with pytest.raises(SystemExit, match=r"not found: xelatex, latexmk.*apt-get install .*texlive-xetex"):
        pdf.main()


def test_each_sign_has_its_definition(tool):
    printed = tool("printed")
    assert len(set(printed.SIGNS)) == len(printed.SIGNS)
    assert all(f"\\newunicodechar{{{sign}}}" in printed.ELEMENTS["preamble"] for sign in printed.DRAWN)


def test_mathjax_is_installed_with_what_the_pages_load(tool):
    offline = tool("offline")
    for part in offline.PARTS:
        assert (offline.source() / part).exists(), part
    fonts = offline.source() / "output/chtml/fonts/woff-v2"
    assert len(list(fonts.glob("*.woff"))) > 20


def test_guide_asks_the_tool_for_its_packages(tool):
    guide = (TOOLS.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "$(python3 book/_tools/pdf.py --packages)" in guide
    told = subprocess.run([sys.executable, TOOLS / "pdf.py", "--packages"], capture_output=True, text=True, check=True)
    assert told.stdout.split() == tool("pdf").PACKAGES.split()
