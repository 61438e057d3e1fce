r"""Jets: a field's value, gradient and second-order term, carried together through a network.

The strong residual of a diffusion equation needs u, ∇u and tr(A∇²u), never the whole Hessian. A :class:`Jet` holds these
three for one point; each elementary operation maps jets to jets by the chain rule

.. math:: \nabla\sigma(z) = \sigma'(z)\,\nabla z, \qquad
          \operatorname{tr}(A\nabla^2\sigma(z)) = \sigma'(z)\operatorname{tr}(A\nabla^2 z) + \sigma''(z)\,\nabla z\cdot A\nabla z,

so one forward pass of the network gives all of them, and reverse-mode AD through that pass gives the gradient in the
parameters. The arrays are kept apart on purpose: stacking them into one was measured to be more than twice as slow.

Paper: the operator A^ε of (2.1) and (4.11). Chapter: "The hybrid method".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Jet(NamedTuple):
    r"""Second-order information of a field z at one point x ∈ R^d.

    Attributes
    ----------
    value : Array, shape (...)
        z(x).
    gradient : tuple of d Arrays, shape (...)
        (∂₁z, …, ∂_d z).
    laplacian : Array, shape (...), or None
        tr(A∇²z); None stands for an exact zero (affine fields), which costs nothing.
    metric : Array, shape (d, d), or None
        The symmetric matrix A at x; None is the identity, and `laplacian` is then Δz.
    """

    value: Array
    gradient: tuple[Array, ...]
    laplacian: Array | None = None
    metric: Array | None = None


def seed(x: Array, metric: Array | None = None) -> Jet:
    """Jet of the identity field x ↦ x at the point `x`.

    Parameters
    ----------
    x : Array, shape (d,)
    metric : Array, shape (d, d), optional
        Symmetric matrix A of the second-order term; None for the Laplacian.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> jet = sin(seed(jnp.array([0.0])))
    >>> float(jet.value[0]), float(jet.gradient[0][0])
    (0.0, 1.0)
    """
    identity = jnp.eye(x.shape[0], dtype=x.dtype)  # (d, d)
    return Jet(x, tuple(identity[k] for k in range(x.shape[0])), None, metric)


def _inner(a: Jet, b: Jet) -> Array:
    """∇a·A∇b, elementwise over the jets' components."""
    if a.metric is None:
        return sum(p * q for p, q in zip(a.gradient, b.gradient, strict=True))
    d = len(a.gradient)
    return sum(a.metric[i, j] * a.gradient[i] * b.gradient[j] for i in range(d) for j in range(d))


def _plus(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def chain(jet: Jet, value: Array, first: Array, second: Array) -> Jet:
    """Jet of σ(z) from that of z and the values σ(z), σ'(z), σ''(z) (all of z's shape)."""
    gradient = tuple(first * g for g in jet.gradient)
    bend = second * _inner(jet, jet)
    laplacian = bend if jet.laplacian is None else first * jet.laplacian + bend
    return Jet(value, gradient, laplacian, jet.metric)


def linear(jet: Jet, apply: Callable[[Array], Array]) -> Jet:
    """Jet of Lz for a linear map L, applied to each part."""
    laplacian = None if jet.laplacian is None else apply(jet.laplacian)
    return Jet(apply(jet.value), tuple(apply(g) for g in jet.gradient), laplacian, jet.metric)


def dense(x: Jet | Array, kernel: Array, bias: Array | None = None) -> Jet | Array:
    """Affine layer xW + b for an array or a jet of shape (n_in,); `kernel` (n_in, n_out), `bias` (n_out,)."""
    if not isinstance(x, Jet):
        return x @ kernel if bias is None else x @ kernel + bias
    out = linear(x, lambda part: part @ kernel)
    return out if bias is None else out._replace(value=out.value + bias)


def tanh(x: Jet | Array) -> Jet | Array:
    """tanh, with σ' = 1 − σ² and σ'' = −2σσ'."""
    if not isinstance(x, Jet):
        return jnp.tanh(x)
    t = jnp.tanh(x.value)
    first = 1 - t * t
    return chain(x, t, first, -2 * t * first)


def swish(x: Jet | Array) -> Jet | Array:
    """Swish z·s(z) with the logistic s; σ' = s + z s(1−s), σ'' = s(1−s)(2 + z(1−2s))."""
    if not isinstance(x, Jet):
        return x * jax.nn.sigmoid(x)
    z = x.value
    s = jax.nn.sigmoid(z)
    slope = s * (1 - s)
    return chain(x, z * s, s + z * slope, slope * (2 + z * (1 - 2 * s)))


def sin(x: Jet | Array) -> Jet | Array:
    """Sine of an array or a jet."""
    if not isinstance(x, Jet):
        return jnp.sin(x)
    s, c = jnp.sin(x.value), jnp.cos(x.value)
    return chain(x, s, c, -s)


def cos(x: Jet | Array) -> Jet | Array:
    """Cosine of an array or a jet."""
    if not isinstance(x, Jet):
        return jnp.cos(x)
    s, c = jnp.sin(x.value), jnp.cos(x.value)
    return chain(x, c, -s, -c)


def exp(x: Jet | Array) -> Jet | Array:
    """Exponential of an array or a jet."""
    if not isinstance(x, Jet):
        return jnp.exp(x)
    e = jnp.exp(x.value)
    return chain(x, e, e, e)


def affine(x: Jet | Array, scale: float, shift: float | Array = 0.0) -> Jet | Array:
    """scale·(x − shift), the same for all components or one shift for each."""
    if not isinstance(x, Jet):
        return scale * (x - shift)
    scaled = linear(x, lambda part: scale * part)
    return scaled._replace(value=scale * (x.value - shift))


def cos_sin(x: Jet | Array) -> Jet | Array:
    """(cos z, sin z) joined along the last axis: (..., m) becomes (..., 2m); the two functions are computed once."""
    if not isinstance(x, Jet):
        return jnp.concatenate([jnp.cos(x), jnp.sin(x)], axis=-1)
    s, c = jnp.sin(x.value), jnp.cos(x.value)
    return concatenate([chain(x, c, -s, -c), chain(x, s, c, -s)])


def concatenate(parts: list) -> Jet | Array:
    """Join arrays or jets along the last axis."""
    if not isinstance(parts[0], Jet):
        return jnp.concatenate(parts, axis=-1)
    exact_zero = all(p.laplacian is None for p in parts)
    laplacian = None
    if not exact_zero:
        filled = [jnp.zeros_like(p.value) if p.laplacian is None else p.laplacian for p in parts]
        laplacian = jnp.concatenate(filled, axis=-1)
    gradients = zip(*(p.gradient for p in parts), strict=True)
    return Jet(
        jnp.concatenate([p.value for p in parts], axis=-1),
        tuple(jnp.concatenate(g, axis=-1) for g in gradients),
        laplacian,
        parts[0].metric,
    )


def stack(parts: list) -> Jet | Array:
    """Join k arrays or jets of equal shape along a new last axis."""
    as_column = lambda part: part[..., None]  # noqa: E731
    return concatenate([linear(p, as_column) if isinstance(p, Jet) else as_column(p) for p in parts])


def product(a: Jet | Array, b: Jet | Array) -> Jet | Array:
    """Product ab: ∇(ab) = a∇b + b∇a, tr(A∇²(ab)) = a tr(A∇²b) + b tr(A∇²a) + 2∇a·A∇b."""
    if not isinstance(a, Jet):
        return a * b
    laplacian = 2 * _inner(a, b)
    if a.laplacian is not None:
        laplacian = laplacian + b.value * a.laplacian
    if b.laplacian is not None:
        laplacian = laplacian + a.value * b.laplacian
    gradient = tuple(a.value * q + b.value * p for p, q in zip(a.gradient, b.gradient, strict=True))
    return Jet(a.value * b.value, gradient, laplacian, a.metric)


def add(a: Jet | Array, b: Jet | Array) -> Jet | Array:
    """Sum a + b of two arrays or two jets."""
    if not isinstance(a, Jet):
        return a + b
    gradient = tuple(p + q for p, q in zip(a.gradient, b.gradient, strict=True))
    return Jet(a.value + b.value, gradient, _plus(a.laplacian, b.laplacian), a.metric)


def _is_scalar(function: Callable[[Array], Array], x: Array) -> bool:
    return jax.eval_shape(function, x).shape == ()


def joined(parts: list) -> Jet | Array:
    """Scalars and vectors, arrays or jets, one after the other as one vector."""
    flat = lambda part: part[None] if part.ndim == 0 else part  # noqa: E731
    return concatenate([linear(p, flat) if isinstance(p, Jet) else flat(p) for p in parts])


def first_of(function: Callable[[Array], Array], x: Array) -> Jet:
    """Value and gradient of a function of one point, of a vector one by forward derivatives."""
    if not _is_scalar(function, x):
        return Jet(function(x), tuple(jnp.moveaxis(jax.jacfwd(function)(x), -1, 0)))
    value, gradient = jax.value_and_grad(function)(x)
    return Jet(value, tuple(gradient[k] for k in range(x.shape[0])))


def from_function(function: Callable[[Array], Array], x: Array, metric: Array | None = None) -> Jet:
    """Jet of a function of one point by nested AD: for coefficients and tests, not for networks.

    Parameters
    ----------
    function : callable, (d,) -> () or (k,)
    x : Array, shape (d,)
    metric : Array, shape (d, d), optional

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(from_function(lambda x: x[0] ** 2 + 3 * x[1] ** 2, jnp.array([1.0, 2.0])).laplacian)
    8.0
    """
    if not _is_scalar(function, x):
        A = jnp.eye(len(x), dtype=x.dtype) if metric is None else metric
        bend = jnp.einsum("kij,ij->k", jax.jacfwd(jax.jacfwd(function))(x), A)
        return first_of(function, x)._replace(laplacian=bend, metric=metric)
    value, gradient = jax.value_and_grad(function)(x)
    hessian = jax.hessian(function)(x)  # (d, d)
    laplacian = jnp.trace(hessian) if metric is None else jnp.sum(metric * hessian)
    return Jet(value, tuple(gradient[k] for k in range(x.shape[0])), laplacian, metric)
