r"""Gauss-Newton with Levenberg-Marquardt damping for any objective of residual blocks.

.. math:: \delta = -(J^TJ + \lambda I)^{-1} J^Tr, \qquad r, J: \text{the stacked weighted residual and its Jacobian at } \theta.

The gain ratio compares the decrease of 𝔍 = ‖r‖² with that of its model ‖r + Jδ‖²; it decides whether θ + δ is taken, and moves λ
(Nielsen 1999). The step is bent by *geodesic acceleration* (Transtrum & Sethna 2012): along the curve θ + tδ + t²δ₂/2 with

.. math:: \delta_2 = -(J^TJ + \lambda I)^{-1} J^T r''[\delta, \delta]

the residual r(θ) + t Jδ keeps its direction to second order, so that the model holds farther out in the curved valleys in which
networks train. It costs one second directional derivative of r and one more solve with the factor at hand.

With momentum μ the step is drawn towards a part of the last one, v, instead of towards zero,

.. math:: \delta = \arg\min_\delta \|r + J\delta\|^2 + \lambda\|\delta - \mu v\|^2
          = \mu v - (J^TJ + \lambda I)^{-1} J^T(r + \mu Jv),

for points drawn anew in each step: directions that the present points do not see keep what earlier points said of them (SPRING,
Goldshlager et al. 2024). A step of this kind that does not decrease 𝔍 is tried again without v.

With a coarse problem, 𝔍 is the *reduced* functional: the coarse state is solved anew at every trial, since one
trial costs far more than a coarse solve; the gate of Algorithm 3.1 has no part in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from hybrid_lib.errors import InputError
from hybrid_lib.training.jacobians import ravel, unraveller, weighted_residual
from hybrid_lib.training.objectives import Objective, Terms, reduced_loss
from hybrid_lib.training.solvers import SOLVERS, SolverOptions, choose
from hybrid_lib.training.state import Member, Optimiser

Tree = Any
RAISED = (1e-15, 1e6)
"""Bounds of a raised λ as parts of the Rayleigh quotient: above rounding, and never so large that no step is left."""


class Damping(NamedTuple):
    """State of :func:`gauss_newton`: λ (0 before the first step), the factor by which a refused trial raises it, and the last
    step v (P,), None without momentum."""

    damping: Array
    growth: Array
    velocity: Array | None = None


class _Trial(NamedTuple):
    count: Array
    taken: Array
    theta: Array
    damping: Array
    growth: Array


def gauss_newton(
    damping: float = 1e-6,
    solver: str = "auto",
    trials: int = 8,
    chunk: int | None = None,
    rank: int = 100,
    iterations: int = 200,
    tolerance: float = 1e-10,
    acceleration: float = 0.75,
    momentum: float = 0.0,
) -> Optimiser:
    r"""Gauss-Newton/Levenberg-Marquardt: in each step trials δ(λ) with growing λ until one decreases 𝔍.

    .. math:: \varrho = \frac{\|r(\theta)\|^2 - \|r(\theta+\delta)\|^2}{\delta^T(\lambda\delta - J^Tr)}, \qquad
              \lambda \leftarrow \begin{cases} \lambda\max(1/3, 1 - (2\varrho-1)^3), & \varrho > 0, \\
              \lambda\nu,\ \nu \leftarrow 2\nu & \text{otherwise}.\end{cases}

    Parameters
    ----------
    damping : float
        First λ as a part of the Rayleigh quotient gᵀJᵀJg/gᵀg, g = Jᵀr; 0 is Gauss-Newton without damping, for which a
        trial that fails ends the step.
    solver : str
        ``"dense"``: Cholesky of JᵀJ + λI, O(NP² + P³) and memory O(P²); ``"woodbury"``: of JJᵀ + λI, O(N²P + N³), memory
        O(NP); ``"cg"``: products Jv and Jᵀv only, O(rank + iterations) of them; ``"auto"``: one of them by N and P, see
        :func:`hybrid_lib.training.solvers.choose`.
    trials : int
        Largest number of trials a step. When all fail θ stays, and the next step goes on with the larger λ.
    chunk : int, optional
        Points a chunk of J; by default by memory, see :func:`hybrid_lib.training.jacobians.normal_equations`.
    rank : int
        Of the Nyström preconditioner of conjugate gradients; 0 for none.
    iterations, tolerance
        Of conjugate gradients: most iterations, and the relative residual at which they stop.
    acceleration : float
        Largest ‖δ₂‖/‖δ‖ for which the second-order term δ₂/2 is added to a trial; where it is larger, the expansion is not to be
        trusted and δ alone is tried. 0 for no acceleration. With a coarse problem r″ is taken at the coarse data of θ, as J is;
        their own second derivative is left out, which the decrease of 𝔍 that every step must show makes harmless.
    momentum : float
        μ in [0, 1): the part of the last step towards which the damping draws the first trial. Made for points that change from
        step to step.

    Returns
    -------
    Optimiser

    Raises
    ------
    InputError
        For a value out of its range, and at `init` for parameters that are not float64: the normal equations square the
        condition number, and in float32 λ could not fall below 1e-7 of the largest eigenvalue.

    Examples
    --------
    >>> gauss_newton(damping=-1.0)
    Traceback (most recent call last):
    hybrid_lib.errors.InputError: damping: expected a number >= 0; received -1.0; 0 is Gauss-Newton without damping
    """
    if not damping >= 0:
        raise InputError("damping", "a number >= 0", damping, "0 is Gauss-Newton without damping")
    if solver not in (*SOLVERS, "auto"):
        raise InputError(
            "solver", f"one of {', '.join((*SOLVERS, 'auto'))}", repr(solver), "choose one of these"
        )
    for name, value, least in (("trials", trials, 1), ("rank", rank, 0), ("iterations", iterations, 1)):
        if value < least:
            raise InputError(name, f"an integer >= {least}", value, "see gauss_newton")
    if not acceleration >= 0:
        raise InputError("acceleration", "a number >= 0", acceleration, "0 is Levenberg-Marquardt without it")
    if not 0 <= momentum < 1:
        raise InputError("momentum", "a number in [0, 1)", momentum, "0 is no momentum")
    if chunk is not None and chunk < 1:
        raise InputError("chunk", "an integer >= 1", chunk, "leave it out to choose it by memory")

    def init(params: Tree) -> Damping:
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(params)}
        if dtypes != {jnp.dtype("float64")}:
            received = ", ".join(sorted(str(d) for d in dtypes))
            remedy = "set dtype=float64; on the command line --optimiser gauss-newton also sets the sizes"
            raise InputError("gauss-newton", "float64 parameters", received, remedy)
        velocity = jnp.zeros_like(ravel(params)) if momentum else None
        return Damping(jnp.zeros((), jnp.float64), jnp.full((), 2.0), velocity)

    def step(objective: Objective, member: Member, data: Tree) -> tuple[Tree, Tree, Array, Terms]:
        theta, unravel = ravel(member.params), unraveller(member.params)
        total, terms, coarse = reduced_loss(objective, member.params, member.weights, data, member.coarse)
        here = (objective, member.params, member.weights, data, coarse)
        rows = jax.eval_shape(lambda: weighted_residual(*here)).size
        model = SOLVERS[choose(rows, theta.size) if solver == "auto" else solver](*here, options)
        g = model.gradient
        squared = jnp.vdot(g, g)
        scale = jnp.vdot(g, model.product(g)) / jnp.where(squared > 0, squared, 1.0)
        start = jnp.where(member.opt_state.damping > 0, member.opt_state.damping, damping * scale)

        def residual(t: Array) -> Array:
            return weighted_residual(objective, unravel(t), *here[2:])

        def drawn(count: Array, damping: Array) -> Array:
            """δ of the first trial with momentum, of the others without."""
            kept = jnp.where(count == 0, momentum, 0.0) * member.opt_state.velocity
            r, push = jax.jvp(residual, (theta,), (kept,))
            return kept + model.correct(damping, r + push)

        def curvature(delta: Array) -> Array:
            """r″[δ, δ] (N,)."""
            return jax.jvp(lambda t: jax.jvp(residual, (t,), (delta,))[1], (theta,), (delta,))[1]

        def bent(delta: Array, damping: Array) -> Array:
            second = model.correct(damping, curvature(delta))
            small = jnp.linalg.norm(second) <= acceleration * jnp.linalg.norm(delta)  # not for nan
            return delta + jnp.where(small, second / 2, 0.0)

        def trial(carry: _Trial) -> _Trial:
            delta = drawn(carry.count, carry.damping) if momentum else model.solve(carry.damping)
            moved = bent(delta, carry.damping) if acceleration else delta
            value, _, _ = reduced_loss(objective, unravel(theta + moved), member.weights, data, coarse)
            if momentum:
                predicted = -jnp.vdot(delta, 2 * g + model.product(delta))
            else:
                predicted = jnp.vdot(delta, carry.damping * delta - g)
            gain = (total - value) / predicted
            taken = jnp.isfinite(value) & (value < total)
            shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
            raised = jnp.clip(carry.damping * carry.growth, *(bound * scale for bound in bounds))
            return _Trial(
                carry.count + 1,
                taken,
                jnp.where(taken, theta + moved, theta),
                jnp.where(taken, carry.damping * shrink, raised),
                jnp.where(taken, 2.0, jnp.minimum(2 * carry.growth, 1e6)),
            )

        def again(carry: _Trial) -> Array:
            return ~carry.taken & (carry.count < trials)

        first = _Trial(jnp.asarray(0, jnp.int32), jnp.asarray(False), theta, start, member.opt_state.growth)
        last = lax.while_loop(again, trial, first)
        new = jnp.where(jnp.isfinite(squared), last.theta, jnp.nan)
        velocity = new - theta if momentum else None
        return unravel(new), Damping(last.damping, last.growth, velocity), total, terms

    options = SolverOptions(chunk, rank, iterations, tolerance)
    if not damping:
        trials, bounds = 1, (0.0, 0.0)
    else:
        bounds = RAISED
    return Optimiser(init, step)
