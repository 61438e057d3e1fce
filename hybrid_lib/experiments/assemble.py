r"""From a configuration to what the loop needs: objective, optimiser, data and members of every seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import Config, validated
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.jumps import require_continuous, require_no_jumps, warn_of_layers
from hybrid_lib.experiments.references import Reference
from hybrid_lib.methods import Method, balance_every, method_of, require_form
from hybrid_lib.methods.steps import optimiser_of
from hybrid_lib.methods.trial import ansatz_of  # noqa: F401
from hybrid_lib.multiscale.coarse import CoarseProblem
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.problems import Problem

Tree = Any
CHUNK = 1 << 17
"""Points of a reference at a time, where it has many more."""


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
    layout : Layout or None
        Over several devices; None on one. State and data lie on one here: the training puts them where they belong.
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
    layout: training.Layout | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by what it is assembled from: problem, configuration, seeds, parameters and frequencies."""
        initial = jax.tree.map(np.asarray, (self.state.members.params, self.data["fixed"]))
        return assemble, (self.problem, self.config, self.seeds, initial)

    def __deepcopy__(self, _: Any) -> Setup:
        return self

    @property
    def method(self) -> Method:
        """That of the configuration."""
        return method_of(self.config)

    @property
    def domain(self) -> Domain:
        """Ω."""
        return self.problem.domain

    @property
    def devices(self) -> int:
        """How many the program is for."""
        return 1 if self.layout is None else self.layout.devices

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


def assemble(
    problem: Problem, config: Config, seeds: tuple[int, ...], initial: Tree | None = None, devices: int | None = 1
) -> Setup:
    """Build a run.

    Parameters
    ----------
    problem : Problem
    config : Config
    seeds : tuple of int
        One member each: parameters, frequencies and collocation points all come from ``jax.random.key(seed)``.
    initial : tree, optional
        Members' parameters to start from (transfer): a ``(params, fixed)`` pair with leading axis S.
    devices : int or None
        How many the program is for; None for all that JAX sees.

    Returns
    -------
    Setup

    Raises
    ------
    InputError
        For a precision that JAX was not switched to, repeated seeds, averaging balls without points, a conductivity that jumps
        where the strong form is trained, given temperatures that jump, or a first-order system with a method or boundary
        conditions that it does not have.
    """
    validated(config)
    require_form(problem, method_of(config))
    require_precision(config)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError("seeds", "one or more different integers", seeds, "give each seed once")
    method, spread = method_of(config), training.layout(len(seeds), devices)
    require_continuous(problem)
    if not method.admits_jumps:
        require_no_jumps(problem)
        every = config.sampling.resample_every
        warn_of_layers(problem, config.sampling.points * (config.training.steps // every + 1 if every else 1))
    ansatz, coarse = method.ansatz(problem, config), method.coarse(problem, config)
    draws = [draw(ansatz, seed) for seed in seeds]
    params = [theta for theta, _ in draws]
    fixed = [frequencies for _, frequencies in draws]
    if initial is not None:
        stacked = _given(initial, draws[0], len(seeds))
        params, fixed = ([training.member(tree, s) for s in range(len(seeds))] for tree in stacked)

    data_at = method.sampler(problem, config, ansatz, seeds, fixed, coarse)
    data = data_at(0)
    objective, optimiser = method.objective(problem, config, ansatz, coarse), method.optimiser(config, optimiser_of(config))
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
    weights = method.weights(problem, config, coarse)
    given = {name: jnp.asarray(weight, jnp.result_type(float)) for name, weight in weights.items()}
    init = fem.shared(lambda p, d, w: training.init_member(objective, optimiser, p, d, w))
    members = [init(p, d, given) for p, d in zip(params, data, strict=True)]
    return Setup(
        config,
        problem,
        tuple(seeds),
        ansatz,
        objective,
        training.program(objective, optimiser, loop, len(seeds), layout=spread),
        training.init_state(members, jax.random.key(seeds[0])),
        training.stack(data),
        *(coarse or (None, None)),
        (lambda step: training.stack(data_at(step))) if config.sampling.resample_every else None,
        spread,
    )


def require_precision(config: Config) -> None:
    """Refuse a configuration in float64 while JAX computes in float32."""
    if config.dtype == "float64" and not jax.config.jax_enable_x64:
        raise InputError("dtype", "float32 while JAX's x64 mode is off", "float64", "call hybrid_lib.enable_float64() first")


def evaluator(
    ansatz: Ansatz, reference: Reference | None, layout: training.Layout | None = None
) -> Callable[[Tree, Tree], dict[str, Array]]:
    """Jitted (params, data) -> relative errors of every member, in the integral norms; with a layout every device has a share.

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
        def jets(theta: Tree, points: Array) -> Any:
            at = lambda x: ansatz.jet(theta, data["fixed"], x)._replace(laplacian=None)  # noqa: E731
            return jax.vmap(at)(points) if len(points) <= CHUNK else jax.lax.map(at, points, batch_size=CHUNK)

        if layout is None:
            jet = jets(theta, points)
        else:
            jet = layout.over_points(lambda t, own, _: ({"": jets(t, own[""])}, ()), theta, {"": points})[0][""]
        squares = sum(jnp.sum((root * (g - gradient[:, k])) ** 2) for k, g in enumerate(jet.gradient))
        return {
            "rel_l2": jnp.linalg.norm(root * (jet.value - value)) / as_type(norm_l2),
            "rel_h1": jnp.sqrt(squares) / as_type(norm_h1),
        }

    program = fem.shared(jax.vmap(errors))
    if layout is None:
        return program
    return lambda theta, data: program(layout.copied(theta), {"fixed": layout.copied(data["fixed"])})


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
