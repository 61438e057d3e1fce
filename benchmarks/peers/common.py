"""What the peers' scripts share: sizes, the reference, and a meter that lets one slice of iterations run at a time.

Needs NumPy only, so that it runs in every peer's environment. A script builds its solver, then trains in slices of
``meter.slice`` iterations: ``meter.go()`` waits for the runner's word, ``meter.done()`` reports the seconds of the slice.
The library's own training loop stays in charge; where it cannot be called slice by slice, the two calls sit in a callback.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

EPS = 0.1
WIDTH = 128
RATE, DECAY, DECAY_EVERY = 1e-3, 0.75, 5000
"""Adam's rate for the paper's perceptron, and the decay that is the default of hybrid_lib."""
REFERENCE = Path(__file__).resolve().parents[2] / ".venv-peers" / "reference.npz"
"""Values and gradients on quadrature nodes, written by run.py."""


def arguments(variants: tuple[str, ...] = ("default",)) -> argparse.Namespace:
    """Options that every script has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=4096)
    parser.add_argument("--slice", type=int, default=20, help="iterations of one slice")
    parser.add_argument("--features", action="store_true", help="cos and sin of 2 pi x / eps as further inputs")
    parser.add_argument("--width", type=int, default=WIDTH, help="units of a layer")
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def errors(value: np.ndarray, gradient: np.ndarray) -> dict[str, float]:
    """Relative L2 and H1 errors of values (k,) and gradients (k, 2) at the quadrature points of the reference."""
    with np.load(REFERENCE) as known:
        w, u, slope = known["weights"], known["value"], known["gradient"]
    off = np.asarray(value, float).reshape(u.shape) - u
    tilt = np.asarray(gradient, float).reshape(slope.shape) - slope
    return {
        "rel_l2": float(np.sqrt((w @ off**2) / (w @ u**2))),
        "rel_h1": float(np.sqrt((w @ (tilt**2).sum(axis=1)) / (w @ (slope**2).sum(axis=1)))),
    }


class Meter:
    """Conversation with the runner over standard input and output; lines that do not start with @@ are the library's."""

    def __init__(self, options: argparse.Namespace, predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]):
        """`predict` maps points (k, 2) to values (k,) and gradients (k, 2) of the network as it is trained so far."""
        self.slice = options.slice
        self.predict = predict
        self._began = (0.0, 0.0)

    def go(self) -> bool:
        """Wait for the word; False ends the run."""
        while True:
            word = sys.stdin.readline().strip()
            if word == "go":
                self._began = time.perf_counter(), time.process_time()
                return True
            if word != "errors":
                return False
            with np.load(REFERENCE) as known:
                points = known["points"].astype("float32")
            self._say(errors(*self.predict(points)))

    def done(self) -> None:
        """Report the slice that has just ended; its results must be there (blocked) before this is called."""
        wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._say({"wall": wall, "cpu": cpu, "peak_mib": round(peak, 1)})

    @staticmethod
    def _say(answer: dict) -> None:
        print("@@ " + json.dumps(answer), flush=True)
