"""Error, time and storage of classical methods on six oscillating problems, and their cost as ε falls.

    OPENBLAS_NUM_THREADS=1 python benchmarks/classical_rivals.py [--smoke] [--parts problems eps networks] [--out FILE]

Errors are relative and by integration, in L², in the H¹ seminorm and of the flux K(∇u + e); `rel_l2_whole` is relative to the
norm of w = u + e·x. A homogenised flux is K*(∇u⁰ + e), that of FE-HMM likewise. Seconds are the shortest of three or
more runs of assembly and solution after one that compiles, on the wall and of the processor (all is one thread: on an idle core
both are the same); storage is that of matrix and sparse factors. Rows of networks are read from the
records of other benchmarks; `--parts networks` brings them up to date and leaves the rest.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
from classical_methods import (
    System,
    Values,
    at,
    elements,
    expand,
    fe_hmm,
    grid,
    homogenised,
    solve,
    storage,
    vectorised,
)
from classical_problems import Case, case, relative

from hybrid_lib import experiments, fem, training
from hybrid_lib.problems import Problem

RECORDS = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond"
PARTS = ("problems", "eps", "networks")
TOLERANCE, MOST_UNKNOWNS, MOST_SECONDS = 0.01, 4_000_000, 20.0


class Sizes(NamedTuple):
    """Meshes of each method on one problem."""

    linear: tuple[int, ...]
    quadratic: tuple[int, ...]
    coarse: tuple[int, ...]
    hmm: tuple[int, ...]
    smooth: int
    micro: int


SIZES = {
    "heat1d-eps15": Sizes(
        (60, 120, 240, 480, 960), (30, 60, 120, 240, 480, 960, 1920, 2560, 3840, 40_000), (6, 12), (6, 12), 64, 2048
    ),
    "heat1d-eps100": Sizes(
        (400, 800, 1600, 3200, 6400), (200, 400, 800, 1600, 3200, 6400, 9600, 16_000), (20, 80), (20, 80), 64, 2048
    ),
    "heat2d": Sizes((20, 40, 80, 160, 320), (20, 40, 80, 160, 220, 320), (5, 8), (8, 16), 64, 64),
    "product": Sizes((16, 32, 64, 128, 256), (16, 32, 64), (4, 6), (8, 16), 32, 64),
    "inclusions": Sizes((32, 64, 80, 128, 256), (32, 64, 128), (8, 12), (8, 16), 32, 64),
    "layers": Sizes((32, 64, 80, 128, 256), (32, 64), (8, 12), (8, 16), 32, 64),
}
SMOKE = {
    "heat1d-eps15": Sizes((120, 240), (60,), (12,), (12,), 32, 256),
    "heat2d": Sizes((40, 80), (20,), (8,), (4,), 16, 16),
}


def errors(c: Case, u: np.ndarray, slope: np.ndarray, flux: np.ndarray | None = None) -> dict[str, float]:
    """Relative errors; the flux is K(∇u + e) unless it is given."""
    e, K = np.asarray(c.problem.direction), c.K(c.points)[:, None]
    exact = K * (c.gradient + e)
    return {
        "rel_l2": relative(c.weights, u - c.value, c.value),
        "rel_h1": relative(c.weights, slope - c.gradient, c.gradient),
        "rel_flux": relative(c.weights, (K * (slope + e) if flux is None else flux) - exact, exact),
        "rel_l2_whole": relative(c.weights, u - c.value, c.value + c.points @ e),
    }


def timed(work: Callable):
    """Result and shortest wall and processor time of three runs, nine if they are short, after one that compiles."""
    start = time.perf_counter()
    result, wall, processor = work(), [], []
    for _ in range(3 if time.perf_counter() - start > 0.5 else 9):
        start = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return result, {"seconds": min(wall), "cpu_seconds": min(processor)}


def element_row(c: Case, method: str, degree: int, cells: int, pieces: int = 1) -> dict:
    """Linear or quadratic elements on one mesh."""

    def work():
        mesh = grid(c.problem.domain.dimension, cells)
        system = elements(
            mesh, degree, c.K, c.q, c.problem.direction, order=4 if pieces == 1 else 2, pieces=pieces
        )
        return system, solve(system)

    (system, u), seconds = timed(work)
    unknowns, size = storage(system)
    row = {"method": method, "cells": cells, "unknowns": unknowns, "bytes": size, **seconds}
    return row | errors(c, *at(system.space, u, c.points))


def homogenised_rows(c: Case, sizes: Sizes) -> list[dict]:
    """u⁰ alone, with its corrector, and with the corrector cut off at the boundary; one computation."""
    problem = c.problem
    found, seconds = timed(
        lambda: homogenised(
            problem.medium.conductivity,
            c.q,
            problem.direction,
            problem.medium.period,
            sizes.smooth,
            sizes.micro,
        )
    )
    unknowns, size = storage(found.system)
    d = problem.domain.dimension
    shared = {
        "cells": sizes.smooth,
        "micro": sizes.micro,
        "unknowns": unknowns + d * sizes.micro**d,
        "bytes": size,
        **seconds,
    }
    shared |= {"tensor": found.cell.tensor.tolist()}
    rows = []
    for method, corrector in (("homogenised", "none"), ("corrected", "plain"), ("corrected, cut off", "cut")):
        u, slope = expand(found, c.points, corrector)
        flux = (slope + found.direction) @ found.cell.tensor if corrector == "none" else None
        rows.append({"method": method, **shared} | errors(c, u, slope, flux))
    return rows


def hmm_row(c: Case, cells: int) -> dict:
    """FE-HMM on one coarse mesh, 16 cells a side in each cell problem (256 in one dimension)."""
    problem, d = c.problem, c.problem.domain.dimension
    micro = 256 if d == 1 else 16
    (system, u, tensors), seconds = timed(
        lambda: fe_hmm(c.K, c.q, problem.direction, problem.medium.period, cells, micro)
    )
    unknowns, size = storage(system)
    value, slope, cell = at(system.space, u, c.points, cell=True)
    flux = np.einsum("kab,kb->ka", tensors[cell], slope + np.asarray(problem.direction))
    row = {
        "method": "FE-HMM",
        "cells": cells,
        "micro": micro,
        "unknowns": unknowns + len(tensors) * d * micro**d,
        "bytes": size,
    }
    return row | seconds | errors(c, value, slope, flux)


def problem_record(name: str, smoke: bool) -> dict:
    """All rows of one problem."""
    c, sizes = case(name, smoke), (SMOKE if smoke else SIZES)[name]
    pieces = 64 if c.problem.domain.dimension == 1 else 16
    rows = [element_row(c, "P1", 1, n) for n in sizes.linear]
    rows += [element_row(c, "P2", 2, n) for n in sizes.quadratic]
    rows += [element_row(c, "coarse P1", 1, n, pieces) for n in sizes.coarse]
    rows += homogenised_rows(c, sizes)
    rows += [hmm_row(c, n) for n in sizes.hmm]
    for row in rows:
        print(f"{name:14s} {row['method']:18s} n {row['cells']:5d}  " + shown(row), flush=True)
    known = {"eps": c.problem.medium.period, "dimension": c.problem.domain.dimension, "reference": c.about}
    return known | {"rows": rows}


def shown(row: dict) -> str:
    """One line of figures."""
    return (
        f"L2 {row['rel_l2']:.1e}  H1 {row['rel_h1']:.1e}  flux {row['rel_flux']:.1e}  "
        f"{row['seconds']:.3f} s  {row['unknowns']} unknowns  {row['bytes'] / 1e6:.1f} MB"
    )


def interval_costs(inverses: tuple[int, ...]) -> list[dict]:
    """One dimension: the fewest cells a period with which linear elements reach the tolerance, and homogenisation."""
    rows = []
    for inverse in inverses:
        problem = experiments.heat1d_problem(1 / inverse)
        known = experiments.reference(problem, cells=(10 if inverse <= 1000 else 2) * inverse + 1)
        K, q = vectorised(problem.medium.conductivity), vectorised(problem.source)
        c = Case(problem, K, q, known.points, known.weights, known.value, known.gradient, {})
        for cells in (4, 6, 8, 10, 12, 16, 24):
            row = element_row(c, "P1", 1, cells * inverse) | {"inverse": inverse, "cells_a_period": cells}
            if row["rel_l2"] <= TOLERANCE:
                break
        rows += [row] + [
            r | {"inverse": inverse} for r in homogenised_rows(c, Sizes((), (), (), (), 64, 2048))
        ]
        print(f"1-D 1/eps {inverse:5d}  {cells} cells a period, " + shown(row), flush=True)
    return rows


def square_costs(inverses: tuple[int, ...], cells: int, estimate_up_to: int = 1000) -> list[dict]:
    """Two dimensions: linear elements with fixed cells a period, as far as the limits allow; homogenisation beside them.

    Errors compare with the mesh of half the cells: ‖u_h − u_2h‖/3 of the elements, and (4u_h − u_2h)/3 at the coarse nodes as
    reference of the homogenised solutions. Long runs are timed once: everything is compiled by then.
    """
    rows, seconds = [], 0.0
    for inverse in inverses:
        problem, n = experiments.heat2d_problem(1 / inverse), 2 * round(cells * inverse / 2)
        if (n - 1) ** 2 > MOST_UNKNOWNS or seconds > MOST_SECONDS:
            break
        K, q = vectorised(problem.medium.conductivity), vectorised(problem.source)

        def work(n: int, K: Values = K, q: Values = q, e: tuple = problem.direction):
            system = elements(grid(2, n), 1, K, q, e)
            return system, solve(system, tol=1e-8)

        if seconds < 1.5:
            (system, u), times = timed(lambda n=n, work=work: work(n))
        else:
            work(100)  # compiles
            start = time.perf_counter(), time.process_time()
            system, u = work(n)
            times = {"seconds": time.perf_counter() - start[0], "cpu_seconds": time.process_time() - start[1]}
        seconds = times["seconds"]
        row = {
            "method": "P1",
            "inverse": inverse,
            "cells": n,
            "cells_a_period": cells,
            "unknowns": (n - 1) ** 2,
            **times,
        }
        if n <= estimate_up_to:
            rows += square_errors(problem, row, q, *work(n // 2), system, u)
        rows.append(row)
        error = row.get("rel_l2", np.nan)
        print(
            f"2-D 1/eps {inverse:5d}  {row['unknowns']} unknowns  {seconds:.2f} s  L2 {error:.1e}", flush=True
        )
    return rows


def square_errors(
    problem: Problem, row: dict, q: Values, coarse: System, u_coarse, system: System, u
) -> list[dict]:
    """Adds the estimated error to the row; the rows of homogenisation."""
    mesh, half = system.space.mesh, coarse.space
    on_fine = at(half, u_coarse, mesh.points)[0]
    row["rel_l2"] = fem.l2_norm(mesh, u - on_fine) / 3 / fem.l2_norm(mesh, u)
    n = row["cells"]
    best = (4 * u.reshape(n + 1, n + 1)[::2, ::2].ravel() - u_coarse) / 3
    size = min(64, n // 2)
    found, times = timed(
        lambda: homogenised(
            problem.medium.conductivity, q, problem.direction, problem.medium.period, size, size
        )
    )
    rows, inner = [], half.mesh.interior_nodes
    for method, corrector in (("homogenised", "none"), ("corrected", "plain"), ("corrected, cut off", "cut")):
        off = expand(found, half.points[inner], corrector)[0] - best[inner]
        error = float(np.linalg.norm(off) / np.linalg.norm(best))
        rows.append({"method": method, "inverse": row["inverse"], "rel_l2": error, **times})
    return rows


def exponent(rows: list[dict], last: int) -> dict[str, float]:
    """Fit processor seconds = factor · (1/ε)^power to the last rows of linear elements (in the plane those with multigrid)."""
    kept = [row for row in rows if row["method"] == "P1"][-last:]
    power, constant = np.polyfit(
        *(np.log([row[key] for row in kept]) for key in ("inverse", "cpu_seconds")), 1
    )
    return {"power": float(power), "factor": float(np.exp(constant)), "fitted_rows": len(kept)}


def eps_record(smoke: bool) -> dict:
    """Cost of linear elements for a relative L² error of 1 % against ε, in one and two dimensions."""
    interval = interval_costs((10, 20) if smoke else (10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000))
    cells = 8
    if not smoke:
        plane = case("heat2d")
        while element_row(plane, "P1", 1, 10 * cells)["rel_l2"] > TOLERANCE:
            cells += 2
    square = square_costs((4, 5, 6) if smoke else (10, 14, 20, 28, 40, 56, 80, 112, 160), cells)
    return {
        "tolerance": TOLERANCE,
        "limits": {"unknowns": MOST_UNKNOWNS, "seconds": MOST_SECONDS},
        "interval": {"rows": interval, "fit": exponent(interval, 2)},
        "square": {"rows": square, "fit": exponent(square, 3)},
    }


PAPER = {
    "heat1d-eps15": (("hybrid Ms", 0.3, None, None), ("Ms alone", 1e-2, None, None)),
    "heat1d-eps100": (("hybrid Ms", 0.1, None, None), ("Ms alone", 10.0, None, None)),
    "heat2d": (
        ("hybrid Ms", 1.28e-2, 2.23e-2, 554.0),
        ("hybrid MLP", 1.42e-2, 1.44e-2, 1725.0),
        ("Ms alone", 1.97e-2, 2.20e-2, 354.0),
        ("MLP alone (1 of 5)", 1.71e-2, 1.89e-2, 1221.0),
    ),
}
"""Relative L², H¹ and seconds: Table 1 (an A100 GPU), and Figures 1 and 2 in words, without times."""


def median_row(method: str, seeds: list[dict]) -> dict:
    """Medians over the seeds of a record; of a run with a finish, after it."""
    row: dict = {"method": method, "seeds": len(seeds), "cores": sorted({s.get("cores", 1) for s in seeds})}
    for key in ("rel_l2", "rel_h1"):
        row[key] = float(np.median([s.get(key, s[f"last_{key}"]) for s in seeds]))
    seconds = [s["seconds"] for s in seeds]
    return row | {"seconds": float(np.median(seconds)), "slowest": max(seconds), "steps": seeds[0]["steps"]}


def network_record() -> dict:
    """The trained networks of other records, and the paper's figures."""
    seeds = json.loads((RECORDS / "defect-seeds.json").read_text(encoding="utf-8"))
    trained: dict[str, list[dict]] = {}
    for name, found in seeds.items():
        problem = name.removesuffix("-corrector")
        method = "network" if problem == name else "network, expansion given"
        trained.setdefault(problem, []).append(median_row(method, found["seeds"]))
    sweep = json.loads((RECORDS / "eps-robustness.json").read_text(encoding="utf-8"))
    periods: dict[int, list[dict]] = {}
    for key, run in sweep.items():
        method, *rest = key.split("/")
        if method == "defect":
            periods.setdefault(int(rest[0]), []).append(run)
    against = [median_row("network", runs) | {"inverse": k} for k, runs in sorted(periods.items())]
    keys = ("method", "rel_l2", "rel_h1", "seconds")
    paper = {name: [dict(zip(keys, row, strict=True)) for row in rows] for name, rows in PAPER.items()}
    return {"trained": trained, "against_eps": against, "paper": paper}


def main(argv: list[str] | None = None) -> dict:
    """Run the parts asked for and write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="two problems on coarse meshes, a few seconds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--problems", nargs="+", choices=list(SIZES), help="replace these in the record")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else {}
    config = experiments.configuration("heat2d")
    passport = experiments.environment(dataclasses.replace(config, dtype="float64"))
    passport |= {"cores": len(os.sched_getaffinity(0)), "load_average": round(os.getloadavg()[0], 1)}

    def write(part: str, content: dict) -> None:
        record[part] = content
        record.setdefault("environment", {})[part] = passport
        if options.out:
            training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())

    if "networks" in options.parts:
        write("networks", network_record())
    if "problems" in options.parts:
        found = record.get("problems", {}) if options.problems else {}
        for name in options.problems or (SMOKE if options.smoke else SIZES):
            found[name] = problem_record(name, options.smoke)
            write("problems", found)
    if "eps" in options.parts:
        write("eps", eps_record(options.smoke))
    return record


if __name__ == "__main__":
    main()
