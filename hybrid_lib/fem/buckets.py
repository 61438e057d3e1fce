"""A background grid of buckets, each with the cells that touch it: what makes point location fast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Buckets(NamedTuple):
    """A background grid: bucket b holds the cells ``cells[indptr[b]:indptr[b+1]]`` whose boxes touch it."""

    origin: np.ndarray  # (d,)
    spacing: np.ndarray  # (d,)
    shape: np.ndarray  # (d,)
    indptr: np.ndarray  # (buckets+1,)
    cells: np.ndarray


def background_grid(points: np.ndarray, cells: np.ndarray) -> Buckets:
    """Sort the cells into about as many equal buckets as there are cells, by the boxes around them; O(m)."""
    m, d = len(cells), points.shape[1]
    low, high = points.min(axis=0), points.max(axis=0)
    extent = high - low
    side = (np.prod(extent) / m) ** (1.0 / d)
    shape = np.clip(np.ceil(extent / side), 1, 4 * m).astype(np.int64)
    spacing = extent / shape
    corners = points[cells]  # (m, d+1, d)
    pad = 1e-6 * spacing  # more than rounding, so that a box never misses a bucket it touches
    lower = np.clip(np.floor((corners.min(axis=1) - pad - low) / spacing), 0, shape - 1).astype(np.int64)
    upper = np.clip(np.floor((corners.max(axis=1) + pad - low) / spacing), 0, shape - 1).astype(np.int64)
    cell, index = np.arange(m), np.zeros(m, dtype=np.int64)
    for axis in range(d):  # one axis after the other: a cell becomes as many entries as buckets it spans
        counts = (upper - lower + 1)[cell, axis]
        along = ranges(lower[cell, axis], counts)
        cell, index = np.repeat(cell, counts), np.repeat(index, counts) * shape[axis] + along
    total = int(np.prod(shape))
    order = np.argsort(index, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=total))])
    return Buckets(low, spacing, shape, indptr, cell[order])


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate arange(start, start + count) for all pairs."""
    total = int(counts.sum())
    before = np.cumsum(counts) - counts
    return np.arange(total) - np.repeat(before - starts, counts)
