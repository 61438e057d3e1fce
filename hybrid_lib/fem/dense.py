r"""Dense symmetric systems in JAX by one Cholesky factor, and closed forms for the small tensors of a medium.

The coarse state (3.17) and adjoint (3.18) of the paper are small and go through :func:`linear_solve`, which JAX differentiates
forwards and backwards with the same factor.

jaxlib factors and solves a *batch* of matrices on the pool of threads that runs the program, hands the parts to the same pool
and waits there; two such calls at once wait for each other for ever where the pool has two threads. Hence here, under ``vmap``:
right-hand sides of one matrix become its columns, and several matrices come one after the other. All factorisations and
triangular solves of the library are in this module; nothing else calls LAPACK from a program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap, sequential_vmap


class SymmetricFactor(NamedTuple):
    """Cholesky factor L of a dense symmetric positive definite matrix L Lᵀ; a pytree of one array.

    Attributes
    ----------
    lower : (n, n) array
        L, zero above the diagonal.
    """

    lower: jax.Array


def factor(matrix: jax.Array, symmetrise: bool = True) -> SymmetricFactor:
    """Factor a dense symmetric positive definite matrix, A = L Lᵀ; jittable.

    Parameters
    ----------
    matrix : (n, n) array
        If it is not positive definite the factor is nan.
    symmetrise : bool
        Take the symmetric part; False reads the lower triangle alone and saves a copy.

    Returns
    -------
    SymmetricFactor
        dtype of the matrix. Not differentiable: see :func:`linear_solve`.

    Notes
    -----
    Cost O(n³/3).

    Examples
    --------
    >>> factor(jnp.array([[4.0]])).lower.tolist()
    [[2.0]]
    """
    return SymmetricFactor(_cholesky((matrix + matrix.T) / 2 if symmetrise else matrix))


def factor_solve(factor: SymmetricFactor, b: jax.Array) -> jax.Array:
    """Solve A x = b with a factor of A; jittable, differentiable in b and L.

    Parameters
    ----------
    factor : SymmetricFactor
    b : (n,) or (n, k) array

    Returns
    -------
    (n,) or (n, k) array

    Notes
    -----
    Cost O(n²) a right-hand side. To differentiate with respect to A, use :func:`linear_solve`.

    Examples
    --------
    >>> factor_solve(SymmetricFactor(jnp.array([[2.0]])), jnp.array([8.0])).tolist()
    [2.0]
    """
    return half_solve(factor, half_solve(factor, b), transposed=True)


def half_solve(factor: SymmetricFactor, b: jax.Array, transposed: bool = False) -> jax.Array:
    """Solve L x = b, or Lᵀ x = b, with the factor L of a matrix; jittable, differentiable in b and L.

    Parameters
    ----------
    factor : SymmetricFactor
    b : (n,) or (n, k) array
    transposed : bool
        Solve with Lᵀ.

    Returns
    -------
    (n,) or (n, k) array
        With x = L⁻¹b the square of x is bᵀA⁻¹b. O(n²) a right-hand side.

    Examples
    --------
    >>> L = SymmetricFactor(jnp.array([[2.0, 0.0], [1.0, 1.0]]))
    >>> half_solve(L, jnp.array([2.0, 3.0])).tolist(), half_solve(L, jnp.array([2.0, 3.0]), transposed=True).tolist()
    ([1.0, 2.0], [-0.5, 3.0])
    """
    lower = factor.lower
    first, second = (_upper, _lower) if transposed else (_lower, _upper)
    known = lax.stop_gradient(lower)
    return lax.custom_linear_solve(
        lambda x: jnp.matmul(lower.T if transposed else lower, x, precision="highest"),
        b,
        solve=lambda _, right: _by_columns(first, known, right),
        transpose_solve=lambda _, right: _by_columns(second, known, right),
    )


def linear_solve(matrix: jax.Array, b: jax.Array, factored: SymmetricFactor | None = None) -> jax.Array:
    """Solve A x = b for a dense symmetric positive definite A; differentiable in A and b, to any order.

    Derivatives come from the equation: dx = A⁻¹(db - dA x), and λ = A⁻¹ x̄ gives b̄ = λ, Ā = -λ xᵀ. The
    factor is computed once and serves the solve, J·v and Jᵀ·v; works under jit, vmap, jvp, vjp. (3.17),
    (3.18) of the paper.

    Parameters
    ----------
    matrix : (n, n) array
        Symmetric positive definite; nan results otherwise.
    b : (n,) or (n, k) array
        dtype of the matrix.
    factored : SymmetricFactor, optional
        ``factor(matrix)`` if it is known already; it must belong to this matrix.

    Returns
    -------
    (n,) or (n, k) array

    Notes
    -----
    Cost O(n³/3) once, O(n²) for each solve and each derivative.

    Examples
    --------
    >>> linear_solve(jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([2.0, 2.0])).round(6).tolist()
    [1.0, 0.5]
    """
    if factored is None:
        factored = factor(lax.stop_gradient(matrix))
    known = lax.stop_gradient(factored)  # outside the closures below, so that every derivative reuses it
    return lax.custom_linear_solve(
        lambda x: jnp.matmul(matrix, x, precision="highest"),
        b,
        solve=lambda _, right: factor_solve(known, right),
        symmetric=True,
    )


@sequential_vmap
def thin_svd(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """U, singular values in falling order and Vᵀ of one matrix, thin; not differentiable.

    Examples
    --------
    >>> thin_svd(jnp.array([[0.0], [3.0]]))[1].tolist()
    [3.0]
    """
    return tuple(jnp.linalg.svd(matrix, full_matrices=False))


def tensor_root(K: jax.Array) -> jax.Array:
    """Cholesky factors L of small tensors, K = L Lᵀ, entry by entry; differentiable, nan where K is not positive definite.

    Parameters
    ----------
    K : (..., d, d) array
        Symmetric.

    Examples
    --------
    >>> tensor_root(jnp.array([[[4.0, 2.0], [2.0, 2.0]]])).tolist()
    [[[2.0, 0.0], [1.0, 1.0]]]
    """
    d = K.shape[-1]
    rows: list[list[jax.Array]] = []
    for i in range(d):
        row: list[jax.Array] = []
        for j in range(i + 1):
            other = row if i == j else rows[j]
            rest = K[..., i, j] - sum(row[k] * other[k] for k in range(j))
            row.append(jnp.sqrt(rest) if i == j else rest / rows[j][j])
        rows.append(row)
    zero = jnp.zeros_like(K[..., 0, 0])
    return jnp.stack([jnp.stack(row + [zero] * (d - len(row)), axis=-1) for row in rows], axis=-2)


def tensor_solve(K: jax.Array, F: jax.Array) -> jax.Array:
    """K⁻¹F for small tensors, d = 1 or 2, by Cramer's rule; differentiable, not finite where K is singular.

    Parameters
    ----------
    K, F : (..., d, d) arrays

    Examples
    --------
    >>> tensor_solve(jnp.diag(jnp.array([2.0, 4.0])), jnp.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    if K.shape[-1] == 1:
        return F / K
    a, b, c, d = K[..., 0, 0], K[..., 0, 1], K[..., 1, 0], K[..., 1, 1]
    adjugate = jnp.stack([jnp.stack([d, -b], axis=-1), jnp.stack([-c, a], axis=-1)], axis=-2)
    return jnp.matmul(adjugate, F, precision="highest") / (a * d - b * c)[..., None, None]


def tensor_eigenvalues(K: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Smallest and largest eigenvalue of the symmetric part of small tensors, d = 1 or 2, in closed form.

    Parameters
    ----------
    K : (..., d, d) array

    Returns
    -------
    lowest, highest : (...) arrays

    Examples
    --------
    >>> [float(v) for v in tensor_eigenvalues(jnp.array([[2.0, 1.0], [1.0, 2.0]]))]
    [1.0, 3.0]
    """
    if K.shape[-1] == 1:
        return K[..., 0, 0], K[..., 0, 0]
    mean = (K[..., 0, 0] + K[..., 1, 1]) / 2
    spread = (K[..., 0, 0] - K[..., 1, 1]) / 2
    radius = jnp.hypot(spread, (K[..., 0, 1] + K[..., 1, 0]) / 2)
    return mean - radius, mean + radius


@sequential_vmap
def _cholesky(matrix: jax.Array) -> jax.Array:
    """L of one matrix; under vmap one after the other."""
    return lax.linalg.cholesky(matrix, symmetrize_input=False)


def _triangular(transposed: bool) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(L, b (n, k)) -> L⁻¹b or L⁻ᵀb, with the rule for vmap that the module describes."""

    @custom_vmap
    def solve(lower: jax.Array, b: jax.Array) -> jax.Array:
        return lax.linalg.triangular_solve(lower, b, left_side=True, lower=True, transpose_a=transposed)

    @solve.def_vmap
    def _(axis_size: int, batched: list[bool], lower: jax.Array, b: jax.Array) -> tuple[jax.Array, bool]:
        if not batched[0]:
            columns = jnp.moveaxis(b, 0, -1)  # (n, k, S)
            x = solve(lower, columns.reshape(len(columns), -1))
            return jnp.moveaxis(x.reshape(columns.shape), -1, 0), True
        b = b if batched[1] else jnp.broadcast_to(b, (axis_size, *b.shape))
        return lax.map(lambda pair: solve(*pair), (lower, b)), True

    return solve


_lower, _upper = _triangular(False), _triangular(True)


def _by_columns(solve: Callable, lower: jax.Array, b: jax.Array) -> jax.Array:
    """`solve` for a vector or a matrix of right-hand sides."""
    return solve(lower, b[:, None])[:, 0] if b.ndim == 1 else solve(lower, b)
