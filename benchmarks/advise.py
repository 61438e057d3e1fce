"""Ten problems: what `hybrid_lib.advise` predicts against what it then takes, seconds and memory, one process a problem.

``python benchmarks/advise.py --out book/results/beyond/advise.json``; one problem: ``--only NAME``. Each method that is predicted
to reach the tolerance, within 200 s, is run after `advise` in the same process. A prediction is right within a factor of two.
Networks and homogenisation are not run: their times are forecasts from records.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import hybrid_lib as hl
from hybrid_lib import Dirichlet, Neumann, Robin, domains, fem, media
from hybrid_lib.experiments import configuration, environment, heat1d_problem, heat2d_problem
from hybrid_lib.experiments.solve import solve_on

advising = importlib.import_module("hybrid_lib.experiments.advise")  # the function hides the module
ROOT = Path(__file__).resolve().parents[1]
LIMIT = 200.0
"""Seconds beyond which a prediction is not tried."""


def problems() -> dict[str, tuple[Callable[[], hl.Problem], float]]:
    """Name to problem and tolerance."""
    drop = {"left": Dirichlet(0.0), "right": Dirichlet(1.0), "top": Neumann(), "bottom": Neumann()}
    rng = np.random.default_rng(0)
    hole = [(0.6, 0.2), (0.8, 0.2), (0.8, 0.4), (0.6, 0.4)]

    def plate() -> hl.Problem:
        mesh = fem.read_mesh(ROOT / "examples" / "plate.msh")
        sides = {"hole": Dirichlet(360.0), "left": Robin(10.0, 290.0), "right": Dirichlet(280.0), "rim": Neumann()}
        medium = media.by_tag(mesh, {"steel": 50.0, "foam": 0.04})
        return hl.Problem(medium=medium, domain=domains.from_mesh(mesh), boundary=sides)

    def rock() -> hl.Problem:
        medium = media.from_image(ROOT / "examples" / "rock.png", 0.0005, values={0: 0.03, 128: 2.0, 255: 6.0})
        return hl.Problem(medium=medium, domain=domains.box(*medium.pixels.box), boundary=drop)

    return {
        "paper, line, 1/15": (lambda: heat1d_problem(1 / 15), 0.005),
        "paper, square, 1/10": (lambda: heat2d_problem(0.1), 0.04),
        "paper, square, sides": (lambda: hl.Problem(medium=media.paper_2d(0.1), boundary=drop), 0.05),
        "smooth, square": (lambda: hl.Problem(medium=media.from_formula("2 + x*y", 2), source=1.0), 0.01),
        "contrast 400": (lambda: hl.Problem(medium=media.from_function(_knots, 2, period=0.25)), 0.1),
        "checkerboard 16": (lambda: hl.Problem(medium=media.raster(10 ** rng.uniform(0, 1, (16, 16)))), 0.1),
        "rock": (rock, 0.05),
        "plate": (plate, 0.01),
        "polygon with a hole": (
            lambda: hl.Problem(
                medium=media.constant(1.0, 2), source=1.0, boundary=Dirichlet(0.0),
                domain=domains.polygon([(0, 0), (1, 0), (1, 1)], [hole]),
            ),
            0.04,
        ),
        "L-shape": (
            lambda: hl.Problem(medium=media.constant(1.0, 2), source=1.0, domain=domains.lshape(), boundary=Dirichlet(0.0)), 0.02
        ),
    }  # fmt: skip


def _knots(x: Any) -> Any:
    return jnp.exp(3 * jnp.sin(8 * jnp.pi * x[0]) * jnp.sin(8 * jnp.pi * x[1]))


def runs(problem: hl.Problem, tolerance: float) -> dict[str, Callable[[advising.Way], float]]:
    """Method to what does it and returns the bound."""

    def sine(way: advising.Way) -> float:
        n = round(way.unknowns**0.5) - 1
        mesh = problem.domain.labelled(problem.domain.mesh(n))
        return solve_on(problem, mesh).bound

    def quadratic(way: advising.Way) -> float:
        d = problem.domain.dimension
        return advising.quadratic_bound(problem, round((way.unknowns ** (1 / d) - 1) / 2))[1]

    return {
        "linear elements": lambda way: hl.solve(problem, tolerance).bound,
        "quadratic elements": quadratic,
        "linear, uniform, sine": sine,
    }


def one(name: str) -> dict[str, Any]:
    """The record of a problem, in this process."""
    make, tolerance = problems()[name]
    problem = make()
    began = time.perf_counter()
    advice = hl.advise(problem, tolerance)
    record = {
        "problem": name, "tolerance": tolerance, "contrast": advice.contrast, "length": advice.length, "jumps": advice.jumps,
        "recommended": advice.recommended, "reason": advice.reason, "advising": time.perf_counter() - began, "ways": [],
    }  # fmt: skip
    doing = runs(problem, tolerance)
    for way in advice.ways:
        row = way._asdict()
        if way.method in doing and way.reaches and way.seconds < LIMIT:
            began = time.perf_counter()
            row["bound"] = doing[way.method](way)
            row["measured"] = time.perf_counter() - began
            row["peak"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            row["right"] = bool(0.5 <= row["measured"] / way.seconds <= 2.0)
        record["ways"].append(row)
    return record


def main(arguments: list[str] | None = None) -> None:
    """Run all, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=list(problems()))
    options = parser.parse_args(arguments)
    hl.enable_float64()
    if options.only:
        print(json.dumps(one(options.only)))
        return
    rows = []
    for name in problems():
        ran = subprocess.run(
            [sys.executable, __file__, "--only", name], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        rows.append(json.loads(ran.stdout))
        for way in rows[-1]["ways"]:
            if "measured" in way:
                said = "" if way["right"] else "  MISSED"
                print(f"{name:22s} {way['method']:22s} {way['seconds']:8.2f} s, took {way['measured']:8.2f} s{said}", flush=True)
    passport = environment(configuration("heat2d", optimiser="gauss-newton"))
    record = {"rows": rows, "environment": passport, "load_average": os.getloadavg()[0]}
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
