r"""Where a function is not what its derivative says: jumps that automatic differentiation does not see, found along lines.

Two points a, b, one after the other on a line, are suspicious if the secant misses what the derivative predicts,
`|f(b) − f(a) − (b − a)(f'(a) + f'(b))/2| > LEAST |f|/2`. Such a segment is cut in pieces and the worst piece taken, until the
difference is gone (f is only steep, or has a kink) or the segment has the length of rounding (f jumps). Lines run along the axes
and, in the plane, the diagonals; with a period some of them through a single one. What is smaller than the distance of the lines,
1/24 of the domain and of the period, can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from hybrid_lib import fem
from hybrid_lib.pinn.domains import Domain

LEAST = 1e-4
"""Jumps smaller than this part of K are let pass."""
LINES = {1: 1, 2: 24}
"""Lines along each axis, and a third of them along each diagonal."""
POINTS = {1: 16384, 2: 384}
"""Points on a line; a third of them on one through a single period."""
PARTS = 16
"""Pieces of a suspicious segment that are looked at in one step of the search."""
CANDIDATES = 480
"""Most segments that are searched at once."""

Values = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Break(NamedTuple):
    """A place (d,) on a line, and the values (c,) before and behind it."""

    point: tuple[float, ...]
    below: np.ndarray
    above: np.ndarray


def along_lines(at: Callable[[jax.Array], jax.Array]) -> Values:
    """What :func:`find_break` asks, from a jitted function of a point and the direction of its line, (2d,) -> (2, c)."""

    def values(points: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = fem.evaluate(at, np.concatenate([points, np.broadcast_to(along, points.shape)], axis=-1))
        return found[..., 0, :], found[..., 1, :]

    return values


def find_break(
    values: Values,
    domain: Domain,
    period: float | None = None,
    *,
    size: float | None = None,
    least: float = LEAST,
    shortest: float | None = None,
) -> Break | None:
    """The largest break of a function that the lines meet, None where there is none.

    Parameters
    ----------
    values : callable
        Points (..., d) and directions, to broadcast against them, -> values and derivatives along these, (..., c) each.
    domain : Domain
    period : float, optional
        Of what the function is made of.
    size : float, optional
        What breaks are measured with; the norm of the value beside them by default.
    least : float
        Breaks smaller than this part are let pass.
    shortest : float, optional
        Length of a segment over which the function counts as broken; that of rounding by default.
    """
    if shortest is None:
        shortest = 1e-13 * max(np.ptp(domain.box, axis=0).max(), np.abs(domain.box).max())

    def misses(f: np.ndarray, slope: np.ndarray, step: np.ndarray) -> np.ndarray:
        gap = np.linalg.norm(np.diff(f, axis=1) - step[:, None, None] * (slope[:, 1:] + slope[:, :-1]) / 2, axis=-1)
        if size is not None:
            return gap / size
        norm = np.linalg.norm(f, axis=-1)
        return gap / np.maximum(np.minimum(norm[:, 1:], norm[:, :-1]), np.finfo(float).tiny)

    largest, broken, a, b = least, None, [], []

    def note(points: np.ndarray, f: np.ndarray, found: np.ndarray, lengths: np.ndarray) -> None:
        """Keep the largest break of a segment that is short enough."""
        nonlocal largest, broken
        found = np.where(lengths[:, None] < shortest, found, 0)
        line, k = np.unravel_index(np.argmax(found), found.shape)
        if found[line, k] > largest:
            largest, broken = found[line, k], Break(tuple(points[line, k].tolist()), f[line, k], f[line, k + 1])

    for points, steps in _lines(domain, period):  # (lines, points, d), (lines, d)
        f, slope = values(points, steps[:, None])
        found = misses(f, slope, np.ones(len(points)))
        lengths = np.linalg.norm(steps, axis=1)
        along = np.linalg.norm(np.diff(points, axis=1) - steps[:, None], axis=2) < lengths[:, None] / 2  # not around the end
        found[~(along & inside(domain, points[:, 1:]) & inside(domain, points[:, :-1]))] = 0
        note(points, f, found, lengths)
        worst = np.argsort(found, axis=None)[::-1][: CANDIDATES // 2]
        line, k = np.unravel_index(worst[found.ravel()[worst] > least / 2], found.shape)
        a.append(points[line, k])
        b.append(points[line, k + 1])
    a, b = np.concatenate(a), np.concatenate(b)
    weights = np.linspace(0, 1, PARTS + 1)[:, None]
    while len(a):
        points = a[:, None] + weights * (b - a)[:, None]  # (candidates, parts + 1, d)
        f, slope = values(points, (b - a)[:, None])
        found = misses(f, slope, np.full(len(a), 1 / PARTS))
        lengths = np.linalg.norm(b - a, axis=1) / PARTS
        note(points, f, found, lengths)
        worst, every = np.argmax(found, axis=1), np.arange(len(a))
        keep = (found[every, worst] > least / 2) & (lengths >= shortest)
        a, b = points[every, worst][keep], points[every, worst + 1][keep]
    return broken


def inside(domain: Domain, points: np.ndarray) -> np.ndarray:
    """Whether points (..., d) lie in Ω, up to the seams of its boxes."""
    if not domain.corners:
        return fem.inside(domain.mesh(8), points.reshape(-1, points.shape[-1])).reshape(points.shape[:-1])
    sides = domain.extent or 1.0
    return np.any([np.all((points > c) & (points < np.add(c, sides)), axis=-1) for c in domain.corners], axis=0)


def _lines(domain: Domain, period: float | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points (lines, points, d) on lines through Ω and through one period, with the step (lines, d) from one to the next."""
    lower, upper = (np.array(c) for c in domain.box)
    boxes = [(lower, upper - lower, POINTS[domain.dimension])]
    if period is not None and period < 0.5 * np.min(upper - lower):
        start = lower + 0.1 * (upper - lower)
        boxes.append((start, np.full(len(lower), period), POINTS[domain.dimension] // 3))
    for start, sides, count in boxes:
        t = (np.arange(count) + 0.381966) / count
        if len(sides) == 1:
            directions = [(np.zeros(1), np.ones(1), 1)]
        else:
            n = LINES[2]
            directions = [
                (np.array([0, 1]), np.array([1, 0]), n),
                (np.array([1, 0]), np.array([0, 1]), n),
                (np.array([1, 0]), np.array([1, 1]), n // 3),
                (np.array([1, 0]), np.array([1, -1]), n // 3),
            ]
        across = [(np.arange(n) + 0.618034) / n for _, _, n in directions]
        points = [
            np.mod(s[:, None, None] * away + t[:, None] * along, 1 + 1e-15)
            for s, (away, along, _) in zip(across, directions, strict=True)
        ]
        steps = [np.tile(along * sides / count, (n, 1)) for _, along, n in directions]
        yield start + sides * np.concatenate(points), np.concatenate(steps)


