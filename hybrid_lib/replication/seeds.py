r"""The seeds of a run, as its artefacts hold them, and how two runs are set against each other.

An error is relative and integrated over the domain, ``rel_l2`` or ``rel_h1``; the paper does not name its norm. *Selected* is the
iterate with the smallest residual, Table 1's criterion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hybrid_lib.replication.artefacts import Artefact
from hybrid_lib.replication.verdicts import Measurement, number

Group = Sequence[Artefact]
"""The artefacts of one run, a seed or several each."""
Measure = Callable[[Sequence[Group]], Measurement]
"""What a claim is judged from: a function of the artefacts of each run that the claim needs."""
SUCCESS = 0.1
"""Relative L² error below which a run counts as successful; the paper says "reasonable results"."""
MARGIN = 1.1
"""Of two errors or lengths one is the smaller if it is so by a tenth; less is within the choice of a seed."""


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
        if "evaluations:step" not in arrays:  # ended before the first of them
            return np.zeros(0), np.zeros(0)
        return arrays["evaluations:step"], np.asarray(arrays[f"evaluations:{key}"][:, self.index], float)

    def late(self, share: float) -> np.ndarray:
        """Relative L² errors of the last `share` of the run."""
        steps, errors = self.curve()
        return errors[steps >= (1 - share) * steps[-1]] if len(steps) else np.full(1, np.nan)

    def first_below(self, level: float, key: str = "rel_l2") -> float:
        """First evaluated iteration with an error below `level`, infinity if none."""
        steps, errors = self.curve(key)
        hit = errors < level
        return float(steps[hit.argmax()]) if hit.any() else np.inf

    def reached(self, key: str = "rel_l2") -> float:
        """The last evaluated iteration; infinity if the run came to its end."""
        steps = self.curve(key)[0]
        return np.inf if self.artefact.complete else float(steps[-1]) if len(steps) else 0.0


def seeds(group: Group) -> Iterator[Seed]:
    """The seeds of a run."""
    return (Seed(artefact, k) for artefact in group for k in range(len(artefact.record["seeds"])))


def pairs(groups: Sequence[Group]) -> list[tuple[Seed, Seed]]:
    """The seeds that two runs have in common."""
    first, second = ({seed.row["seed"]: seed for seed in seeds(group)} for group in groups[:2])
    return [(first[k], second[k]) for k in first if k in second]


def succeeded(row: dict[str, Any]) -> bool:
    """Whether the L² error at the selected iterate is below :data:`SUCCESS`."""
    return row["rel_l2"] is not None and row["rel_l2"] < SUCCESS


def value(seed: Seed, key: str) -> float:
    """A column of a seed's row, NaN where it was not finite."""
    return float("nan") if seed.row[key] is None else float(seed.row[key])


def so_far(found: Sequence[Seed]) -> str:
    """Where the selected iterates are, and how far the last ones have come."""
    told = [
        f"the smallest residual is at {seed.row['iterations']:,} and the last iterate's L² error "
        f"{number(value(seed, 'last_rel_l2'))}"
        for seed in found
        if not seed.artefact.complete and len(seed.curve()[1])
    ]
    return "; ".join(told)


def by(seed: Seed, step: float, key: str = "rel_l2") -> str:
    """An iteration, or how long it did not come."""
    if np.isfinite(step) or seed.artefact.complete:
        return when(step)
    return f"none by {seed.reached(key):,.0f}"


def against(both: Sequence[Sequence[float]]) -> str:
    """Two columns in words."""
    return "; ".join(f"{number(a)} against {number(b)}" for a, b in both)


def when(step: float) -> str:
    """An iteration in words."""
    return "never" if not np.isfinite(step) else f"{step:,.0f}"
