"""Media from measured tables: values at the points of a rectangular grid, and between them by interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.media.medium import Medium, known_within, make_medium, numbers, recorded


@recorded
def table(axes: Sequence[Any], values: Any) -> Medium:
    """A medium from values at the points of a grid, (bi)linear between them and constant beyond.

    Parameters
    ----------
    axes : d sequences of float
        Coordinates of the grid lines along each axis, ascending, not necessarily at equal distances.
    values : (n,) or (n₁, n₂) array
        Conductivities > 0 at ``(axes[0][i], axes[1][j])``, in the unit of the problem.

    Raises
    ------
    InputError
        For axes that do not ascend, shapes that do not match, or a value that is not positive.

    Examples
    --------
    >>> medium = table([[0.0, 1.0, 3.0]], [1.0, 2.0, 6.0])  # not at equal distances
    >>> [float(medium.conductivity(jnp.array([x]))) for x in (0.5, 2.0, 9.0)]
    [1.5, 4.0, 6.0]
    """
    given = numbers("values", values)
    lines = [numbers(f"axes[{k}]", axis) for k, axis in enumerate(axes)]
    for k, line in enumerate(lines):
        if line.ndim != 1 or len(line) < 2 or not np.all(np.diff(line) > 0):
            raise InputError(f"axes[{k}]", "two coordinates or more, ascending", f"{axes[k]}"[:60], "sort them, each once")
    shape = tuple(len(line) for line in lines)
    if len(lines) not in (1, 2) or given.shape != shape:
        raise InputError("values", f"shape {shape}, one value a point of the grid", f"shape {given.shape}", "match the axes")
    if given.min() <= 0:
        where = [int(i) for i in np.unravel_index(given.argmin(), given.shape)]
        raise InputError(f"values{where}", "a conductivity > 0", f"{given.min():g}", "the equation is elliptic only for K > 0")

    def conductivity(x):
        block, parts = jnp.asarray(given, x.dtype), []
        for k, line in enumerate(lines):
            points = jnp.asarray(line, x.dtype)
            cell = jnp.clip(jnp.searchsorted(points, x[k], side="right") - 1, 0, len(line) - 2)
            parts.append((cell, jnp.clip((x[k] - points[cell]) / (points[cell + 1] - points[cell]), 0.0, 1.0)))
        for cell, t in parts:  # contract the first axis left
            block = (1 - t) * block[cell] + t * block[cell + 1]
        return block

    low, high = float(given.min()), float(given.max())
    medium = make_medium(conductivity, len(lines), low, high, name="table", is_lipschitz=True)
    medium.conductivity.kinks = tuple(lines)  # where two lie close together a mesh gets lines
    return known_within(medium, ([line[0] for line in lines], [line[-1] for line in lines]), True)
