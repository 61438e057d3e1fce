"""The edition without solutions, and the page for who teaches: every exercise is there, no solution is left."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
pytest.importorskip("sphinx_exercise")

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHAPTERS = [page for page in sorted(BOOK.glob("*.md")) if "kernelspec:" in page.read_text(encoding="utf-8")]
SOLVED = re.compile(r"^```\{solution-start\} (\S+)\n(.*?)^```\{solution-end\}", flags=re.MULTILINE | re.DOTALL)


def tool():
    spec = importlib.util.spec_from_file_location("teaching", BOOK / "_tools" / "teaching.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


teaching = tool()


def labels(text):
    return re.findall(r"^:::\{exercise\}[^\n]*\n:label: (\S+)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_go_and_all_else_stays(chapter):
    text = chapter.read_text(encoding="utf-8")
    left = teaching.without(text)
    assert "{solution" not in left and labels(left) == labels(text)
    solved = SOLVED.findall(text)
    assert sorted(label for label, _ in solved) == sorted(labels(text)), "every exercise has one solution"
    removed = sum(body.count("```{code-cell}") for _, body in solved)
    assert left.count("```{code-cell}") == text.count("```{code-cell}") - removed
    assert set(left.splitlines()) <= set(text.splitlines())


def test_notebooks_of_the_class_keep_the_outputs_of_the_cells_that_stay(tmp_path):
    written = teaching.write_notebooks(tmp_path)
    assert [path.stem for path in written] == [chapter.stem for chapter in CHAPTERS]
    for path in written:
        ours, full = nbformat.read(path, as_version=4), nbformat.read(BOOK / path.name, as_version=4)
        code = {cell.source: cell.outputs for cell in full.cells if cell.cell_type == "code"}
        cells = [cell for cell in ours.cells if cell.cell_type == "code"]
        assert cells and all("{solution" not in cell.source for cell in ours.cells)
        assert all(cell.outputs == code[cell.source] for cell in cells if cell.source in code)


def test_page_for_teachers_names_each_exercise_once_and_says_which_need_no_computer():
    page = (BOOK / "teaching.md").read_text(encoding="utf-8").partition("| exercise |")[2]
    needs = dict(re.findall(r"^\| \{ref\}`(\S+)` \| .* \| (\w+) \|$", page, flags=re.MULTILINE))
    texts = [chapter.read_text(encoding="utf-8") for chapter in CHAPTERS]
    assert sorted(needs) == sorted(label for text in texts for label in labels(text))
    assert page.count("{ref}") == len(needs)
    solved = [pair for text in texts for pair in SOLVED.findall(text)]
    assert {label for label, need in needs.items() if need == "paper"} == {k for k, body in solved if "{code-cell}" not in body}


PAGE = """# A page

```{exercise}
:label: ex-one
Add one and one.
```

```{solution-start} ex-one
:class: dropdown
```

It makes two, abracadabra.

```python
abracadabra = 1 + 1
```

```{solution-end}
```

After it.
"""


@pytest.mark.slow
@pytest.mark.parametrize("solutions", ["0", "1"])
def test_pages_sources_and_search_hold_solutions_only_if_they_should(tmp_path, solutions):
    lines = [
        f"import sys; sys.path.insert(0, {str(BOOK / '_tools')!r})",
        "project, extensions = 'toy', ['myst_parser', 'sphinx_exercise', 'teaching']",
        "exercise_style, html_theme, html_theme_options = 'solution_follow_exercise', 'sphinx_book_theme', {}",
    ]
    (tmp_path / "conf.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "index.md").write_text(PAGE, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(tmp_path), str(tmp_path / "out")]
    environment = os.environ | {"SOLUTIONS": solutions, "PYTHONWARNINGS": ""}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix in {".html", ".md", ".txt", ".js"} and path.is_file()]
    holding = {path.name for path in files if "abracadabra" in path.read_text(encoding="utf-8")}
    assert holding == (set() if solutions == "0" else {"index.html", "index.md", "searchindex.js"})
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Add one and one." in page and "After it." in page
