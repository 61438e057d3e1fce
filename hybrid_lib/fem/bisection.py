"""Where functions of one number jump, many at once, by bisection: a jump stays when its interval shrinks, a steep rise goes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEPS = 64
"""Halvings, at most; between neighbouring numbers nothing is left to halve."""


def size(values: np.ndarray) -> np.ndarray:
    """The largest entry of each row of values (..., c)."""
    return np.abs(values).max(axis=-1, initial=0.0)


def differ(one: np.ndarray, other: np.ndarray, least: float) -> np.ndarray:
    """Whether rows (..., c) differ by more than a part `least` of the smaller one."""
    return size(one - other) > least * np.minimum(size(one), size(other))


def jumps_between(
    at: Callable, low: np.ndarray, high: np.ndarray, below: np.ndarray, above: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of many functions jump between two places, (j,), and where, to rounding, (j,).

    Parameters
    ----------
    at : callable
        Numbers of functions (j,) and places (j,) -> values (j, c).
    low, high : (k,) arrays
        Places on the two sides.
    below, above : (k, c) arrays
        Values there.
    least : float
        Changes by a smaller part are none.

    Examples
    --------
    >>> steps = lambda k, s: np.where(s < np.array([0.3, 0.7])[k], 1.0, 2.0)[:, None]
    >>> low, high = np.zeros(2), np.ones(2)
    >>> jumps_between(steps, low, high, np.ones((2, 1)), 2 * np.ones((2, 1)), 0.01)[1].tolist()
    [0.3, 0.7]
    """
    which = np.arange(len(low))
    for _ in range(STEPS):
        if not np.any(((middle := (low + high) / 2) > low) & (middle < high)):
            break
        between = at(which, middle)
        left = size(between - below) >= size(above - between)
        low, below = np.where(left, low, middle), np.where(left[:, None], below, between)
        high, above = np.where(left, middle, high), np.where(left[:, None], between, above)
        keep = differ(below, above, least)
        which, low, high, below, above = (one[keep] for one in (which, low, high, below, above))
    return which, high
