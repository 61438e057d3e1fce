"""All benchmarks into one record: ``make bench``.

    python benchmarks/run.py [--smoke] [--parts residual-ms start …] [--cores 1] [--out book/results/beyond/benchmarks.json]

Every part runs in a process of its own, on so many cores and with as many threads, with an empty compilation cache, and replaces
its entry of the record when it is done. An entry holds the rows, the seconds the part took, the versions, and what else went on:
the load of the machine before the part began, and the share of its cores that the part got.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS = {  # module, function, what it takes beside `smoke`, and whether it runs in float64
    "start": ("start_up", "measure", (), False),
    "residual-ms": ("residual_step", "measure", ("ms",), False),
    "residual-mlp-2x128": ("residual_step", "measure", ("mlp-2x128",), False),
    "residual-mlp-8x64": ("residual_step", "measure", ("mlp-8x64",), False),
    "profile": ("residual_step", "measure_profile", (), False),
    "iteration-ms": ("iteration_cost", "measure", ("ms",), False),
    "iteration-mlp": ("iteration_cost", "measure", ("mlp",), False),
    "iteration-interval": ("iteration_cost", "measure_interval", (), False),
    "gauss-newton": ("gauss_newton_step", "measure", (), True),
    "ensembles": ("ensembles", "measure", (), True),
    "devices": ("ensembles", "measure_devices", (), True),
    "assembly": ("element_cost", "measure_assembly", (), True),
    "solution": ("element_cost", "measure_solution", (), True),
    "poisson": ("element_cost", "measure_poisson", (), True),
}
# Not in a smoke run: another part goes the same way.
ONCE = ("residual-mlp-2x128", "residual-mlp-8x64", "iteration-mlp", "iteration-interval")
POINTWISE = ("residual_step", "iteration_cost")
ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "results" / "beyond" / "benchmarks.json"


def one_part(name: str, smoke: bool, points: int) -> dict[str, Any]:
    """The entry of a part; in a process of its own."""
    load, began, used = os.getloadavg(), time.perf_counter(), _processor_seconds()
    import dataclasses

    import jax
    from timing import clock, cores, digits

    from hybrid_lib import experiments

    module, function, given, double = PARTS[name]
    jax.config.update("jax_enable_x64", double)
    sizes = {"points": points} if module in POINTWISE else {}
    found = getattr(importlib.import_module(module), function)(*given, smoke, **sizes)
    config = dataclasses.replace(
        experiments.configuration("heat2d"), dtype="float64" if double else "float32"
    )
    took = time.perf_counter() - began
    passport = experiments.environment(config) | {
        "cores": cores(),
        "machine_cores": os.cpu_count(),
        "clock": clock(),
        "load_before": digits(load[0]),
        "load_after": digits(os.getloadavg()[0]),
        "share_of_cores": digits((_processor_seconds() - used) / took / cores()),
        "smoke": smoke,
    }
    return found | {"took": digits(took), "environment": passport}


def _processor_seconds() -> float:
    """Processor time of this process and of those it started."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the parts asked for and write after each; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes: a test of the path; its figures mean nothing"
    )
    parser.add_argument("--parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--cores", type=int, default=1, help="cores and threads (default: 1)")
    parser.add_argument(
        "--points", type=int, default=25_000, help="of training steps (default: the paper's 25,000)"
    )
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument(
        "--into", metavar="FILE", type=Path, help=argparse.SUPPRESS
    )  # of the processes started here
    options = parser.parse_args(argv)
    parts = options.parts or [name for name in PARTS if not (options.smoke and name in ONCE)]
    if options.into:
        found = {name: one_part(name, options.smoke, options.points) for name in parts}
        options.into.write_text(json.dumps(found), encoding="utf-8")
        return found
    if options.smoke and options.out.resolve() == RECORD:
        parser.error("--smoke needs an --out of its own")
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    from hybrid_lib.training import write_atomically

    for together in [parts] if options.smoke else [[name] for name in parts]:
        record |= in_process(together, options.smoke, options.cores, options.points)
        ordered = {name: record[name] for name in PARTS if name in record}
        write_atomically(options.out, (json.dumps(ordered, indent=1) + "\n").encode())
        print(", ".join(f"{name}: {record[name]['took']:.0f} s" for name in together), flush=True)
    return record


def in_process(parts: list[str], smoke: bool, cores: int, points: int) -> dict[str, Any]:
    """Entries of parts, from one fresh process."""
    environment = dict(os.environ)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    for name in ("NPROC", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(cores)
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parts.json"
        command = [sys.executable, __file__, "--into", str(path), "--points", str(points), "--parts", *parts]
        with pinned(cores):
            subprocess.run(command + ["--smoke"] * smoke, check=True, env=environment)
        return json.loads(path.read_text(encoding="utf-8"))


@contextlib.contextmanager
def pinned(cores: int):
    """Keep what is started within on the first `cores` of the cores that this process may use (where the system can)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


if __name__ == "__main__":
    main()
