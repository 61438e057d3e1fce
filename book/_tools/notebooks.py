"""Bring the chapters' notebooks up to date with their MyST sources, and run those whose code changed.

    python book/_tools/notebooks.py [--all] [--jobs N] [CHAPTER ...]

The .md is always the source, whichever file is newer; it is rewritten only in the layout of its cell
headers, so that ``jupytext --sync`` has nothing to change. Outputs are kept where the code of a cell is
unchanged; a chapter with a cell that has not been run is run again as a whole. ``--all`` runs every
chapter: use it after a change of the library. Chapters run as many at a time as there are cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import jupytext
import nbformat
from execute import QUIET, SECONDS, cores
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient

from hybrid_lib.training import write_together

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
    NotebookClient(notebook, timeout=600, record_timing=False, resources=folder, extra_arguments=QUIET).execute()
    notebook.metadata["language_info"] = {"name": "python"}


def bring(source: Path, all_of_it: bool) -> str:
    """Update a chapter's files, running it where that is needed; what was done."""
    notebook, stale = update(source)
    start = time.perf_counter()
    if stale or all_of_it:
        run(notebook)
    ran, text = nbformat.writes(notebook).rstrip("\n") + "\n", jupytext.writes(notebook, fmt=MYST)
    write_together({source.with_suffix(".ipynb"): ran.encode(), source: text.encode()})  # a full disk spoils no chapter
    return f"ran in {time.perf_counter() - start:.0f} s" if stale or all_of_it else "code unchanged"


def main() -> None:
    """Update the chapters named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="run every chapter, changed or not")
    parser.add_argument("--jobs", type=int, default=cores(), help="chapters at a time; default: the number of cores")
    parser.add_argument("chapters", nargs="*", help="stems such as 01_multiscale_problem; default: all")
    arguments = parser.parse_args()
    known = {path.stem: path for path in sources()}
    if unknown := set(arguments.chapters) - set(known):
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    seconds = json.loads(SECONDS.read_text(encoding="utf-8"))
    order = sorted(arguments.chapters or known, key=lambda stem: -seconds.get(stem, 0))  # the longest first
    failed = []
    with ProcessPoolExecutor(max(1, arguments.jobs), mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(bring, known[stem], arguments.all): stem for stem in order}
        for future in as_completed(running):
            stem, error = running[future], future.exception()
            print(f"{stem}: {future.result()}" if error is None else f"{stem}: failed: {error}", flush=True)
            failed += [] if error is None else [stem]
    if failed:
        sys.exit(f"failed: {', '.join(sorted(failed))}")


if __name__ == "__main__":
    main()
