"""What every medium is made of: the `Medium` record, checks of a user's numbers, bounds from samples.

Paper: the assumptions on K^ε in (4.1), (4.2).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.captured import calls_fresh, fresh
from hybrid_lib.errors import InputError, require_coordinates, require_picklable, require_real
from hybrid_lib.media.pixels import Pixels

Field = Callable[[jax.Array], jax.Array]

SAMPLES = 4096
"""Points at which bounds are estimated when they are not known."""
REAL = "biuf"
"""Kinds of dtypes that are real numbers."""
REMEDIES = {
    "c": "pass its real part or its modulus",
    "O": "convert it: array.astype(float)",
    "U": "convert it: array.astype(float)",
}
"""What to do with arrays of other kinds."""
SAFETY = 1.1
"""Factor by which estimated bounds are widened, α = min/SAFETY, β = SAFETY·max."""


@dataclass(frozen=True)
class Medium:
    """A conductivity field and what is known about it.

    Attributes
    ----------
    conductivity : callable
        x (d,) -> K(x), shape () for a scalar medium, (d, d) symmetric positive definite for a tensor one.
    divergence : callable
        x (d,) -> row divergence (∇·K)_j = Σ_i ∂_i K_ij, shape (d,); for a scalar medium this is ∇K.
    dimension : int
        d, 1 or 2.
    alpha, beta : float
        α ≤ eigenvalues of K(x) ≤ β, (4.2).
    bounds_exact : bool
        True: the bounds hold by construction or by the caller's word. False: estimated from samples.
    period : float or None
        K(x + period·e_i) = K(x) for each axis i; None when no period is known. A constant says 1.
    name : str
        For reports.
    is_tensor : bool
        Whether ``conductivity`` returns a matrix.
    is_lipschitz : bool or None
        Whether K has no jumps, so that ``divergence`` is all of ∇·K. False for pixels and sharp layers: asking for their
        divergence is an error, and only formulations without ∇K treat them rightly (finite elements, averages of fluxes,
        the first-order system). None: not known, then the doors of the strong form look for jumps. True is believed.
    pixels : Pixels or None
        The boxes on which K, or the scalar factor of a tensor, is constant: for rasters and for layers across an axis. They
        say where K jumps, and finite elements take exact means over their cells from them.
    unsmoothed : Medium or None
        What a smoothed raster was before.
    """

    conductivity: Field
    divergence: Field
    dimension: int
    alpha: float
    beta: float
    bounds_exact: bool = True
    period: float | None = None
    name: str = "medium"
    is_tensor: bool = False
    is_lipschitz: bool | None = None
    pixels: Pixels | None = None
    unsmoothed: Medium | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by what it was made from and what has been replaced since."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        factory, args, options, made = getattr(self.conductivity, "recipe", (Medium, (), fields, self))
        changes = {name: value for name, value in fields.items() if value is not getattr(made, name)}
        require_picklable("medium", (args, options, changes))
        return _remade, (factory, args, options, changes)

    def __deepcopy__(self, _: Any) -> Medium:
        return self


def _remade(factory: Callable, args: tuple, options: dict, changes: dict) -> Medium:
    """A medium from its recipe."""
    return dataclasses.replace(factory(*args, **options), **changes)


def recorded(factory: Callable) -> Callable:
    """A factory whose media know how they were made, so that they can be pickled."""

    @functools.wraps(factory)
    def make(*args, **options):
        try:
            recipe = copy.deepcopy((args, options))  # arrays may change later
        except TypeError:  # a function that holds a lock, or a file
            recipe = args, options
        medium = factory(*args, **options)
        medium.conductivity.recipe = (make, *recipe, medium)
        return medium

    return make


def make_medium(conductivity, d, alpha, beta, *, divergence=None, is_tensor=False, **known) -> Medium:
    """Every Medium is made here: point checks around both fields, automatic ∇·K if none is given, none where K jumps."""
    conductivity = pointwise(conductivity, d)
    if known.get("pixels") is not None:
        grid = known["pixels"]
        conductivity.cell_means, conductivity.cell_values, conductivity.pixels = grid.cell_means, grid.cell_values, grid
    if divergence is None:
        if known.get("is_lipschitz") is False:

            def divergence(x):
                raise no_divergence(known["name"])
        elif is_tensor:

            def divergence(x):  # Jacobian [i, j, k] = ∂_k K_ij; the trace runs over i = k
                return jnp.trace(jax.jacfwd(conductivity)(x), axis1=0, axis2=2)
        else:
            divergence = jax.grad(conductivity)
    return Medium(
        conductivity, pointwise(divergence, d), d, float(alpha), float(beta), is_tensor=is_tensor, **known
    )


def known_within(medium: Medium, box: tuple, edges: bool) -> Medium:
    """`medium`, which knows where what it was made from lies: beyond, its edges go on, or its bounds have not been looked at."""
    medium.conductivity.known = (*(np.broadcast_to(np.asarray(end, float), medium.dimension) for end in box), edges)
    return medium


def require_known(medium: Medium, box: tuple, inner: Callable[[], np.ndarray]) -> None:
    """Warn of data that do not cover a domain with this box, and refuse bounds that K breaks at points () -> (k, d) inside it."""
    lower, upper, edges = getattr(medium.conductivity, "known", (*box, True))
    near = 1e-6 * np.max(np.subtract(*box[::-1]))
    if medium.period is not None or (np.all(np.subtract(lower, near) <= box[0]) and np.all(np.add(upper, near) >= box[1])):
        return
    place, other = (" × ".join(f"({a:.6g}, {b:.6g})" for a, b in zip(*ends, strict=True)) for ends in ((lower, upper), box))
    if edges:
        text = f"medium: {medium.name!r} covers {place} of the domain within {other}: beyond, its edges go on"
        warnings.warn(text, stacklevel=4)
        return
    low, high = check_values(evaluate(medium.conductivity, points := inner()), points)
    if low < medium.alpha * (1 - 1e-5) or high > medium.beta * (1 + 1e-5):
        expected = f"K between its bounds, {medium.alpha:.6g} and {medium.beta:.6g}, which were looked at in {place}"
        remedy = "pass box=domain.box to from_function, or bounds that hold there"
        raise InputError("medium", expected, f"{low:.6g} to {high:.6g} in the domain within {other}", remedy)


def no_divergence(name: str) -> InputError:
    """What asking for the divergence of a medium with jumps is answered."""
    return InputError(
        "divergence",
        "a conductivity without jumps",
        f"{name!r}, which has none where it jumps",
        "smooth the medium by name (smoothing=, smooth=), or use finite elements",
    )


def pointwise(function, d) -> Field:
    """Refuse anything but one point of a floating dtype; give the value that dtype."""

    def at_point(x):
        x = jnp.asarray(x)
        if x.shape != (d,):
            raise InputError(
                "point", f"shape ({d},)", f"shape {x.shape}", "map over rows of points with jax.vmap"
            )
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError("point", "floating-point coordinates", x.dtype, "write 1.0 instead of 1")
        return jnp.asarray(require_real("function", fresh(function)(x)), x.dtype)

    return calls_fresh(at_point)


def sample_points(d, lower, upper) -> np.ndarray:
    """(SAMPLES, d) points of an irrational rotation: even coverage, no resonance with a periodic medium."""
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    fits = lower.shape in ((), (d,)) and upper.shape in ((), (d,))
    if not (fits and np.all(np.isfinite(lower)) and np.all(np.isfinite(upper)) and np.all(lower < upper)):
        raise InputError("box", "(lower, upper) with lower < upper", f"({lower}, {upper})", "swap them")
    ratio = (1.0 + math.sqrt(5.0)) / 2.0 if d == 1 else 1.3247179572447460  # root of r^(d+1) = r + 1
    steps = ratio ** -np.arange(1.0, d + 1.0)
    return lower + (upper - lower) * np.mod(0.5 + np.arange(1, SAMPLES + 1)[:, None] * steps[None, :], 1.0)


def edge_points(d, lower, upper) -> np.ndarray:
    """Points on the boundary of the box, corners among them: where a monotone function has its bounds."""
    lower, upper = (np.broadcast_to(np.asarray(end, float), d) for end in (lower, upper))
    if d == 1:
        return np.array([lower, upper])
    along = np.linspace(lower, upper, 65)  # (65, 2)
    sides = [np.stack([along[:, 0], np.full(65, end[1])], axis=1) for end in (lower, upper)]
    walls = [np.stack([np.full(63, end[0]), along[1:-1, 1]], axis=1) for end in (lower, upper)]
    return np.concatenate([*sides, *walls])


def evaluate(function, points) -> np.ndarray:
    """Values at rows of points, on the host."""
    points = jnp.asarray(points, jnp.result_type(float))  # float64 where it is on
    return np.asarray(jax.jit(jax.vmap(function))(points))


def check_values(K, points) -> tuple[float, float]:
    """Extreme eigenvalues of K (n,) or (n, d, d), or an InputError that names the first bad point."""

    def refuse(bad, expected, received, remedy):
        if np.any(bad):
            i = int(np.argmax(bad))
            name = points[i]
            if not isinstance(name, str):
                name = f"conductivity at x = {np.round(name, 6).tolist()}"
            raise InputError(name, expected, received(i), remedy)

    rounding = 100.0 * np.finfo(K.dtype).eps
    K = np.asarray(K, np.float64)
    refuse(
        ~np.isfinite(K).reshape(len(K), -1).all(axis=1),
        "a finite value",
        lambda i: K[i].tolist(),
        "check the formula there",
    )
    if K.ndim == 1:
        low = high = K
    else:
        skew = np.abs(K - K.swapaxes(1, 2)).max(axis=(1, 2))
        refuse(
            skew > rounding * np.abs(K).max(axis=(1, 2)),
            "a symmetric tensor",
            lambda i: K[i].tolist(),
            "symmetrise it: (K + Kᵀ)/2",
        )
        eigenvalues = np.linalg.eigvalsh(K)  # (n, d) ascending
        low, high = eigenvalues[:, 0], eigenvalues[:, -1]
    refuse(
        low <= np.where(high > low, rounding / 25.0, 0.0) * high,
        "a positive (definite) conductivity",
        lambda i: f"smallest eigenvalue {low[i]:g}",
        "the equation is elliptic only for K > 0",
    )
    return float(low.min()), float(high.max())


def check_period(conductivity, period, points, values) -> None:
    """Refuse a period that the values at the sample points contradict, along any axis."""
    size = np.abs(values).reshape(len(points), -1).max(axis=1)
    if values.dtype != np.float64:  # rounding of x alone can change a steep K by more than its own size
        size = np.full_like(size, size.max())
    for axis, step in enumerate(period * np.eye(points.shape[1])):
        there = evaluate(conductivity, points + step)
        change = np.abs(there - values).reshape(len(points), -1).max(axis=1)
        with np.errstate(invalid="ignore"):
            off = change / np.maximum(size, np.abs(there).reshape(len(points), -1).max(axis=1))
        if not np.all(off < 1e-3):  # not a number is a contradiction, too; the rest is for float32
            worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
            raise InputError(
                f"period along axis {axis}",
                f"K(x) = K(x + {period:g})",
                f"values that differ by {100 * off[worst]:.0f} % at x = {points[worst].round(4).tolist()}",
                "correct it, or pass None for a medium without period",
            )


def shape_at_point(what, function, d) -> tuple:
    """Shape of the value at one point, or an InputError if JAX cannot trace the function."""
    try:
        with jax.numpy_dtype_promotion("standard"), np.errstate(over="ignore"):
            value = jax.eval_shape(lambda x: jnp.asarray(fresh(function)(x)), jax.ShapeDtypeStruct((d,), jnp.float32))
            require_coordinates(what, function, d)
    except InputError:
        raise
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
        jax.errors.NonConcreteBooleanIndexError,
    ) as error:
        raise InputError(
            what, "a function that JAX can trace", type(error).__name__, "use jax.numpy, and jnp.where for if"
        ) from None
    except (TypeError, IndexError, ValueError) as error:
        received = str(error).strip().partition("\n")[0]
        raise InputError(what, f"a function of one point x ({d},)", received, "return real numbers for it") from None
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise InputError(what, "real values", f"values of type {value.dtype}", "solve for real and imaginary part")
    return value.shape


def check_shape(what, function, d, allowed) -> tuple:
    """Shape of the value at one point, which must be one of the allowed ones."""
    shape = shape_at_point(what, function, d)
    if shape not in allowed:
        raise InputError(
            what,
            "a value of shape " + " or ".join(map(str, allowed)) + " at one point",
            f"shape {shape}",
            "write it for one point x of shape (d,)",
        )
    return shape


def quintic_step(t):
    """0 below 0, 1 above 1, and the C² polynomial of degree five between."""
    r = jnp.clip(t, 0.0, 1.0)
    return r**3 * (10.0 + r * (6.0 * r - 15.0))


def ordered_bounds(alpha, beta) -> tuple[float, float]:
    """Both as floats, or an InputError unless 0 < alpha < beta."""
    alpha = positive("alpha", alpha, "the medium is elliptic")
    beta = positive("beta", beta, "the medium is elliptic")
    if alpha >= beta:
        raise InputError("bounds", "alpha < beta", f"alpha = {alpha:g}, beta = {beta:g}", "swap them")
    return alpha, beta


def check_dimension(dimension) -> int:
    """As int, or an InputError unless it is 1 or 2."""
    if isinstance(dimension, bool) or dimension not in (1, 2):
        raise InputError("dimension", "1 or 2", dimension, "points have shape (1,) or (2,)")
    return int(dimension)


def positive(what, value, remedy) -> float:
    """As float, or an InputError unless it is a finite number > 0."""
    number = numbers(what, value)
    if number.ndim or not number > 0.0:
        raise InputError(what, "a number > 0", value, remedy)
    return float(number)


def numbers(what, value) -> np.ndarray:
    """Finite float64 array, or an InputError that counts what is not finite."""
    masked = int(np.count_nonzero(np.ma.getmaskarray(value))) if isinstance(value, np.ma.MaskedArray) else 0
    if masked:
        received = f"a masked array with {masked} of {value.size} values masked"
        raise InputError(what, "a value everywhere", received, "fill them: array.filled(value)")
    try:
        array = np.asarray(value)
        kind = array.dtype.kind if array.ndim or array.dtype.kind != "O" else "f"  # a Fraction is a number
        array = np.array(array, dtype=np.float64) if kind in REAL else None
    except (TypeError, ValueError, OverflowError):
        array, kind = None, ""
    if array is None:
        many = kind and np.ndim(value)
        received = f"an array of dtype {np.asarray(value).dtype}" if many else f"{value!r}"[:80]
        raise InputError(what, "real numbers", received, REMEDIES.get(many and kind, "pass a number or an array"))
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        received = f"{value}"
        if array.ndim:
            first = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            received = f"{bad} of {array.size} values NaN or infinite, the first at {first}"
        raise InputError(what, "finite numbers", received, "fill or remove them")
    return array
