"""Any field as values and gradients at points: of a run, or a function of one point or many, which JAX differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem
from hybrid_lib.captured import fresh
from hybrid_lib.errors import InputError, real_array, require_one_argument, require_real, rounded
from hybrid_lib.experiments.breaks import find_break
from hybrid_lib.fem.quadrature import float64
from hybrid_lib.problems import Problem

WRONG = 0.02
"""Share of points at which a gradient may differ from the field's: those beside kinks."""
BLOCK = 1 << 14
"""Points at which a field is asked at a time."""

_NOT_JAX = (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError)
Batch = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def field_of(problem: Problem, field: Any, gradient: Callable | None) -> Batch:
    """:func:`_batch`; refuses a function that jumps where its gradient does not say so, or whose gradient is another one's."""
    domain = problem.domain
    at, d = _batch(field, gradient, domain.dimension), domain.dimension
    if hasattr(field, "solution"):  # what this library has made
        return at
    mesh = domain.mesh(16)
    x = mesh.points[mesh.cells].mean(axis=1)
    if d == 1:  # many, and in no phase of a period
        x = domain.box[0] + np.ptp(domain.box, axis=0) * np.mod(0.3 + 0.618034 * np.arange(512), 1)[:, None]
    value, slope = at(x)
    if not (size := np.abs(value).max()) > 0:
        return at

    def values(points: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        v, g = at(points.reshape(-1, d))
        return v.reshape(*points.shape[:-1], 1), np.sum(g.reshape(points.shape) * along, axis=-1, keepdims=True)

    length, eps = float(np.ptp(domain.box, axis=0).max()), float(at.eps)
    wider = {} if eps < 1e-10 else {"least": 1e4 * eps, "shortest": 4 * eps * length}
    found = find_break(values, domain, problem.medium.period, size=size, **wider)
    if found is not None:
        below, above = rounded(found.below[0], 3), rounded(found.above[0], 3)
        received = f"a jump from {below} to {above} at x = {np.round(found.point, 6).tolist()}"
        raise InputError("field", "a continuous one, whose gradient is all of its derivative", received, "pass one without jumps")
    step = np.cbrt(eps) * length * np.eye(d)
    after, before = (np.stack([(at(x + h)[0] - at(x)[0]) / h.sum() for h in step * sign], axis=1) for sign in (1, -1))
    quotient = np.where(np.abs(after - slope) < np.abs(before - slope), after, before)  # on either side of a kink
    wrong = np.linalg.norm(quotient - slope, axis=1) > 0.2 * np.linalg.norm(slope, axis=1) + 1e-3 * size / length
    if eps < 1e-10 and wrong.sum() > WRONG * len(wrong):
        k = int(np.argmax(wrong))
        expected = f"that of the field, {quotient[k].round(6).tolist()} at x = {x[k].round(6).tolist()}"
        raise InputError("gradient", expected, slope[k].round(6).tolist(), "correct it, or leave it out")
    return at


def _batch(field: Any, gradient: Callable | None, d: int) -> Batch:
    """Points (k, d) -> values (k,) and gradients (k, d), checked."""
    for what, function in (("field", getattr(field, "solution", field)), ("gradient", gradient)):
        require_one_argument(what, function)
    if hasattr(field, "solution"):
        return _checked(field.solution, d)
    if _of_one_point(field, d):
        if gradient is not None:
            return _checked(lambda x: (fem.evaluate(field, x), fem.evaluate(gradient, x)), d, whole=True)

        def pair(x: jax.Array) -> jax.Array:
            value, slope = jax.value_and_grad(lambda y: jnp.asarray(require_real("field", fresh(field)(y)), y.dtype))(x)
            return jnp.append(slope, value)

        def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            try:
                found = fem.evaluate(pair, x)
            except _NOT_JAX:
                raise _no_gradient() from None
            return found[:, d], found[:, :d]

        return _checked(split, d, whole=True)
    if gradient is not None:
        return _checked(lambda x: (field(x), gradient(x)), d)

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = field(x)
        if isinstance(found, tuple):
            return found
        try:
            with float64():
                points = jnp.asarray(x, jnp.float64)
                axes = [jnp.broadcast_to(axis, points.shape) for axis in jnp.eye(d)]
                slopes = [require_real("field", jax.jvp(fresh(field), (points,), (axis,))[1]) for axis in axes]
        except (*_NOT_JAX, TypeError):
            raise _no_gradient() from None
        return np.asarray(found), np.stack([np.asarray(s, float) for s in slopes], axis=-1)

    return _checked(at, d)


def _no_gradient() -> InputError:
    """What to say of a field that is no JAX function."""
    expected, remedy = "a function, or a field that JAX can differentiate", "pass gradient=, or write it with jax.numpy"
    return InputError("gradient", expected, "none", remedy)


def _of_one_point(field: Callable, d: int) -> bool:
    """Whether a function takes one point (d,) to a number."""
    try:
        with float64():
            return jax.eval_shape(lambda x: jnp.asarray(fresh(field)(x)), jax.ShapeDtypeStruct((d,), jnp.float64)).shape == ()
    except _NOT_JAX:
        try:
            return np.shape(field(np.full(d, 0.3))) == ()
        except Exception:
            return False
    except Exception:  # a function of many points says what it likes about one
        return False


def _checked(at: Callable, d: int, whole: bool = False) -> Batch:
    """The same with its values checked, asked for in blocks of one size, not `whole`: what is compiled is compiled once."""

    def checked(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if whole:
            return one_block(x)
        full = np.pad(x, ((0, -len(x) % BLOCK), (0, 0)), mode="edge")
        parts = zip(*(one_block(full[start : start + BLOCK]) for start in range(0, len(full), BLOCK)), strict=True)
        return tuple(np.concatenate(part)[: len(x)] for part in parts)

    def one_block(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = at(x)
        value, slope = found if isinstance(found, tuple) and len(found) == 2 else (None, None)
        eps = np.finfo(value.dtype).eps if getattr(value, "dtype", None) in (np.float16, np.float32) else np.finfo(float).eps
        value, slope = real_array("field", value), real_array("gradient", slope)
        if value.shape != (len(x),) or slope.shape != (len(x), d):
            expected = f"values (k,) and gradients (k, {d}) at points (k, {d})"
            raise InputError("field", expected, f"shapes {value.shape} and {slope.shape} for k = {len(x)}", "one row a point")
        bad = np.flatnonzero(~(np.isfinite(value) & np.isfinite(slope).all(axis=1)))
        if bad.size:
            raise InputError(f"field at {x[bad[0]].tolist()}", "finite values and gradients", value[bad[0]], "correct the field")
        checked.eps = eps
        return value, slope

    return checked
