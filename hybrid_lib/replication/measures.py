r"""What is read from artefacts to judge a claim: figures of the selected iterate, of the coarse problem, and of calculations.

A function receives, for each run that a claim needs, the artefacts of all its seeds, and returns a :class:`.Measurement`. Where
two runs are compared, seed is compared with seed. What is read from whole curves is in :mod:`hybrid_lib.replication.curves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybrid_lib.replication.seeds import (
    MARGIN,
    SUCCESS,
    Group,
    Measure,
    Seed,
    against,
    pairs,
    seeds,
    so_far,
    succeeded,
    value,
)
from hybrid_lib.replication.verdicts import Measurement, number


def but(measure: Measure, flaw: str) -> Measure:
    """`measure`, for runs that differ in `flaw` from what the claim speaks of."""
    return lambda groups: replace(measure(groups), flaw=flaw)


def selected(key: str) -> Measure:
    """A column of the seeds' rows: ``rel_l2``, ``rel_h1``, ``iterations``, ``max_error``."""
    return lambda groups: _selected(key, list(seeds(groups[0])))


def selected_of_successes(key: str) -> Measure:
    """As :func:`selected`, over the successful seeds only: the paper presents the one run that did not fail."""

    def measure(groups: Sequence[Group]) -> Measurement:
        every = list(seeds(groups[0]))
        found = _selected(key, [seed for seed in every if succeeded(seed.row)])
        if found.values:
            return replace(found, text=f"{len(found.values)} of {len(every)} seeds succeeded")
        return replace(_selected(key, every), values=(), text=f"no seed below {SUCCESS:g}")

    return measure


def _selected(key: str, found: Sequence[Seed]) -> Measurement:
    values = tuple(value(seed, key) for seed in found)
    failed = tuple(seed.row["seed"] for seed in found if not succeeded(seed.row))
    return Measurement(values, failed=failed, so_far=so_far(found))


def seconds_to_selected(groups: Sequence[Group]) -> Measurement:
    """Wall time to the selected iterate of one seed: its share of the steps, over the seeds that ran side by side."""
    values = []
    for seed in seeds(groups[0]):
        record = seed.artefact.record
        values.append(record["seconds"] / len(record["seeds"]) * seed.row["iterations"] / record["steps"])
    environment = groups[0][0].record["environment"]
    elsewhere = "" if environment["platform"] == "gpu" else f"ours on a {environment['device'].upper()}, the paper's on an A100"
    return Measurement(tuple(values), text=f"on {environment['device']}", apart=elsewhere, so_far=so_far(list(seeds(groups[0]))))


def lower_selected(key: str) -> Measure:
    """Whether the first run's error at the selected iterate is a tenth below the second's, seed by seed.

    A seed of which neither run succeeds says nothing and is left out: of two failures none is the better.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        found = pairs(groups)
        both = [[value(seed, key) for seed in pair] for pair in found]
        good = [any(succeeded(seed.row) for seed in pair) for pair in found]
        least = [np.nan_to_num(pair, nan=np.inf) for pair in both]  # one that diverged is worse than any
        values = tuple(float(MARGIN * a < b) for (a, b), some in zip(least, good, strict=True) if some)
        return Measurement(values, text=against(both) + ("" if all(good) else f", none below {SUCCESS:g}"))

    return measure


def ratio_selected(key: str) -> Measure:
    """The first run's error at the selected iterate over the second's, seed by seed."""

    def measure(groups: Sequence[Group]) -> Measurement:
        found = pairs(groups)
        both = [[value(seed, key) for seed in pair] for pair in found]
        failed = tuple(pair[0].row["seed"] for pair in found if not all(succeeded(seed.row) for seed in pair))
        return Measurement(tuple(a / b for a, b in both), text=against(both), failed=failed)

    return measure


def upscaled_end(groups: Sequence[Group]) -> Measurement:
    """K̂ of the trained networks, seed by seed."""
    found = [float(seed.artefact.arrays["coarse:upscaled"][seed.index]) for seed in seeds(groups[0])]
    return Measurement(tuple(found))


def spread_of(key: str) -> Measure:
    """Sample standard deviation over the seeds of a column of their rows, if some succeed and some fail."""

    def measure(groups: Sequence[Group]) -> Measurement:
        found = selected(key)(groups)
        count, failed = len(found.values), len(found.failed)
        if count < 2:
            return Measurement((), text="one seed has no spread")
        text = f"of {count} seeds with the mean {number(found.mean)}, {failed} of them failed"
        return Measurement((found.spread,) if 0 < failed < count else (), text=text)

    return measure


def state_and_averages(level: float) -> Measure:
    """Whether ‖Q_δu_θ − y_h(u_θ)‖ is below `level` times ‖y_h(u_θ)‖ over the nodes, seed by seed."""

    def measure(groups: Sequence[Group]) -> Measurement:
        gaps = []
        for seed in seeds(groups[0]):
            y, Q = (np.asarray(seed.artefact.arrays[f"coarse:{key}"][seed.index], float) for key in ("state", "averaged"))
            gaps.append(float(np.linalg.norm(Q - y) / np.linalg.norm(y)))
        return Measurement(tuple(float(gap < level) for gap in gaps), text="gaps " + ", ".join(map(number, gaps)))

    return measure


def overfitted_near(name: str, places: tuple[float, float], within: float, visible: float) -> Measure:
    """Whether `|Q_δu_θ − Q_δu|` is largest, in each half, `within` its one of the `places`, and `visible` there.

    Order: hybrid, gap. Of the averages: `y_h(u_θ)` and `y_h(u)` are one cubic with two coefficients, whose difference is largest
    at 0.21 and 0.79 whatever the network does. `visible` is a share of `max |y_h(u)|`.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        exact = groups[1][0].record[name]
        averages, top = np.asarray(exact["averaged"]), np.abs(exact["state"]).max()
        values, words = [], []
        for seed in seeds(groups[0]):
            x = seed.artefact.arrays["coarse:nodes"][:, 0]
            error = np.abs(seed.artefact.arrays["coarse:averaged"][seed.index] - averages)
            at = [int(np.argmax(np.where(half, error, -1))) for half in (x < 0.5, x > 0.5)]
            near = all(abs(x[k] - place) <= within for k, place in zip(at, places, strict=True))
            values.append(float(near and error[at].min() >= visible * top))
            words.append(
                "averages off most at "
                + " and ".join(f"{x[k]:.2f} ({100 * error[k] / top:.1f} % of max |y(u)|)" for k in at)
            )
        return Measurement(tuple(values), text="; ".join(words))

    return measure


def successes(groups: Sequence[Group]) -> Measurement:
    """Number of seeds with an L² error below 0.1 at the selected iterate."""
    good = [succeeded(seed.row) for seed in seeds(groups[0])]
    return Measurement((float(sum(good)),), text=f"{sum(good)} of {len(good)} below {SUCCESS:g}")


def all_succeed(groups: Sequence[Group]) -> Measurement:
    """Whether a seed's L² error at the selected iterate is below 0.1, seed by seed."""
    return Measurement(tuple(float(succeeded(seed.row)) for seed in seeds(groups[0])))


def iterations_ratio(groups: Sequence[Group]) -> Measurement:
    """Mean iterations to the selected iterate, hybrid over plain. Order: hybrid, pinn."""
    hybrid, plain = (selected("iterations")([group]).mean for group in groups[:2])
    return Measurement((hybrid / plain,), text=f"{number(hybrid)} against {number(plain)}")


def overfitted_gap(name: str) -> Measure:
    """Fig. 1b: y_h(u_θ) near y_h(u), and Q_δu_θ nearer to y_h(u_θ) than to Q_δu. Order: hybrid run, consistency gap."""

    def measure(groups: Sequence[Group]) -> Measurement:
        exact = groups[1][0].record[name]
        y, Q = (np.asarray(exact[key]) for key in ("state", "averaged"))
        size = lambda v: float(np.linalg.norm(v) / np.linalg.norm(y))  # noqa: E731
        values, words = [], []
        for seed in seeds(groups[0]):
            y_net, Q_net = (seed.artefact.arrays[f"coarse:{key}"][seed.index] for key in ("state", "averaged"))
            near, own, other = size(y_net - y), size(Q_net - y_net), size(Q_net - Q)
            values.append(float(near < 0.1 and own < other / 2))
            words.append(
                f"|y(net) - y(u)| {number(near)}, |Q net - y(net)| {number(own)}, |Q net - Q u| {number(other)}"
            )
        return Measurement(tuple(values), text="; ".join(words) + ", all over |y(u)|")

    return measure


def smaller_gap(groups: Sequence[Group]) -> Measurement:
    """Whether the gap at the exact solution is smaller for ε = 0.01 than for ε = 1/15."""
    record = groups[0][0].record
    wide, narrow = (record[name]["gap"] for name in ("heat1d-eps15", "heat1d-eps100"))
    return Measurement((float(narrow < wide),), text=f"{number(narrow)} against {number(wide)}")


def iteration_cost(network: str) -> Measure:
    """Time of an iteration with the coupling over that without, from the calculation ``coupling-cost``."""

    def measure(groups: Sequence[Group]) -> Measurement:
        record = groups[0][0].record
        device, points = record["environment"]["platform"], record["points"]
        same = device == "gpu" and points == 25_000
        apart = "" if same else f"ours on a {device.upper()} with {points:,} points, the paper's on an A100 with 25,000"
        return Measurement((float(record[network]["ratio"]),), apart=apart)

    return measure


def recorded(*path: str) -> Measure:
    """An entry of a calculation's record."""

    def measure(groups: Sequence[Group]) -> Measurement:
        value = groups[0][0].record
        for key in path:
            value = value[key]
        return Measurement((float(value),))

    return measure
