"""Gauss-Newton beside Adam, L-BFGS, SOAP and self-scaled Broyden: one loop, one objective, errors after equal seconds.

    python -m venv .venv-peers/optimisers
    .venv-peers/optimisers/bin/pip install -r benchmarks/peers/requirements-optimisers.txt
    export PYTHONPATH=. NPROC=1 OPENBLAS_NUM_THREADS=1
    .venv-peers/optimisers/bin/python benchmarks/optimisers.py [--only SUBSTRING] [--smoke] [--out FILE]

The two-scale network with the defect coupling on the paper's interval with ε = 1/15 and its plane with ε = 1/10, seed 0, float64.
SSBroyden and SOAP are those of jNO, with its defaults. Of first-order methods two rates on the interval, one in the plane.
Seconds are those of the processor on one core, compilation and the evaluation of errors apart. Rows that exist are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hybrid_lib import experiments, training
from hybrid_lib.experiments.assemble import evaluator
from hybrid_lib.experiments.environment import environment
from hybrid_lib.training.objectives import reduced_loss
from hybrid_lib.training.state import Optimiser

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "optimisers.json"
LIMITS = {"heat1d-eps15": (2.0, 5.0, 10.0, 20.0), "heat2d": (10.0, 20.0, 40.0)}
RATES, DECAY = {"heat1d-eps15": (2e-2, 5e-3), "heat2d": (1e-2,)}, 300


def ssbroyden() -> Optimiser:
    """Self-scaled Broyden on the reduced functional, as ``training.lbfgs`` has it."""
    from jno.optimizers import ssbroyden as made

    transformation = made()

    def init(params):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), transformation.init(params))

    def step(objective, member, data):
        def value(theta):
            total, terms, _ = reduced_loss(objective, theta, member.weights, data, member.coarse)
            return total, terms

        (total, terms), gradient = jax.value_and_grad(value, has_aux=True)(member.params)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, opt_state = transformation.update(
                gradient, member.opt_state, member.params, value=total, grad=gradient, value_fn=lambda theta: value(theta)[0]
            )  # fmt: skip
            params = optax.apply_updates(member.params, updates)
        return params, opt_state, total, terms

    return Optimiser(init, step)


def optimisers(name: str) -> dict[str, Callable[[], Optimiser]]:
    """By the name of a row."""

    def rate(start: float) -> Callable:
        return optax.exponential_decay(start, DECAY, 0.75)

    def soap(start: float) -> Optimiser:
        from jno.optimizers import soap as made

        return training.first_order(made(rate(start), qr_dtype=jnp.float64))

    rows = {"Gauss-Newton": training.gauss_newton, "L-BFGS": training.lbfgs, "SSBroyden": ssbroyden}
    for start in RATES[name]:
        rows[f"Adam, rate {start:g}"] = lambda r=start: training.adam(r, decay_every=DECAY)
        rows[f"SOAP, rate {start:g}"] = lambda r=start: soap(r)
    return rows


def race(name: str, optimiser: Optimiser, limits: tuple[float, ...], settings: dict[str, str]) -> tuple[list[dict], Any]:
    """Errors at the end of the first slice after each limit."""
    config = experiments.configuration(name, optimiser="gauss-newton")
    config = experiments.with_settings(config, {"coarse.coupling": "defect"} | settings)
    problem = experiments.problem_of(config)
    setup = experiments.assemble(problem, config, (0,))
    begun = training.member(setup.state.members, 0)
    member = training.init_member(setup.objective, optimiser, begun.params, training.member(setup.data, 0), begun.weights)
    state = training.init_state([member], jax.random.key(0))
    program = training.program(setup.objective, optimiser, training.LoopOptions(balance_every=0), 1)
    errors = evaluator(setup.ansatz, experiments.reference(problem))
    spent, out, steps = 0.0, [], 1
    state = jax.block_until_ready(program.advance(state, setup.data, state.step + 1))[0]  # compiles
    for limit in limits:
        while spent < limit:
            start = time.process_time()
            state = jax.block_until_ready(program.advance(state, setup.data, state.step + steps))[0]
            took = time.process_time() - start
            spent += took
            steps = max(1, min(4 * steps, round(0.05 * limit * steps / took)))
        found = {key: float(value[0]) for key, value in errors(state.members.params, setup.data).items()}
        out.append({"seconds": limit, "cpu": round(spent, 2), "steps": int(state.step)} | found)
    return out, config


def main(argv: list[str] | None = None) -> dict:
    """Run the rows that are missing and write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--smoke", action="store_true", help="a twentieth of a second on few points, L-BFGS")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"runs": {}}
    for name in ("heat1d-eps15",) if options.smoke else LIMITS:
        for row, make in optimisers(name).items():
            key = f"{name}/{row}"
            if key in record["runs"] or options.only not in key or (options.smoke and row != "L-BFGS"):
                continue
            small = {"sampling.points": "64", "network.widths": "4", "coarse.cells": "8"} if options.smoke else {}
            found, config = race(name, make(), (0.05,) if options.smoke else LIMITS[name], small)
            record["runs"][key] = found
            record["environment"] = environment(config) | {"cores": 1, "load_average": round(os.getloadavg()[0], 1)}
            print(key, [(r["seconds"], r["steps"], f"{r['rel_l2']:.1e}", f"{r['rel_h1']:.1e}") for r in found], flush=True)
            training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())
    return record


if __name__ == "__main__":
    main()
