"""The edition for a class: pages and notebooks without the solutions of the exercises, ``make book SOLUTIONS=0``.

    python book/_tools/teaching.py FOLDER    writes the notebooks, with their outputs, into FOLDER

As a Sphinx extension it acts only where the environment has SOLUTIONS=0: it drops the solutions from the pages and from the
sources beside them, and the buttons that lead to the notebooks with solutions. The chapters themselves run as always, so
that their outputs come from the same cache.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms import SphinxTransform
from sphinx_exercise.nodes import solution_end_node, solution_start_node

BOOK = Path(__file__).resolve().parents[1]
SOLUTION = re.compile(r"^```\{solution-start\}.*?^```\{solution-end\}\n```\n*", flags=re.DOTALL | re.MULTILINE)


def without(text: str) -> str:
    """A chapter's source without its solutions, their code cells included."""
    return SOLUTION.sub("", text)


class DropSolutions(SphinxTransform):
    """Take out what stands between the start and the end of a solution, before sphinx-exercise puts it into one node."""

    default_priority = 9

    def apply(self) -> None:
        """Remove the nodes from the document."""
        for start in list(self.document.findall(solution_start_node)):
            parent = start.parent
            first = parent.index(start)
            last = next(n for n, node in enumerate(parent) if n > first and isinstance(node, solution_end_node))
            del parent[first : last + 1]


def unlink(app: Sphinx, config: Config) -> None:
    """No buttons that open or download a chapter with its solutions."""
    buttons = {f"use_{name}_button": False for name in ("repository", "issues", "edit_page", "source", "download")}
    config.html_theme_options = {**config.html_theme_options, **buttons, "launch_buttons": {}}


def clean_sources(app: Sphinx, error: Exception | None) -> None:
    """The copies of the sources beside the pages lose the solutions too."""
    for path in Path(app.outdir).glob("_sources/**/*.md*"):
        path.write_text(without(path.read_text(encoding="utf-8")), encoding="utf-8")


def write_notebooks(folder: Path) -> list[Path]:
    """Each chapter's notebook without solutions; outputs of the cells that stay are kept."""
    import jupytext
    import nbformat
    from jupytext.combine import combine_inputs_with_outputs

    form, written = {"extension": ".md", "format_name": "myst"}, []
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(BOOK.glob("*.md")):
        if (made := source.with_suffix(".ipynb")).is_file():
            notebook = jupytext.reads(without(source.read_text(encoding="utf-8")), fmt=form)
            notebook = combine_inputs_with_outputs(notebook, nbformat.read(made, as_version=4), form)
            for number, cell in enumerate(notebook.cells):
                cell.id = f"cell-{number:02d}"
            nbformat.write(notebook, folder / made.name)
            written.append(folder / made.name)
    return written


def setup(app: Sphinx) -> dict[str, bool]:
    """Entry point for Sphinx."""
    if os.environ.get("SOLUTIONS") == "0":
        app.add_transform(DropSolutions)
        app.connect("config-inited", unlink)
        app.connect("build-finished", clean_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    print(f"{len(write_notebooks(Path(sys.argv[1])))} notebooks without solutions: {sys.argv[1]}")
