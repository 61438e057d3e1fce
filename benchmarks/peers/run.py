"""The paper's 2-D problem by other PINN libraries and by this one: milliseconds an iteration, errors after equal times, lines.

    python benchmarks/peers/setup.py
    python benchmarks/peers/run.py --out book/results/beyond/peers.json [--parts speed errors facts] [--peers …] […]

Every library runs in its own environment and process, on one core and with one thread. For the speed all processes are up at
the same time and take turns, one slice of iterations each, so that a noisy machine hits all alike; medians over the rounds.
For the errors one library trains at a time. Seconds are those of the processor, which on an idle core are the seconds on the
wall; those on the wall are kept beside them. The first slice holds the compilation: it is reported apart and left out.
Libraries that are not installed are left out, and rows of an earlier run stay in the record.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import facts
import numpy as np
from common import WIDTH

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".venv-peers"
RECORDS = ROOT / "book" / "results" / "beyond"
PARTS = ("speed", "errors", "second", "facts")
NETWORKS = ("periodic", "plain")
"""The perceptron of the point and of cos and sin of 2 pi x / eps, and of the point alone."""
ROWS = {
    "ours": ("ours", "default"),
    "ours, hybrid": ("ours", "hybrid"),
    "ours, uniform": ("ours", "uniform"),
    "deepxde": ("deepxde", "default"),
    "deepxde, forward": ("deepxde", "forward"),
    "jinns": ("jinns", "default"),
    "jinns, loop": ("jinns", "loop"),
    "pina": ("pina", "default"),
    "pina, fast": ("pina", "fast"),
}
UNTIMED = {"ours, uniform"}
"""Rows of the errors alone: the plain network from initial weights as jinns and PINA draw them."""
SECOND = {
    "jinns": ("jinns", "loop"),
    "jinns, natural gradient": ("jinns", "ngd"),
    "jinns, SSBroyden": ("jinns", "ssbroyden"),
    "jinns, SSBFGS": ("jinns", "ssbfgs"),
    "ours, Gauss-Newton": ("ours", "newton"),
    "jno": ("jno", "default"),
    "jno, SSBroyden": ("jno", "ssbroyden"),
}
"""Rows of the part on second order, with periodic inputs: Adam as jinns has it, and each library's own second order."""
SMALL = 32
"""Units of a layer that second order can bear; at the width of the others one slice is one iteration."""
PACKAGES = ("deepxde", "jax-numerical-operators", "foundax", "jinns", "pina-mathlab", "jax", "jaxlib", "flax", "equinox", "optax")
PACKAGES += ("torch", "lightning", "numpy")
QUIET = {"NPROC": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
QUIET |= {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}


def python_of(peer: str) -> Path | None:
    """The interpreter of a library's environment."""
    path = Path(sys.executable) if peer == "ours" else ENVIRONMENTS / peer / "bin" / "python"
    return path if path.exists() else None


def steps_of(peer: str, points: int) -> int:
    """Iterations of a slice: about a second and more for every library."""
    few = 5 if peer in ("jinns", "jno") else 20
    return max(1, round(few * 4096 / points))


class Worker:
    """A peer's script under way."""

    def __init__(self, row: str, points: int, features: bool, core: int, seed: int, width: int = WIDTH):
        peer, variant = (ROWS | SECOND)[row]
        self.steps = steps_of(peer, points) if row in ROWS or width < WIDTH else 1
        command = [python_of(peer), HERE / facts.SCRIPTS[peer], "--points", str(points), "--slice", str(self.steps)]
        command += ["--variant", variant, "--seed", str(seed), "--width", str(width)] + ["--features"] * features
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_", "PYTHON"))}
        environment = inherited | QUIET | ({"PYTHONPATH": str(ROOT)} if peer == "ours" else {})
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            text=True, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip

    def ask(self, word: str) -> dict:
        """Send a word and read the answer."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@@ "):
                return json.loads(line[3:])
        self.log.seek(0)
        raise RuntimeError(f"{self.process.args[1]} ended:\n{self.log.read()[-2000:]}")

    def stop(self) -> None:
        """End the run."""
        self.process.stdin.write("stop\n")
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()


def speed(rows: list[str], points: int, rounds: int, core: int) -> dict[str, dict]:
    """Milliseconds an iteration of every row, in interleaved slices."""
    workers, first = {}, {}
    for row in rows:
        workers[row] = Worker(row, points, False, core, 0)
        first[row] = workers[row].ask("go")
    samples: dict[str, list[dict]] = {row: [] for row in rows}
    for _ in range(rounds):
        for row, worker in workers.items():
            samples[row].append(worker.ask("go"))
    table = {}
    for row, worker in workers.items():
        worker.stop()
        cpu, wall = ([1e3 * s[key] / worker.steps for s in samples[row]] for key in ("cpu", "wall"))
        typical = statistics.median(cpu)
        table[row] = {
            "ms": round(typical, 3),
            "ms_lowest": round(min(cpu), 3),
            "ms_highest": round(max(cpu), 3),
            "ms_wall": round(statistics.median(wall), 3),
            "start_s": round(first[row]["cpu"] - typical * worker.steps / 1e3, 2),
            "peak_mib": samples[row][-1]["peak_mib"],
            "slices": rounds,
            "steps": worker.steps,
        }
        print(f"{points:6d} points  {row:18s}{typical:9.1f} ms  start {table[row]['start_s']:6.1f} s", flush=True)
    return table


def history(
    row: str, points: int, features: bool, seconds: list[float], core: int, seed: int, width: int = WIDTH
) -> list[dict]:
    """Errors of one row at the first slice's end after each of the times; the first slice counts like the second.

    Where the first slice alone, with the compilation, takes longer than all of them, it is the only point.
    """
    worker = Worker(row, points, features, core, seed, width)
    first = worker.ask("go")
    if first["cpu"] > max(seconds) + 30:
        found = {"seconds": max(seconds), "cpu": first["cpu"], "wall": first["wall"], "steps": worker.steps}
        found |= {"peak_mib": first["peak_mib"]} | worker.ask("errors")
        worker.stop()
        return [found]
    out, cpu, wall, steps, slices = [], 0.0, 0.0, worker.steps, 0
    for limit in sorted(seconds):
        while cpu < limit:
            answer = worker.ask("go")
            steps, slices = steps + worker.steps, slices + 1
            cpu, wall = cpu + answer["cpu"] * (2 if slices == 1 else 1), wall + answer["wall"] * (2 if slices == 1 else 1)
        found = worker.ask("errors")
        out.append({"seconds": limit, "cpu": round(cpu, 2), "wall": round(wall, 2), "steps": steps} | found)
        if row in SECOND:
            out[-1]["peak_mib"] = answer["peak_mib"]
        print(f"{row:18s}{limit:6.0f} s {steps:6d} steps  L2 {found['rel_l2']:.3f}  H1 {found['rel_h1']:.3f}", flush=True)
    worker.stop()
    return out


def fastest(rows: list[str], table: dict[str, dict]) -> list[str]:
    """One row a peer, in the mode that took the least time; all of ours."""
    out = [row for row in rows if row.startswith("ours")]
    for peer in ("deepxde", "jinns", "pina"):
        modes = [row for row in rows if ROWS[row][0] == peer]
        if modes:
            out.append(min(modes, key=lambda row: table.get(row, {}).get("ms", 0.0)))
    return out


def newton() -> dict:
    """Medians of the defect coupling with Gauss-Newton from its own record."""
    record = json.loads((RECORDS / "defect-seeds.json").read_text(encoding="utf-8"))["heat2d"]
    row = {key: float(np.median([s[key] for s in record["seeds"]])) for key in ("rel_l2", "rel_h1", "seconds")}
    return row | {"seeds": len(record["seeds"]), "steps": record["seeds"][0]["steps"], "dtype": record["environment"]["dtype"]}


def export_reference() -> None:
    """Values and gradients of the reference on quadrature nodes, for environments without hybrid_lib."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from hybrid_lib import experiments

    known = experiments.reference(experiments.problem_of(experiments.configuration("heat2d")))
    ENVIRONMENTS.mkdir(exist_ok=True)
    np.savez_compressed(
        ENVIRONMENTS / "reference.npz", points=known.points, weights=known.weights, value=known.value, gradient=known.gradient
    )


def versions(peer: str) -> dict[str, str]:
    """Versions of the packages that matter in a library's environment."""
    code = (
        "import json, platform; from importlib.metadata import distributions as d;"
        f"print(json.dumps({{x.name.lower(): x.version for x in d() if x.name.lower() in {PACKAGES!r}}}"
        " | {'python': platform.python_version()}))"
    )
    found = json.loads(subprocess.run([python_of(peer), "-c", code], capture_output=True, text=True, check=True).stdout)
    return dict(sorted(found.items()))


def main(argv: list[str] | None = None) -> dict:
    """Run the parts asked for and write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--peers", nargs="+", choices=list(facts.SCRIPTS), default=list(facts.SCRIPTS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="of the errors")
    parser.add_argument("--widths", type=int, nargs="+", default=[SMALL, WIDTH], help="of the part on second order")
    parser.add_argument("--second", nargs="+", choices=list(SECOND), default=list(SECOND), help="rows of that part")
    parser.add_argument("--points", type=int, nargs="+", default=[4096, 25_000], help="of the speed; errors use the first")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, nargs="+", default=[15.0, 30.0, 60.0, 120.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else {}
    peers = [peer for peer in options.peers if python_of(peer)]
    for peer in sorted(set(options.peers) - set(peers)):
        print(f"{peer} is not installed: python benchmarks/peers/setup.py {peer}", file=sys.stderr)
    rows = [row for row, (peer, _) in ROWS.items() if peer in peers]

    def write(part: str, content: dict) -> None:
        record[part] = content
        passport = {"cores": 1, "load_average": round(os.getloadavg()[0], 1), "packages": {p: versions(p) for p in peers}}
        before = record.setdefault("environment", {}).get(part, {}).get("packages", {})
        record["environment"][part] = passport | {"packages": before | passport["packages"]}
        if options.out:
            from hybrid_lib.training import write_atomically

            write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())

    if "facts" in options.parts:
        lines = {peer: facts.user_lines(peer) for peer in facts.SCRIPTS}
        write("facts", {"lines": lines, "abilities": facts.ABILITIES, "absent": facts.ABSENT, "newton": newton()})
    if {"speed", "errors", "second"} & set(options.parts) and not (ENVIRONMENTS / "reference.npz").exists():
        export_reference()
    if "speed" in options.parts:
        found = record.get("speed", {})
        for points in options.points:
            timed = [row for row in rows if row not in UNTIMED]
            table = found.get(str(points), {}) | speed(timed, points, options.rounds, options.core)
            found[str(points)] = {row: table[row] for row in ROWS if row in table}
            write("speed", found)
    if "errors" in options.parts:
        found = record.get("errors", {})
        for network in options.networks:
            chosen = fastest(rows, record.get("speed", {}).get(str(options.points[0]), {}))
            for row in chosen:
                key = row if row.startswith("ours") else ROWS[row][0]
                run = history(row, options.points[0], network == "periodic", options.seconds, options.core, options.seed)
                found.setdefault(network, {})[key] = {"mode": ROWS[row][1], "history": run}
                write("errors", found)
    if "second" in options.parts:
        found = record.get("second", {})
        for width in options.widths:
            for row in (row for row in options.second if SECOND[row][0] in peers):
                run = history(row, options.points[0], True, options.seconds, options.core, options.seed, width)
                found.setdefault(str(width), {})[row] = run
                write("second", found)
    return record


if __name__ == "__main__":
    main()
