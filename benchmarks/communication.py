"""What a step sends and holds on 1 to 64 GPUs: a model, and the collectives of compiled programs to hold it against.

    python benchmarks/communication.py [--out book/results/beyond/communication.json]

Measured are the shapes of the collective operations in programs compiled for four virtual devices; numbers sent follow from them,
seconds do not. All seconds here are of the model, for the rates in `MACHINE`, which are round numbers of an H100 with NVLink.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "results" / "beyond" / "communication.json"
MACHINE = {"flops": 30e12, "bytes_per_second": 300e9, "latency": 10e-6, "memory": 80e9}
"""Of a device: float64 operations a second in large products, its link to the others, seconds a message, bytes."""
TILE = 256
COUNTS = (1, 2, 4, 8, 16, 32, 64)
COPIES = 5
"""Matrices P × P that a dense step holds at once, as in experiments.sizes."""
KINDS = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
SOLVERS = ("adam", "dense", "woodbury", "cg")


def triangle(size: int) -> int:
    """Numbers in the tiles of the lower triangle of a size × size matrix, see training.jacobians.

    Examples
    --------
    >>> triangle(100), triangle(512)
    (10000, 196608)
    """
    count = max(1, round(size / TILE))
    edges = [size * k // count for k in range(count + 1)]
    return sum((b - a) * b for a, b in itertools.pairwise(edges))


def sent(solver: str, N: int, P: int, C: int = 0, products: int = 300) -> dict[str, int]:
    """Numbers that one step adds up over the devices, or exchanges: N rows, P parameters, C coupling rows."""
    if solver == "adam":
        return {"all-reduce": P}
    if solver == "dense":
        return {"all-reduce": triangle(P) + P + C * P}
    if solver == "woodbury":
        return {"all-reduce": N * N + C * P, "all-to-all": N * P}  # each device sends and gets its share
    return {"all-reduce": products * P}


def seconds(solver: str, N: int, P: int, devices: int, work: float, products: int = 300) -> dict[str, float]:
    """Model of a step: `work` operations a row and parameter of the network, the solver's own products, messages, the solve."""
    rows, flops = N / devices, MACHINE["flops"]
    network = work * rows * P / flops
    local = {"adam": 0, "dense": rows * P**2, "woodbury": 2 * N**2 * P / devices, "cg": products * 16 * rows * P}[solver]
    solve = {"adam": 0, "dense": P**3 / 3, "woodbury": N**3 / 3, "cg": 0}[solver]  # copied: every device does all of it
    messages = products if solver == "cg" else 1
    number = sum(sent(solver, N, P, products=products).values())
    link = 0.0
    if devices > 1:  # a ring: every number goes around twice, in parts
        share = 2 * (devices - 1) / devices * 8 * number / MACHINE["bytes_per_second"]
        link = messages * 2 * (devices - 1) * MACHINE["latency"] + share
    return {"rows": network + local / flops, "link": link, "solve": solve / flops}


def scaling(solver: str, N: int, P: int, work: float = 24.0) -> list[dict[str, float]]:
    """Seconds of a step by the number of devices, and the speed-up over one; `work` as of jets in the plane, 4 · 6."""
    found = []
    for devices in COUNTS:
        parts = seconds(solver, N, P, devices, work)
        found.append({"devices": devices, **parts, "total": sum(parts.values())})
    return [row | {"speed_up": found[0]["total"] / row["total"]} for row in found]


def collectives(text: str) -> list[tuple[str, int]]:
    """Kind and numbers of every collective operation in a compiled program.

    Examples
    --------
    >>> collectives("%a = (f64[2,3]{1,0}, f64[4]{0}) all-reduce(%b, %c), channel_id=1")
    [('all-reduce', 10)]
    """
    found = []
    for line in text.splitlines():
        hit = re.search(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", line)
        if hit:
            shapes = re.findall(r"(?:f|s|u|pred)\d*\[([0-9,]*)\]", hit[1])
            found.append((hit[2], sum(math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes)))
    return found


def compiled(method: str, solver: str) -> dict[str, Any]:
    """The collectives of one step, compiled for all devices that JAX sees, and the sizes."""
    import jax
    import jax.numpy as jnp

    from hybrid_lib import experiments, training
    from hybrid_lib.training.jacobians import weighted_residual
    from hybrid_lib.training.loop import iteration, over_points

    optimiser = "adam" if solver == "adam" else "gauss-newton"
    config = experiments.configuration("heat1d-eps15", "pinn" if method == "strong" else "hybrid", None, "quick", optimiser)
    settings = {"dtype": "float64", "network.widths": "24,24", "sampling.points": "400", "coarse.cells": "8"}
    settings |= {"coarse.coupling": "defect"} if method == "defect" else {}
    config = experiments.with_settings(config, settings)
    setup = experiments.assemble(experiments.problem_of(config), config, (0,), devices=None)
    layout, first = setup.layout, jax.tree.map(lambda leaf: leaf[0], (setup.state.members, setup.data))
    step = training.adam(1e-3) if solver == "adam" else training.gauss_newton(solver=solver)
    single = iteration(over_points(setup.objective, layout), step, setup.program.options)
    put = setup.program.place(setup.data)
    data = jax.tree.map(lambda leaf: leaf[0], put)

    def one(member, data):
        return layout.whole(single.advance(jnp.asarray(0, jnp.int32), member, data))

    text = jax.jit(one).lower(layout.copied(first[0]), data).compile().as_text()
    member = first[0]
    rows = jax.eval_shape(lambda: weighted_residual(setup.objective, member.params, member.weights, first[1], member.coarse))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(member.params))
    coupling = 7 if method == "defect" else 0
    found = collectives(text)
    sums = {kind: sorted((size for k, size in found if k == kind), reverse=True) for kind in KINDS}
    return {
        "devices": layout.devices, "N": rows.size, "P": parameters, "C": coupling,
        "collectives": {kind: sizes for kind, sizes in sums.items() if sizes},
        "model": sent(solver, rows.size, parameters, coupling, 1),
    }  # fmt: skip


def examples() -> dict[str, Any]:
    """The model for the paper's Table 1, for small periods in the plane, and for a million points."""
    table = scaling("adam", 25_000, 33_281)  # Ms in the plane
    plane = {"dense": scaling("dense", 2 * 16_384, 1_156), "larger": scaling("dense", 2 * 16_384, 20_000)}  # hypercircle
    million = {solver: scaling(solver, 1_000_000, 20_000) for solver in ("adam", "dense", "cg")}
    return {"table_1": table, "plane": plane, "million": million}


def limits() -> dict[str, Any]:
    """Where a copy of the normal matrix on every device ends: by memory, and by the solve that all of them repeat."""
    bytes_of = {str(P): COPIES * 8 * P**2 for P in (1_000, 5_000, 10_000, 20_000, 40_000)}
    return {
        "bytes": bytes_of,
        "largest": {str(int(memory / 1e9)): int((memory / (COPIES * 8)) ** 0.5) for memory in (16e9, 24e9, 80e9)},
        "solve_dominates": {str(D): {str(N): 3 * N // D for N in (25_000, 1_000_000)} for D in COUNTS},
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Compile, evaluate the model, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.inside:
        import hybrid_lib as hl

        hl.enable_float64()
        cases = {"strong": SOLVERS, "defect": ("adam", "dense")}
        found = {method: {solver: compiled(method, solver) for solver in solvers} for method, solvers in cases.items()}
        print(json.dumps(found))
        return found
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "NPROC": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    out = subprocess.run([sys.executable, __file__, "--inside"], env=environment, capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(out.stderr)
    record = {"machine": MACHINE, "compiled": json.loads(out.stdout.splitlines()[-1])}
    record |= {"limits": limits(), "examples": examples()}
    from hybrid_lib.training import write_atomically

    write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())
    return record


if __name__ == "__main__":
    main()
