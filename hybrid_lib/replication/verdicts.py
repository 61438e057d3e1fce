r"""Verdicts by written rules: what it takes for a claim to count as replicated, partly so, or different; or not comparable, where
the two figures come from different settings.

A rule compares a measurement with the printed figure and says why its tolerance is what it is. Nothing here looks at a claim's
text; the same rule serves every claim of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

REPLICATED, PARTLY, DIFFERS, APART, PENDING = "replicated", "partly", "differs", "not comparable", "pending"
VERDICTS = (REPLICATED, PARTLY, DIFFERS, APART, PENDING)


@dataclass(frozen=True)
class Measurement:
    """What our runs say about a claim.

    Attributes
    ----------
    values : tuple of float
        One for each seed; of a yes-or-no claim 1.0 or 0.0.
    text : str
        The figures in words, for claims that one number does not tell.
    failed : tuple of int
        Seeds that did not succeed, whose values are among `values` all the same.
    flaw : str
        Why the measurement is not quite what the claim speaks of: such a claim is replicated partly at best.
    apart : str
        Why it was taken in another setting than the paper's: such a claim is not comparable.
    so_far : str
        What a reader should know of the figure while its run is not finished.
    decided : bool
        Nothing that a run has still before it can change the values.
    """

    values: tuple[float, ...]
    text: str = ""
    failed: tuple[int, ...] = ()
    flaw: str = ""
    apart: str = ""
    so_far: str = ""
    decided: bool = False

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN if none could be judged."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def spread(self) -> float:
        """Sample standard deviation, 0 for a single value."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


@dataclass(frozen=True)
class Rule:
    """A named tolerance.

    Attributes
    ----------
    name : str
    text : str
        What is replicated, what is partly.
    why : str
        Why this tolerance.
    judge : callable (Measurement, paper's figure, its spread) -> (verdict, reason)
    """

    name: str
    text: str
    why: str
    judge: Callable[[Measurement, float, float], tuple[str, str]] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Name, text and reason, for the ledger."""
        return {"rule": self.name, "text": self.text, "why": self.why}


def _side(ours: float, paper: float) -> str:
    return "below" if ours < paper else "above"


def number(value: float) -> str:
    """Three digits, in the shorter of the two notations.

    Examples
    --------
    >>> number(0.0123456), number(77478.0)
    ('0.0123', '77,478')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.3g}"
    if abs(value) >= 1000 and abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.2e}"


def times(value: float) -> str:
    """A factor or a number of hours: two digits, or whole from ten on.

    Examples
    --------
    >>> times(4.56), times(126.4)
    ('4.6', '126')
    """
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def digits(unit: float) -> Rule:
    """For printed constants: rounds to the print; partly within five units of its last digit."""

    def judge(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
        away = abs(ours.mean - paper)
        reason = f"{away / unit:.1f} units of the last printed digit {_side(ours.mean, paper)} the print"
        return (REPLICATED if away <= unit / 2 else PARTLY if away <= 5 * unit else DIFFERS), reason

    return Rule(
        "digits",
        f"replicated within {unit / 2:g}; partly within {5 * unit:g}",
        "the print is rounded: half a unit of its last digit; partly, since its mesh and quadrature are not told in full",
        judge,
    )


def _by_factor(close: float, wide: float):
    def judge(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
        ratio = ours.mean / paper
        if not ratio > 0:
            return DIFFERS, "not a positive number"
        away = max(ratio, 1 / ratio)
        reason = f"{times(away)} times {_side(ours.mean, paper)} the print"
        return (REPLICATED if away <= close else PARTLY if away <= wide else DIFFERS), reason

    return judge


def _within(ours: Measurement, paper: float, close: float, wide: float) -> tuple[str, str]:
    away = abs(ours.mean - paper)
    verdict = REPLICATED if away <= close else PARTLY if away <= wide else DIFFERS
    return verdict, f"{number(away)} {_side(ours.mean, paper)} the print"


PLATEAU = Rule(
    "plateau",
    "replicated within a factor 1.5 if the two halves of the second half agree within 10 %; partly within 3",
    "'around' a value read off a logarithmic plot that oscillates; a curve that still falls has no level yet",
    _by_factor(1.5, 3.0),
)
ORDER = Rule(
    "order of magnitude",
    "replicated within a factor 3; partly within 10",
    "the text gives a power of ten, or a number of orders",
    _by_factor(3.0, 10.0),
)
COUNT = Rule(
    "count",
    "replicated within a factor 1.25; partly within 2",
    "a mean of five without its spread, or a number that the text calls rough",
    _by_factor(1.25, 2.0),
)


def _more(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
    verdict, reason = _by_factor(1.25, 2.0)(ours, paper, spread)
    return (verdict if ours.mean > 1 else DIFFERS), reason if ours.mean > 1 else "not more"


MORE = Rule(
    "more",
    "above 1, and replicated within a factor 1.25; partly within 2",
    "the text says more, whatever the size",
    _more,
)
TIME = Rule(
    "time",
    "on a GPU: replicated within a factor 1.25, partly within 2; elsewhere not comparable",
    "seconds belong to a device; the paper's is an A100 with 40 GB",
    _by_factor(1.25, 2.0),
)
CLOSE = Rule(
    "close",
    "replicated within 1e-2; partly within 5e-2",
    "the gate of Algorithm 3.1 sees no change of the coefficient below 1e-2; five times that is 3 % of it",
    lambda ours, paper, spread: _within(ours, paper, 1e-2, 5e-2),
)
RATIO = Rule(
    "ratio of times",
    "on a GPU with the paper's points: replicated within 10 %, partly within 25 %; elsewhere not comparable",
    "a ratio depends on what an iteration spends on the points, hence on their number and the device",
    _by_factor(1.1, 1.25),
)


def _successes(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
    away = abs(ours.mean - paper)
    return (REPLICATED if away <= 1 else PARTLY if away <= 2 else DIFFERS), f"{ours.mean:.0f} against {paper:.0f}"


SUCCESSES = Rule(
    "successes",
    "replicated within one run of five; partly within two",
    "five trials: one more or less is within the chance of a binomial count",
    _successes,
)


def _with_spread(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
    away = abs(ours.mean - paper)
    ratio = max(ours.mean / paper, paper / ours.mean) if ours.mean > 0 else math.inf
    reason = f"{times(ratio)} times {_side(ours.mean, paper)} the print"
    if ratio > 3:
        return DIFFERS, reason
    near = away <= 2 * math.hypot(ours.spread, spread) or ratio <= 1.25
    return (REPLICATED if near and not ours.failed else PARTLY), reason


MEAN = Rule(
    "mean and spread",
    "replicated within a factor 1.25 or twice the joint spread, up to a factor 3, if no seed fails; partly within 3",
    "two means of five initialisations, each with its standard deviation; a wide spread of ours excuses no more",
    _with_spread,
)


def _at_most(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
    worst = max(ours.values)
    reason = f"largest value {number(worst)}, bound {number(paper)}"
    return (REPLICATED if worst <= paper else PARTLY if worst <= 3 * paper else DIFFERS), reason


AT_MOST = Rule(
    "bound",
    "replicated if every seed stays below; partly below three times the bound",
    "the bound is the end of a colour bar",
    _at_most,
)


def _holds(ours: Measurement, paper: float, spread: float) -> tuple[str, str]:
    if not ours.values:
        return DIFFERS, "no seed gets that far"
    count = int(sum(ours.values))
    reason = f"holds in {count} of {len(ours.values)}"
    return (REPLICATED if count == len(ours.values) else PARTLY if count else DIFFERS), reason


HOLDS = Rule(
    "statement",
    "replicated if it holds for every seed (or comparison), of two errors with a tenth to spare; partly if for some",
    "the statement is made without exceptions",
    _holds,
)
