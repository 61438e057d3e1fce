"""``hybrid solve problem.toml``: check, solve, and write fields, a bound and a page."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hybrid_lib.commands.start import use_float64
from hybrid_lib.errors import InputError
from hybrid_lib.terminal import complain, say

FORMATS = ("vtu", "vtk", "xdmf", "nc", "npz", "csv")
"""Of the fields."""


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser("solve", help="a problem of one's own, from a file: fields, a bound, a page")
    parser.add_argument("problem", type=Path, metavar="PROBLEM.toml", help="domain, medium, sides, source")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder for what is found (default: PROBLEM-solved)")
    parser.add_argument("--replace", action="store_true", help="write into a folder that is there, over files of the same names")
    parser.add_argument("--tolerance", type=float, metavar="T", help="of the relative energy error, instead of the file's")
    parser.add_argument("--format", nargs="+", default=["vtu"], metavar="F", help=f"of the fields: {', '.join(FORMATS)}")
    parser.add_argument("--network", action="store_true", help="train the networks of the hypercircle in the place of elements")
    parser.add_argument("--steps", type=int, metavar="N", help="of that training")
    parser.add_argument("--check", action="store_true", help="only read the file and say what it would take")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.set_defaults(action=run)


def run(options: Any) -> int:
    """The command, from its options to the exit status: 1 where the tolerance was not reached."""
    for name in options.format:
        if name not in FORMATS:
            raise InputError("--format", f"some of {', '.join(FORMATS)}", name, "choose one")
    if options.steps is not None and not (options.network and options.steps > 0):
        raise InputError("--steps", "a number > 0 beside --network", options.steps, "elements are refined until the bound is met")
    if options.tolerance is not None and not options.tolerance > 0:
        raise InputError("--tolerance", "a number > 0", options.tolerance, "0.01 is one per cent of the energy norm")
    from hybrid_lib.commands import problem_file
    from hybrid_lib.experiments import advise, export

    use_float64()
    given = problem_file.read(options.problem)
    tolerance = options.tolerance or given.tolerance
    tell = (lambda line: None) if options.json else complain
    if options.check:
        advice = advise(given.problem, tolerance)
        told = {"title": given.problem.name, "sides": list(given.problem.domain.sides), "recommended": advice.recommended}
        told["ways"] = [way._asdict() for way in advice.ways]
        say(json.dumps(told) if options.json else f"{advice}\nsides: {', '.join(told['sides'])}")
        return 0
    out = options.out or options.problem.with_suffix("").with_name(f"{options.problem.stem}-solved")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not options.replace)):
        raise InputError("--out", "a new or empty directory", out, "choose another --out, or --replace")
    for name in options.format:
        export.require_format(f".{name}")
    with _held(out):
        if options.network:
            return _trained(given.problem, tolerance, out, options)
        return _solved(given, tolerance, out, options, tell)


@contextlib.contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder for what is found, before anything is computed; one that was made for nothing is removed."""
    from hybrid_lib.experiments.folder import locked

    new = [path for path in (out, *out.parents) if not path.exists()]
    with locked(out):
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                for path in new:
                    path.rmdir()
            raise


def _solved(given: Any, tolerance: float, out: Path, options: Any, tell: Callable[[str], None]) -> int:
    """Elements, from the first mesh to the page."""
    from hybrid_lib import training
    from hybrid_lib.commands import report
    from hybrid_lib.experiments import advise, export, solve

    meshes: list[dict[str, Any]] = []

    def announce(one: Any) -> None:
        seconds = time.perf_counter() - began - sum(mesh["seconds"] for mesh in meshes)
        meshes.append({"unknowns": len(one.w), "cells": len(one.mesh.cells), "bound": one.bound, "seconds": seconds})
        tell(f"{len(one.w):>9,} unknowns, bound {report.per_cent(one.bound)}, {seconds:.1f} s")

    advice = advise(given.problem, tolerance)
    tell(advice.reason)
    began = time.perf_counter()
    solution = solve(given.problem, tolerance, announce=announce)
    found = summary(solution, tolerance, meshes)
    _write_summary(out, found, [])
    fields = export.of_elements(solution)
    files = [export.write_fields(out / f"fields.{name}", fields) for name in options.format]
    found["files"] = [str(path) for path in (*files, out / "report.html", out / "summary.json")]
    training.write_atomically(out / "report.html", report.page(solution, found, given.text, advice).encode())
    _write_summary(out, found, found["files"])
    say(json.dumps(found) if options.json else words(found))
    return 0 if found["reached"] else 1


def _write_summary(out: Path, found: dict[str, Any], files: list[str]) -> None:
    """``summary.json``, first of all and again with the files that were written."""
    from hybrid_lib import training

    content = found | {"files": files or [str(out / "summary.json")]}
    training.write_atomically(out / "summary.json", json.dumps(content, indent=1).encode())


def _trained(problem: Any, tolerance: float, out: Path, options: Any) -> int:
    """The same with networks, whose fields and bound are written beside their run, which `hybrid_lib.load` reads."""
    from hybrid_lib.commands import report
    from hybrid_lib.experiments import own_configuration, train
    from hybrid_lib.terminal import Progress

    known = problem.medium.period is not None or problem.medium.pixels is not None
    config = own_configuration(problem, None if known else 1.0, formulation="hypercircle", steps=options.steps)
    with Progress(config.training.steps, options.json) as callbacks:
        begun = (out / "run" / "config.json").exists()
        result = train(problem, config, out=out / "run", resume=begun, callbacks=callbacks)
    seed = result.summary["seeds"][0]
    bound = seed["bound"]
    found = {"title": problem.name, "method": "hypercircle", "tolerance": tolerance, "bound": bound, "seconds": seed["seconds"]}
    found["reached"] = bound is not None and bound <= tolerance
    _write_summary(out, found, [])
    found["files"] = [str(result.export(out / f"fields.{name}")) for name in options.format]
    found["files"] += [str(out / "run"), str(out / "summary.json")]
    _write_summary(out, found, found["files"])
    lines = [problem.name, f"two networks, {seed['status']} after {seed['seconds']:.0f} s, bound {report.per_cent(bound)}"]
    say(json.dumps(found) if options.json else "\n".join([*lines, *found["files"]]))
    return 0 if found["reached"] else 1


def summary(solution: Any, tolerance: float, meshes: list[dict[str, Any]]) -> dict[str, Any]:
    """What is printed by ``--json``."""
    from hybrid_lib import fem

    problem, mesh = solution.problem, solution.mesh
    points, weights = fem.quadrature_points(mesh, 4)
    source = float((weights * fem.evaluate(problem.source, points)).sum())
    sides = {
        name: {"heat": solution.heat_through(name), "within": solution.heat_bound(name), "mean": solution.mean(side=name)}
        for name in problem.domain.sides
    }
    return {
        "title": problem.name,
        "method": "linear elements",
        "tolerance": tolerance,
        "bound": solution.bound,
        "reached": solution.bound is not None and solution.bound <= tolerance,
        "reason": solution.reason,
        "unknowns": len(solution.w),
        "least": float(solution.w.min()),
        "largest": float(solution.w.max()),
        "mean": solution.mean(),
        "source": source,
        "sides": sides,
        "meshes": meshes,
        "seconds": sum(one["seconds"] for one in meshes),
    }


def words(found: dict[str, Any]) -> str:
    """The same for people."""
    from hybrid_lib.commands import report

    width = max(len(name) for name in ("side", *found["sides"]))
    lines = [found["title"], report.answer(found)]
    lines.append(f"{'side':<{width}}  {'heat in':>12}  {'off by at most':>14}  {'mean temperature':>16}")
    for name, row in found["sides"].items():
        lines.append(f"{name:<{width}}  {row['heat']:>12.6g}  {report.within(row):>14}  {row['mean']:>16.6g}")
    return "\n".join([*lines, report.balance(found), *found["files"]])
