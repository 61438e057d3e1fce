"""Domains: where collocation points lie, how far the boundary is, and what vanishes on it.

A `Domain` is a union of equal boxes with an axis-parallel boundary: the interval (0, 1) and the unit square of
the paper's section 4.4, boxes of any size, and an L-shape whose corner points inwards; :mod:`hybrid_lib.pinn.polygons` adds
polygons with
holes and meshes from outside. Its functions take one point, or one boundary parameter, follow its dtype, and go
through `jax.jit`, `jax.vmap` and derivatives. Lengths are dimensionless.

Paper: Ω and ∂Ω in (2.8), dist(x, ∂Ω) in (2.9), the factor l(x) of hard boundary conditions in section 4.4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError, real_array

Point = tuple[float, ...]
Face = tuple[Point, Point, float]


@dataclass(frozen=True)
class Domain:
    """A domain Ω ⊂ R^d made of equal boxes; made by `interval`, `unit_square`, `box` or `lshape`.

    Attributes
    ----------
    name : str
        The name of the factory, of the domain and of its mesh in `hybrid_lib.fem` alike.
    corners : tuple of points
        Lower corners of the boxes whose union is Ω.
    faces : tuple of (start, direction, measure)
        The boundary: segments start + [0, measure]·direction, in the order of a walk around Ω; in 1-D two
        points, with direction 0 and measure 1 each (counting measure).
    factor : callable or None
        x (d,) -> (), the factor l behind `vanishing`; None where that is another one.
    names : tuple of str
        The name of the side that each face belongs to.
    extent : tuple of d floats or None
        Lengths of the boxes; None for 1 along each axis.
    """

    name: str
    corners: tuple[Point, ...]
    faces: tuple[Face, ...]
    factor: Callable[[jax.Array], jax.Array] | None
    names: tuple[str, ...] = ()
    extent: Point | None = None

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return len(self.corners[0])

    @property
    def sides(self) -> tuple[str, ...]:
        """Names of the sides, each once.

        Examples
        --------
        >>> box((0, 0), (2, 1)).sides
        ('bottom', 'right', 'top', 'left')
        """
        return tuple(dict.fromkeys(self.names))

    @property
    def unit(self) -> float:
        """What counts as one for the number of cells and for small periods, the shortest side of a box, else 1."""
        return 1.0 if self.extent is None else min(self.extent)

    @property
    def measure(self) -> float:
        """`|Ω|`, the length in 1-D, area in 2-D."""
        return len(self.corners) * math.prod(self.extent or (1.0,))

    @property
    def boundary_measure(self) -> float:
        """`|∂Ω|`, the number of end points in 1-D, arc length in 2-D."""
        return math.fsum(measure for _, _, measure in self.faces)

    @property
    def box(self) -> tuple[Point, Point]:
        """Lower and upper corner of the smallest box that holds Ω."""
        lower = np.array(self.corners)
        upper = lower.max(axis=0) + np.array(self.extent or 1.0)
        return tuple(lower.min(axis=0).tolist()), tuple(upper.tolist())

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the faces, (k, d) each."""
        starts = np.array([start for start, _, _ in self.faces])
        return starts, starts + np.array([[m * e for e in direction] for _, direction, m in self.faces])

    def distance(self, x: jax.Array) -> jax.Array:
        """Euclidean distance of one point to ∂Ω, ≥ 0 inside and outside alike; cost O(number of faces).

        Parameters
        ----------
        x : (d,) array

        Returns
        -------
        () array of x's dtype; differentiable where the nearest boundary point is unique, slope 0 on ∂Ω.

        Raises
        ------
        InputError
            If ``x`` is not one floating point of d coordinates.

        Examples
        --------
        >>> float(unit_square().distance(jnp.array([0.25, 0.5])))
        0.25
        """
        x = self._point(x)
        starts, ends = self._ends()
        lower, upper = (jnp.asarray(f(starts, ends), x.dtype) for f in (np.minimum, np.maximum))
        zero = jnp.zeros((), x.dtype)
        gaps = jnp.maximum(jnp.maximum(lower - x[None, :], x[None, :] - upper), zero)  # (k, d)
        square = jnp.min(jnp.sum(gaps**2, axis=1))
        touching = square == 0.0
        return jnp.where(touching, zero, jnp.sqrt(jnp.where(touching, jnp.ones_like(square), square)))

    def vanishing(self, x: jax.Array) -> jax.Array:
        """Smooth factor l of hard boundary conditions u_θ = l·net_θ: 0 exactly on ∂Ω, positive in Ω.

        Interval 4x(1 − x), square 16x₁(1 − x₁)x₂(1 − x₂): polynomials with maximum 1. L-shape
        (1 − x₁²)(1 − x₂²)(a + b + √(a² + b²)) with a = −x₁, b = x₂: the sum is the R-function of
        "a > 0 or b > 0", zero on the two edges of the inward corner alone; the maximum is about 1. This l is
        analytic but at the corner, where its slope jumps and its second derivatives grow like 1/distance: a
        strong residual on the L-shape is then not square integrable, unless the network vanishes there.

        Parameters
        ----------
        x : (d,) array

        Returns
        -------
        () array of x's dtype.

        Raises
        ------
        InputError
            If ``x`` is not one floating point of d coordinates.

        Examples
        --------
        >>> float(interval().vanishing(jnp.array([0.5])))
        1.0
        """
        return self.factor(self._point(x))

    def layer(self, x: jax.Array, period: float) -> jax.Array:
        r"""Factor η of hard boundary conditions that is 1 but for a boundary layer: 0 exactly on ∂Ω, positive in Ω.

        .. math:: \eta(x) = \prod_i (1 - e^{-2\pi x_i/\varepsilon}) (1 - e^{-2\pi (1 - x_i)/\varepsilon})

        on the interval and the square, so that 1 − η falls at the rate of the boundary layers of a medium with period ε; on the
        L-shape 1 − exp(−2πl/ε) with the l of :meth:`vanishing`. A term of size ε that must not vanish inside, but has to
        on ∂Ω, would grow like 1/l if l were its factor.

        Parameters
        ----------
        x : (d,) array
        period : float
            ε > 0.

        Returns
        -------
        () array of x's dtype.

        Raises
        ------
        InputError
            If ``x`` is not one floating point of d coordinates, or the period is not positive.

        Examples
        --------
        >>> x = jnp.array([0.0, 0.5, 1.0])[:, None]
        >>> [round(float(interval().layer(point, 0.1)), 6) for point in x]
        [0.0, 1.0, 0.0]
        """
        if not (math.isfinite(period) and period > 0):
            raise InputError("period", "a number > 0", period, "pass the period of the medium")
        x, rate = self._point(x), 2 * math.pi / period
        if len(self.corners) > 1:
            return -jnp.expm1(-rate * self.factor(x))
        if self.extent is not None:
            lower, upper = (jnp.asarray(corner, x.dtype) for corner in self.box)
            return jnp.prod(jnp.expm1(-rate * (x - lower)) * jnp.expm1(-rate * (upper - x)))
        return jnp.prod(jnp.expm1(-rate * x) * jnp.expm1(-rate * (1.0 - x)))

    def contains(self, x: jax.Array) -> jax.Array:
        """Whether one point lies in the open set Ω: shape (), bool.

        Examples
        --------
        >>> bool(lshape().contains(jnp.array([0.5, -0.5])))
        False
        """
        x = self._point(x)
        corners, upper = (jnp.asarray(a, x.dtype) for a in (self.corners, np.add(self.corners, self.extent or 1.0)))  # (k, d)
        inside = jnp.all((x[None, :] >= corners) & (x[None, :] <= upper), axis=1)
        return jnp.any(inside) & (self.distance(x) > 0.0)

    def boundary_point(self, s: jax.Array) -> jax.Array:
        """Point of ∂Ω at the fraction s ∈ [0, 1) of its measure, anticlockwise; 1-D: 0 for s < ½, then 1.

        Parameters
        ----------
        s : () array of a floating dtype, or a number

        Returns
        -------
        (d,) array of the dtype of ``s``; on ∂Ω exactly.

        Raises
        ------
        InputError
            If ``s`` is not one floating-point number.

        Examples
        --------
        >>> unit_square().boundary_point(0.375).tolist()
        [1.0, 0.5]
        """
        s = jnp.asarray(s)
        if s.shape != () or not jnp.issubdtype(s.dtype, jnp.floating):
            raise InputError(
                "s", "one floating-point number", f"{s.dtype} of shape {s.shape}", "map with jax.vmap"
            )
        starts, directions = (np.array([face[i] for face in self.faces]) for i in (0, 1))  # (k, d)
        measures = np.array([measure for _, _, measure in self.faces])  # (k,)
        begins = jnp.asarray(np.cumsum(measures) - measures, s.dtype)  # (k,) walked before each face
        walked = s * self.boundary_measure
        k = jnp.sum(jnp.asarray(begins[1:] <= walked, jnp.int32), dtype=jnp.int32)
        along = jnp.clip(walked - begins[k], 0.0, jnp.asarray(measures, s.dtype)[k])
        return jnp.asarray(starts, s.dtype)[k] + along * jnp.asarray(directions, s.dtype)[k]

    def mesh(self, n: int):
        """Triangulation with n cells along a unit length (`unit`), a `hybrid_lib.fem.Mesh`.

        Raises
        ------
        InputError
            If ``n`` is not an integer ≥ 1.
        """
        from hybrid_lib import fem

        if self.extent is not None:
            lower, upper = self.box
            fem.interval(n)  # checks the number
            return fem.box(lower, upper, [math.ceil(n * side / self.unit - 1e-9) for side in self.extent])
        makers = {"interval": fem.interval, "unit_square": fem.unit_square, "lshape": fem.lshape}
        return makers[self.name](n)

    def labelled(self, mesh):
        """The mesh, which covers Ω, with the names of the sides on it: `mesh.sides`, unless it has some.

        Examples
        --------
        >>> square = unit_square()
        >>> square.labelled(square.mesh(2)).sides["left"].tolist()
        [[0, 3], [3, 6]]
        """
        from hybrid_lib.fem.sides import labelled

        return mesh if mesh.sides else labelled(mesh, self.faces, self.names)

    def _point(self, x):
        x = jnp.asarray(x)
        if x.shape != (self.dimension,) or not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError(
                f"point of {self.name}",
                f"floating-point coordinates of shape ({self.dimension},)",
                f"{x.dtype} of shape {x.shape}",
                "map over rows of points with jax.vmap",
            )
        return x


def interval(a: float = 0.0, b: float = 1.0) -> Domain:
    """The interval Ω = (a, b) with the sides left and right; for (0, 1) l(x) = 4x(1 − x) as in section 4.4.

    Raises
    ------
    InputError
        As :func:`box`.

    Examples
    --------
    >>> interval().measure, interval().boundary_measure
    (1.0, 2.0)
    >>> interval(-1.0, 2.0).sides
    ('left', 'right')
    """
    return box((a,), (b,))


def unit_square() -> Domain:
    """The unit square Ω = (0, 1)²: `|Ω| = 1`, `|∂Ω| = 4`.

    Examples
    --------
    >>> unit_square().measure, unit_square().boundary_measure
    (1.0, 4.0)
    """
    return box((0.0, 0.0), (1.0, 1.0))


def box(lower: Any, upper: Any) -> Domain:
    """The interval or rectangle between two corners; sides left and right, in the plane also bottom and top.

    Parameters
    ----------
    lower, upper : d floats
        Corners, lower < upper; d = 1 or 2.

    Raises
    ------
    InputError
        For corners that are no finite numbers, of different length, or in the wrong order.

    Examples
    --------
    >>> box((0.0, 0.0), (0.5, 0.25)).boundary_measure
    1.5
    >>> box((0.0, 0.0), (1.0, 1.0)).name
    'unit_square'
    """
    lower, upper = (np.atleast_1d(real_array(what, given)) for what, given in (("lower", lower), ("upper", upper)))
    d, far = lower.size, np.abs([*lower.ravel(), *upper.ravel()]).max(initial=0.0)
    fits = lower.shape == upper.shape and lower.ndim == 1 and d in (1, 2) and np.isfinite(far)
    if not fits or not np.all(upper - lower > 1e-9 * far):
        received = f"{lower.tolist()} and {upper.tolist()}"
        remedy = "pass one number an axis, the lower corner first"
        raise InputError("box", "two corners of one or two finite numbers, lower < upper", received, remedy)
    low, high = tuple(lower.tolist()), tuple(upper.tolist())
    plain = not lower.any() and np.all(upper == 1.0)
    extent = None if plain else tuple((upper - lower).tolist())
    factor = _polynomial if plain else functools.partial(_box_polynomial, low, high)
    if d == 1:
        faces = ((low, (0.0,), 1.0), (high, (0.0,), 1.0))
        return Domain("interval" if plain else "box", (low,), faces, factor, ("left", "right"), extent)
    faces = _edges((low, (high[0], low[1]), high, (low[0], high[1])))
    return Domain("unit_square" if plain else "box", (low,), faces, factor, ("bottom", "right", "top", "left"), extent)


def lshape() -> Domain:
    """The L-shape Ω = (−1, 1)² without [0, 1) × (−1, 0]: `|Ω| = 3`, `|∂Ω| = 8`, an inward corner at the origin.

    Its sides are left, right, bottom, top, and notch, the two edges of the inward corner.

    Examples
    --------
    >>> lshape().measure, lshape().boundary_measure
    (3.0, 8.0)
    """
    vertices = ((-1.0, -1.0), (0.0, -1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (-1.0, 1.0))
    names = ("bottom", "notch", "notch", "right", "top", "left")
    return Domain("lshape", ((-1.0, -1.0), (-1.0, 0.0), (0.0, 0.0)), _edges(vertices), _lshape_factor, names)


def __getattr__(name: str) -> Any:
    """`polygon` and `from_mesh` of :mod:`hybrid_lib.pinn.polygons`, which needs this module."""
    if name in ("Polygon", "from_mesh", "polygon"):
        from hybrid_lib.pinn import polygons

        return getattr(polygons, name)
    raise AttributeError(f"module 'hybrid_lib.pinn.domains' has no attribute {name!r}")


def _edges(vertices) -> tuple[Face, ...]:
    """Faces of the closed polygon through the vertices."""
    faces = []
    for start, end in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        length = math.dist(start, end)
        faces.append((start, tuple((b - a) / length for a, b in zip(start, end, strict=True)), length))
    return tuple(faces)


def _box_polynomial(lower: Point, upper: Point, x):
    low, high = jnp.asarray(lower, x.dtype), jnp.asarray(upper, x.dtype)
    return jnp.prod(4.0 * (x - low) * (high - x) / (high - low) ** 2)


def _polynomial(x):
    return jnp.prod(4.0 * x * (1.0 - x))


def _lshape_factor(x):
    a, b = -x[0], x[1]
    one = jnp.ones_like(a)
    square = a * a + b * b
    corner = square == 0.0
    r = jnp.sqrt(jnp.where(corner, one, square))
    # a + b + r = 2ab/(a + b − r), and where a + b < 0 (near the two edges) the second form does not cancel.
    cancels = a + b < 0.0
    quotient = 2.0 * a * b / jnp.where(cancels, a + b - r, one)
    union = jnp.where(corner, a + b, jnp.where(cancels, quotient, a + b + r))
    return (1.0 - x[0] * x[0]) * (1.0 - x[1] * x[1]) * union
