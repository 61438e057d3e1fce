"""Competitors timed in turns: a noisy machine then hits all alike, and a ratio is taken within one round.

A sample is the time of the processor where the process has one core (on an idle core that is the time on the wall), the time on
the wall otherwise; both are kept. A row holds the samples of one competitor, their median and spread (largest − smallest),
and `ratio`, the median over the rounds of its time divided by that of the base, with `ratio_range`, its smallest and largest.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

ROUNDS = 5


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def clock() -> str:
    """The clock of the figures: ``"cpu"`` on one core, ``"wall"`` on several."""
    return "cpu" if cores() == 1 else "wall"


def sample(run: Callable[[], Any]) -> dict[str, float]:
    """Seconds of one call, on both clocks."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def interleave(
    runs: Mapping[str, Callable[[], Any]],
    base: str,
    rounds: int = ROUNDS,
    sampler: Callable[[Callable[[], Any]], dict[str, float]] = sample,
    settle: bool = False,
) -> dict[str, dict[str, Any]]:
    """Rows by name. Each run is called once before, unmeasured; then all take turns for so many rounds, in an order drawn anew.

    Parameters
    ----------
    runs : mapping of str to callable
        A call returns when its work is done (`block_until_ready`).
    base : str
        The competitor by whose time the others' are divided.
    rounds : int
    sampler : callable
        Measures one call: seconds on the clocks ``"wall"`` and ``"cpu"``.
    settle : bool
        Call each run once more before it is measured. After a large program a small one has to be given its memory again.
    """
    for run in runs.values():
        run()
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(runs), len(runs)):
            if settle:
                runs[name]()
            samples[name].append(sampler(runs[name]))
    return rows(samples, base)


def rows(samples: Mapping[str, list[dict[str, float]]], base: str) -> dict[str, dict[str, Any]]:
    """Rows of samples that were taken in turns."""
    first = samples[base]
    return {name: _row(taken, first) for name, taken in samples.items()}


def _row(taken: list[dict[str, float]], base: list[dict[str, float]]) -> dict[str, Any]:
    which = clock()
    seconds = [one[which] for one in taken]
    ratios = [one[which] / other[which] for one, other in zip(taken, base, strict=True)]
    return {
        "seconds": digits(statistics.median(seconds)),
        "spread": digits(max(seconds) - min(seconds)),
        "ratio": digits(statistics.median(ratios)),
        "ratio_range": [digits(min(ratios)), digits(max(ratios))],
        "samples": {kind: [digits(one[kind]) for one in taken] for kind in ("wall", "cpu")},
    }


def digits(value: float) -> float:
    """Five significant digits, for a record that people read."""
    return float(f"{value:.5g}")


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Slope p of the least-squares line log t = p log n + c."""
    import numpy as np

    return digits(float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]))
