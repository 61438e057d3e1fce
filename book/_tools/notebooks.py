"""Bring the chapters' notebooks up to date with their MyST sources, and run those whose code changed.

    python book/_tools/notebooks.py [--all] [CHAPTER ...]

The .md is always the source, whichever file is newer; it is rewritten only in the layout of its cell
headers, so that ``jupytext --sync`` has nothing to change. Outputs are kept where the code of a cell is
unchanged; a chapter with a cell that has not been run is run again as a whole. ``--all`` runs every
chapter: use it after a change of the library.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parents[1]
MYST = {"extension": ".md", "format_name": "myst"}


def sources() -> list[Path]:
    """Executable chapters: the .md files of the book that declare a kernel."""
    return sorted(path for path in BOOK.glob("*.md") if "kernelspec:" in path.read_text(encoding="utf-8"))


def update(source: Path) -> tuple[nbformat.NotebookNode, bool]:
    """The notebook of a chapter, with the outputs that its .ipynb holds, and whether its code has changed since."""
    notebook = jupytext.read(source, fmt=MYST)
    target = source.with_suffix(".ipynb")
    stale = True
    if target.exists():
        old = nbformat.read(target, as_version=4)
        stale = code(notebook) != code(old) or any(c.execution_count is None for c in code_cells(old) if c.source)
        notebook = combine_inputs_with_outputs(notebook, old, MYST)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"  # stable, so that a run without changes changes nothing
    return notebook, stale


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code(notebook: nbformat.NotebookNode) -> list[str]:
    """Their sources: outputs belong to exactly this sequence, not to a cell by its position."""
    return [cell.source for cell in code_cells(notebook)]


def run(notebook: nbformat.NotebookNode) -> None:
    """Run a chapter in place, in the folder of the book, and drop what differs from machine to machine."""
    folder = {"metadata": {"path": str(BOOK)}}
    NotebookClient(notebook, timeout=600, record_timing=False, resources=folder).execute()
    notebook.metadata["language_info"] = {"name": "python"}


def main() -> None:
    """Update the chapters named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="run every chapter, changed or not")
    parser.add_argument("chapters", nargs="*", help="stems such as 01_multiscale_problem; default: all")
    arguments = parser.parse_args()
    known = {path.stem: path for path in sources()}
    if unknown := set(arguments.chapters) - set(known):
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for stem in arguments.chapters or known:
        notebook, stale = update(known[stem])
        start = time.perf_counter()
        stale = stale or arguments.all
        if stale:
            run(notebook)
        nbformat.write(notebook, known[stem].with_suffix(".ipynb"))
        known[stem].write_text(jupytext.writes(notebook, fmt=MYST), encoding="utf-8")
        print(f"{stem}: {f'ran in {time.perf_counter() - start:.0f} s' if stale else 'code unchanged'}")


if __name__ == "__main__":
    main()
