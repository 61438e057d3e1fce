"""The conductivity of one periodic cell, scaled to the unit cell, and what is asked of it before and after a rule has seen it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, require_one_argument, whole

MOST_ERROR = 0.05
"""Relative error, by bounds or by other points, above which a warning is given."""
_ROTATION = np.array([0.7548776662466927, 0.5698402909980532])
"""Irrational steps along the axes."""


def unit_cell(conductivity: Callable, dimension: int, n: int, period: float, sample: bool) -> tuple[fem.Mesh, Callable]:
    """Mesh of the unit cell and the conductivity scaled to it, after checks of what was passed."""
    if dimension not in (1, 2):
        raise InputError("dimension", "1 or 2", dimension, "pass the number of axes of the medium")
    whole("n", n, 2, "pass the number of cells along an axis")
    conductivity = getattr(conductivity, "conductivity", conductivity)  # of a medium
    if period is None or not (np.isfinite(period) and period > 0):
        raise InputError("period", "a number > 0", period, "pass the period of the medium")
    scaled = scaled_to_cell(conductivity, period)
    if not sample:
        check_period(scaled, dimension, period)
    return fem.interval(n) if dimension == 1 else fem.unit_square(n), scaled


def scaled_to_cell(conductivity: Callable, period: float) -> Callable:
    """y -> K(period·y), with the exact means over cells that pixels have, also of 1/K."""

    require_one_argument("conductivity", conductivity)

    def scaled(y):
        return conductivity(period * y)

    if hasattr(conductivity, "cell_means"):
        scaled.cell_means = lambda corners: conductivity.cell_means(period * corners)
    if hasattr(conductivity, "pixels"):
        scaled.inverse_means = lambda corners: conductivity.pixels.reciprocal().cell_means(period * corners)
    return scaled


def check_period(scaled: Callable, dimension: int, period: float) -> None:
    """Refuse a conductivity that differs from itself one cell further, along any axis, at 256 points."""
    points = _spread(256, dimension)
    shifted = np.stack([points, *(points + unit for unit in np.eye(dimension))])  # (d + 1, 256, d)
    values = fem.evaluate(scaled, shifted).reshape(dimension + 1, len(points), -1)
    off = np.abs(values[1:] - values[0]).max(axis=2) / np.abs(values).max(axis=(0, 2))
    if np.any(off > 1e-3):
        axis, worst = np.unravel_index(np.argmax(off), off.shape)
        raise InputError(
            f"period along axis {axis}", f"K(x) = K(x + {period:g})",
            f"values that differ by {100 * off[axis, worst]:.0f} % at x = {(period * points[worst]).round(4).tolist()}",
            "pass the period of the medium, or sample=True to repeat one cell of it",
        )  # fmt: skip


def warn_of_unseen(what: str, scaled: Callable, dimension: int, means: list[np.ndarray]) -> None:
    """Warn where the means of K and K⁻¹ by a rule are not those at points that have no part in it: something thin, or small."""
    K = fem.evaluate(scaled, _spread(1 << 14, dimension))
    inverse = np.linalg.inv(K) if K.ndim == 3 else 1 / K
    pairs = [(float(np.trace(one)) if np.ndim(one) else float(one), float(np.trace(v.mean(axis=0)) if v.ndim == 3 else v.mean()))
             for one, v in zip(means, (K, inverse), strict=True)]  # fmt: skip
    for name, (by_rule, elsewhere) in zip(("K", "1/K"), pairs, strict=True):
        if abs(by_rule - elsewhere) > MOST_ERROR * elsewhere:
            text = f"{what}: the mean of {name} is {by_rule:.4g} by its rule and {elsewhere:.4g} at more points; take a larger n"
            warnings.warn(text, stacklevel=3)


def _spread(count: int, dimension: int) -> np.ndarray:
    """Points (count, d) of the unit cell by an irrational rotation."""
    return np.mod(0.5 + np.arange(1, count + 1)[:, None] * _ROTATION[:dimension], 1.0)
