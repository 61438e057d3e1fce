"""Spectra of the linearised residual: identities, a linear model in closed form, gradient flow, Parseval of the split."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shaken import shaken

from hybrid_lib import experiments, training
from hybrid_lib.bookkit import spectrum
from hybrid_lib.errors import InputError
from hybrid_lib.training import jacobians


@functools.lru_cache
def case(coupling):
    """(objective, theta, weights, data, coarse) of a small 1-D run with this coupling."""
    config = experiments.configuration("heat1d-eps15", optimiser="gauss-newton")
    config = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, widths=(4, 3)),
        coarse=dataclasses.replace(config.coarse, coupling=coupling, cells=8, pieces=4, weight=50.0),
    )
    setup = experiments.assemble(experiments.problem_of(config), config, (0,))
    member = training.member(setup.state.members, 0)
    theta = shaken(member.params, jax.random.key(1))
    return setup.objective, theta, member.weights, training.member(setup.data, 0), member.coarse


@functools.lru_cache
def rows(coupling):
    args = case(coupling)
    made = jax.jit(lambda: spectrum.block_jacobians(*args))()
    return {name: made[name] for name in args[0].blocks}  # a dict leaves jit in alphabetical order


def linear(A, b):
    """Objective with the blocks A θ − b and 2θ, fields that are no points."""
    blocks = {"model": lambda f, d, c: A @ f["theta"] - b, "size": lambda f, d, c: 2 * f["theta"]}
    return training.Objective(lambda theta, data: {"theta": theta}, blocks)


def close(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(np.max(np.abs(b))))


@pytest.mark.parametrize("coupling", ["averaged", "defect"])
def test_rows_of_the_blocks_make_the_jacobian_and_the_normal_equations(coupling):
    args, made = case(coupling), rows(coupling)
    J, _ = jax.jit(lambda: jacobians.jacobian(*args))()
    close(jnp.concatenate(list(made.values())), J, 1e-13)
    matrices = spectrum.gauss_newton_matrices(made)
    close(sum(matrices.blocks.values()), matrices.whole, 1e-15)
    close(matrices.whole, jax.jit(lambda: jacobians.normal_equations(*args))().matrix, 1e-13)


@pytest.mark.parametrize("coupling", ["averaged", "defect"])
def test_both_matrices_have_the_same_nonzero_eigenvalues(coupling):
    made = rows(coupling)
    N, P = sum(len(J) for J in made.values()), made["pde"].shape[1]
    small = np.linalg.eigvalsh(spectrum.gauss_newton_matrices(made).whole)
    large = np.linalg.eigvalsh(spectrum.tangent_kernels(made).whole)
    assert N > P
    close(large[N - P :], small, 1e-12)
    assert np.abs(large[: N - P]).max() < 1e-12 * small[-1]
    close(spectrum.modes(jnp.concatenate(list(made.values()))).values[::-1], small, 1e-12)


def test_kernel_of_the_whole_has_those_of_the_blocks_on_its_diagonal():
    made = rows("defect")
    kernels, first = spectrum.tangent_kernels(made), 0
    for name, J in made.items():
        end = first + len(J)
        close(kernels.whole[first:end, first:end], kernels.blocks[name], 1e-14)
        first = end


def test_a_block_lifts_every_eigenvalue():
    matrices = spectrum.gauss_newton_matrices(rows("averaged"))
    alone, both = (np.linalg.eigvalsh(m) for m in (matrices.blocks["pde"], matrices.whole))
    assert np.all(both >= alone - 1e-12 * both[-1])


def test_linear_model_has_the_known_matrices():
    A, b = jnp.array([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]]), jnp.ones(3)
    weights = {"model": jnp.asarray(3.0), "size": jnp.asarray(0.25)}
    made = spectrum.block_jacobians(linear(A, b), jnp.array([0.3, -2.0]), weights, {}, ())
    matrices = spectrum.gauss_newton_matrices(made)
    close(matrices.blocks["model"], 3 * A.T @ A, 1e-15)
    close(matrices.whole, 3 * A.T @ A + jnp.eye(2), 1e-15)
    close(spectrum.tangent_kernels(made).blocks["model"], 3 * A @ A.T, 1e-15)


def test_gradient_flow_of_a_linear_model_against_its_matrix_exponential(key):
    A = jax.random.normal(key, (5, 3))
    r = jnp.arange(1.0, 6.0)
    t = jnp.asarray(0.07)
    delta = spectrum.linearised_flow(spectrum.modes(A), r, t[None])[0]
    close(r + A @ delta, jax.scipy.linalg.expm(-2 * t * A @ A.T) @ r, 1e-13)
    end = spectrum.linearised_flow(spectrum.modes(A), r, jnp.array([jnp.inf]))[0]
    close(end, jnp.linalg.lstsq(A, -r)[0], 1e-12)


def test_gradient_flow_leaves_silent_parameters_alone():
    J = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    delta = spectrum.linearised_flow(spectrum.modes(J), jnp.array([1.0, 1.0]), jnp.array([0.5]))
    close(delta, jnp.array([[-(1 - np.exp(-1.0)), 0.0]]), 1e-15)


def test_sums_of_the_split_are_the_norm_of_the_field():
    x = np.arange(1, 200) / 200
    v = np.stack([x * (1 - x) * np.exp(x), np.sin(40 * np.pi * x) * x])
    parts = spectrum.band_norms(v, [3.0, 15.0, 40.0])
    assert parts.shape == (2, 4)
    np.testing.assert_allclose((parts**2).sum(axis=1), (v**2).sum(axis=1) / 200, rtol=1e-13)
    np.testing.assert_allclose(
        (spectrum.sine_coefficients(v) ** 2).sum(axis=1), (v**2).sum(axis=1) / 200, rtol=1e-13
    )


def test_coefficients_of_a_parabola():
    n = 4000
    x = np.arange(1, n) / n
    found = spectrum.sine_coefficients(x * (1 - x))[:4]
    # ∫ √2 sin(kπx) x(1 − x) dx = 4√2/(kπ)³ for odd k, 0 for even k
    wanted = [4 * np.sqrt(2) / (k * np.pi) ** 3 * (k % 2) for k in range(1, 5)]
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_a_frequency_on_an_edge_belongs_to_the_band_above():
    x = np.arange(1, 64) / 64
    np.testing.assert_allclose(spectrum.band_norms(np.sin(10 * np.pi * x), [5.0]), [0, 0.5**0.5], atol=1e-14)


def test_condition_and_effective_rank():
    values = jnp.array([4.0, 1.0, 1e-9, 0.0])
    assert spectrum.condition(values) == pytest.approx(4e9)
    assert spectrum.condition(values, cut=1e-6) == 4.0
    assert spectrum.effective_rank(jnp.ones(7)) == pytest.approx(7)
    assert spectrum.effective_rank(jnp.array([5.0, 0.0])) == 1.0


@pytest.mark.parametrize("function", [spectrum.condition, spectrum.effective_rank])
def test_no_positive_eigenvalue(function):
    with pytest.raises(InputError, match="eigenvalues: expected at least one positive value; received none"):
        function(jnp.zeros(3))


@pytest.mark.parametrize("edges", [[4.0, 2.0], [0.0, 1.0], [-1.0]])
def test_edges_out_of_order(edges):
    with pytest.raises(InputError, match="edges: expected ascending positive frequencies"):
        spectrum.band_norms(np.ones(10), edges)


def test_edges_beyond_the_grid():
    with pytest.raises(InputError, match="edges: expected at most 5, the highest frequency on 10 points"):
        spectrum.band_norms(np.ones(10), [6.0])
