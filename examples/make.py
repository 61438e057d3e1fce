"""Makes the files beside the problem files here: ``python examples/make.py``. Nothing random: the same files every time."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from hybrid_lib import domains, fem
from hybrid_lib.fem import gmsh

HERE = Path(__file__).parent


def rock(rows: int = 24, columns: int = 48) -> np.ndarray:
    """Three phases: grains (level 255) in a matrix (128), with a crack (0) from left to right; the first row is the top one."""
    row, column = np.mgrid[0:rows, 0:columns]
    levels = np.full((rows, columns), 128, np.uint8)
    for top, left, radius in ((6, 8, 4), (5, 27, 5), (17, 16, 5), (18, 38, 4)):
        levels[np.hypot(row - top, column - left) < radius] = 255
    levels[np.abs(row - 12 - 2 * np.sin(column / 6)) < 0.8] = 0
    return levels


def plate() -> fem.Mesh:
    """A plate of 0.2 m by 0.1 m with a round hole; steel on the left of 0.12 m, foam on the right."""
    turn = 2 * np.pi * np.arange(24) / 24
    hole = np.stack([0.06 + 0.02 * np.cos(turn), 0.05 + 0.02 * np.sin(turn)], axis=1)
    steel = [(0, 0), (0.12, 0), (0.12, 0.1), (0, 0.1)]
    left = fem.polygon(steel, [hole], 0.01)
    right = fem.polygon([(0.12, 0), (0.2, 0), (0.2, 0.1), (0.12, 0.1)], (), 0.01)
    points = np.concatenate([left.points, right.points])
    cells = np.concatenate([left.cells, right.cells + len(left.points)])
    mesh = fem.from_simplices(points, cells, merge=True)
    inside = mesh.points[mesh.cells].mean(axis=1)[:, 0] < 0.12
    materials = {"steel": np.flatnonzero(inside), "foam": np.flatnonzero(~inside)}
    mesh = domains.from_mesh(mesh).mesh(1)
    middle = mesh.points[mesh.sides["boundary"]].mean(axis=1)
    round_ = np.hypot(middle[:, 0] - 0.06, middle[:, 1] - 0.05) < 0.021
    where = {"hole": round_, "left": middle[:, 0] < 1e-9, "right": middle[:, 0] > 0.2 - 1e-9}
    where["rim"] = ~np.any(list(where.values()), axis=0)
    sides = {name: mesh.sides["boundary"][found] for name, found in where.items()}
    return dataclasses.replace(mesh, sides=sides, materials=materials)


if __name__ == "__main__":
    Image.fromarray(rock()).save(HERE / "rock.png", optimize=True)
    gmsh.write(HERE / "plate.msh", plate())
