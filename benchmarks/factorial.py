"""What the coupling, the optimiser and the network are each worth: every combination, five seeds, both periods of the interval.

    NPROC=1 OPENBLAS_NUM_THREADS=1 python benchmarks/factorial.py [--only SUBSTRING] [--out FILE]

Points, coarse mesh, hard boundary conditions and float64 are those of the Gauss-Newton runs; 200 steps of Gauss-Newton or 10,000
of Adam. Weights: with Adam and the averaged coupling the paper's balancing, else the defect's rule for τ₂ (``coupling_weight``).
`none` trains the strong residual alone. Beside the factorial: the best corner on media that the two-scale form does not fit as
well: 1/ε not an integer, another phase, an amplitude that varies; and a network of windows, which knows ε by their number
alone. The seeds of a combination train side by side; rows that exist are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import experiments, media
from hybrid_lib.experiments.environment import environment
from hybrid_lib.methods.defect import coupling_weight

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "factorial.json"
COUPLINGS, OPTIMISERS, NETWORKS = ("none", "averaged", "defect"), ("gauss-newton", "adam"), ("two-scale", "ms")
EXPERIMENTS = ("heat1d-eps15", "heat1d-eps100")
SEEDS = (0, 1, 2, 3, 4)
WINDOWS = {"heat1d-eps15": 15, "heat1d-eps100": 50}
"""Windows (less one): as many as there are periods, and half as many, where all would make 2,525 parameters."""
OTHER = {
    "1/ε = 14.6": (1 / 14.6, 1 / 14.6, lambda x: 2 + jnp.sin(2 * jnp.pi * 14.6 * x[0])),
    "phase 1": (1 / 15, 1 / 15, lambda x: 2 + jnp.sin(2 * jnp.pi * 15 * x[0] + 1.0)),
    "locally periodic": (1 / 15, None, lambda x: 2 + (0.3 + 0.7 * x[0]) * jnp.sin(2 * jnp.pi * 15 * x[0])),
}
"""ε that the network is told, the period of the medium if it has one, and K."""


def configuration(experiment: str, coupling: str, optimiser: str, network: str) -> experiments.Config:
    """One corner."""
    newton = experiments.configuration(experiment, optimiser="gauss-newton", network=network)
    problem = experiments.problem_of(newton)
    weight = coupling_weight(problem, newton, problem.domain.mesh(newton.coarse.cells))
    balanced = optimiser == "adam" and coupling == "averaged"
    coarse = dataclasses.replace(
        newton.coarse, coupling="averaged" if coupling == "none" else coupling, weight=None if balanced else weight
    )
    training = newton.training
    if optimiser == "adam":
        training = experiments.TrainingConfig(
            steps=10_000, learning_rate=5e-3, decay_every=1_500, record_every=100, report_every=1_000, select="last",
            balance_every=100 if balanced else 0,
        )  # fmt: skip
    return dataclasses.replace(newton, method="pinn" if coupling == "none" else "hybrid", coarse=coarse, training=training)


def main() -> None:
    """Run what is missing and write the record after each combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text()) if options.out.exists() else {"runs": {}}

    def run(key: str, problem, config) -> None:
        if key in record["runs"] or options.only not in key:
            return
        found = experiments.train(problem, config, SEEDS, reference=experiments.reference(problem))
        record["runs"][key] = [
            {name: row[name] for name in ("seed", "last_rel_l2", "last_rel_h1", "status")} for row in found.summary["seeds"]
        ]
        record["environment"] = environment(config)
        values = [row["last_rel_l2"] if row["last_rel_l2"] is not None else np.nan for row in record["runs"][key]]
        print(key, [f"{v:.1e}" for v in values], round(found.fit.seconds, 1), flush=True)
        options.out.write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")

    corners = list(itertools.product(OPTIMISERS, NETWORKS, COUPLINGS, EXPERIMENTS))
    for optimiser, network, coupling, experiment in corners:
        config = configuration(experiment, coupling, optimiser, network)
        run("/".join((experiment, coupling, optimiser, network)), experiments.problem_of(config), config)
    for coupling, experiment in itertools.product(("none", "defect"), EXPERIMENTS):
        config = configuration(experiment, coupling, "gauss-newton", "windowed")
        config = experiments.with_settings(config, {"network.subdomains": WINDOWS[experiment]})
        run("/".join((experiment, coupling, "gauss-newton", "windowed")), experiments.problem_of(config), config)
    for name, (eps, period, K) in OTHER.items():
        medium = media.from_function(K, dimension=1, alpha=1.0, beta=3.0, period=period)
        problem = experiments.own_problem(medium, lambda x: -3 * (2 * x[0] - 1), name=name)
        best = configuration("heat1d-eps15", "defect", "gauss-newton", "two-scale")
        own = dataclasses.replace(best, experiment="own", eps=eps)
        run("/".join((name, "defect", "gauss-newton", "two-scale")), problem, own)


if __name__ == "__main__":
    main()
