"""Ten minutes of a lent GPU, well used: three parts in this order, each of which goes on where it was stopped.

    python benchmarks/gpu.py --out DIR [--minutes 10] [--smoke]

Times of an iteration for the four methods of the paper's Table 1; the hypercircle in the plane; then what is missing of the
paper, `hybrid reproduce --pending`. With --smoke the same command takes tiny sizes, compiles without optimisation, and needs
half a minute of a CPU. What is in DIR already is not measured again: call it once more on the next GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("pinn", "hybrid")
NETWORKS = ("mlp", "ms")
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
TINY = {"network.widths": "6", "sampling.points": "400", "training.steps": "3"}


def times(path: Path, smoke: bool, until: float) -> dict[str, Any]:
    """Seconds of an iteration, a row a method and network, written as they come."""
    from hybrid_lib import experiments, training
    from hybrid_lib.experiments.environment import environment

    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for method in METHODS:
        for network in NETWORKS:
            name = f"{method}, {network}"
            if name in record or time.monotonic() > until:
                continue
            config = experiments.configuration("heat2d", method, network, "quick" if smoke else "paper")
            config = experiments.with_settings(config, TINY | {"coarse.delta": "0.5"}) if smoke else config
            problem = experiments.problem_of(config)
            began = time.perf_counter()
            seconds = experiments.seconds_of_a_step(problem, config)
            passport = environment(config) | {"points": config.sampling.points, "smoke": smoke}
            record[name] = {"seconds": seconds, "took": time.perf_counter() - began} | passport
            training.write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
            print(f"{name}: {1e3 * seconds:.2f} ms an iteration", flush=True)
    return record


def hypercircle(out: Path, smoke: bool, seconds: float) -> dict[str, Any]:
    """The plane problem by the hypercircle, as far as it comes."""
    from hybrid_lib import experiments

    config = experiments.configuration("heat2d", "pinn", None, "quick", "gauss-newton", "hypercircle")
    config = experiments.with_settings(config, {"formulation": "hypercircle"} | (TINY if smoke else {}))
    if smoke:
        config = experiments.with_settings(config, {"network.slow_widths": "6", "training.steps": "2"})
    resume = (out / "config.json").exists()
    if resume and (out / "summary.json").exists():
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        if all(row["status"] in ("completed", "converged") for row in summary["seeds"]):
            return summary
    reference = None if smoke else "auto"
    summary = experiments.run(config, out=out, resume=resume, time_limit=seconds, reference=reference).summary
    print(f"hypercircle: {summary['steps']} steps, {summary['seeds'][0]['status']}", flush=True)
    return summary


def main(argv: list[str] | None = None) -> int:
    """The three parts; the exit status is 0, whatever is left for another time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args(argv)
    began = time.monotonic()
    end = began + 60 * options.minutes
    if options.smoke:  # nearly all of its time is XLA's
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}"

    import hybrid_lib as hl
    from hybrid_lib.cli import main as hybrid

    hl.enable_float64()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    times(out / "times.json", options.smoke, began + 0.3 * (end - began))
    hypercircle(out / "hypercircle", options.smoke, max(0.4 * (end - time.monotonic()), 1.0))
    results = out / "results"
    if not results.exists():
        shutil.copytree(ROOT / "book" / "results", results)
    left = end - time.monotonic() - 20  # a run ends with its report
    if left > 1:
        left = min(left, 10) if options.smoke else left
        command = ["reproduce", "--pending", "--time-limit", f"{left:.0f}"] + ["--smoke"] * options.smoke
        hybrid([*command, "--runs", str(out / "runs"), "--results", str(results)])
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; {out} holds what was found, the same command goes on", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
