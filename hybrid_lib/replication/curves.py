r"""What is read from curves of errors: levels, orders, and how soon one is reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybrid_lib.replication.seeds import MARGIN, Group, Measure, against, by, pairs, seeds
from hybrid_lib.replication.verdicts import Measurement, number


def plateau(groups: Sequence[Group]) -> Measurement:
    """Median of the relative L² error over the second half of a run, for each seed; a flaw if its own halves differ by 10 %."""
    late = [seed.late(0.5) for seed in seeds(groups[0])]
    low, high = min(errors.min() for errors in late), max(errors.max() for errors in late)
    halves = [(errors[: len(errors) // 2], errors[len(errors) // 2 :]) for errors in late if len(errors) > 1]
    falls = [np.median(first) / np.median(second) for first, second in halves] or [1.0]
    most = max(falls, key=lambda fall: abs(np.log(fall)))
    moves = f"falling, by {100 * (1 - 1 / most):.0f} %" if most > 1 else f"rising, by {100 * (1 / most - 1):.0f} %"
    return Measurement(
        tuple(float(np.median(errors)) for errors in late),
        text=f"second half between {number(low)} and {number(high)}",
        flaw=f"no plateau: still {moves} over the last half" if abs(np.log(most)) > np.log(1.1) else "",
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
    """Whether the first run's relative L² error, median of the last `share`, is a tenth below the second's, seed by seed."""

    def measure(groups: Sequence[Group]) -> Measurement:
        both = [[float(np.median(seed.late(share))) for seed in pair] for pair in pairs(groups)]
        least = [np.nan_to_num(pair, nan=np.inf) for pair in both]  # one that diverged is worse than any
        return Measurement(tuple(float(MARGIN * a < b) for a, b in least), text=against(both))

    return measure


def sooner(levels: dict[str, float]) -> Measure:
    """Whether the hybrid run gets below a level in a tenth fewer iterations than the plain one, seed by seed.

    Order: hybrid, pinn. `levels` has one for each error, ``rel_l2`` or ``rel_h1``. A seed of which neither run got there says
    nothing and is left out, as is one of which the slower run has not come far enough: what counts no later iteration can change.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        values, words, waiting = [], [], 0
        for key, level in levels.items():
            for pair in pairs(groups):
                a, b = (seed.first_below(level, key) for seed in pair)
                far = min(seed.reached(key) for seed in pair)
                if np.isinf([a, b]).all() or far < MARGIN * min(a, b):
                    waiting += far < np.inf
                else:
                    values.append(float(MARGIN * a < b))
                words.append(f"below {level:g}: {by(pair[0], a, key)} against {by(pair[1], b, key)}")
        text = "first error " + ", ".join(words)
        return Measurement(tuple(values), text=text, decided=bool(values) and not waiting)

    return measure


def escape(level: float) -> Measure:
    """The iteration at which a run's relative L² error first is below `level`, for each seed.

    A seed that ends without is infinite; one that is not there yet says nothing and is left out.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        found = [(seed, seed.first_below(level)) for seed in seeds(groups[0])]
        values = tuple(step for seed, step in found if np.isfinite(step) or seed.artefact.complete)
        text = f"first error below {level:g}: " + ", ".join(by(seed, step) for seed, step in found)
        return Measurement(values, text=text, decided=len(values) == len(found))

    return measure


def steady(groups: Sequence[Group]) -> Measurement:
    """Whether residual, L² and H¹ error fall from the first hundredth of a run on from quarter to quarter (medians).

    Seed by seed. One with fewer than a hundred values of the residual or four of an error says nothing and is left out.
    """
    holds, words = [], []
    for seed in seeds(groups[0]):
        residual = np.asarray(seed.artefact.arrays["history:loss/pde"][:, seed.index], float)
        columns = {"residual": residual, "L²": seed.curve("rel_l2")[1], "H¹": seed.curve("rel_h1")[1]}
        if len(residual) < 100 or min(map(len, columns.values())) < 4:
            continue
        rises = []
        for name, column in columns.items():
            first = column[: max(1, len(column) // 100)]
            medians = [np.median(part) for part in (first, *np.array_split(column, 4))]
            rises += [name] * bool(np.any(np.diff(medians) >= 0))
        holds.append(float(not rises))
        words += [f"seed {seed.row['seed']}: not " + ", ".join(rises)] * bool(rises)
    return Measurement(tuple(holds), text="; ".join(words))


def less_pronounced(level: float, key: str = "rel_l2") -> Measure:
    """Whether the coupling saves a smaller factor of iterations in the second pair of runs. Order: hybrid, pinn, hybrid, pinn.

    A run that does not get below `level` counts with its last iteration, as a lower bound; a pair without one that does says
    nothing.
    """

    def measure(groups: Sequence[Group]) -> Measurement:
        factors = []
        for pair in (groups[:2], groups[2:4]):
            ran = [both for both in pairs(pair) if all(len(seed.curve(key)[0]) for seed in both)]
            when = [[(seed.first_below(level, key), seed.curve(key)[0][-1]) for seed in both] for both in ran]
            saved = [min(b) / min(a) for a, b in when if np.isfinite([a[0], b[0]]).any()]
            factors.append(float(np.median(saved)) if saved else float("nan"))
        if not np.all(np.isfinite(factors)):
            return Measurement((), text=f"no pair reaches {level:g}")
        text = f"iterations saved to {level:g}: factor {factors[0]:.2g} against {factors[1]:.2g}"
        return Measurement((float(factors[0] > factors[1]),), text=text)

    return measure
