r"""What is read from artefacts to judge a claim.

A function receives, for each run that a claim needs, the artefacts of all its seeds, and returns a :class:`.Measurement`. Where
two runs are compared, seed is compared with seed. An error is relative and integrated over the domain, ``rel_l2`` or ``rel_h1``;
the paper does not name its norm. *Selected* is the iterate with the smallest residual, Table 1's criterion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hybrid_lib.replication.artefacts import Artefact
from hybrid_lib.replication.verdicts import Measurement, number

Group = Sequence[Artefact]
"""The artefacts of one run, a seed or several each."""
Measure = Callable[[Sequence[Group]], Measurement]
SUCCESS = 0.1  # relative L² error below which a run counts as successful; the paper says "reasonable results"


class Seed(NamedTuple):
    """One seed of an artefact: its row of the record and its place in the arrays."""

    artefact: Artefact
    index: int

    @property
    def row(self) -> dict[str, Any]:
        """Errors at the selected iterate, status."""
        return self.artefact.record["seeds"][self.index]

    def curve(self, key: str = "rel_l2") -> tuple[np.ndarray, np.ndarray]:
        """Steps (E,) and values (E,) of an evaluated error."""
        arrays = self.artefact.arrays
        return arrays["evaluations:step"], np.asarray(arrays[f"evaluations:{key}"][:, self.index], float)

    def late(self, share: float) -> np.ndarray:
        """Relative L² errors of the last `share` of the run."""
        steps, errors = self.curve()
        return errors[steps >= (1 - share) * steps[-1]]

    def first_below(self, level: float, key: str = "rel_l2") -> float:
        """First evaluated iteration with an error below `level`, infinity if none."""
        steps, errors = self.curve(key)
        hit = errors < level
        return float(steps[hit.argmax()]) if hit.any() else np.inf


def seeds(group: Group) -> Iterator[Seed]:
    """The seeds of a run."""
    return (Seed(artefact, k) for artefact in group for k in range(len(artefact.record["seeds"])))


def pairs(groups: Sequence[Group]) -> list[tuple[Seed, Seed]]:
    """The seeds that two runs have in common."""
    first, second = ({seed.row["seed"]: seed for seed in seeds(group)} for group in groups[:2])
    return [(first[k], second[k]) for k in first if k in second]


def but(measure: Measure, flaw: str) -> Measure:
    """`measure`, for runs that differ in `flaw` from what the claim speaks of."""
    return lambda groups: replace(measure(groups), flaw=flaw)


def selected(key: str) -> Measure:
    """A column of the seeds' rows: ``rel_l2``, ``rel_h1``, ``iterations``, ``max_error``."""

    def measure(groups: Sequence[Group]) -> Measurement:
        rows = [seed.row for seed in seeds(groups[0])]
        values = tuple(float("nan") if row[key] is None else float(row[key]) for row in rows)
        failed = tuple(row["seed"] for row in rows if not _succeeded(row))
        return Measurement(values, failed=failed)

    return measure


def seconds_to_selected(groups: Sequence[Group]) -> Measurement:
    """Wall time to the selected iterate of one seed: its share of the steps, over the seeds that ran side by side."""
    values = []
    for seed in seeds(groups[0]):
        record = seed.artefact.record
        values.append(record["seconds"] / len(record["seeds"]) * seed.row["iterations"] / record["steps"])
    environment = groups[0][0].record["environment"]
    elsewhere = "" if environment["platform"] == "gpu" else f"ours on a {environment['device'].upper()}, the paper's on an A100"
    return Measurement(tuple(values), text=f"on {environment['device']}", apart=elsewhere)


def plateau(groups: Sequence[Group]) -> Measurement:
    """Median of the relative L² error over the second half of a run, for each seed; a flaw if its own halves differ by 10 %."""
    late = [seed.late(0.5) for seed in seeds(groups[0])]
    low, high = min(errors.min() for errors in late), max(errors.max() for errors in late)
    falls = max(np.median(errors[: len(errors) // 2]) / np.median(errors[len(errors) // 2 :]) for errors in late)
    return Measurement(
        tuple(float(np.median(errors)) for errors in late),
        text=f"second half between {number(low)} and {number(high)}",
        flaw=f"no plateau: still falling, by {100 * (1 - 1 / falls):.0f} % over the last half" if falls > 1.1 else "",
    )


def last_tenth(groups: Sequence[Group]) -> Measurement:
    """Median of the relative L² error over the last tenth of a run, for each seed: for curves that still fall."""
    return Measurement(tuple(float(np.median(seed.late(0.1))) for seed in seeds(groups[0])))


def plateau_ratio(groups: Sequence[Group]) -> Measurement:
    """Plateau of the second run over that of the first: pinn / hybrid, seed by seed. Order: hybrid, pinn."""
    both = [[float(np.median(seed.late(0.5))) for seed in pair] for pair in pairs(groups)]
    text = "; ".join(f"hybrid {number(a)}, alone {number(b)}" for a, b in both)
    return Measurement(tuple(b / a for a, b in both), text=text)


def lower(share: float) -> Measure:
    """Whether the first run's relative L² error, median of the last `share`, is below the second's, seed by seed."""

    def measure(groups: Sequence[Group]) -> Measurement:
        both = [[float(np.median(seed.late(share))) for seed in pair] for pair in pairs(groups)]
        return Measurement(tuple(float(a < b) for a, b in both), text=_against(both))

    return measure


def lower_selected(key: str) -> Measure:
    """Whether the first run's error at the selected iterate is below the second's, seed by seed."""

    def measure(groups: Sequence[Group]) -> Measurement:
        both = _selected_pairs(groups, key)
        return Measurement(tuple(float(a < b) for a, b in both), text=_against(both))

    return measure


def ratio_selected(key: str) -> Measure:
    """The first run's error at the selected iterate over the second's, seed by seed."""

    def measure(groups: Sequence[Group]) -> Measurement:
        both = _selected_pairs(groups, key)
        return Measurement(tuple(a / b for a, b in both), text=_against(both))

    return measure


def sooner(level: float, keys: tuple[str, ...] = ("rel_l2",)) -> Measure:
    """Whether the hybrid run gets below `level` in fewer iterations than the plain one, seed by seed. Order: hybrid, pinn.

    A seed of which neither run gets there says nothing and is left out.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        values, words = [], []
        for key in keys:
            when = [[seed.first_below(level, key) for seed in pair] for pair in pairs(groups)]
            values += [float(a < b) for a, b in when if np.isfinite([a, b]).any()]
            words += [f"{_when(a)} against {_when(b)}" for a, b in when]
        return Measurement(tuple(values), text=f"iterations to an error of {level:g}: " + ", ".join(words))

    return measure


def trapped(level: float, until: int) -> Measure:
    """Whether a run stays above `level` up to iteration `until`, seed by seed.

    A seed that ends earlier, still above, says nothing and is left out.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        first = [(seed.first_below(level), seed.curve()[0][-1]) for seed in seeds(groups[0])]
        known = [step >= until for step, last in first if step < until or last >= until]
        text = f"first error below {level:g} at " + ", ".join(_when(step) for step, _ in first)
        return Measurement(tuple(map(float, known)), text=text)

    return measure


def steady(groups: Sequence[Group]) -> Measurement:
    """Whether residual, L² and H¹ error fall from each quarter of a run to the next (medians), seed by seed.

    A seed with fewer than four values of one of them says nothing and is left out.
    """
    holds = []
    for seed in seeds(groups[0]):
        residual = np.asarray(seed.artefact.arrays["history:loss/pde"][:, seed.index], float)
        columns = [residual, seed.curve("rel_l2")[1], seed.curve("rel_h1")[1]]
        if min(map(len, columns)) < 4:
            continue
        medians = [[np.median(part) for part in np.array_split(column, 4)] for column in columns]
        holds.append(float(np.all(np.diff(medians, axis=1) < 0)))
    return Measurement(tuple(holds))


def upscaled_end(groups: Sequence[Group]) -> Measurement:
    """K̂ of the trained networks, seed by seed."""
    found = [float(seed.artefact.arrays["coarse:upscaled"][seed.index]) for seed in seeds(groups[0])]
    return Measurement(tuple(found))


def spread_of(key: str) -> Measure:
    """Sample standard deviation over the seeds of a column of their rows."""

    def measure(groups: Sequence[Group]) -> Measurement:
        found = selected(key)(groups)
        if len(found.values) < 2:
            return Measurement((), text="one seed has no spread")
        return Measurement((found.spread,), text=f"of {len(found.values)} seeds with the mean {number(found.mean)}")

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


def largest_near(name: str, places: tuple[float, float], within: float) -> Measure:
    """Whether `|y_h(u_θ) − y_h(u)|` is largest, in each half, `within` its one of the `places`. Order: hybrid, gap."""

    def measure(groups: Sequence[Group]) -> Measurement:
        exact = np.asarray(groups[1][0].record[name]["state"])
        values, words = [], []
        for seed in seeds(groups[0]):
            x = seed.artefact.arrays["coarse:nodes"][:, 0]
            error = np.abs(seed.artefact.arrays["coarse:state"][seed.index] - exact)
            at = [float(x[np.argmax(np.where(half, error, -1))]) for half in (x < 0.5, x > 0.5)]
            values.append(float(all(abs(a - b) <= within for a, b in zip(at, places, strict=True))))
            words.append(f"largest at {at[0]:.2f} and {at[1]:.2f}, {100 * error.max() / np.abs(exact).max():.1f} % of max |y(u)|")
        return Measurement(tuple(values), text="; ".join(words))

    return measure


def less_pronounced(level: float, key: str = "rel_l2") -> Measure:
    """Whether the coupling saves a smaller factor of iterations in the second pair of runs. Order: hybrid, pinn, hybrid, pinn.

    A run that does not get below `level` counts with its last iteration, as a lower bound; a pair without one that does says
    nothing.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        factors = []
        for pair in (groups[:2], groups[2:4]):
            when = [[(seed.first_below(level, key), seed.curve(key)[0][-1]) for seed in both] for both in pairs(pair)]
            saved = [min(b) / min(a) for a, b in when if np.isfinite([a[0], b[0]]).any()]
            factors.append(float(np.median(saved)) if saved else float("nan"))
        if not np.all(np.isfinite(factors)):
            return Measurement((), text=f"no pair reaches {level:g}")
        text = f"iterations saved to {level:g}: factor {factors[0]:.2g} against {factors[1]:.2g}"
        return Measurement((float(factors[0] > factors[1]),), text=text)

    return measure


def successes(groups: Sequence[Group]) -> Measurement:
    """Number of seeds with an L² error below 0.1 at the selected iterate."""
    good = [_succeeded(seed.row) for seed in seeds(groups[0])]
    return Measurement((float(sum(good)),), text=f"{sum(good)} of {len(good)} below {SUCCESS:g}")


def all_succeed(groups: Sequence[Group]) -> Measurement:
    """Whether a seed's L² error at the selected iterate is below 0.1, seed by seed."""
    return Measurement(tuple(float(_succeeded(seed.row)) for seed in seeds(groups[0])))


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
            values += [float(near < 0.1), float(own < other / 2)]
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


def _selected_pairs(groups: Sequence[Group], key: str) -> list[list[float]]:
    return [[float("nan") if seed.row[key] is None else float(seed.row[key]) for seed in pair] for pair in pairs(groups)]


def _against(both: Sequence[Sequence[float]]) -> str:
    return "; ".join(f"{number(a)} against {number(b)}" for a, b in both)


def _succeeded(row: dict[str, Any]) -> bool:
    return row["rel_l2"] is not None and row["rel_l2"] < SUCCESS


def _when(step: float) -> str:
    return "never" if not np.isfinite(step) else f"{step:,.0f}"
