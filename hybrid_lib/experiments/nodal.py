"""Values at the nodes of linear elements, as certificates take them: their mesh, what it covers, and their order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array, rounded
from hybrid_lib.fem.location import box_words
from hybrid_lib.fem.sides import labelled
from hybrid_lib.fem.topology import edges_of, outer_facets
from hybrid_lib.pinn.domains import Domain

COVERED = 1e-9
"""What a mesh may miss of its domain by rounding, in units of its size."""


class Nodal(NamedTuple):
    """Values (n,) at the nodes of a mesh, with the rounding of the numbers that were given."""

    mesh: fem.Mesh
    values: np.ndarray
    eps: float


def nodal(domain: Domain, field: Any, mesh: Any = None) -> Nodal | None:
    """Values at nodes with their mesh, checked; None for what is to be called.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import box
    >>> x, y = np.meshgrid([0.0, 1.0, 2.0], [0.0, 1.0], indexing="ij")
    >>> found = nodal(box((0, 0), (2, 1)), x)
    >>> bool(np.all(found.values == found.mesh.points[:, 0]))
    True
    """
    if hasattr(field, "solution") or callable(field):
        return None
    given = getattr(field, "dtype", None)
    values = real_array("field", field)
    if (bad := np.argwhere(~np.isfinite(values))).size:
        where = f"node {bad[0, 0]}" if values.ndim == 1 else bad[0].tolist()
        raise InputError("field", "finite values", f"{values[tuple(bad[0])]} at {where}", "correct the solver they are from")
    grid = domain.dimension == 2 and domain.name in ("unit_square", "box")
    if values.ndim == 2 and grid and min(values.shape) > 1:
        own = _grid(domain, values.shape)
        if mesh is not None and (covering(domain, mesh).points.shape != own.points.shape or not _same(mesh, own)):
            received = f"shape {values.shape} beside mesh="
            raise InputError("field", "values (n,) at the nodes of the mesh", received, "flatten them as mesh.points")
        mesh, values = own if mesh is None else mesh, values.T.ravel()
    if values.ndim != 1:
        expected = "values at nodes (n,), a function or a run"
        remedy = "on a grid of a box pass (n₁ + 1, n₂ + 1) values, [along x, along y]" if grid else "pass one field"
        raise InputError("field", expected, f"shape {values.shape}", remedy)
    mesh = _uniform(domain, len(values)) if mesh is None else covering(domain, mesh)
    fem.cell_gradients(mesh, values)  # checks the number of values
    eps = np.finfo(given if given in (np.float16, np.float32) else float).eps
    return Nodal(mesh, values, float(eps))


def _grid(domain: Domain, shape: tuple[int, ...]) -> fem.Mesh:
    """The mesh of a box with nodes of this shape."""
    return fem.box(*domain.box, [count - 1 for count in shape])


def _same(mesh: fem.Mesh, other: fem.Mesh) -> bool:
    return bool(np.abs(mesh.points - other.points).max() <= COVERED * np.abs(other.points).max())


def _uniform(domain: Domain, n: int) -> fem.Mesh:
    """The uniform mesh of an interval or the square that has as many nodes."""
    d = domain.dimension
    cells = round(n ** (1 / d)) - 1
    if (domain.name == "unit_square" or (d == 1 and domain.name in ("interval", "box"))) and cells > 0 and (cells + 1) ** d == n:
        return domain.mesh(cells)
    remedy = "pass mesh=, or the values as a grid, [along x, along y]" if domain.name == "box" else "pass mesh="
    raise InputError("mesh", "the mesh of the values at nodes", "none", f"{remedy}; {n} nodes are no uniform mesh of the domain")


def covering(domain: Domain, mesh: Any) -> fem.Mesh:
    """A mesh of the domain with the names of its sides, or an InputError if it covers something else.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import lshape
    >>> covering(lshape(), fem.box((-1, -1), (1, 1), (4, 4)))
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: mesh: expected one of the domain, of area 3; received area 4; pass the mesh of the values
    """
    if not isinstance(mesh, fem.Mesh):
        remedy = "make one with fem.from_simplices or fem.read_mesh"
        raise InputError("mesh", "a fem.Mesh", type(mesh).__name__, remedy)
    what, remedy, d = "one of the domain", "pass the mesh of the values", domain.dimension
    if mesh.dimension != d:
        raise InputError("mesh", f"{what}, of dimension {d}", f"dimension {mesh.dimension}", remedy)
    first = getattr(domain, "first", None)
    if first is not None and mesh.points is first.points and mesh.cells is first.cells:
        return first
    box, own = np.array(domain.box), np.array([mesh.points.min(axis=0), mesh.points.max(axis=0)])
    near = COVERED * max(np.ptp(box, axis=0).max(), np.abs(box).max())
    if np.abs(box - own).max() > near:
        raise InputError("mesh", f"{what}, within {box_words(*box)}", box_words(*own), remedy)
    if abs(mesh.volumes.sum() - domain.measure) > COVERED * domain.measure:
        name = "length" if d == 1 else "area"
        received = f"{name} {rounded(mesh.volumes.sum(), 9)}"
        raise InputError("mesh", f"{what}, of {name} {rounded(domain.measure, 9)}", received, remedy)
    _, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    ends = mesh.points[np.stack([lower, upper], axis=1)]
    x = np.concatenate([ends[:, 0], ends.mean(axis=1), ends[:, 1]])
    away = np.full(len(x), np.inf)
    for start, direction, measure in domain.faces:
        off, e = x - np.array(start), np.array(direction)
        along = np.clip(off @ e, 0.0, measure if e.any() else 0.0)
        away = np.minimum(away, np.linalg.norm(off - along[:, None] * e, axis=1))
    if away.max() > near:
        received = f"a side of a cell at {x[int(away.argmax())].round(6).tolist()} that is none of its boundary"
        raise InputError("mesh", what, received, remedy)
    known = set(mesh.sides) == set(domain.sides) and sum(map(len, mesh.sides.values())) == len(lower)
    return mesh if known else labelled(mesh, domain.faces, domain.names)


def prolonged(mesh: fem.Mesh, values: np.ndarray) -> np.ndarray:
    """The same linear elements on ``fem.refine(mesh)``.

    >>> prolonged(fem.interval(2), np.array([0.0, 1.0, 0.0])).tolist()
    [0.0, 1.0, 0.0, 0.5, 0.5]
    """
    lower, upper, _ = edges_of(mesh.cells, len(mesh.points))
    return np.concatenate([values, 0.5 * (values[lower] + values[upper])])
