r"""Problems: a medium on a domain with a source and a temperature drop (paper (4.8), (4.11), (4.29))."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, media
from hybrid_lib.errors import InputError, real_array, require_picklable
from hybrid_lib.media import Medium
from hybrid_lib.media.medium import check_shape, shape_at_point
from hybrid_lib.pinn import domains
from hybrid_lib.pinn.domains import Domain


@dataclass(frozen=True)
class Problem:
    """−∇·(K∇(u + e·x)) = q in Ω, u = 0 on ∂Ω; checked when it is made. Only the medium has to be given, by name.

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
        e, the direction of the linear temperature drop; the first axis by default. Boundary values that are not linear have to
        be lifted by hand: with w = u + g for a smooth g the source becomes q + ∇·(K∇g) − ∇·(Ke).

    Raises
    ------
    InputError
        For a medium of another dimension than the domain, a source that is no scalar function of one point, or a direction of
        another length.

    Examples
    --------
    >>> problem = Problem(medium=media.paper_2d(0.2), source=1.0)
    >>> problem.domain.name, problem.direction
    ('unit_square', (1.0, 0.0))
    """

    name: str = "own"
    domain: Domain | None = None
    medium: Medium | None = None
    source: Callable[[Array], Array] | float = 0.0
    direction: tuple[float, ...] | None = None

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
        object.__setattr__(self, "source", _source(self.source, d))
        e = real_array("direction", np.eye(d)[0] if self.direction is None else self.direction)
        if e.shape != (d,) or not np.all(np.isfinite(e)):
            raise InputError("direction", f"{d} finite numbers", self.direction, "one number an axis")
        object.__setattr__(self, "direction", tuple(e.tolist()))

    def __reduce__(self) -> tuple[Any, ...]:
        require_picklable("source", self.source)
        return Problem, (self.name, self.domain, self.medium, self.source, self.direction)

    def __deepcopy__(self, _: Any) -> Problem:
        return self


class Units(NamedTuple):
    """Units in which training sees a problem, so that its answer is the same in other ones; both are 1 for the paper's problems.

    Attributes
    ----------
    conductivity : float
        The lower bound α of the medium: of K, K̂ and the tolerance of the gate.
    field : float
        Of u: the temperature drop `|e|`, or `C_P² ‖q‖/√(αβ |Ω|)` if that is larger.
    """

    conductivity: float
    field: float

    @property
    def source(self) -> float:
        """Of q, of the strong residual and of the flux."""
        return self.conductivity * self.field

    @property
    def energy(self) -> float:
        """Of ‖K^{1/2}∇u‖, of the defect's dual norm and of the root of the first-order J."""
        return math.sqrt(self.conductivity) * self.field


def units(problem: Problem) -> Units:
    """The units of a problem; u, K̂ and q in them do not change when K and q, or q and e, are multiplied by a number.

    Examples
    --------
    >>> units(heat2d_problem(0.1))
    Units(conductivity=1.0, field=1.0)
    >>> units(own_problem(media.constant(3e-6, 1), 3e-6, (2.0,)))
    Units(conductivity=3e-06, field=2.0)
    """
    medium, mesh = problem.medium, problem.domain.mesh(32)
    q = fem.evaluate(problem.source, mesh.points[mesh.cells].mean(axis=1))  # (m,)
    mean = math.sqrt(mesh.volumes @ q**2 / mesh.volumes.sum())
    driven = poincare_constant(problem.domain) ** 2 * mean / math.sqrt(medium.alpha * medium.beta)
    return Units(medium.alpha, max(math.hypot(*problem.direction), driven) or 1.0)


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


def heat1d_problem(eps: float, name: str = "heat1d") -> Problem:
    """(4.29): K = 2 + sin(2πx/ε), q = −3(2x − 1) on (0, 1), drop x."""
    return Problem(name, domains.interval(), media.paper_1d(eps), _slope, (1.0,))


def heat2d_problem(eps: float, name: str = "heat2d") -> Problem:
    """(4.11): K = 3 + sin(2πx₁/ε) + sin(2πx₂/ε), q = 10 exp(−100|x − (½, ½)|²) on (0, 1)², drop x₁."""
    return Problem(name, domains.unit_square(), media.paper_2d(eps), _hill, (1.0, 0.0))


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


def _constant(value: float, x: Array) -> Array:
    return jnp.asarray(value, x.dtype)


def _typed(source: Callable[[Array], Array], x: Array) -> Array:
    """The source in the dtype of the point."""
    return jnp.asarray(source(x), x.dtype)


def _cube(d: int) -> Domain:
    return domains.interval() if d == 1 else domains.unit_square()
