"""Five seeds as one program against five runs one after another; members over several virtual devices against one.

Both train the same members from the same starts for the same number of iterations, so that their parameters must agree; how far
they do is recorded. `with_compiling` is the ratio for a whole run of the configured number of steps, compilation of one program
against that of five counted. ``devices`` is what JAX does of itself when a caller lays members and data out over them; two cores
are needed to gain by it, and on one core it shows the overhead alone. `layouts.py` measures what the library does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import digits, interleave, sample

from hybrid_lib import experiments

SEEDS = (0, 1, 2, 3, 4)
CASES = {  # experiment, optimiser, iterations timed
    "1-D, Adam": ("heat1d-eps15", "adam", 20),
    "2-D, Adam": ("heat2d", "adam", 10),
    "1-D, Gauss-Newton": ("heat1d-eps15", "gauss-newton", 2),
    "2-D, Gauss-Newton": ("heat2d", "gauss-newton", 1),
}


def setup_of(
    name: str, optimiser: str, seeds: tuple[int, ...], settings: dict[str, str], method: str = "hybrid"
):
    """A run of these seeds before its first step, float64."""
    config = experiments.configuration(name, method, None, "quick", optimiser)
    config = experiments.with_settings(config, settings | {"dtype": "float64"})
    return experiments.assemble(experiments.problem_of(config), config, seeds)


def made(name: str, optimiser: str, seeds: tuple[int, ...], settings: dict[str, str], method: str = "hybrid"):
    """A compiled slice with its start and data, seconds of compiling, and the configured number of steps."""
    setup = setup_of(name, optimiser, seeds, settings, method)
    program: list = []
    end = jnp.asarray(0, jnp.int32)
    took = sample(lambda: program.append(setup.program.advance.lower(setup.state, setup.data, end).compile()))
    return program[0], setup, took["cpu"], setup.config.training.steps


def compare(
    case: str,
    rounds: int,
    seeds: tuple[int, ...] = SEEDS,
    steps: int | None = None,
    settings: dict[str, str] | None = None,
    method: str = "hybrid",
) -> dict[str, Any]:
    """Rows of one program and of five runs, ratio to the one program."""
    name, optimiser, usual = CASES[case]
    steps, settings = steps or usual, settings or {}
    end = jnp.asarray(steps, jnp.int32)
    together, setup, compile_one, total = made(name, optimiser, seeds, settings, method)
    _, first, compile_single, _ = made(name, optimiser, seeds[:1], settings, method)
    alone = [setup_of(name, optimiser, (seed,), settings, method) for seed in seeds]
    single = first.program.advance  # compiles again, before the first sample, where the numbers of neighbours differ
    after: dict[str, list] = {}

    def one():
        after["together"] = jax.block_until_ready(together(setup.state, setup.data, end))[0].members.params

    def five():
        ends = [single(start.state, start.data, end) for start in alone]
        after["apart"] = [state.members.params for state, _ in jax.block_until_ready(ends)]

    table = interleave({"one program": one, "five runs": five}, "one program", rounds)
    for row in table.values():
        row["seconds_an_iteration"] = digits(row["seconds"] / steps)
    compile_five = len(seeds) * compile_single  # the same program, which the library compiles for every run
    whole = [compile_one + total * table["one program"]["seconds_an_iteration"]]
    whole.append(compile_five + total * table["five runs"]["seconds_an_iteration"])
    leaves = [jax.tree.leaves(part) for part in after["apart"]]
    apart = [np.concatenate(leaf) for leaf in zip(*leaves, strict=True)]
    return {
        "experiment": name,
        "optimiser": optimiser,
        "iterations": steps,
        "steps_of_a_run": total,
        "rows": table,
        "compile": {"one program": digits(compile_one), "five runs": digits(compile_five)},
        "with_compiling": digits(whole[1] / whole[0]),
        "largest_difference": digits(_difference(jax.tree.leaves(after["together"]), apart)),
    }


def _difference(one: list, other: list) -> float:
    """Largest difference of parameters, relative to the largest of their array."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def spread_over(devices: int, steps: int, rounds: int) -> dict[str, Any]:
    """Four members on one device and laid out over `devices`; run it where XLA_FLAGS asks for so many."""
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    _, setup, *_ = made("heat1d-eps15", "adam", (0, 1, 2, 3), {})
    mesh = Mesh(np.array(jax.devices()[:devices]), ("member",))
    split, copied = NamedSharding(mesh, PartitionSpec("member")), NamedSharding(mesh, PartitionSpec())
    whole = setup.state, setup.data
    laid_out = (
        jax.device_put(setup.state, copied)._replace(members=jax.device_put(setup.state.members, split)),
        jax.device_put(setup.data, split),
    )
    end, after = jnp.asarray(steps, jnp.int32), {}

    def run(name: str, state, data) -> None:
        after[name] = jax.block_until_ready(setup.program.advance(state, data, end))[0].members.params

    runs = {"one device": lambda: run("one device", *whole), "devices": lambda: run("devices", *laid_out)}
    table = interleave(runs, "one device", rounds)
    found = [jax.tree.leaves(after[name]) for name in runs]
    where = {len(leaf.sharding.device_set) for leaf in found[1]}
    return {
        "devices": devices,
        "devices_of_the_result": sorted(where),
        "members": 4,
        "iterations": steps,
        "rows": table,
        "largest_difference": digits(_difference(*found)),
    }


def devices(count: int, steps: int, rounds: int) -> dict[str, Any]:
    """:func:`spread_over` in a fresh process with so many virtual devices."""
    flags = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={count}"
    command = [sys.executable, __file__, str(count), str(steps), str(rounds)]
    out = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": flags})
    if out.returncode:
        return {"devices": count, "failed": out.stderr.strip().splitlines()[-1][:300]}
    return json.loads(out.stdout.splitlines()[-1])


def measure(smoke: bool) -> dict[str, Any]:
    """The part ``ensembles``."""
    if smoke:
        small = {"network.widths": "6", "sampling.points": "64"}
        return {"seeds": 2, "cases": {"1-D, Adam": compare("1-D, Adam", 2, (0, 1), 2, small, "pinn")}}
    return {"seeds": len(SEEDS), "cases": {case: compare(case, 3) for case in CASES}}


def measure_devices(smoke: bool) -> dict[str, Any]:
    """The part ``devices``."""
    found = {"skipped": "a smoke run takes one device"} if smoke else devices(2, 20, 5)
    return found | {"library_option": True}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(json.dumps(spread_over(*map(int, sys.argv[1:]))))
