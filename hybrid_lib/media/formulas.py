"""Media given by a formula: the paper's, constant, layered, rotated tensors.

Paper: (4.1), (4.2), (4.8)/(4.11) and the media of section 4.4, here `paper_1d` and `paper_2d`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.media.medium import (
    Medium,
    check_dimension,
    check_shape,
    check_values,
    known_within,
    make_medium,
    numbers,
    pointwise,
    positive,
    quintic_step,
    recorded,
)
from hybrid_lib.media.pixels import Pixels


@recorded
def paper_1d(eps: float) -> Medium:
    """K(x) = 2 + sin(2πx/ε), the 1-D medium of (4.29); 1 ≤ K ≤ 3, ∇K is analytic.

    Parameters
    ----------
    eps : float
        Period ε > 0.

    Raises
    ------
    InputError
        If ``eps`` is not a positive finite number.

    Examples
    --------
    >>> float(paper_1d(0.1).conductivity(jnp.zeros(1)))
    2.0
    """
    return _sines(eps, 1, 2.0, "paper-1d")


@recorded
def paper_2d(eps: float) -> Medium:
    """K(x) = 3 + sin(2πx₁/ε) + sin(2πx₂/ε), the 2-D medium of section 4.4; 1 ≤ K ≤ 5, ∇K is analytic.

    Parameters
    ----------
    eps : float
        Period ε > 0.

    Raises
    ------
    InputError
        If ``eps`` is not a positive finite number.

    Examples
    --------
    >>> float(paper_2d(0.1).conductivity(jnp.zeros(2)))
    3.0
    """
    return _sines(eps, 2, 3.0, "paper-2d")


@recorded
def constant(value, dimension: int) -> Medium:
    """K(x) = ``value`` everywhere: a number > 0, or a symmetric positive definite (d, d) matrix.

    Raises
    ------
    InputError
        If the value is not positive (definite), not symmetric, not finite or of another shape.

    Examples
    --------
    >>> medium = constant([[2.0, 0.0], [0.0, 5.0]], 2)
    >>> round(medium.alpha, 12), round(medium.beta, 12)
    (2.0, 5.0)
    """
    d = check_dimension(dimension)
    K = numbers("value", value)
    if K.ndim == 0:
        alpha = beta = positive("value", value, "conductivity is positive")
    elif K.shape == (d, d):
        alpha, beta = check_values(K[None], ["value"])
    else:
        raise InputError(
            "value", f"a number or a ({d}, {d}) matrix", f"shape {K.shape}", "match the dimension"
        )
    return make_medium(
        lambda x: jnp.asarray(K, x.dtype),
        d,
        alpha,
        beta,
        divergence=jnp.zeros_like,
        period=1.0,
        name="constant",
        is_tensor=K.ndim == 2,
        is_lipschitz=True,
    )


@recorded
def layered(values, direction, period: float, dimension: int, smooth: float | None = None) -> Medium:
    """Parallel layers of equal thickness period/L, repeated along a direction.

    K(x) = values[⌊L t/period⌋ mod L] with t = x·direction; with ``smooth`` = s each jump becomes a quintic
    step of width s centred on the interface, so that K is C². Both keep min values ≤ K ≤ max values exactly.

    Parameters
    ----------
    values : (L,) sequence of float
        Conductivities > 0 of the layers of one period.
    direction : int or (d,) sequence
        Axis, or a vector (normalised here) across the layers.
    period : float
        Length of one repetition along the direction.
    dimension : int
        *d*.
    smooth : float, optional
        Width of the transitions, 0 < smooth ≤ period/L. None: sharp layers, which have no ``divergence`` and for which
        ``is_lipschitz`` is False. Across an axis they are `pixels`: finite elements take exact means over their cells.

    Raises
    ------
    InputError
        If a value or the period is not positive, the direction is no direction, or ``smooth`` exceeds a
        layer.

    Examples
    --------
    >>> float(layered([1.0, 9.0], 0, 0.2, 1).conductivity(jnp.array([0.15])))
    9.0
    """
    d = check_dimension(dimension)
    v = numbers("values", values)
    if v.ndim != 1 or v.size == 0:
        raise InputError(
            "values", "a list of conductivities", f"shape {v.shape}", "pass one number for each layer"
        )
    for i, value in enumerate(v):
        positive(f"values[{i}]", value, "conductivity is positive")
    period = positive("period", period, "pass the length of one repetition")
    normal, along_axis = _direction(direction, d)
    L, thickness = v.size, period / v.size

    flat = bool(np.all(v == v[0]))

    def coordinate(x):
        return jnp.sum(jnp.asarray(normal, x.dtype) * x) / thickness  # () in layers

    def layer(index, dtype):
        return jnp.asarray(v, dtype)[jnp.mod(index.astype(jnp.int32), L)]

    def sharp(x):
        return layer(jnp.floor(coordinate(x)), x.dtype)

    pixels = None
    if smooth is None:
        conductivity, divergence = sharp, jnp.zeros_like if flat else None
        if along_axis:
            axis = int(np.argmax(np.abs(normal)))
            turned = v if normal[axis] > 0 else v[::-1]
            shape = np.where(np.arange(d) == axis, L, 1)
            pixels = Pixels(turned.reshape(shape), 0.0, period / shape, periodic=True)
    else:
        smooth = positive("smooth", smooth, "pass None for sharp layers")
        if smooth > thickness * (1.0 + 1e-12):
            raise InputError(
                "smooth", f"a width ≤ a layer's thickness {thickness:g}", f"{smooth:g}", "reduce it"
            )
        width = smooth / thickness

        def conductivity(x):
            t = coordinate(x)
            interface = jnp.floor(t + 0.5)
            step = quintic_step((t - interface) / width + 0.5)
            below, above = layer(interface - 1.0, x.dtype), layer(interface, x.dtype)
            return below + (above - below) * step

        divergence = None
    return make_medium(
        conductivity,
        d,
        float(v.min()),
        float(v.max()),
        divergence=divergence,
        period=period if along_axis else None,
        name="layered",
        is_lipschitz=smooth is not None or flat,
        pixels=pixels,
    )


@recorded
def tensor(principal: Sequence[float], angle: float | Callable = 0.0, field: Medium | None = None) -> Medium:
    """A rotated anisotropic medium in 2-D: K(x) = κ(x) R diag(principal) Rᵀ, R the rotation by ``angle``.

    Parameters
    ----------
    principal : (2,) sequence of float
        Principal conductivities > 0, the first along (cos angle, sin angle).
    angle : float or callable
        Radians; a callable x (2,) -> () rotates from point to point (∇·K then comes from automatic
        differentiation).
    field : Medium, optional
        Scalar factor κ; 1 by default. A full constant matrix is `constant`.

    Raises
    ------
    InputError
        If a principal value is not positive, the angle is no angle, or ``field`` is not a scalar medium with
        d = 2.

    Examples
    --------
    >>> tensor([1.0, 10.0], field=paper_2d(0.1)).beta
    50.0
    """
    principal = numbers("principal", principal)
    if principal.shape != (2,):
        raise InputError(
            "principal", "two conductivities", f"shape {principal.shape}", "pass one for each axis"
        )
    for i, value in enumerate(principal):
        positive(f"principal[{i}]", value, "conductivity is positive")
    field = constant(1.0, 2) if field is None else field
    if not isinstance(field, Medium) or field.is_tensor or field.dimension != 2:
        raise InputError(
            "field", "a scalar Medium of dimension 2", _describe(field), "for example paper_2d(eps)"
        )
    mean, half = float(principal.sum()) / 2.0, float(principal[0] - principal[1]) / 2.0

    def matrix(c, s):  # of the doubled angle: R diag(k₁, k₂) Rᵀ = mean·I + half·[[c, s], [s, −c]]
        return jnp.stack([jnp.stack([mean + half * c, half * s]), jnp.stack([half * s, mean - half * c])])

    if callable(angle):
        rotation = pointwise(angle, 2)
        check_shape("angle", rotation, 2, ((),))
        divergence = None

        def conductivity(x):
            return field.conductivity(x) * matrix(jnp.cos(2.0 * rotation(x)), jnp.sin(2.0 * rotation(x)))
    else:
        turn = numbers("angle", angle)
        if turn.ndim:
            raise InputError("angle", "a number or a callable", f"shape {turn.shape}", "pass radians")
        cosine, sine = math.cos(2.0 * float(turn)), math.sin(2.0 * float(turn))

        def directions(x):
            return matrix(jnp.asarray(cosine, x.dtype), jnp.asarray(sine, x.dtype))  # (2, 2)

        def conductivity(x):
            return field.conductivity(x) * directions(x)

        def divergence(x):
            return jnp.dot(directions(x), field.divergence(x), precision="highest")

    medium = make_medium(
        conductivity,
        2,
        float(principal.min()) * field.alpha,
        float(principal.max()) * field.beta,
        divergence=divergence,
        bounds_exact=field.bounds_exact,
        name=f"tensor({field.name})",
        is_tensor=True,
        period=None if callable(angle) else field.period,
        is_lipschitz=field.is_lipschitz and (None if callable(angle) else True),
        pixels=None if callable(angle) else field.pixels,
        unsmoothed=field.unsmoothed and tensor(principal, angle, field.unsmoothed),
    )
    if hasattr(field.conductivity, "known"):
        medium.conductivity.known = field.conductivity.known
    elif field.pixels is not None and medium.pixels is None and not field.pixels.periodic:
        known_within(medium, field.pixels.box, True)
    if medium.pixels is not None:
        del medium.conductivity.pixels  # they are those of the factor
        c, s = half * cosine, half * sine
        turned = np.array([[mean + c, s], [s, mean - c]])
        del medium.conductivity.cell_values
        medium.conductivity.cell_means = lambda corners: field.pixels.cell_means(corners)[:, None, None] * turned
    return medium


def _sines(eps, d, mean, name) -> Medium:
    eps = positive("eps", eps, "pass the period of the medium")
    wave = 2.0 * math.pi / eps
    return make_medium(
        lambda x: mean + jnp.sum(jnp.sin(wave * x)),
        d,
        mean - d,
        mean + d,
        divergence=lambda x: wave * jnp.cos(wave * x),
        period=eps,
        name=name,
        is_lipschitz=True,
    )


def _direction(direction, d) -> tuple[np.ndarray, bool]:
    """Unit vector (d,) across the layers, and whether it is a coordinate axis."""
    if isinstance(direction, (int, np.integer)):
        if not 0 <= direction < d:
            raise InputError("direction", f"an axis 0 … {d - 1}", direction, "or pass a vector of length d")
        return np.eye(d)[direction], True
    vector = numbers("direction", direction)
    if vector.shape != (d,) or not np.any(vector):
        raise InputError(
            "direction",
            f"an axis or a nonzero vector of shape ({d},)",
            vector.tolist(),
            "match the dimension",
        )
    return vector / np.linalg.norm(vector), np.count_nonzero(vector) == 1


def _describe(medium) -> str:
    if not isinstance(medium, Medium):
        return type(medium).__name__
    return f"a {'tensor' if medium.is_tensor else 'scalar'} medium of dimension {medium.dimension}"
