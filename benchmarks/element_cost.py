"""Assembly and solution of linear elements on the square: the library against scikit-fem, SciPy and the speed of memory.

One coefficient a cell, drawn at random. ``first`` starts from points and cells: geometry, sparsity, matrix. ``again`` is another
coefficient on the same mesh, with all kept that each library lets one keep (here pattern and gradients, there the basis).
scikit-fem is timed with its default quadrature (three points) and with one point, which is exact here. The solvers stop at a
relative residual of 1e-10 where they are iterative. ``python benchmarks/element_cost.py N`` solves −Δu = 1 on N × N
squares from nothing, and prints the seconds of each stage and the peak of the process's memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import spsolve
from timing import cores, digits, exponent, interleave

from hybrid_lib import fem

TOLERANCE = 1e-10
DIRECT_LIMIT, PLAIN_LIMIT = 200_000, 200_000
"""Unknowns up to which a sparse LU, and conjugate gradients with a diagonal preconditioner, are run."""


def scikit_fem(points: np.ndarray, cells: np.ndarray, K: np.ndarray):
    """(make a basis with so many quadrature points, assemble on it)."""
    import skfem
    from skfem.helpers import dot, grad

    @skfem.BilinearForm
    def form(u, v, w):
        return w.K * dot(grad(u), grad(v))

    one = (np.full((2, 1), 1 / 3), np.array([0.5]))

    def basis(quadrature: int):
        given = {"quadrature": one} if quadrature == 1 else {}
        mesh = skfem.MeshTri(points.T.copy(), cells.T.copy())
        return skfem.Basis(mesh, skfem.ElementTriP1(), **given)

    def assemble(basis):
        return form.assemble(basis, K=np.broadcast_to(K[:, None], basis.dx.shape))

    return basis, assemble


def assembly(side: int, rounds: int) -> dict[str, Any]:
    """Rows of both libraries on side × side squares, ratios to the library's own."""
    mesh = fem.unit_square(side)
    K = np.random.default_rng(0).uniform(1.0, 2.0, len(mesh.cells))
    basis, assemble = scikit_fem(mesh.points, mesh.cells, K)
    kept, default, single = fem.pattern(mesh), basis(3), basis(1)

    def fresh():
        return fem.Mesh(mesh.points, mesh.cells, mesh.boundary_nodes)

    A = fem.stiffness(mesh, K, pattern=kept)
    difference = max(abs(A - assemble(other)).max() for other in (default, single)) / abs(A).max()
    first = {
        "ours": lambda: fem.stiffness(fresh(), K),
        "scikit-fem": lambda: assemble(basis(3)),
        "scikit-fem, one point": lambda: assemble(basis(1)),
    }
    again = {
        "ours": lambda: fem.stiffness(mesh, K, pattern=kept),
        "scikit-fem": lambda: assemble(default),
        "scikit-fem, one point": lambda: assemble(single),
    }
    stages = {
        "gradients and areas": lambda: (fresh().basis_gradients, fresh().volumes),
        "pattern": lambda: fem.pattern(mesh),
        "matrix": again["ours"],
    }
    return {
        "unknowns": len(mesh.points),
        "difference": digits(difference),
        "first": interleave(first, "ours", rounds),
        "again": interleave(again, "ours", rounds),
        "stages": interleave(stages, "matrix", rounds),
        "bytes": least_bytes(mesh, kept),
    }


def least_bytes(mesh: fem.Mesh, pattern: fem.Pattern) -> int:
    """Bytes that assembling again must move at least: gradients, areas, coefficient and slots in, entries out."""
    K = 8 * len(mesh.cells)
    return (
        mesh.basis_gradients.nbytes
        + mesh.volumes.nbytes
        + K
        + pattern.slots.nbytes
        + 8 * len(pattern.indices)
    )


def copy_bandwidth(rounds: int, size: int = 1 << 24) -> dict[str, Any]:
    """Bytes a second of copying an array that is larger than the caches, reads and writes counted."""
    source, target = np.ones(size), np.empty(size)
    row = interleave({"copy": lambda: np.copyto(target, source)}, "copy", rounds)["copy"]
    return row | {"bytes_per_second": digits(2 * source.nbytes / row["seconds"])}


def solution(side: int, rounds: int) -> dict[str, Any]:
    """Rows of the solvers, K = f = 1; `chosen` is the library's default, `skipped` says who does not fit."""
    import skfem

    mesh = fem.unit_square(side)
    A, b, fixed = fem.stiffness(mesh, 1.0), fem.load(mesh, 1.0), mesh.boundary_nodes
    inner = (A[mesh.interior_nodes][:, mesh.interior_nodes], b[mesh.interior_nodes])

    def theirs(**options):
        return skfem.solve(*skfem.condense(A, b, D=fixed), **options)

    pcg = skfem.utils.solver_iter_pcg(rtol=TOLERANCE)
    runs: dict[str, Callable[[], np.ndarray]] = {
        "ours, direct": lambda: fem.solve_dirichlet(A, b, fixed, method="direct"),
        "ours, multigrid": lambda: fem.solve_dirichlet(A, b, fixed, method="amg", tol=TOLERANCE),
        "scipy spsolve": lambda: spsolve(*inner),
        "scikit-fem, default": theirs,
        "scikit-fem, conjugate gradients": lambda: theirs(solver=pcg),
    }
    limits = {
        "ours, direct": DIRECT_LIMIT,
        "scipy spsolve": DIRECT_LIMIT,
        "scikit-fem, default": DIRECT_LIMIT,
    }
    limits["scikit-fem, conjugate gradients"] = PLAIN_LIMIT
    unknowns = len(mesh.interior_nodes)
    skipped = {name: f"left out above {limit} unknowns" for name, limit in limits.items() if unknowns > limit}
    found: dict[str, np.ndarray] = {}
    kept = {
        name: lambda run=run, name=name: found.update({name: run()})
        for name, run in runs.items()
        if name not in skipped
    }
    table = interleave(kept, "ours, multigrid", rounds)
    exact = found["ours, multigrid"]
    off = max(np.abs(_whole(u, mesh) - exact).max() for u in found.values()) / np.abs(exact).max()
    return {
        "unknowns": unknowns,
        "chosen": "ours, direct" if unknowns <= fem.solve.DIRECT_LIMIT else "ours, multigrid",
        "largest_difference": digits(off),
        "solvers": table,
        "skipped": skipped,
    }


def _whole(u: np.ndarray, mesh: fem.Mesh) -> np.ndarray:
    """Values at all nodes of a solution at the inner ones."""
    if len(u) == len(mesh.points):
        return u
    whole = np.zeros(len(mesh.points))
    whole[mesh.interior_nodes] = u
    return whole


def from_nothing(side: int) -> dict[str, Any]:
    """Seconds of mesh, assembly and solution of −Δu = 1, and the process's peak memory; run it in a fresh process."""
    before = _peak()
    which = time.process_time if cores() == 1 else time.perf_counter
    marks = [which()]
    mesh = fem.unit_square(side)
    marks.append(which())
    A, b = fem.stiffness(mesh, 1.0), fem.load(mesh, 1.0)
    marks.append(which())
    u = fem.solve_dirichlet(A, b, mesh.boundary_nodes, tol=TOLERANCE)
    marks.append(which())
    stages = dict(zip(("mesh", "assembly", "solution"), np.diff(marks).tolist(), strict=True))
    return {
        "unknowns": len(mesh.interior_nodes),
        "seconds": marks[-1] - marks[0],
        "stages": stages,
        "peak_gib": _peak() / 2**30,
        "imports_gib": before / 2**30,
        "largest_value": float(u.max()),
    }


def _peak() -> int:
    """Largest resident size so far, in bytes; `ru_maxrss` alone would hold the size of the process that started this one."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        kilo = 1 if sys.platform == "darwin" else 1024
        return kilo * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def poisson(side: int, rounds: int) -> dict[str, Any]:
    """Medians over fresh processes of :func:`from_nothing`; peaks are the largest."""
    found = []
    for _ in range(rounds):
        out = subprocess.run(
            [sys.executable, __file__, str(side)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(out.stdout))
    seconds = [one["seconds"] for one in found]
    stages = {
        name: digits(float(np.median([one["stages"][name] for one in found]))) for name in found[0]["stages"]
    }
    return found[0] | {
        "seconds": digits(float(np.median(seconds))),
        "spread": digits(max(seconds) - min(seconds)),
        "stages": stages,
        "peak_gib": digits(max(one["peak_gib"] for one in found)),
        "imports_gib": digits(max(one["imports_gib"] for one in found)),
    }


def sides(smoke: bool) -> tuple[int, ...]:
    """Squares a side: about 10⁴, 10⁵ and 10⁶ unknowns."""
    return (16, 32) if smoke else (100, 316, 1000)


def measure_assembly(smoke: bool) -> dict[str, Any]:
    """The part ``assembly``."""
    rounds = 2 if smoke else 5
    bandwidth = copy_bandwidth(rounds, 1 << (16 if smoke else 24))
    found = [assembly(side, rounds) for side in sides(smoke)]
    for row in found:
        rate = row["bytes"] / row["again"]["ours"]["seconds"]
        row["bytes_per_second"] = digits(rate)
        row["part_of_copy"] = digits(rate / bandwidth["bytes_per_second"])
    sizes = [row["unknowns"] for row in found]
    exponents = {
        kind: exponent(sizes, [row[kind]["ours"]["seconds"] for row in found]) for kind in ("first", "again")
    }
    return {"copy": bandwidth, "sizes": found, "exponents": exponents}


def measure_solution(smoke: bool) -> dict[str, Any]:
    """The part ``solution``."""
    found = [solution(side + 1, 2 if smoke else 5) for side in sides(smoke)]
    seconds = [row["solvers"]["ours, multigrid"]["seconds"] for row in found]
    return {"sizes": found, "exponent": exponent([row["unknowns"] for row in found], seconds)}


def measure_poisson(smoke: bool) -> dict[str, Any]:
    """The part ``poisson``."""
    return poisson(sides(smoke)[-1] + 1, 1 if smoke else 5)


if __name__ == "__main__":
    print(json.dumps(from_nothing(int(sys.argv[1]))))
