"""Processor seconds before the first step of a second run in one process: ``python benchmarks/second_run.py [--out FILE]``.

Each case is trained once before. A row says what differs from that run, the seconds until the first steps are done, and how
many programs were compiled. Sizes are small, so that nothing but the start counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

RECORD = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "second_run.json"


def measure() -> dict[str, Any]:
    """Rows of each case, and the versions."""
    import jax
    import jax.numpy as jnp

    import hybrid_lib as hl
    from hybrid_lib import experiments, media

    hl.enable_float64()
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    base = experiments.with_settings(
        experiments.configuration("heat1d-eps15", "hybrid", "mlp"),
        {"network.widths": "5", "sampling.points": 300, "coarse.cells": 6, "coarse.delta": 0.1, "training.steps": 4},
    )
    cases = {
        "network alone, 1-D": {"method": "pinn"},
        "averaged, 1-D": {},
        "defect, 1-D": {"coarse.coupling": "defect"},
        "hypercircle, 1-D": {"method": "pinn", "formulation": "hypercircle"},
    }
    changes = {
        "nothing": {},
        "seed": {"seed": 3},
        "weight": {"weight": 3.0},
        "source": {"source": lambda x: 3.0 * x[0] ** 2},
        "medium": {"medium": media.from_function(lambda x: 7.0 * (2.0 + jnp.sin(60.0 * x[0])), 1)},
    }

    def seconds(config: Any, seed: int = 0, source: Any = 1.0, medium: Any = None, weight: float = 1.0) -> dict[str, Any]:
        problem = hl.Problem(medium=medium or media.paper_1d(1 / 15), source=source)
        if config.method == "hybrid":
            config = experiments.with_settings(config, {"coarse.weight": weight})
        before, began, told = len(compiled), time.process_time(), []
        hl.train(problem, config, (seed,), reference=None, announce=lambda _: told.append(time.process_time() - began))
        return {"seconds": round(told[0], 3), "compiled": len(compiled) - before}

    rows = {}
    for name, settings in cases.items():
        config = experiments.with_settings(base, settings)
        rows[name] = {"first run": seconds(config)} | {what: seconds(config, **change) for what, change in changes.items()}
    return {"processor_seconds": rows, "environment": experiments.environment(dataclasses.replace(base, dtype="float64"))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RECORD)
    out = parser.parse_args().out
    found = measure()
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["processor_seconds"], indent=1))
