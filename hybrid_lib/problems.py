r"""Problems: a medium on a domain with a source and a temperature drop (paper (4.6), (4.8), (4.11), (4.29))."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, media
from hybrid_lib.captured import fresh
from hybrid_lib.errors import InputError, real_array, require_picklable
from hybrid_lib.fem.sides import side_data
from hybrid_lib.media import Medium
from hybrid_lib.media.medium import check_shape, require_known, shape_at_point
from hybrid_lib.pinn import domains
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.sides import Condition, Dirichlet, Neumann, Robin, settled


@dataclass(frozen=True)
class Problem:
    """−∇·(K∇w) = q in Ω with conditions on the sides of Ω; checked when it is made. Only the medium has to be given, by name.

    Without `boundary` it is the paper's problem: w = u + e·x with u = 0 on ∂Ω, and u is what networks are trained for.

    Attributes
    ----------
    name : str
        For reports.
    domain : Domain
        Default: the interval or the unit square, as the medium has one dimension or two.
    medium : Medium
        K, with its period ε as default averaging length.
    source : callable (d,) -> (), or a number
        q, written with jax.numpy. It may jump: it only has to be square integrable.
    direction : tuple of d floats
        e, the direction of the linear temperature drop; the first axis by default, zero beside `boundary`.
    boundary : condition, or dict of side name to condition
        What holds on each side instead of w = e·x: :class:`.Dirichlet`, :class:`.Neumann` or :class:`.Robin`.

    Raises
    ------
    InputError
        For a medium of another dimension than the domain, a source that is no scalar function of one point, a direction of
        another length or beside `boundary`, a side without a condition or of an unknown name, an exchange with a negative
        coefficient, or fluxes all around that do not balance the source.

    Examples
    --------
    >>> problem = Problem(medium=media.paper_2d(0.2), source=1.0)
    >>> problem.domain.name, problem.direction
    ('unit_square', (1.0, 0.0))
    >>> sides = {"left": Dirichlet(1.0), "right": Robin(2.0, 20.0)}
    >>> Problem(medium=media.constant(3.0, 1), boundary=sides).boundary["right"]
    Robin(coefficient=2.0, ambient=20.0)
    """

    name: str = "own"
    domain: Domain | None = None
    medium: Medium | None = None
    source: Callable[[Array], Array] | float = 0.0
    direction: tuple[float, ...] | None = None
    boundary: Any = None

    def __post_init__(self) -> None:
        medium = self.medium
        if not isinstance(medium, Medium):
            received = "none" if medium is None else type(medium).__name__
            raise InputError("medium", "a Medium", received, "pass medium=, made with media.from_function or media.raster")
        d = medium.dimension
        if self.domain is None:
            object.__setattr__(self, "domain", _cube(d))
        for name, kind in (("name", str), ("domain", Domain)):
            if not isinstance(getattr(self, name), kind):
                received = type(getattr(self, name)).__name__
                raise InputError(name, f"a {kind.__name__}", received, "pass medium=, source= and direction= by name")
        if (other := self.domain.dimension) != d:
            received = f"a medium of dimension {d} on a domain of dimension {other}"
            raise InputError("medium", f"dimension {other}, as the domain", received, "take another domain or medium")
        check_shape("medium", medium.conductivity, d, [(d, d) if medium.is_tensor else ()])
        require_known(medium, self.domain.box, lambda: self.domain.mesh(32).points)
        object.__setattr__(self, "source", _source(self.source, d))
        if self.boundary is not None:
            self._settle_boundary()
        e = real_array("direction", np.eye(d)[0] if self.direction is None else self.direction)
        if e.shape != (d,) or not np.all(np.isfinite(e)):
            raise InputError("direction", f"{d} finite numbers", self.direction, "one number an axis")
        object.__setattr__(self, "direction", tuple(e.tolist()))

    def _settle_boundary(self) -> None:
        """Check the conditions of the sides, and that fluxes all around balance the source."""
        if self.direction is not None and np.any(self.direction):
            remedy = "write the drop as a condition, Dirichlet(lambda x: x[0])"
            raise InputError("direction", "none beside boundary=", self.direction, remedy)
        d = self.domain.dimension
        conditions = settled(self.boundary, self.domain.sides, d)
        object.__setattr__(self, "boundary", conditions)
        object.__setattr__(self, "direction", (0.0,) * d)
        known = [isinstance(one, Dirichlet) or _is_exchange(one) for one in conditions.values()]
        if any(known) and not any(callable(getattr(one, "coefficient", None)) for one in conditions.values()):
            return  # nothing has to be looked at along the sides
        total, size = balance(self)
        if abs(total) > BALANCED * size and not _balanced_to_quadrature(self, total):
            received = f"∫q + ∫flux = {total:.6g}, where their sizes add up to {size:.6g}"
            remedy = "correct one of them, or fix the temperature on a side"
            raise InputError("boundary", "fluxes that balance the source where no side has a temperature", received, remedy)

    def conditions(self) -> dict[str, tuple]:
        """(kind, value[, coefficient]) of each side, as :func:`hybrid_lib.fem.sides.side_data` takes them; w = e·x without any.

        Examples
        --------
        >>> Problem(medium=media.constant(1.0, 1), boundary=Dirichlet(2.0)).conditions()
        {'left': ('value', 2.0), 'right': ('value', 2.0)}
        """
        if self.boundary is None:
            return dict.fromkeys(self.domain.sides, ("value", functools.partial(_drop, self.direction)))
        kinds = {Dirichlet: "value", Neumann: "flux", Robin: "exchange"}
        values = {name: tuple(vars(one).values())[::-1] for name, one in self.boundary.items()}
        idle = [name for name, one in self.boundary.items() if isinstance(one, Robin) and one.coefficient == 0.0]  # insulated
        found = {name: (kinds[type(one)], *values[name]) for name, one in self.boundary.items()}
        return found | dict.fromkeys(idle, ("flux", 0.0))

    def __reduce__(self) -> tuple[Any, ...]:
        require_picklable("source", self.source)
        require_picklable("boundary", self.boundary)
        direction = self.direction if self.boundary is None else None
        return Problem, (self.name, self.domain, self.medium, self.source, direction, self.boundary)

    def __deepcopy__(self, _: Any) -> Problem:
        return self


def argument(problem: Problem, value: Any, dtype: Any) -> Any:
    """A number, or numbers, of a problem as its training programs read them: an argument, so that problems share programs.

    In the paper's problems, whose units are one, they stay what they are, and so do the last bits of their histories.

    Examples
    --------
    >>> [type(argument(problem, 1.0, "float32")).__name__ for problem in (heat1d_problem(0.1), own_problem(media.paper_1d(0.1)))]
    ['float', 'ArrayImpl']
    """
    if problem.source in (_slope, _hill) and problem.medium.alpha == 1:
        return value
    return fem.given(value, dtype)


PLAIN = ("interval", "unit_square", "lshape")
"""Names of the domains that are made of unit boxes."""


def is_plain(problem: Problem) -> bool:
    """Whether w = e·x on the boundary of a domain that is made of unit boxes."""
    return problem.boundary is None and problem.domain.name in PLAIN


def require_drop(problem: Problem, what: str, remedy: str = "solve it by elements, hybrid_lib.solve") -> None:
    """Refuse a problem with conditions on sides, or on a domain that is not made of unit boxes.

    Raises
    ------
    InputError
        Named `what`.

    Examples
    --------
    >>> require_drop(heat1d_problem(0.1), "train")
    """
    if is_plain(problem):
        return
    received = "conditions on sides" if problem.domain.name in PLAIN else f"the domain {problem.domain.name}"
    expected = "w = e·x on the boundary of (0, 1), the unit square or the L-shape"
    raise InputError(what, expected, received, remedy)


def poincare_constant(domain: Domain) -> float:
    """C_P in ‖v‖ ≤ C_P‖∇v‖ for v = 0 on ∂Ω: π⁻¹(Σ_i L_i⁻²)^{−1/2} with the sides L of the smallest box around Ω.

    The best constant of an interval or a rectangle, an upper bound for any other domain.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> poincare_constant(interval()) * math.pi
    1.0
    """
    lower, upper = domain.box
    return 1 / (math.pi * math.sqrt(sum((b - a) ** -2 for a, b in zip(lower, upper, strict=True))))


def _is_exchange(condition: Condition) -> bool:
    """Whether it is an exchange with a coefficient that is a number above zero."""
    return isinstance(condition, Robin) and not callable(condition.coefficient) and condition.coefficient > 0


BALANCED = 1e-6
"""What may be left of source and fluxes all around, over the sum of their sizes."""


def _balanced_to_quadrature(problem: Problem, total: float) -> bool:
    """Whether rules on other meshes differ by as much as is left, as where a source or a flux jumps within cells."""
    line = problem.domain.dimension == 1
    totals = [total, *(balance(problem, 4 * n if line else n)[0] for n in (79, 97))]
    return min(map(abs, totals)) <= max(totals) - min(totals)


def balance(problem: Problem, n: int | None = None) -> tuple[float, float]:
    """∫q + ∫flux over Ω and the sides with a flux, and the sum of what is added, taken positive; zero where heat has a way out.

    `n` is the number of cells a unit length: 64, on a line 256.

    Examples
    --------
    >>> balance(Problem(medium=media.constant(1.0, 1), source=-2.0, boundary=Neumann(1.0)))
    (0.0, 4.0)
    """
    domain = problem.domain
    mesh = domain.labelled(domain.mesh(n or (256 if domain.dimension == 1 else 64)))
    points, weights = fem.quadrature_points(mesh, 5)
    parts = [weights * fem.evaluate(problem.source, points)]
    data = side_data(mesh, problem.conditions())
    if data.held.size or data.exchanges:  # whatever is left goes out there
        return 0.0, 0.0
    for one in data.fluxes:
        parts.append(one.value * one.facets.weights * one.facets.measure[:, None])
    return sum(float(part.sum()) for part in parts), sum(float(np.abs(part).sum()) for part in parts)


def heat1d_problem(eps: float, name: str = "heat1d") -> Problem:
    """(4.29): K = 2 + sin(2πx/ε), q = −3(2x − 1) on (0, 1), drop x."""
    return Problem(name, domains.interval(), media.paper_1d(eps), _slope, (1.0,))


def heat2d_problem(eps: float, name: str = "heat2d") -> Problem:
    """(4.11): K = 3 + sin(2πx₁/ε) + sin(2πx₂/ε), q = 10 exp(−100|x − (½, ½)|²) on (0, 1)², drop x₁."""
    return Problem(name, domains.unit_square(), media.paper_2d(eps), _hill, (1.0, 0.0))


def _drop(direction: tuple[float, ...], x: Array) -> Array:
    return jnp.asarray(direction, x.dtype) @ x


def _slope(x: Array) -> Array:
    return -3 * (2 * x[0] - 1)


def _hill(x: Array) -> Array:
    return 10 * jnp.exp(-100 * ((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2))


def is_number(value: object) -> bool:
    """Whether `value` is one finite real number, of Python, NumPy or JAX."""
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in "iuf" and bool(np.isfinite(array))


def own_problem(
    medium: Medium,
    source: Callable[[Array], Array] | float = 0.0,
    direction: tuple[float, ...] | None = None,
    name: str = "own",
) -> Problem:
    """−∇·(K∇w) = q on (0, 1)^d with w = e·x on the boundary, for a medium of one's own; the unknown is u = w − e·x.

    Parameters
    ----------
    medium : Medium
        K; its dimension is that of the domain.
    source : float or callable x (d,) -> ()
        q, written with jax.numpy. It may jump: it only has to be square integrable.
    direction : d floats, optional
        e, not zero; the first axis by default. Boundary values that are not linear have to be lifted by hand: with w = u + g
        for a smooth g the source becomes q + ∇·(K∇g) − ∇·(Ke).
    name : str
        For reports.

    Raises
    ------
    InputError
        If the medium is none, the source is no scalar function of one point, or the direction is zero or of another length.

    Examples
    --------
    >>> own_problem(media.paper_2d(0.2), 1.0).domain.name
    'unit_square'
    """
    problem = Problem(name, medium=medium, source=source, direction=direction)
    if not np.any(problem.direction):
        expected = f"{medium.dimension} numbers, not all zero"
        raise InputError("direction", expected, direction, "pass the direction of the temperature drop")
    return problem


def _source(given: Callable[[Array], Array] | float, d: int) -> Callable[[Array], Array]:
    """q as a function of one point that has its dtype."""
    if not callable(given):
        if not is_number(given):
            raise InputError("source", "a finite number or a function of one point", repr(given)[:80], "pass one of these")
        return functools.partial(_constant, float(given))
    if (shape := shape_at_point("source", given, d)) != ():
        raise InputError("source", "a number at one point x", f"shape {shape}", "index the point: x[0] instead of x")
    known = isinstance(given, functools.partial) and given.func in (_constant, _typed)
    return given if known or given in (_slope, _hill) else functools.partial(_typed, given)


def plain(source: Callable[[Array], Array]) -> Callable[[Array], Array] | float:
    """The number that a source is everywhere, or the source itself.

    Examples
    --------
    >>> plain(Problem(medium=media.constant(1.0, 1), source=2).source)
    2.0
    """
    return source.args[0] if isinstance(source, functools.partial) and source.func is _constant else source


def _constant(value: float, x: Array) -> Array:
    return jnp.asarray(value, x.dtype)


def _typed(source: Callable[[Array], Array], x: Array) -> Array:
    """The source in the dtype of the point."""
    return jnp.asarray(fresh(source)(x), x.dtype)


def _cube(d: int) -> Domain:
    return domains.interval() if d == 1 else domains.unit_square()
