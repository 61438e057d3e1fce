"""Meshes that several tests share."""

import numpy as np

from hybrid_lib.fem import Mesh, from_simplices, interval, lshape, unit_square


def scrambled(mesh: Mesh, seed: int = 0, shift: float = 0.15) -> Mesh:
    """The same domain with inner nodes moved, nodes and cells renumbered, cells begun at another vertex."""
    random = np.random.default_rng(seed)
    n, d = mesh.points.shape
    points, step = mesh.points.copy(), mesh.h / np.sqrt(d)
    inner = mesh.interior_nodes
    points[inner] += shift * step * random.uniform(-1, 1, (len(inner), d))
    number = random.permutation(n)  # old node i becomes number[i]
    cells = number[mesh.cells][random.permutation(len(mesh.cells))]
    if d == 2:
        turn = random.integers(0, 3, len(cells))
        cells = np.take_along_axis(cells, (np.arange(3) + turn[:, None]) % 3, axis=1)
    return from_simplices(points[np.argsort(number)], cells)


MESHES = {
    "interval": interval(7, -1.0, 2.0),
    "scrambled interval": scrambled(interval(9), 1),
    "square": unit_square(5),
    "scrambled square": scrambled(unit_square(6), 2),
    "lshape": lshape(3),
    "scrambled lshape": scrambled(lshape(3), 3),
}
