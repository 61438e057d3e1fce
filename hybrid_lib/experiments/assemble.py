r"""From a configuration to what the loop needs: objective, optimiser, data and members of every seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.config import Config, balance_every, has_defect, is_first_order, validated
from hybrid_lib.experiments.data import coarse_problem_of, sampler
from hybrid_lib.experiments.first_order import first_order_ansatz, first_order_objective
from hybrid_lib.experiments.jumps import require_no_jumps
from hybrid_lib.experiments.objective import objective_of
from hybrid_lib.experiments.problems import Problem, units
from hybrid_lib.experiments.references import Reference
from hybrid_lib.multiscale.coarse import CoarseProblem
from hybrid_lib.multiscale.corrector import expansion
from hybrid_lib.multiscale.defect import cell_side
from hybrid_lib.pinn import networks
from hybrid_lib.pinn.networks import Ansatz

Tree = Any


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything a run consists of before its first step.

    Attributes
    ----------
    config, problem, seeds
        What it was made from.
    ansatz : Ansatz or FirstOrderAnsatz
    objective : Objective
    program : Program
    state : TrainState
    data : tree
        Leading axis: seeds.
    coarse_mesh : Mesh or None
    coarse_problem : CoarseProblem or None
        None for the plain PINN.
    resample : callable or None
    """

    config: Config
    problem: Problem
    seeds: tuple[int, ...]
    ansatz: Ansatz
    objective: training.Objective
    program: training.Program
    state: training.TrainState
    data: Tree
    coarse_mesh: Any = None
    coarse_problem: CoarseProblem | None = None
    resample: Callable[[int], Tree] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by what it is assembled from: problem, configuration, seeds, parameters and frequencies."""
        initial = jax.tree.map(np.asarray, (self.state.members.params, self.data["fixed"]))
        return assemble, (self.problem, self.config, self.seeds, initial)

    def __deepcopy__(self, _: Any) -> Setup:
        return self

    @property
    def fixed(self) -> Tree:
        """What the networks have drawn and do not train, leading axis seeds."""
        return self.data["fixed"]

    def data_at(self, step: int) -> Tree:
        """The data of iteration `step`, leading axis seeds: those of the last draw up to it."""
        every = self.config.sampling.resample_every
        if self.resample is None or step < every:
            return self.data
        return self.resample(step - step % every)


def ansatz_of(problem: Problem, config: Config) -> Ansatz:
    """The trial field of a configuration: network, and the vanishing factor for hard boundary conditions, in the unit of u."""
    dtype, net = jnp.dtype(config.dtype), config.network
    if net.kind == "ms":
        factor = 2 * math.pi if net.cycles else 1.0
        network = networks.multiscale_fourier(
            (1.0, 1 / config.eps), net.widths, net.frequencies, net.activation, dtype, factor, net.trainable_frequencies
        )
    elif net.kind == "two-scale":
        box = problem.domain.box if net.boundary_layers else None
        network = networks.two_scale(config.eps, net.widths, box, net.activation, dtype, net.layer_factor)
    else:
        network = networks.mlp(net.widths, net.activation, dtype)
    factor = problem.domain.vanishing if config.boundary == "hard" else None
    if net.layer_factor:
        factor = (factor, lambda x: problem.domain.layer(x, config.eps))
    base = _base(problem) if net.corrector else None
    return Ansatz(network, problem.domain.dimension, _times(factor, units(problem).field), base)


def _times(factor: Any, unit: float) -> Any:
    """The factor or factors of an ansatz times the unit of its field."""
    if unit == 1:
        return factor
    if isinstance(factor, tuple):
        return tuple(_times(one, unit) for one in factor)
    return lambda x: jnp.asarray(unit, x.dtype) if factor is None else jnp.asarray(unit, x.dtype) * factor(x)


def _base(problem: Problem) -> Callable[[Array], Array]:
    """The expansion that ``network.corrector`` asks for."""
    medium, domain = problem.medium, problem.domain
    if medium.period is None or len(domain.corners) > 1:
        received = f"{domain.name}, period {medium.period}"
        raise InputError(
            "network.corrector", "a medium with a period on the unit cube", received, "leave it out"
        )
    return expansion(medium.conductivity, problem.source, problem.direction, medium.period)


def assemble(problem: Problem, config: Config, seeds: tuple[int, ...], initial: Tree | None = None) -> Setup:
    """Build a run.

    Parameters
    ----------
    problem : Problem
    config : Config
    seeds : tuple of int
        One member each: parameters, frequencies and collocation points all come from ``jax.random.key(seed)``.
    initial : tree, optional
        Members' parameters to start from (transfer): a ``(params, fixed)`` pair with leading axis S.

    Returns
    -------
    Setup

    Raises
    ------
    InputError
        For a precision that JAX was not switched to, repeated seeds, averaging balls without points, a conductivity that jumps
        where the strong form is trained, or a first-order system with a method or boundary conditions that it does not have.
    """
    validated(config)
    require_precision(config)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError("seeds", "one or more different integers", seeds, "give each seed once")
    if not is_first_order(config):
        require_no_jumps(problem)
    ansatz, hybrid = ansatz_of(problem, config), config.method == "hybrid"
    if is_first_order(config):
        ansatz = first_order_ansatz(ansatz, units(problem).source)
    mesh = problem.domain.mesh(config.coarse.cells) if hybrid else None
    coarse = coarse_problem_of(problem, config, mesh) if hybrid else None
    draws = [draw(ansatz, seed) for seed in seeds]
    params = [theta for theta, _ in draws]
    fixed = [frequencies for _, frequencies in draws]
    if initial is not None:
        stacked = _given(initial, draws[0], len(seeds))
        params, fixed = ([training.member(tree, s) for s in range(len(seeds))] for tree in stacked)

    data_at = sampler(problem, config, ansatz, seeds, fixed, coarse, mesh)
    data = data_at(0)
    if is_first_order(config):
        objective = first_order_objective(problem, ansatz, units(problem).energy)
    else:
        objective = objective_of(problem, config, ansatz, coarse)
    optimiser = _optimiser(config)
    options = config.training
    loop = training.LoopOptions(
        options.tolerance,
        options.gate_every,
        options.gate_tolerance,
        balance_every(config),
        options.balance_momentum,
        options.record_every,
        ("coupling",) if options.balance_terms == "without-coupling" else (),
        options.balance_reference,
        options.balance_start,
    )
    weights = {"boundary": config.boundary_weight, "coupling": config.coarse.weight or 1.0}
    if has_defect(config) and config.coarse.weight is None:
        weights["coupling"] = coupling_weight(problem, config, mesh) / problem.medium.alpha
    given = {name: jnp.asarray(weight, jnp.result_type(float)) for name, weight in weights.items()}
    init = fem.shared(lambda p, d, w: training.init_member(objective, optimiser, p, d, w))
    members = [init(p, d, given) for p, d in zip(params, data, strict=True)]
    return Setup(
        config,
        problem,
        tuple(seeds),
        ansatz,
        objective,
        training.program(objective, optimiser, loop, len(seeds)),
        training.init_state(members, jax.random.key(seeds[0])),
        training.stack(data),
        mesh,
        coarse,
        (lambda step: training.stack(data_at(step))) if config.sampling.resample_every else None,
    )


def require_precision(config: Config) -> None:
    """Refuse a configuration in float64 while JAX computes in float32."""
    if config.dtype == "float64" and not jax.config.jax_enable_x64:
        raise InputError("dtype", "float32 while JAX's x64 mode is off", "float64", "call hybrid_lib.enable_float64() first")


def coupling_weight(problem: Problem, config: Config, mesh) -> float:
    r"""τ₂ = π² K̄ / h² for the defect coupling: a weight with which the objective bounds the error, known before training.

    In one dimension |u_θ − u|²_{H¹} ≤ α⁻²(h²/π² ‖r‖² + K̂ D) for linear elements on cells of length at most h, so that
    ‖r‖² + τ₂D is the bound itself up to a factor when τ₂ = π²K̂/h². K̄ is the mean of the conductivity along the drop, an upper
    bound of the homogenised coefficient; h is the length of the cells, in two dimensions ``cell_side``. There the bound has
    C_h ≤ 0.493 h in the place of h/π, and the weight is up to 2.4 times K̄/C_h²: heavier, which keeps it a bound.
    """
    e = np.asarray(problem.direction)
    means = fem.cell_coefficient(mesh, problem.medium.conductivity, order=4)  # (m, d, d)
    mean = float(np.einsum("m,a,mab,b->", mesh.volumes, e, means, e) / (mesh.volumes.sum() * (e @ e)))
    return np.pi**2 * mean / cell_side(mesh) ** 2


def _optimiser(config: Config) -> training.Optimiser:
    """The optimiser of a configuration."""
    options = config.training
    if options.optimiser == "gauss-newton":
        return training.gauss_newton(momentum=options.momentum)
    return training.adam(options.learning_rate, options.decay_rate, options.decay_every)


def evaluator(ansatz: Ansatz, reference: Reference | None) -> Callable[[Tree, Tree], dict[str, Array]]:
    """Jitted (params, data) -> relative errors of every member, in the integral norms.

    Empty without a reference. ``rel_l2`` = `‖u_θ − u‖_{L²}/‖u‖_{L²}`, ``rel_h1`` = `|u_θ − u|_{H¹}/|u|_{H¹}` (seminorm).
    """
    if reference is None:
        return lambda theta, data: {}
    dtype = ansatz.network.dtype
    as_type = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    norm_l2, norm_h1 = reference.norms()
    points, root = as_type(reference.points), as_type(np.sqrt(reference.weights))
    value, gradient = as_type(reference.value), as_type(reference.gradient)
    if ansatz.base is not None:  # the same at every call: taken off the reference once
        base_value, base_gradient = fem.shared(jax.vmap(jax.value_and_grad(ansatz.base)))(points)
        value, gradient = value - base_value, gradient - base_gradient
        ansatz = ansatz.without_base()

    def errors(theta: Tree, data: Tree) -> dict[str, Array]:
        jet = jax.vmap(lambda x: ansatz.jet(theta, data["fixed"], x))(points)
        squares = sum(jnp.sum((root * (g - gradient[:, k])) ** 2) for k, g in enumerate(jet.gradient))
        return {
            "rel_l2": jnp.linalg.norm(root * (jet.value - value)) / as_type(norm_l2),
            "rel_h1": jnp.sqrt(squares) / as_type(norm_h1),
        }

    return fem.shared(jax.vmap(errors))


def _given(initial: Tree, drawn: tuple[Tree, Tree], seeds: int) -> tuple[Tree, Tree]:
    """Parameters and frequencies to start from, in the dtype of the network; refuses those of another one or of other seeds."""
    initial = tuple(initial) if isinstance(initial, list | tuple) else initial
    expected = [(seeds, *leaf.shape) for leaf in jax.tree.leaves(drawn)]
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(initial)]
    if jax.tree.structure(initial) != jax.tree.structure(drawn) or shapes != expected:
        different = next((b for a, b in zip(expected, shapes, strict=False) if a != b), f"{len(shapes)} arrays")
        raise InputError(
            "initial", f"(params, fixed) of this network, each array with a leading axis of {seeds}", different,
            "stack what the seeds start from with training.stack",
        )  # fmt: skip
    return jax.tree.map(lambda given, leaf: jnp.asarray(given, leaf.dtype), initial, drawn)


def draw(ansatz: Ansatz, seed: int) -> tuple[Tree, Tree]:
    """Parameters and frequencies that a seed starts from."""
    return ansatz.init(jax.random.fold_in(jax.random.key(seed), 0))
