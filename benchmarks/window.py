"""The plane problem as ε falls: what classical methods reach in the gradient, in how many seconds, and which of them prove it.

    NPROC=1 OPENBLAS_NUM_THREADS=1 python benchmarks/window.py [--periods 10 20 50 100 200] [--smoke] [--out FILE]

At every period the homogenised solution, with its corrector and with the corrector cut off at the boundary; at those of MESHES
also linear and quadratic elements by sparse factors or multigrid ("P1", "P2") and by the sine transform, and both with a
guaranteed bound: linear ones by `fem.certified_solve`, quadratic ones by a quadratic stream function and two quadratures.
Errors are relative, by integration against spectral elements of degree 20, or 16. Seconds are those of assembly and solution,
of the processor, after a small run that compiles; runs above a second are timed once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
from classical_methods import at, elements, expand, grid, homogenised, vectorised

from hybrid_lib import experiments, fem, training
from hybrid_lib.experiments.certificate import RULES
from hybrid_lib.experiments.references import Reference
from hybrid_lib.experiments.sharp import DEGREE
from hybrid_lib.fem import bounds, quadratic
from hybrid_lib.fem.spectral import solve_spectral
from hybrid_lib.problems import Problem

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "window.json"
MESHES = {
    10: {"P1": (80, 160, 320), "P1, sine": (160, 320, 640, 1280), "P2": (40, 80, 160), "P2, sine": (80, 160, 320, 640),
         "P1, proved": (80, 160, 320, 640, 1280), "P2, proved": (80, 160, 320, 640)},
    100: {"P1": (800,), "P1, sine": (800, 1600), "P2": (400,), "P2, sine": (400, 800), "P1, proved": (800,),
          "P2, proved": (400, 800)},
}  # fmt: skip
SMOKE = {4: {"P1": (16, 32), "P1, sine": (32,), "P2": (16,), "P2, sine": (16,), "P1, proved": (32,), "P2, proved": (16,)}}
OUT_OF_STEP = (23, 11)
"""Pieces of a period in which errors are taken, down to 1/50 and below it."""
LOWER, SMOOTH, MICRO = 16, 64, (64, 256)
"""Degree of the reference for homogenised solutions (within 8e-4 in H¹), cells of u⁰ a side, and of the cell problem."""
BLOCK = 200_000
"""Points at which a field is looked at together."""


def timed(work: Callable):
    """Result; wall and processor seconds, the shortest of three where they are short."""
    wall, processor = [], []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
        if processor[0] > 1:
            break
    return result, {"seconds": min(wall), "cpu_seconds": min(processor)}


def errors(known: Reference, K: np.ndarray, field: Callable) -> dict[str, float]:
    """Relative errors in L², in the H¹ seminorm and in energy of points -> (values, gradients)."""
    off, size = np.zeros(3), np.zeros(3)
    for start in range(0, len(known.points), BLOCK):
        part = slice(start, start + BLOCK)
        w, u, slope = known.weights[part], known.value[part], known.gradient[part]
        value, gradient = field(known.points[part])
        for total, a, b in ((off, value - u, gradient - slope), (size, u, slope)):
            square = np.sum(b**2, axis=1)
            total += w @ a**2, w @ square, w @ (K[part] * square)
    return dict(zip(("rel_l2", "rel_h1", "rel_energy"), np.sqrt(off / size).tolist(), strict=True))


def resolved(problem: Problem, method: str, cells: int) -> tuple[Callable, dict]:
    """Elements on one mesh: the field, and what the row says of it."""
    K, q, e = vectorised(problem.medium.conductivity), vectorised(problem.source), problem.direction
    degree, way = (2 if method.startswith("P2") else 1), method.partition(", ")[2]

    def work():
        mesh = grid(2, cells)
        if way == "proved" and degree == 1:
            return fem.certified_solve(mesh, problem.medium.conductivity, problem.source, direction=np.array(e))
        if way == "proved":
            return proved_quadratic(mesh, problem)
        system = elements(mesh, degree, K, q, e)
        V = system.space
        solver = "sine" if way else ("direct" if len(V.points) <= 200_000 or degree == 2 else "amg")
        places = V.points if degree == 2 and way else None
        return V, fem.solve_dirichlet(system.matrix, system.rhs, V.boundary, method=solver, tol=1e-8, points=places)

    found, seconds = timed(work)
    row = {"method": method, "cells": cells, "unknowns": (degree * cells - 1) ** 2} | seconds
    if way == "proved" and degree == 2:
        (V, nodal), bound = found
        row |= {"bound": bound}
        return (lambda x: quadratic.at(V, nodal, x)), row
    if way == "proved":
        row |= {"bound": found.proof.relative}
        found = elements(grid(2, cells), 1, None, q, e).space, found.nodal
    return (lambda x: at(*found, x)), row


def proved_quadratic(mesh: fem.Mesh, problem: Problem) -> tuple[tuple, float]:
    """Quadratic elements, and the larger of the relative bounds by two quadratures with a quadratic stream function."""
    medium, source, e = problem.medium.conductivity, problem.source, np.asarray(problem.direction)
    V, nodal = quadratic.solve(mesh, medium, source, direction=e, tol=1e-8)
    slope, bend = quadratic.gradients(V, nodal)
    centre, flux, found = mesh.points[mesh.cells].mean(axis=1), None, []
    for order, factor in RULES[2]:
        data = bounds.sampled(mesh, medium, source, round(factor * bounds.PROBES[mesh.dimension]), order)
        if flux is None:
            flux = bounds.flux_for(mesh, data, np.broadcast_to(e, (len(mesh.cells), len(e))), degree=2)
        gradient = slope[:, None] + (data.points - centre[:, None]) @ bend
        found.append(bounds.bound_by(mesh, data, flux, gradient, e).relative)
    return (V, nodal), max(found)


def shown(inverse: int, row: dict) -> dict:
    """The row, after it was printed."""
    print(f"1/{inverse}", {k: f"{v:.2g}" if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    return row


def sampled(problem: Problem, inverse: int, degree: int, *points: int) -> tuple[Reference, np.ndarray]:
    """Spectral elements of one cell a period as a reference, and K at its points."""
    K, q = (lambda x: fem.evaluate(problem.medium.conductivity, x)), (lambda x: fem.evaluate(problem.source, x))
    known = Reference(*solve_spectral(K, q, problem.direction, inverse, degree).at_gauss(*points), 0.0, 0.0)
    return known, K(known.points)


def upscaled_part(problem: Problem, inverse: int, micro: tuple[int, ...]) -> dict:
    """Homogenised solutions; the correctors are linear elements with `micro` cells a side, and have an error of their own."""
    known, K = sampled(problem, inverse, LOWER, 10 if inverse > 20 else 20)
    q, rows = vectorised(problem.source), []
    for m in micro:

        def upscaled(m: int = m):
            return homogenised(problem.medium.conductivity, q, problem.direction, 1 / inverse, SMOOTH, m)

        upscaled()
        found, seconds = timed(upscaled)
        for method, corrector in (("homogenised", "none"), ("corrected", "plain"), ("corrected, cut off", "cut")):
            row = {"method": method, "cells": SMOOTH, "micro": m} | seconds
            rows.append(shown(inverse, row | errors(known, K, lambda x, f=found, c=corrector: expand(f, x, c))))
    return {"upscaled": rows}


def resolved_part(problem: Problem, inverse: int, meshes: dict[str, tuple[int, ...]]) -> dict:
    """Elements; the points of the errors are out of step with their meshes, whose cells divide a period."""
    known, K = sampled(problem, inverse, DEGREE, 2, OUT_OF_STEP[inverse > 50])
    seen, rows = {}, []
    for method, sizes in meshes.items():
        resolved(problem, method, min(20, sizes[0]) if "sine" not in method else sizes[0])  # compiles
        for cells in sizes:
            found, row = resolved(problem, method, cells)
            mesh = method[:2], cells
            seen[mesh] = seen[mesh] if mesh in seen else errors(known, K, found)
            rows.append(shown(inverse, row | seen[mesh]))
    return {"resolved": rows}


def main(argv: list[str] | None = None) -> dict:
    """Run what is asked for and write after each period."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--periods", type=int, nargs="+", default=[10, 20, 50, 100, 200], help="1/ε")
    parser.add_argument("--parts", nargs="+", choices=("upscaled", "resolved"), default=["upscaled", "resolved"])
    parser.add_argument("--methods", nargs="+", help="of the resolved part only these; other rows of the record stay")
    parser.add_argument("--smoke", action="store_true", help="1/4 on coarse meshes, a few seconds")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"periods": {}}
    config = experiments.configuration("heat2d")
    passport = experiments.environment(dataclasses.replace(config, dtype="float64"))
    for inverse in SMOKE if options.smoke else options.periods:
        problem, meshes = experiments.heat2d_problem(1 / inverse), (SMOKE if options.smoke else MESHES).get(inverse)
        found = upscaled_part(problem, inverse, (16,) if options.smoke else MICRO) if "upscaled" in options.parts else {}
        before = record["periods"].get(str(inverse), {})
        if meshes and "resolved" in options.parts:
            wanted = {m: sizes for m, sizes in meshes.items() if m in (options.methods or meshes)}
            kept = [row for row in before.get("resolved", []) if row["method"] not in wanted]
            found |= {"resolved": kept + resolved_part(problem, inverse, wanted)["resolved"]}
        record["periods"][str(inverse)] = before | found
        record["environment"] = passport | {"cores": 1, "load_average": round(os.getloadavg()[0], 1)}
        training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())
    return record


if __name__ == "__main__":
    main()
