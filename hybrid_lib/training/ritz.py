r"""Galerkin (Ritz) finish: a few Gauss-Newton steps on the energy, judged by the energy on a second quadrature rule.

.. math:: E(\theta) &= \tfrac12 \int (\nabla u_\theta + e)\cdot K(\nabla u_\theta + e) - \int q\,u_\theta, \\
          \delta &= -(A + \lambda I)^{-1}\,\partial E, \qquad A = \int \nabla(\partial_\theta u)\cdot K\nabla(\partial_\theta u),
          \qquad \theta \leftarrow \theta + \delta.

For λ → 0 the function u_θ + ∂_θu δ is the Galerkin solution in the tangent space of the network at θ, shifted by u_θ: the best
approximation there in the energy norm. Training by residuals has no such property; it leaves errors that no residual hears well.
What Galerkin can do wrong is to exploit the quadrature: with N points, a combination of parameters that is flat at all of them
but not between costs nothing. Hence two rules: one makes the step, the other judges it, and a step that does not lower the second
energy for any λ is not taken. Both are computed from the data of the problem alone.

`E(θ) − E(u) = ½ |u_θ − u|²_K`, so that the decrease of E is the decrease of the squared error in the energy norm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.training.jacobians import normal_equations, ravel, unraveller
from hybrid_lib.training.objectives import Objective, PointFields, PointwiseBlock, terms

Tree = Any


class EnergyPoint(NamedTuple):
    """u and K^{1/2}(∇u + e) at one point, both times the square root of its quadrature weight."""

    value: Array
    flux: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Energy:
    """The energy of a trial field with one quadrature rule.

    Attributes
    ----------
    objective : Objective
        One block for each component of √w K^{1/2}(∇u + e); half the sum of squares is the quadratic part of E.
    load : (Q,)
        √w q at the points.
    data : tree
        What `objective` needs.
    """

    objective: Objective
    load: Array
    data: Tree

    def __call__(self, theta: Tree) -> Array:
        """E(θ)."""
        return self.at(theta, self.data, self.load)

    def at(self, theta: Tree, data: Tree, load: Array) -> Array:
        """E(θ) with the rule's arrays as arguments, so that a compiled program need not hold them as constants."""
        fields = self.objective.fields(theta, data)["rule"]
        return sum(jnp.vdot(c, c) for c in fields.flux) / 2 - jnp.vdot(load, fields.value)


class RitzResult(NamedTuple):
    """Outcome of :func:`ritz_finish`.

    Attributes
    ----------
    params : tree
        θ after the steps that were taken.
    energies : (k + 1,)
        E on the second rule at the start and after each of the k steps.
    dampings : (k,)
        λ of each step, as a part of the mean of the diagonal of A.
    reason : str
        Why it ended: ``steps``, ``no decrease`` or ``converged``.
    seconds, compile_seconds : float
        Time of the steps, and of compilation.
    """

    params: Tree
    energies: np.ndarray
    dampings: np.ndarray
    reason: str
    seconds: float
    compile_seconds: float

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def energy(
    evaluate: Callable[[Tree, Tree], tuple[Array, Array]],
    inputs: Tree,
    conductivity: Array,
    source: Array,
    weights: Array,
    direction: Array,
) -> Energy:
    """Energy of a trial field by one quadrature rule with Q points.

    Parameters
    ----------
    evaluate : callable (theta, input) -> (u, grad u)
        The trial field at one point: () and (d,).
    inputs : tree
        What `evaluate` needs of each point, leading axis Q.
    conductivity : (Q,) or (Q, d, d)
        K at the points, symmetric positive definite.
    source, weights : (Q,)
        q at the points, and the weights of the rule.
    direction : (d,)
        *e*.

    Returns
    -------
    Energy
    """
    root = jnp.sqrt(weights)
    e = jnp.asarray(direction, root.dtype)
    if conductivity.ndim == 1:
        factor = jnp.sqrt(conductivity)[:, None, None] * jnp.eye(len(e), dtype=root.dtype)[None]
    else:
        factor = jnp.swapaxes(fem.tensor_root(conductivity), 1, 2)  # K = factorᵀ factor
    data = {"inputs": inputs, "factor": factor, "root": root}

    def at(theta: Tree, data: Tree, name: str, point: Tree) -> EnergyPoint:
        value, gradient = evaluate(theta, point["inputs"])
        flux = point["root"] * (point["factor"] @ (gradient + e))
        return EnergyPoint(point["root"] * value, tuple(flux))

    fields = PointFields(lambda data: {"rule": data}, at)
    blocks = {
        f"flux_{k}": PointwiseBlock("rule", lambda f, data, coarse, k=k: f["rule"].flux[k])
        for k in range(len(e))
    }
    return Energy(Objective(fields, blocks), root * source, data)


def ritz_finish(
    theta: Tree,
    step: Energy,
    judge: Energy,
    steps: int = 3,
    damping: float = 1e-10,
    trials: int = 8,
    tolerance: float = 1e-9,
) -> RitzResult:
    r"""Up to `steps` Galerkin steps in the tangent space of the network; each must lower the energy on the second rule.

    Parameters
    ----------
    theta : tree
        float64, P numbers.
    step : Energy
        The rule that makes the steps.
    judge : Energy
        Another rule, finer than or apart from the first; it alone decides.
    steps : int
        Most steps.
    damping : float
        First λ as a part of the mean of the diagonal of A.
    trials : int
        λ grows by 100 until the second energy falls, this many times at most.
    tolerance : float
        Ends when a step lowers E by less than this part of `|E|` at the start.

    Returns
    -------
    RitzResult

    Raises
    ------
    InputError
        For parameters that are not float64, or fewer than one step.

    Notes
    -----
    O(Q d P²) for A and O(P³) for its factor, as a step of :func:`hybrid_lib.training.gauss_newton` with d rows a point.
    """
    weights = {name: jnp.ones(()) for name in step.objective.blocks}

    def model(theta: Tree, data: Tree, load: Array) -> tuple[Array, Array]:
        A, g = normal_equations(step.objective, theta, weights, data, ())
        work = lambda t: jnp.vdot(load, step.objective.fields(t, data)["rule"].value)  # noqa: E731
        return A, g - ravel(jax.grad(work)(theta))

    value = lambda t, data, load: judge.at(t, data, load)  # noqa: E731
    rules = (step.data, step.load), (judge.data, judge.load)
    return _descent(theta, model, value, rules, steps, damping, trials, tolerance)


def linear_finish(objective: Objective, theta: Tree, linear: Callable[[str], bool], data: Tree, judged: Tree) -> RitzResult:
    """The minimiser of a sum of squares over those parameters in which its residuals are linear, the others as they are.

    Training moves all parameters a little at every step, after points that change; with the hidden layers at rest what is left
    is one small least-squares problem, whose solution needs many points more than a step can afford.

    Parameters
    ----------
    objective : Objective
        Without a coarse problem; 𝔍 is the sum of its terms.
    theta : tree
        float64.
    linear : callable (name of a leaf of θ, keys joined by "/") -> bool
        Whether it enters the residuals linearly.
    data, judged : trees
        Of two draws of points: the first makes the step, the second judges it.

    Returns
    -------
    RitzResult
        Its energies are 𝔍 on the second draw.
    """
    named, structure = jax.tree_util.tree_flatten_with_path(theta)
    leaves = [leaf for _, leaf in named]
    chosen = [linear("/".join(str(key.key) for key in path)) for path, _ in named]
    rest = [None if own else leaf for own, leaf in zip(chosen, leaves, strict=True)]

    def whole(part: list[Array]) -> Tree:
        given = iter(part)
        return jax.tree.unflatten(structure, [next(given) if leaf is None else leaf for leaf in rest])

    alone, weights = objective.over(whole), {name: jnp.ones(()) for name in objective.blocks}
    model = lambda part, data: normal_equations(alone, part, weights, data, ())  # noqa: E731
    value = lambda part, data: sum(terms(alone, part, data, ()).values())  # noqa: E731
    part = [leaf for own, leaf in zip(chosen, leaves, strict=True) if own]
    found = _descent(part, model, value, ((data,), (judged,)), 1)
    return found._replace(params=whole(found.params))


def _descent(
    theta: Tree, model: Callable, value: Callable, rules: tuple, steps: int, damping=1e-10, trials=8, tolerance=1e-9
) -> RitzResult:
    """Steps by `model` (θ, rule) -> matrix and gradient, with more damping until `value` (θ, rule) falls on the other rule."""
    if steps < 1:
        raise InputError("steps", "an integer >= 1", steps, "leave the finish out instead")
    if any(leaf.dtype != jnp.float64 for leaf in jax.tree.leaves(theta)):
        raise InputError("ritz_finish", "float64 parameters", "another type", "train with dtype=float64")
    unravel, (own, judged) = unraveller(theta), rules

    def solve(A: Array, g: Array, part: Array) -> Array:
        shift = part * jnp.trace(A) / len(g)
        return -fem.factor_solve(fem.factor(A + shift * jnp.eye(len(g), dtype=g.dtype)), g)

    began = time.perf_counter()
    vector = jax.ShapeDtypeStruct((ravel(theta).size,), jnp.float64)
    square = jax.ShapeDtypeStruct(vector.shape * 2, jnp.float64)
    value = fem.shared(value).compile(theta, *judged)
    model = fem.shared(model).compile(theta, *own)
    solve = fem.shared(solve).compile(square, vector, jax.ShapeDtypeStruct((), jnp.float64))
    ready = time.perf_counter()
    energies, used, reason = [float(value(theta, *judged))], [], "steps"
    for _ in range(steps):
        A, g = model(theta, *own)
        for part in damping * 100.0 ** np.arange(trials):
            trial = unravel(ravel(theta) + solve(A, g, jnp.asarray(part)))
            new = float(value(trial, *judged))  # nan, from a factor that failed, is no decrease either
            if new < energies[-1]:
                break
        else:
            reason = "no decrease"
            break
        theta = trial
        energies.append(new)
        used.append(part)
        if energies[-2] - new < tolerance * abs(energies[0]):
            reason = "converged"
            break
    seconds = time.perf_counter() - ready
    return RitzResult(theta, np.asarray(energies), np.asarray(used), reason, seconds, ready - began)
