"""Chapters run beforehand: the build finds their outputs, a change runs one chapter, a failure keeps the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupyter_book")

SCRIPT = Path(__file__).resolve().parents[1] / "book" / "_tools" / "execute.py"
PAGES = ("one", "two", "three")

CONFIG = """
title: toy
only_build_toc_files: true
exclude_patterns: [.jupyter_cache]
execute: {execute_notebooks: cache, cache: .jupyter_cache, timeout: 60}
parse: {myst_enable_extensions: [colon_fence, dollarmath]}
"""

PAGE = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
# A page

::::{note}
```{code-block} python
not_a_cell
```
::::

```{code-cell} ipython3
value = CODE
print("value", value)
```
"""


def write(root, page, code):
    (root / f"{page}.md").write_text(PAGE.replace("CODE", code), encoding="utf-8")


def execute(root):
    environment = os.environ | {"PYTHONWARNINGS": ""}
    command = [sys.executable, str(SCRIPT), "--root", str(root), "--jobs", "2"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    chapters = "".join(f"- file: {page}.md\n" for page in PAGES)
    (tmp_path / "_toc.yml").write_text(f"format: jb-book\nroot: index.md\nchapters:\n{chapters}", encoding="utf-8")
    (tmp_path / "index.md").write_text("# Toy\n\n```{nb-exec-table}\n```\n", encoding="utf-8")
    for number, page in enumerate(PAGES):
        write(tmp_path, page, str(10 + number))
    return tmp_path


@pytest.mark.slow
def test_build_executes_nothing_after_it_and_a_failure_keeps_the_others(toy):
    write(toy, "two", "1 / 0")
    first = execute(toy)
    assert first.returncode == 1
    assert "3 of 3 chapters run, 2 at a time" in first.stdout
    assert "ZeroDivisionError" in first.stderr
    assert "1 failed: two" in first.stderr

    write(toy, "two", "20")
    second = execute(toy)
    assert second.returncode == 0, second.stderr
    assert "1 of 3 chapters run" in second.stdout
    assert "1/1  two: " in second.stdout

    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "."]
    build = subprocess.run(command, cwd=toy, capture_output=True, text=True, check=False)
    log = build.stdout + build.stderr
    assert build.returncode == 0, log
    assert log.count("Using cached notebook") == 3
    assert "Executing notebook" not in log
    assert "value 20" in (toy / "_build" / "html" / "two.html").read_text(encoding="utf-8")
    status = (toy / "_build" / "html" / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{page}.html"' in status for page in PAGES)

    assert "outputs of all 3 chapters are in the cache" in execute(toy).stdout
