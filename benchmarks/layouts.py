"""The same runs in several layouts of devices and processes: how far their histories agree, and what an iteration costs.

    python benchmarks/layouts.py [--out book/results/beyond/layouts.json] [--cases NAME …] [--layouts NAME …] [--kills N]

With --kills, N runs of two processes lose one of them at a random moment and go on in another layout.
Every layout is a fresh set of processes on this machine. Processes join by gloo over loopback; the devices are virtual, that is
threads of one processor, so that seconds show the overhead of a layout and never its gain.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "results" / "beyond" / "layouts.json"
LAYOUTS = {"1 x 1": (1, 1), "1 x 4": (1, 4), "2 x 1": (2, 1), "2 x 2": (2, 2), "4 x 1": (4, 1)}
"""Processes, and devices of each."""
METHODS = ("strong", "averaged", "defect", "hypercircle")
SOLVERS = ("dense", "woodbury", "cg")
CASES = [f"{method}, {how}" for method in METHODS for how in ("adam", *SOLVERS)]
CASES += ["defect, adam, two seeds", "strong, dense, first damping 1e-6"]
TIMES = ("seconds_a_step", "compile_seconds")
XLA = "--xla_backend_optimization_level=0"
STEPS = {"adam": 50, "gauss-newton": 10}
RUN_STEPS = 600
"""Of the run that loses a process."""
DAMPING = 1.0
"""First λ over the Rayleigh quotient. The solver's own, 1e-6, lets rounding grow by the condition number that it leaves."""


def trained(case: str) -> dict[str, Any]:
    """History and seconds of a small run over all devices that JAX sees."""
    from hybrid_lib import experiments, training

    method, how, *more = case.split(", ")
    optimiser = "adam" if how == "adam" else "gauss-newton"
    form = "hypercircle" if method == "hypercircle" else "strong"
    which = "hybrid" if method in ("averaged", "defect") else "pinn"
    config = experiments.configuration("heat1d-eps15", which, None, "quick", optimiser, form)
    settings = {"dtype": "float64", "network.widths": "6", "sampling.points": "50", "training.record_every": "1"}
    settings |= {"training.optimiser": optimiser, "training.report_every": "10", "training.learning_rate": "1e-3"}
    if which == "hybrid":
        settings |= {"coarse.cells": "5", "training.gate_every": "10", "coarse.delta": "0.2"}
    if method == "defect":
        settings["coarse.coupling"] = "defect"
    config = experiments.with_settings(config, settings)
    seeds = (0, 1) if "two seeds" in more else (0,)
    setup = experiments.assemble(experiments.problem_of(config), config, seeds, devices=None)
    program, options = setup.program, setup.program.options
    if optimiser == "gauss-newton":
        first = training.gauss_newton(1e-6 if more else DAMPING, solver=how)
        step = setup.method.optimiser(config, first)
        program = training.program(setup.objective, step, options, len(seeds), layout=setup.layout)
    every = config.sampling.resample_every
    result = training.fit(
        program, setup.state, setup.data, STEPS[optimiser], report_every=10, resample=setup.resample, resample_every=every
    )
    rows = {name: values for name, values in result.history.items() if name != "step"}
    return {"history": rows, "seconds": result.seconds / STEPS[optimiser], "compile": result.compile_seconds}


def worker(path: str, cases: list[str], joined: list[str]) -> None:
    """Train the cases in this process, one of several if `joined` says so; the first writes what it found."""
    import jax

    import hybrid_lib as hl
    from hybrid_lib import processes

    join(joined)
    hl.enable_float64()
    found = {case: trained(case) for case in cases}
    if not processes.is_coordinator():
        return
    arrays = {f"{case}|{name}": rows for case, one in found.items() for name, rows in one["history"].items()}
    seconds = {case: [one["seconds"], one["compile"]] for case, one in found.items()}
    about = {"jax": jax.__version__, "devices": jax.device_count(), "seconds": seconds}
    np.savez(path, about=json.dumps(about), **arrays)


def join(how: list[str]) -> None:
    """Join the other processes: by HOST:PORT, number and index, or as Slurm says."""
    import hybrid_lib as hl

    if how:
        hl.distributed(*([] if how == ["slurm"] else [how[0], int(how[1]), int(how[2])]))


def start(layout: str, command: list[str], slurm: bool = False) -> list[subprocess.Popen]:
    """The processes of a layout; with `slurm` they find each other by its variables, set by hand."""
    count, devices = LAYOUTS[layout]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu", "NPROC": "1", "OPENBLAS_NUM_THREADS": "1",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices} {XLA}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    with socket.socket() as place:
        place.bind(("localhost", 0))
        port = str(place.getsockname()[1])
    started = []
    for k in range(count):
        own = [] if count == 1 else ["--joined", "slurm"] if slurm else ["--joined", f"localhost:{port}", str(count), str(k)]
        known = {
            "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(count), "SLURM_PROCID": str(k),
            "SLURM_LOCALID": str(k), "JAX_COORDINATOR_PORT": port,
        }  # fmt: skip
        line = [sys.executable, __file__, *command, *own]
        env = environment | (known if slurm else {})
        started.append(subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return started


def ended(started: list[subprocess.Popen], seconds: float = 7200.0) -> list[str]:
    """What processes said on standard error, when all have ended; none outlives this."""
    try:
        return [process.communicate(timeout=seconds)[1] for process in started]
    finally:
        for process in started:
            process.kill()


def launch(layout: str, cases: list[str], slurm: bool = False) -> dict[str, np.ndarray]:
    """Histories of the cases in one layout, from fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "found.npz")
        started = start(layout, ["--worker", path, "--cases", *cases], slurm)
        said = ended(started)
        if any(process.returncode for process in started):
            raise RuntimeError(f"{layout}: " + "\n".join(said))
        with np.load(path) as file:
            return dict(file)


def run(out: str, joined: list[str], resume: bool) -> None:
    """A run on disk, of some seconds for several processes, that saves at every report."""
    join(joined)
    import hybrid_lib as hl
    from hybrid_lib import experiments

    hl.enable_float64()
    settings = {"dtype": "float64", "network.widths": "6", "sampling.points": "50", "training.steps": str(RUN_STEPS)}
    settings |= {"training.report_every": "20", "training.record_every": "10", "training.learning_rate": "1e-3"}
    config = experiments.with_settings(experiments.configuration("heat1d-eps15", "pinn"), settings)
    experiments.run(config, out=out, resume=resume, reference=None, checkpoint_every=0.0)


def lose(share: float, victim: int, then: str, whole: dict[str, np.ndarray] | None = None) -> dict[str, Any]:
    """Two processes of which one is killed when a share of the steps is saved, and the run that goes on in layout `then`.

    Parameters
    ----------
    share : float
        Of the steps, below one half, so that a run on a quick machine is not over before it is disturbed.
    victim : int
        0 is the coordinator.
    then : str
    whole : dict, optional
        History of the run that nothing befell.

    Returns
    -------
    dict
        Steps kept, what the other process said, seconds until all had ended, exit status, and the history.
    """
    from hybrid_lib import training

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        started = start("2 x 1", ["--run", str(out)])
        until = time.monotonic() + 300
        while training.steps_done(out / "checkpoint" / "state.npz") < max(1, share * RUN_STEPS) and time.monotonic() < until:
            time.sleep(0.005)
        began = time.monotonic()
        started[victim].kill()
        said = ended(started, 60)[1 - victim].strip()
        seconds = round(time.monotonic() - began, 2)
        found = {"victim": victim, "then": then, "ended_after": seconds, "said": said.replace(folder, "…")}
        found |= {"status": started[1 - victim].returncode, "kept": training.steps_done(out / "checkpoint" / "state.npz")}
        again = start(then, ["--run", str(out), "--resume"])
        more = ended(again)
        if any(process.returncode for process in again):
            raise RuntimeError("\n".join(more))
        with np.load(out / "history.npz") as file:
            history = {name.partition(":")[2]: file[name] for name in file.files if name.startswith("history:")}
    return found | {"history": history}


def undisturbed() -> dict[str, np.ndarray]:
    """History of the same run in one process on one device."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        ended(start("1 x 1", ["--run", str(out)]))
        with np.load(out / "history.npz") as file:
            return {name.partition(":")[2]: file[name] for name in file.files if name.startswith("history:")}


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray], case: str = "") -> dict[str, float]:
    """Largest difference of two histories: over the largest entry of a column, and over the entry itself."""
    whole, entry = 0.0, 0.0
    for name in (name for name in one if name.startswith(f"{case}|" if case else "") and name != "step"):
        a, b = one[name], other[name]
        gap = np.abs(a - b)
        whole = max(whole, float(gap.max() / np.abs(a).max()))
        entry = max(entry, float((gap / np.maximum(np.abs(a), np.finfo(float).tiny)).max()))
    return {"of_the_largest": whole, "of_the_entry": entry}


def kills(count: int, out: Path) -> dict[str, Any]:
    """So many losses at random moments, into the record."""
    whole, draw, rows = undisturbed(), np.random.default_rng(0), []
    for k in range(count):
        row = lose(draw.uniform(0, 0.5), int(draw.integers(2)), ("1 x 1", "1 x 4", "2 x 1")[k % 3])
        row |= difference(whole, row.pop("history"))
        print(row, flush=True)
        rows.append(row)
        write(out, {"kills": rows})
    return {"kills": rows}


def write(out: Path, parts: dict[str, Any]) -> None:
    """Add parts to the record."""
    from hybrid_lib.training import write_atomically

    record = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for name in ("cases", "layouts"):  # of several calls
        for key, rows in parts.get(name, {}).items():
            parts[name][key] = record.get(name, {}).get(key, {}) | rows
        parts |= {name: record[name] | parts[name]} if name in record and name in parts else {}
    write_atomically(out, (json.dumps(record | parts, indent=1) + "\n").encode())


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the layouts, compare with the first, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=[name for name in LAYOUTS if name != "2 x 1"])
    parser.add_argument("--kills", type=int, metavar="N")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--joined", nargs="+", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        worker(options.worker, options.cases, options.joined)
        return {}
    if options.run:
        run(options.run, options.joined, options.resume)
        return {}
    if options.kills:
        return kills(options.kills, options.out)
    began = time.perf_counter()
    found = {name: launch(name, options.cases) for name in dict.fromkeys(["1 x 1", *options.layouts])}
    about = {name: json.loads(str(one.pop("about"))) for name, one in found.items()}
    base = found["1 x 1"]
    record = {
        "steps": STEPS,
        "damping": DAMPING,
        "jax": about["1 x 1"]["jax"],
        "cores": os.cpu_count(),
        "took": round(time.perf_counter() - began),
        "layouts": {name: dict(zip(("processes", "devices_of_each"), LAYOUTS[name], strict=True)) for name in found},
        "cases": {
            case: {
                name: difference(base, one, case)
                | dict(zip(TIMES, np.round(about[name]["seconds"][case], 5).tolist(), strict=True))
                for name, one in found.items()
            }
            for case in options.cases
        },
    }
    write(options.out, record)
    for case, rows in record["cases"].items():
        print(f"{case:36s}", *(f"{name}: {row['of_the_largest']:.0e}" for name, row in rows.items()), sep="  ")
    return record


if __name__ == "__main__":
    main()
