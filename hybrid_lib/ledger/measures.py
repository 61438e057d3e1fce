r"""What is read from artefacts to judge a claim. Every function maps artefacts to a :class:`.Measurement`.

An error is relative and integrated over the domain, ``rel_l2`` or ``rel_h1``; the paper does not name its norm. *Selected* is the
iterate with the smallest residual, Table 1's criterion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hybrid_lib.ledger.artefacts import Artefact
from hybrid_lib.ledger.verdicts import Measurement, number

Measure = Callable[[Sequence[Artefact]], Measurement]
SUCCESS = 0.1  # relative L² error below which a run counts as successful; the paper says "reasonable results"


def selected(key: str) -> Measure:
    """A column of the seeds' rows: ``rel_l2``, ``rel_h1``, ``iterations``, ``max_error``; of all artefacts together."""

    def measure(artefacts: Sequence[Artefact]) -> Measurement:
        rows = [row for artefact in artefacts for row in artefact.record["seeds"]]
        values = tuple(float("nan") if row[key] is None else float(row[key]) for row in rows)
        failed = tuple(
            row["seed"] for row in rows if not (row["rel_l2"] is not None and row["rel_l2"] < SUCCESS)
        )
        return Measurement(values, failed=failed)

    return measure


def seconds_to_selected(artefacts: Sequence[Artefact]) -> Measurement:
    """Wall time to the selected iterate of one seed: its share of the steps, over the seeds that ran side by side."""
    values = [
        artefact.record["seconds"]
        / len(artefact.record["seeds"])
        * row["iterations"]
        / artefact.record["steps"]
        for artefact in artefacts
        for row in artefact.record["seeds"]
    ]
    device = artefacts[0].record["environment"]["device"]
    return Measurement(tuple(values), text=f"on {device}, seeds trained together share its time")


def curve(artefact: Artefact, key: str = "rel_l2") -> tuple[np.ndarray, np.ndarray]:
    """Steps (E,) and values (E, S) of an evaluated error."""
    return artefact.arrays["evaluations:step"], np.asarray(artefact.arrays[f"evaluations:{key}"], float)


def plateau(artefacts: Sequence[Artefact]) -> Measurement:
    """Median of the relative L² error over the second half of a run, for each seed."""
    values: list[float] = []
    lows, highs = [], []
    for artefact in artefacts:
        steps, errors = curve(artefact)
        late = errors[steps >= steps[-1] / 2]
        values += np.median(late, axis=0).tolist()
        lows.append(late.min())
        highs.append(late.max())
    return Measurement(
        tuple(values), text=f"second half between {number(min(lows))} and {number(max(highs))}"
    )


def last_tenth(artefacts: Sequence[Artefact]) -> Measurement:
    """Median of the relative L² error over the last tenth of a run, for each seed: for curves that still fall."""
    values: list[float] = []
    for artefact in artefacts:
        steps, errors = curve(artefact)
        values += np.median(errors[steps >= 0.9 * steps[-1]], axis=0).tolist()
    return Measurement(tuple(values))


def plateau_ratio(artefacts: Sequence[Artefact]) -> Measurement:
    """Plateau of the first artefact's partner over its own: pinn / hybrid, seed by seed. Order: hybrid, pinn."""
    hybrid, plain = plateau(artefacts[:1]), plateau(artefacts[1:2])
    values = tuple(b / a for a, b in zip(hybrid.values, plain.values, strict=False))
    return Measurement(values, text=f"hybrid {number(hybrid.mean)}, alone {number(plain.mean)}")


def lower_plateau(artefacts: Sequence[Artefact]) -> Measurement:
    """Whether the first run's plateau is below the second's."""
    first, second = plateau(artefacts[:1]).mean, plateau(artefacts[1:2]).mean
    return Measurement((float(first < second),), text=f"{number(first)} against {number(second)}")


def first_below(artefact: Artefact, level: float, key: str = "rel_l2") -> np.ndarray:
    """First evaluated iteration of each seed with an error below `level`, infinity if none; (S,)."""
    steps, errors = curve(artefact, key)
    hit = errors < level
    return np.where(hit.any(axis=0), steps[hit.argmax(axis=0)], np.inf)


def sooner(level: float, keys: tuple[str, ...] = ("rel_l2",)) -> Measure:
    """Whether the hybrid run gets below `level` in fewer iterations than the plain one, seed by seed. Order: hybrid, pinn.

    A seed of which neither run gets there says nothing and is left out.
    """

    def measure(artefacts: Sequence[Artefact]) -> Measurement:
        hybrid, plain = artefacts[:2]
        values, words = [], []
        for key in keys:
            pairs = list(zip(first_below(hybrid, level, key), first_below(plain, level, key), strict=False))
            values += [float(a < b) for a, b in pairs if np.isfinite([a, b]).any()]
            words += [f"{_when(a)} against {_when(b)}" for a, b in pairs]
        return Measurement(tuple(values), text=f"iterations to an error of {level:g}: " + ", ".join(words))

    return measure


def trapped(level: float, until: int) -> Measure:
    """Whether a run stays above `level` up to iteration `until`, seed by seed.

    A seed that ends earlier, still above, says nothing and is left out.
    """

    def measure(artefacts: Sequence[Artefact]) -> Measurement:
        first = np.concatenate([first_below(artefact, level) for artefact in artefacts])
        last = np.concatenate([np.full_like(first_below(a, level), curve(a)[0][-1]) for a in artefacts])
        known = (first < until) | (last >= until)
        return Measurement(
            tuple((first[known] >= until).astype(float)),
            text=f"first error below {level:g} at " + ", ".join(_when(step) for step in first),
        )

    return measure


def steady(artefacts: Sequence[Artefact]) -> Measurement:
    """Whether residual, L² and H¹ error fall from each quarter of a run to the next (medians), seed by seed."""
    holds: list[float] = []
    for artefact in artefacts:
        columns = [artefact.arrays["history:loss/pde"]] + [
            curve(artefact, key)[1] for key in ("rel_l2", "rel_h1")
        ]
        falls = [
            np.all(np.diff(_quarters(np.asarray(column, float)), axis=0) < 0, axis=0) for column in columns
        ]
        holds += np.all(falls, axis=0).astype(float).tolist()
    return Measurement(tuple(holds))


def successes(artefacts: Sequence[Artefact]) -> Measurement:
    """Number of seeds with an L² error below 0.1 at the selected iterate."""
    rows = [row for artefact in artefacts for row in artefact.record["seeds"]]
    good = [row for row in rows if row["rel_l2"] is not None and row["rel_l2"] < SUCCESS]
    return Measurement((float(len(good)),), text=f"{len(good)} of {len(rows)} below {SUCCESS:g}")


def iterations_ratio(artefacts: Sequence[Artefact]) -> Measurement:
    """Mean iterations to the selected iterate, hybrid over plain. Order: hybrid, pinn."""
    hybrid, plain = (selected("iterations")(artefacts[k : k + 1]).mean for k in (0, 1))
    return Measurement((hybrid / plain,), text=f"{number(hybrid)} against {number(plain)}")


def overfitted_gap(name: str) -> Measure:
    """Fig. 1b: y_h(u_θ) near y_h(u), and Q_δu_θ nearer to y_h(u_θ) than to Q_δu. Order: hybrid run, consistency gap."""

    def measure(artefacts: Sequence[Artefact]) -> Measurement:
        run, exact = artefacts[0], artefacts[1].record[name]
        y, Q = (np.asarray(exact[key]) for key in ("state", "averaged"))
        size = lambda v: float(np.linalg.norm(v) / np.linalg.norm(y))  # noqa: E731
        values, words = [], []
        for y_net, Q_net in zip(run.arrays["coarse:state"], run.arrays["coarse:averaged"], strict=True):
            near, own, other = size(y_net - y), size(Q_net - y_net), size(Q_net - Q)
            values += [float(near < 0.1), float(own < other / 2)]
            words.append(
                f"|y(net) - y(u)| {number(near)}, |Q net - y(net)| {number(own)}, |Q net - Q u| {number(other)}"
            )
        return Measurement(tuple(values), text="; ".join(words) + ", all over |y(u)|")

    return measure


def smaller_gap(artefacts: Sequence[Artefact]) -> Measurement:
    """Whether the gap at the exact solution is smaller for ε = 0.01 than for ε = 1/15."""
    record = artefacts[0].record
    wide, narrow = (record[name]["gap"] for name in ("heat1d-eps15", "heat1d-eps100"))
    return Measurement((float(narrow < wide),), text=f"{number(narrow)} against {number(wide)}")


def recorded(*path: str) -> Measure:
    """An entry of a calculation's record."""

    def measure(artefacts: Sequence[Artefact]) -> Measurement:
        value = artefacts[0].record
        for key in path:
            value = value[key]
        return Measurement((float(value),))

    return measure


def _quarters(column: np.ndarray) -> np.ndarray:
    return np.stack([np.median(part, axis=0) for part in np.array_split(column, 4)])


def _when(step: float) -> str:
    return "never" if not np.isfinite(step) else f"{step:,.0f}"
