"""Conductivities that are constant on the boxes of a grid: values, exact means over simplices, and where they jump."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import jax.numpy as jnp
import numpy as np

BLOCK = 1 << 18
"""Numbers in one array of :meth:`Pixels.cell_means`."""
SNAP = 1e-9
"""Pixels by which a corner of a cell may miss a line of the grid that it lies on but for rounding."""
MOST_CELLS = 1 << 13
"""Cells a side beyond which no mesh is looked for that has its lines on those of the grid."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """A field that is constant on boxes: values[i, j] on lower + [i, i + 1)h₁ × [j, j + 1)h₂.

    Attributes
    ----------
    values : (n,), (n₁, n₂) or (n₁, n₂, 2, 2) float64 array
        Numbers, or tensors.
    lower : float or (d,) array
        Lower end of the grid along each axis.
    sizes : (d,) array
        h, the sides of a box.
    periodic : bool
        The grid is repeated along each axis. Otherwise its outermost boxes reach to infinity.

    Examples
    --------
    >>> two = Pixels(np.array([1.0, 3.0]), 0.0, np.array([0.5]), False)
    >>> float(two(jnp.array([0.7]))), two.cell_means(np.array([[[0.25], [0.75]]])).tolist(), two.cells(3)
    (3.0, [2.0], 4)
    """

    values: np.ndarray
    lower: float | np.ndarray
    sizes: np.ndarray
    periodic: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Boxes along each axis."""
        return self.values.shape[: len(self.sizes)]

    def __call__(self, x):
        """The value at one point x (d,), a JAX function; on a line of the grid that of the box above it."""
        cell = jnp.floor((x - jnp.asarray(self.lower, x.dtype)) / jnp.asarray(self.sizes, x.dtype))
        n = jnp.asarray(self.shape, x.dtype)
        cell = jnp.mod(cell, n) if self.periodic else jnp.clip(cell, 0, n - 1)
        return jnp.asarray(self.values, x.dtype)[tuple(cell.astype(jnp.int32))]

    def reciprocal(self) -> Pixels:
        """The same boxes with 1/values, of tensors their inverses."""
        inverse = np.linalg.inv(self.values) if self.values.ndim == 4 else 1.0 / self.values
        return Pixels(inverse, self.lower, self.sizes, self.periodic)

    @property
    def box(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper corner of the grid, of one tile where it is repeated."""
        lower = np.broadcast_to(self.lower, self.sizes.shape)
        return tuple(lower.tolist()), tuple((lower + self.sizes * self.shape).tolist())

    def jumps(self, lower: float | Sequence[float], upper: float | Sequence[float]) -> tuple[np.ndarray, ...]:
        """For each axis the x_i in (lower_i, upper_i) at which two boxes of different values meet, ascending."""
        found, d = [], len(self.sizes)
        starts, ends, firsts = (np.broadcast_to(one, d).tolist() for one in (lower, upper, self.lower))
        for axis, (n, h, lower, upper, first) in enumerate(
            zip(self.shape, self.sizes, starts, ends, firsts, strict=True)
        ):
            rest = tuple(k for k in range(self.values.ndim) if k != axis)
            differs = np.any(self.values != np.roll(self.values, 1, axis), axis=rest)  # (n,), at the lower line of box k
            low, high = math.ceil((lower - first) / h), math.floor((upper - first) / h)
            k = np.arange(low, high + 1) if self.periodic else np.arange(max(low, 1), min(high, n - 1) + 1)
            x = first + h * k[differs[k % n]]
            found.append(x[(x > lower + SNAP * h) & (x < upper - SNAP * h)])
        return tuple(found)

    def cells(self, least: int, box: tuple[Sequence[float], Sequence[float]] | None = None, unit: float | None = None) -> int:
        """The smallest number ≥ `least` of cells a `unit` of a uniform mesh whose lines hold all jumps.

        The mesh is that of a box, (lower, upper), by default (0, 1)^d; the unit is its shortest side by default. `least` itself
        where there is no such mesh, or none below `MOST_CELLS`; means over its cells are exact all the same.
        """
        multiple, (lower, upper) = 1, box or ((0.0,) * len(self.sizes), (1.0,) * len(self.sizes))
        unit = unit or min(b - a for a, b in zip(lower, upper, strict=True))
        lines = self.jumps(lower, upper)
        parts = {round((float(x) - a) / unit, 12) for a, line in zip(lower, lines, strict=True) for x in line}
        parts |= {round((b - a) / unit, 12) for a, b in zip(lower, upper, strict=True)}
        for x in parts:
            part = Fraction(x).limit_denominator(MOST_CELLS)
            multiple = math.lcm(multiple, part.denominator)
            if abs(float(part) - x) > 1e-9 * self.sizes.min() / unit or multiple > MOST_CELLS:
                return least
        return multiple * math.ceil(least / multiple)

    def cell_values(self, corners: np.ndarray) -> np.ndarray | None:
        """Values on simplices with these corners (m, d + 1, d), each within one box; None where one is not."""
        s = (np.asarray(corners, np.float64) - self.lower) / self.sizes
        first = np.floor(s.min(axis=1) + SNAP)
        return self.values[self._index(first)] if np.all(s.max(axis=1) <= first + 1 + SNAP) else None

    def cell_means(self, corners: np.ndarray) -> np.ndarray:
        """Means over simplices with these corners (m, d + 1, d), exact to rounding wherever the lines of the grid cut them.

        By Green's theorem, ∫_T K = ∫_∂T F dx₂ with F = ∫K dx₁, which is linear between two lines of the grid.
        """
        if self.values.ndim == 4:
            parts = [Pixels(self.values[..., i, j], self.lower, self.sizes, self.periodic) for i in (0, 1) for j in (0, 1)]
            return np.stack([part.cell_means(corners) for part in parts], axis=-1).reshape(-1, 2, 2)
        s = (np.asarray(corners, np.float64) - self.lower) / self.sizes
        whole = np.rint(s)
        s = np.where(np.abs(s - whole) < SNAP, whole, s)
        first = np.floor(s.min(axis=1))  # (m, d)
        cut = np.any(s.max(axis=1) > first + 1, axis=1)
        means = self.values[self._index(first)]
        s, first = s[cut], first[cut]
        if len(s) and s.shape[2] == 1:
            F = self._integral(s[:, :, 0], np.zeros((1, 1)), first)
            means[cut] = (F[:, 1] - F[:, 0]) / (s[:, 1, 0] - s[:, 0, 0])
        elif len(s):
            lines = int(np.sum(np.max(s.max(axis=1) - first, axis=0))) + 4
            step = max(1, BLOCK // lines)
            parts = [self._triangles(s[k : k + step], first[k : k + step]) for k in range(0, len(s), step)]
            means[cut] = np.concatenate(parts)
        return means

    def _index(self, box: np.ndarray) -> tuple[np.ndarray, ...]:
        """Numbers (..., d) of boxes as indices of `values`."""
        n = np.array(self.shape)
        box = np.mod(box, n) if self.periodic else np.clip(box, 0, n - 1)
        return tuple(np.moveaxis(box.astype(np.int64), -1, 0))

    def _integral(self, x: np.ndarray, y: np.ndarray, first: np.ndarray) -> np.ndarray:
        """F = ∫ K dx₁ from the line first[:, 0] to x (m, k), in the row that holds y (m, k), both in pixels."""
        table = self.values.reshape(len(self.values), -1)
        n, rows = table.shape
        sums = np.concatenate([np.zeros((1, rows)), np.cumsum(table, axis=0)])  # (n + 1, rows)
        row = np.floor(y).astype(np.int64)
        row = np.mod(row, rows) if self.periodic else np.clip(row, 0, rows - 1)

        def before(cell: np.ndarray) -> np.ndarray:
            turns, cell = np.divmod(cell, n) if self.periodic else (0, cell)
            return turns * sums[n, row] + sums[cell, row]

        start, cell = first[:, :1].astype(np.int64), np.floor(x).astype(np.int64)
        if not self.periodic:
            start, cell = np.clip(start, 0, n - 1), np.clip(cell, 0, n - 1)
        return before(cell) - before(start) + (x - cell) * table[np.mod(cell, n), row]

    def _triangles(self, s: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Means over triangles with corners s (m, 3, 2) in pixels: each side is cut where a line of the grid crosses it."""
        total = np.zeros(len(s))
        for k in range(3):
            a, b = s[:, k], s[:, (k + 1) % 3]
            ends = [np.zeros((len(s), 1)), np.ones((len(s), 1))]
            for axis in (0, 1):
                low = np.floor(np.minimum(a[:, axis], b[:, axis]))
                most = int(np.max(np.ceil(np.maximum(a[:, axis], b[:, axis])) - low))
                line = low[:, None] + np.arange(1, most)
                run = (b - a)[:, axis, None]
                t = (line - a[:, axis, None]) / np.where(run == 0, 1, run)
                ends.append(np.where(run == 0, 0, np.clip(t, 0, 1)))
            t = np.sort(np.concatenate(ends, axis=1), axis=1)
            middle, length = (t[:, 1:] + t[:, :-1]) / 2, np.diff(t, axis=1)
            x, y = (a[:, i, None] + (b - a)[:, i, None] * middle for i in (0, 1))
            total += np.sum(self._integral(x, y, first) * length, axis=1) * (b - a)[:, 1]
        one, two = s[:, 1] - s[:, 0], s[:, 2] - s[:, 0]
        return 2 * total / (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
