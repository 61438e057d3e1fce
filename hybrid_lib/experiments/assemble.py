r"""From a configuration to what the loop needs: objective, optimiser, data and members of every seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.config import Config
from hybrid_lib.experiments.problems import Problem
from hybrid_lib.experiments.references import Reference
from hybrid_lib.multiscale.coarse import CoarseProblem, coarse_problem, frozen_state, is_elliptic, refresh
from hybrid_lib.multiscale.compression import compression, pad
from hybrid_lib.multiscale.coupling import FineValues, coupling
from hybrid_lib.multiscale.upscaling import parts_of, upscaled_scalar
from hybrid_lib.pinn import networks, sampling
from hybrid_lib.pinn.networks import Ansatz
from hybrid_lib.pinn.residuals import lifted_source

Tree = Any


@dataclass(frozen=True)
class Setup:
    """Everything a run consists of before its first step.

    Attributes
    ----------
    config, problem, seeds
        What it was made from.
    ansatz : Ansatz
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


def ansatz_of(problem: Problem, config: Config) -> Ansatz:
    """The trial field of a configuration: network, and the vanishing factor for hard boundary conditions."""
    dtype, net = jnp.dtype(config.dtype), config.network
    if net.kind == "ms":
        network = networks.multiscale_fourier(
            (1.0, 1 / config.eps), net.widths, net.frequencies, net.activation, dtype
        )
    else:
        network = networks.mlp(net.widths, net.activation, dtype)
    factor = problem.domain.vanishing if config.boundary == "hard" else None
    return Ansatz(network, problem.domain.dimension, factor)


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
        For a precision that JAX was not switched to, repeated seeds, or averaging balls without points.
    """
    if config.dtype == "float64" and not jax.config.jax_enable_x64:
        raise InputError(
            "dtype",
            "float32 while JAX's x64 mode is off",
            "float64",
            'call jax.config.update("jax_enable_x64", True) first',
        )
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError("seeds", "one or more different integers", seeds, "give each seed once")
    ansatz, hybrid = ansatz_of(problem, config), config.method == "hybrid"
    mesh = problem.domain.mesh(config.coarse.cells) if hybrid else None
    coarse = _coarse_problem(problem, config, mesh) if hybrid else None
    draws = [_draw(ansatz, seed) for seed in seeds]
    params = [theta for theta, _ in draws]
    fixed = [frequencies for _, frequencies in draws]
    if initial is not None:
        params = [training.member(initial[0], s) for s in range(len(seeds))]
        fixed = [training.member(initial[1], s) for s in range(len(seeds))]

    embed = jax.jit(lambda d: training.embed_points(ansatz, d, problem.medium.is_tensor))

    def data_at(step: int) -> list[Tree]:
        plain = _data(problem, config, seeds, fixed, mesh, step)
        return [d | {"embedding": embed(d)} for d in plain]

    data = data_at(0)
    objective = _objective(problem, config, ansatz, coarse)
    options = config.training
    optimiser = training.adam(options.learning_rate, options.decay_rate, options.decay_every)
    loop = training.LoopOptions(
        options.tolerance,
        options.gate_every,
        options.gate_tolerance,
        options.balance_every,
        options.balance_momentum,
        options.record_every,
    )
    weights = {"boundary": config.boundary_weight, "coupling": config.coarse.weight}
    init = jax.jit(lambda p, d: training.init_member(objective, optimiser, p, d, weights))
    members = [init(p, d) for p, d in zip(params, data, strict=True)]
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


def evaluator(ansatz: Ansatz, reference: Reference) -> Callable[[Tree, Tree], dict[str, Array]]:
    """Jitted (params, data) -> relative errors of every member, in the integral norms.

    ``rel_l2`` = ‖u_θ − u‖_{L²}/‖u‖_{L²}, ``rel_h1`` = |u_θ − u|_{H¹}/|u|_{H¹} (gradient seminorm).
    """
    dtype = ansatz.network.dtype
    as_type = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    norm_l2, norm_h1 = reference.norms()
    points, root = as_type(reference.points), as_type(np.sqrt(reference.weights))
    value, gradient = as_type(reference.value), as_type(reference.gradient)

    def errors(theta: Tree, data: Tree) -> dict[str, Array]:
        jet = jax.vmap(lambda x: ansatz.jet(theta, data["fixed"], x))(points)
        squares = sum(jnp.sum((root * (g - gradient[:, k])) ** 2) for k, g in enumerate(jet.gradient))
        return {
            "rel_l2": jnp.linalg.norm(root * (jet.value - value)) / as_type(norm_l2),
            "rel_h1": jnp.sqrt(squares) / as_type(norm_h1),
        }

    return jax.jit(jax.vmap(errors))


def _draw(ansatz: Ansatz, seed: int) -> tuple[Tree, Tree]:
    return ansatz.init(jax.random.fold_in(jax.random.key(seed), 0))


def _coarse_problem(problem: Problem, config: Config, mesh) -> CoarseProblem:
    parts = None
    if config.coarse.parts > 1:
        centres = mesh.points[mesh.cells].mean(axis=1)  # (m, d)
        parts = parts_of(centres, config.coarse.parts)
    return coarse_problem(
        mesh,
        problem.source,
        np.asarray(problem.direction),
        parts,
        jnp.dtype(config.dtype),
        isotropic_constant=config.coarse.parts == 1,
    )


def _data(problem: Problem, config: Config, seeds, fixed: list[Tree], mesh, step: int) -> list[Tree]:
    """Data of every seed for the points drawn at `step`: a pure function of (seed, step)."""
    dtype, sizes = jnp.dtype(config.dtype), config.sampling
    medium, domain = problem.medium, problem.domain
    source = lifted_source(problem.source, medium.divergence, problem.direction)
    draw = {"uniform": sampling.uniform, "sobol": sampling.sobol}[sizes.sampler]

    @jax.jit
    def coefficients(x: Array) -> dict[str, Array]:
        return {
            "conductivity": jax.vmap(medium.conductivity)(x),
            "divergence": jax.vmap(medium.divergence)(x),
            "source": jax.vmap(source)(x),
        }

    out = []
    for seed, frequencies in zip(seeds, fixed, strict=True):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step)
        interior_key, boundary_key = jax.random.split(key)
        x = draw(interior_key, domain, sizes.points, dtype)
        points = {"collocation": x}
        if config.boundary == "soft":
            points["boundary"] = sampling.boundary_uniform(boundary_key, domain, sizes.boundary_points, dtype)
        out.append({"fixed": frequencies, "points": points} | coefficients(x))
    return out if mesh is None else _with_coupling(problem, config, mesh, out)


def _with_coupling(problem: Problem, config: Config, mesh, data: list[Tree]) -> list[Tree]:
    """Add what the coupling needs: neighbours of the coarse nodes, pointwise nodes, parts."""
    dtype = jnp.dtype(config.dtype)
    delta = config.coarse.delta or config.eps
    balls = [
        compression(
            mesh.points,
            np.asarray(d["points"]["collocation"], float),
            delta,
            problem.domain.distance,
            config.coarse.radius,
            dtype,
        )
        for d in data
    ]
    padded = pad(balls)
    prepare = coupling(config.coarse.coupling).prepare
    for index, d in enumerate(data):
        own = training.member(padded, index)
        points = np.asarray(d["points"]["collocation"], float)
        d["points"]["nodes"] = jnp.asarray(mesh.points[np.asarray(own.pointwise_nodes)], dtype)
        d["coupling"] = prepare(own, mesh, points)
        if config.coarse.parts > 1:
            d["parts"] = jnp.asarray(parts_of(points, config.coarse.parts), jnp.int32)
    return data


def _objective(
    problem: Problem, config: Config, ansatz: Ansatz, coarse: CoarseProblem | None
) -> training.Objective:
    fields = training.evaluate_fields(ansatz, problem.medium.is_tensor)
    blocks = {"pde": training.pde_block(problem.domain.measure)}
    if config.boundary == "soft":
        blocks["boundary"] = training.boundary_block(problem.domain.boundary_measure)
    if coarse is None:
        return training.Objective(fields, blocks)
    model = _coarse_model(problem, config, coarse)
    residual = coupling(config.coarse.coupling).residual

    def coupling_block(fields, data, state):
        K_hat = model.upscale(fields, data)
        y = frozen_state(coarse, state, K_hat)
        fine = FineValues(fields["collocation"].value, fields["nodes"])
        return residual(coarse, data["coupling"], fine, y)

    return training.Objective(fields, blocks | {"coupling": coupling_block}, model)


def _coarse_model(problem: Problem, config: Config, coarse: CoarseProblem) -> training.CoarseModel:
    """K̂ by (4.10): a scalar on one part, an isotropic tensor on each of several parts."""
    n_parts, d = coarse.n_parts, problem.domain.dimension

    def upscale(fields, data):
        jet = fields["collocation"]
        gradient = jnp.stack(jet.gradient, axis=-1)  # (M, d)
        direction = jnp.asarray(problem.direction, gradient.dtype)
        K = upscaled_scalar(
            data["conductivity"], gradient, direction, parts=data.get("parts"), n_parts=n_parts
        )  # (P,)
        return K[0] if coarse.isotropic_constant else K[:, None, None] * jnp.eye(d, dtype=K.dtype)[None]

    return training.CoarseModel(
        upscale=upscale,
        refresh=lambda K_hat: refresh(coarse, K_hat),
        distance=lambda state, K_hat: jnp.max(jnp.abs(K_hat - state.K_hat)),
        usable=is_elliptic,
    )
