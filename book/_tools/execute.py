"""Run the chapters that the execution cache lacks, as many at a time as there are cores.

    python book/_tools/execute.py [--jobs N]

The build would run them one after another. This script reads a chapter as the build does, runs it as the
build does, and keeps the outputs where the build looks for them, so that a build afterwards runs nothing.
Chapters start in the order of their times, longest first: what an earlier run took, or else seconds.json.
A chapter that fails is not kept, its traceback is printed and the exit status is 1; the others go on.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import nbformat
from jupyter_book.config import get_final_config
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.config import NbParserConfig
from myst_nb.core.read import create_nb_reader
from myst_parser.config.main import MdParserConfig
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
SECONDS = Path(__file__).with_name("seconds.json")
QUIET = ["--log-level=ERROR"]  # a kernel on this machine need not warn that its socket is not encrypted


class Chapter(NamedTuple):
    """A page with code."""

    path: Path
    notebook: nbformat.NotebookNode


class Outcome(NamedTuple):
    """What became of a chapter: its notebook with outputs, or why there is none."""

    notebook: nbformat.NotebookNode | None
    seconds: float
    failure: str


def configuration(root: Path) -> dict:
    """The settings of the build, as Sphinx gets them."""
    found, _ = get_final_config(user_yaml=root / "_config.yml", cli_config={"latex_individualpages": False}, sourcedir=root)
    return found


def chapters(root: Path, settings: dict) -> Iterator[Chapter]:
    """The pages with code among those of _toc.yml, read with the parser and the settings of the build.

    The cache knows a notebook by its code cells; which fences are cells depends on the syntax that is switched on.
    """
    fields = {field.name for field in dataclasses.fields(MdParserConfig)}
    markdown = {name.removeprefix("myst_"): value for name, value in settings.items()}
    parser = MdParserConfig(**{name: value for name, value in markdown.items() if name in fields})
    for page in parse_toc_yaml(root / "_toc.yml"):
        path = root / page
        text = path.read_text(encoding="utf-8")
        reader = create_nb_reader(str(path), parser, NbParserConfig(), text)
        if reader is not None:
            yield Chapter(path, reader.read(text))


def lacks(cache: JupyterCacheAbstract, notebook: nbformat.NotebookNode) -> bool:
    """Whether the cache has no outputs for this code."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return True
    return False


def longest_first(found: list[Chapter], cache: JupyterCacheAbstract) -> list[Chapter]:
    """Chapters by the time of their last run, here or elsewhere; one that has never run comes first."""
    seconds = json.loads(SECONDS.read_text(encoding="utf-8"))
    records = sorted(cache.list_cache_records(), key=lambda record: record.created)
    timed = {Path(record.uri).stem: record.data.get("execution_seconds") for record in records}
    seconds |= {name: value for name, value in timed.items() if value}  # outputs may have come without a time
    return sorted(found, key=lambda chapter: -seconds.get(chapter.path.stem, float("inf")))


def run(chapter: Chapter, timeout: int, tries: int = 2) -> Outcome:
    """Run a chapter in its folder; called in a process of its own, and raises nothing."""
    start = time.perf_counter()
    notebook = copy.deepcopy(chapter.notebook)
    try:
        place = {"cwd": str(chapter.path.parent), "timeout": timeout, "allow_errors": False}
        result = single_nb_execution(notebook, **place, extra_arguments=QUIET)
    except Exception:  # the kernel did not start, as when another takes its port, or died
        if tries > 1:
            return run(chapter, timeout, tries - 1)
        return Outcome(None, time.perf_counter() - start, traceback.format_exc())
    return Outcome(None if result.err else result.nb, result.time, str(result.err or ""))


def execute(root: Path, jobs: int) -> list[str]:
    """Run what the cache lacks and keep it there; the chapters that failed."""
    settings = configuration(root)
    cache = get_cache(str(root / settings["nb_execution_cache_path"]))
    found = list(chapters(root, settings))
    todo = longest_first([chapter for chapter in found if lacks(cache, chapter.notebook)], cache)
    if not todo:
        print(f"book: the outputs of all {len(found)} chapters are in the cache")
        return []
    jobs = min(jobs, len(todo))
    print(f"book: {len(todo)} of {len(found)} chapters run, {jobs} at a time", flush=True)
    failed = []
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run, chapter, settings["nb_execution_timeout"]): chapter for chapter in todo}
        for number, future in enumerate(as_completed(running), start=1):
            path = running[future].path
            error = future.exception()  # its process was lost
            outcome = future.result() if error is None else Outcome(None, 0.0, str(error))
            if outcome.notebook is None:
                failed.append(path.stem)
            else:  # only this process writes to the cache
                bundle = CacheBundleIn(outcome.notebook, str(path), data={"execution_seconds": outcome.seconds})
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(f"  {number:2}/{len(todo)}  {path.stem}: {outcome.seconds:.0f} s {outcome.failure and 'FAILED'}", flush=True)
            if outcome.failure:
                print(outcome.failure, file=sys.stderr, flush=True)
    return failed


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Run the chapters of this book."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=cores(), help="chapters at a time; default: the number of cores")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of _config.yml; default: this book's")
    arguments = parser.parse_args()
    failed = execute(arguments.root.resolve(), max(1, arguments.jobs))
    if failed:
        sys.exit(f"book: {len(failed)} failed: {', '.join(sorted(failed))}")


if __name__ == "__main__":
    main()
