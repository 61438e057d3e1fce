r"""Three ways to solve (JᵀJ + λI)δ = −Jᵀr for several λ at one θ.

dense
    Cholesky of JᵀJ + λI, which is P × P;
woodbury
    δ = −Jᵀ(JJᵀ + λI)⁻¹r, Cholesky of an N × N matrix, for fewer residuals than parameters;
cg
    conjugate gradients with products Jv and Jᵀv, preconditioned by a randomised Nyström approximation JᵀJ ≈ UΛUᵀ
    (Frangella, Tropp, Udell 2023).

All work up to rounding with the same numbers; what differs is time and memory. What does not depend on λ is done once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import sequential_vmap
from jax.scipy.sparse.linalg import cg

from hybrid_lib import fem
from hybrid_lib.training.jacobians import (
    jacobian,
    normal_equations,
    ravel,
    unraveller,
    weighted_residual,
)
from hybrid_lib.training.objectives import Objective

Tree = Any
LARGEST_DENSE = 6000
"""Parameters up to which ``auto`` forms JᵀJ, of 288 MB, and two more of them for the factor."""


class Model(NamedTuple):
    """The quadratic model of ‖r‖² at one θ.

    Attributes
    ----------
    gradient : (P,)
        g = Jᵀr.
    product : callable (P,) -> (P,)
        v ↦ JᵀJv.
    solve : callable () -> (P,)
        λ ↦ δ.
    correct : callable ((), (N,)) -> (P,)
        (λ, s) ↦ −(JᵀJ + λI)⁻¹Jᵀs for another residual s, with the factor of `solve` where λ is the same.
    """

    gradient: Array
    product: Callable[[Array], Array]
    solve: Callable[[Array], Array]
    correct: Callable[[Array, Array], Array]


class SolverOptions(NamedTuple):
    """`chunk` points of J at a time (None: by memory); for conjugate gradients the `rank` of the preconditioner, the most
    `iterations` and the relative `tolerance`."""

    chunk: int | None = None
    rank: int = 100
    iterations: int = 200
    tolerance: float = 1e-10


def choose(residuals: int, parameters: int) -> str:
    """The solver that ``auto`` stands for: woodbury for N < P, dense up to `LARGEST_DENSE` parameters, otherwise cg.

    Examples
    --------
    >>> choose(100, 2000), choose(25_000, 5000), choose(25_000, 50_000)
    ('woodbury', 'dense', 'cg')
    """
    if residuals < min(parameters, LARGEST_DENSE):
        return "woodbury"
    return "dense" if parameters <= LARGEST_DENSE else "cg"


def dense(
    objective: Objective, theta: Tree, weights: dict, data: Tree, coarse: Tree, options: SolverOptions
) -> Model:
    """The P × P normal equations: O(NP²/2) once, O(P³/3) for each λ; memory O(P²) and one chunk of J."""
    A, g = normal_equations(objective, theta, weights, data, coarse, options.chunk)

    def correct(damping: Array, s: Array) -> Array:
        _, pull = jax.vjp(lambda t: weighted_residual(objective, t, weights, data, coarse), theta)
        return -_solve(A, damping, ravel(pull(s)[0]))

    return Model(g, lambda v: A @ v, lambda damping: -_solve(A, damping, g), correct)


def woodbury(
    objective: Objective, theta: Tree, weights: dict, data: Tree, coarse: Tree, options: SolverOptions
) -> Model:
    """The N × N dual system: O(N²P) once, O(N³/3) for each λ; memory O(NP + N²)."""
    J, r = jacobian(objective, theta, weights, data, coarse, options.chunk)
    gram = J @ J.T  # (N, N)
    layout = getattr(objective.fields, "layout", None)

    def pulled(s: Array) -> Array:  # on several devices each has some columns of J, and all of them the result
        return s @ J if layout is None else layout.split(layout.split(s @ J, 0), None)

    def correct(damping: Array, s: Array) -> Array:
        return -pulled(_solve(gram, damping, s))

    return Model(pulled(r), lambda v: pulled(J @ v), lambda damping: correct(damping, r), correct)


def conjugate_gradients(
    objective: Objective, theta: Tree, weights: dict, data: Tree, coarse: Tree, options: SolverOptions
) -> Model:
    """Products alone: `rank` of them once, and up to `iterations` for each λ; memory of one linearisation of r at all points."""
    unravel = unraveller(theta)
    flat = ravel(theta)
    r, push = jax.linearize(lambda t: weighted_residual(objective, unravel(t), weights, data, coarse), flat)
    pull = jax.linear_transpose(push, flat)

    def product(v: Array) -> Array:
        return pull(push(v))[0]

    g = pull(r)[0]
    U, values = nystrom(product, flat, min(options.rank, flat.size)) if options.rank else (None, None)

    def invert(damping: Array, rhs: Array) -> Array:
        def precondition(v: Array) -> Array:
            if U is None:
                return v
            part = v @ U  # (rank,)
            return v + U @ (part * ((values[-1] + damping) / (values + damping) - 1))

        delta, _ = cg(
            lambda v: product(v) + damping * v,
            rhs,
            tol=options.tolerance,
            maxiter=options.iterations,
            M=precondition,
        )
        return delta

    return Model(
        g, product, lambda damping: invert(damping, -g), lambda damping, s: invert(damping, -pull(s)[0])
    )


SOLVERS: dict[str, Callable[..., Model]] = {
    "dense": dense,
    "woodbury": woodbury,
    "cg": conjugate_gradients,
}


def nystrom(product: Callable[[Array], Array], like: Array, rank: int) -> tuple[Array, Array]:
    """Randomised Nyström approximation A ≈ U diag(values) Uᵀ of a positive semidefinite A from `rank` products.

    Parameters
    ----------
    product : callable (P,) -> (P,)
        v ↦ Av.
    like : (P,)
        Gives size and dtype.
    rank : int

    Returns
    -------
    U, values : (P, rank), (rank,)
        Orthonormal columns; values in falling order, zeros for A = 0. The random test matrix is the same at every call.

    Examples
    --------
    >>> U, values = nystrom(lambda v: 0 * v, jnp.ones(4), 2)
    >>> values.tolist()
    [0.0, 0.0]
    """
    sketch = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (like.size, rank), like.dtype))[0]
    image = lax.map(product, sketch.T, batch_size=min(rank, 8)).T  # (P, rank)
    size = jnp.linalg.norm(image)
    shift = jnp.finfo(like.dtype).eps * jnp.where(size > 0, size, 1.0)  # A = 0 has its factors, too
    image = image + shift * sketch
    gram = sketch.T @ image
    L = fem.factor((gram + gram.T) / 2)
    U, s, _ = fem.thin_svd(fem.half_solve(L, image.T).T)  # image L⁻ᵀ, (P, rank)
    return U, jnp.where(size > 0, jnp.maximum(s**2 - shift, 0.0), 0.0)


@sequential_vmap
def _solve(matrix: Array, damping: Array, rhs: Array) -> Array:
    """(matrix + damping I)⁻¹ rhs by Cholesky; not finite where that fails. One member at a time, and one factor in memory."""
    shifted = matrix + damping * jnp.eye(len(rhs), dtype=rhs.dtype)
    return fem.factor_solve(fem.factor(shifted, symmetrise=False), rhs)
