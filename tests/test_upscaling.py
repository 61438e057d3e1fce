"""K_hat: constants and layers exactly, symmetry, dependence on parts, gradients, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.upscaling import (
    mean_gradients_and_fluxes,
    parts_of,
    upscale,
    upscaled_scalar,
    upscaled_tensor,
)


def fine_fields(mesh, K):
    """Cell gradients of the P1 solutions w_i = x_i on the boundary (d, m, d), cell tensors, weights."""
    K_cells = fem.cell_coefficient(mesh, K)
    fields = [
        fem.solve_diffusion(mesh, K_cells, 0.0, boundary=mesh.points[mesh.boundary_nodes, i])
        for i in range(mesh.dimension)
    ]
    gradients = np.stack([fem.cell_gradients(mesh, w) for w in fields])
    return jnp.asarray(gradients), jnp.asarray(K_cells), jnp.asarray(mesh.volumes)


@pytest.mark.parametrize("n_parts", [1, 2])
def test_constant_tensor_is_kept(n_parts):
    """Whatever the fields are."""
    K, random = np.array([[2.0, 0.5], [0.5, 1.0]]), np.random.default_rng(0)
    parts = jnp.asarray(parts_of(random.random((200, 2)), n_parts))
    gradients = jnp.asarray(np.eye(2)[:, None, :] + 0.3 * random.standard_normal((2, 200, 2)))
    result = upscaled_tensor(jnp.asarray(np.tile(K, (200, 1, 1))), gradients, None, parts, n_parts**2)
    np.testing.assert_allclose(result, np.broadcast_to(K, (n_parts**2, 2, 2)), rtol=1e-11, atol=1e-12)


def test_layers_give_harmonic_and_arithmetic_means():
    """Exact for P1 once the layers fit the mesh and the drop along the layers is linear."""
    mesh = fem.unit_square(8)

    def K(x):
        return jnp.where((4 * x[0]) % 1 < 0.5, 1.0, 3.0)

    gradients, K_cells, weights = fine_fields(mesh, K)
    along = upscaled_tensor(K_cells, gradients, weights)[0]
    np.testing.assert_allclose(along[1, 1], 2.0, rtol=1e-12)  # arithmetic
    np.testing.assert_allclose(along[0, 1], along[1, 0], atol=1e-12)
    # Across, the linear drop on the upper and lower side adds a boundary layer, above the harmonic mean.
    assert 1.5 < along[0, 0] < 2.0
    profile = np.where(np.asarray(K_cells[:, 0, 0]) == 1.0, 1.5, 0.5)  # K w' = 1.5
    exact = jnp.asarray(np.stack([np.column_stack([profile, 0 * profile]), np.asarray(gradients[1])]))
    np.testing.assert_allclose(upscaled_tensor(K_cells, exact, weights)[0], np.diag([1.5, 2.0]), atol=1e-12)


def test_one_dimension_gives_the_harmonic_mean():
    mesh = fem.interval(400)
    gradients, K_cells, weights = fine_fields(mesh, lambda x: 2 + jnp.sin(2 * jnp.pi * x[0] * 10))
    np.testing.assert_allclose(upscaled_tensor(K_cells, gradients, weights)[0, 0, 0], np.sqrt(3), rtol=1e-3)
    parts = jnp.asarray(parts_of(mesh.points[mesh.cells].mean(axis=1), 5))
    np.testing.assert_allclose(upscaled_tensor(K_cells, gradients, weights, parts, 5), np.sqrt(3), rtol=1e-3)
    scalar = upscaled_scalar(K_cells[:, 0, 0], gradients[0] - 1, jnp.ones(1), weights, parts, 5)
    np.testing.assert_allclose(
        scalar, upscaled_tensor(K_cells, gradients, weights, parts, 5)[:, 0, 0], rtol=1e-13
    )


def test_discrete_solutions_give_a_symmetric_tensor():
    """<grad w_j . K grad w_i> = e_j . <K grad w_i> for Galerkin solutions, so K_hat is symmetric, T = I."""
    mesh = fem.unit_square(12)

    def K(x):
        s = jnp.sin(9 * x[0] + 4 * x[1])
        return jnp.array([[2 + s, 0.4 * s], [0.4 * s, 3 - s]])

    gradients, K_cells, weights = fine_fields(mesh, K)
    T, _ = mean_gradients_and_fluxes(K_cells, gradients, weights)
    np.testing.assert_allclose(T[0], np.eye(2), atol=1e-13)
    result = upscaled_tensor(K_cells, gradients, weights)
    np.testing.assert_allclose(result[0], result[0].T, atol=1e-13)
    known = upscaled_tensor(K_cells, gradients, weights, mean_gradients=jnp.eye(2)[None])
    np.testing.assert_allclose(known, result, atol=1e-12)


def test_scalar_form_is_the_first_entry_of_the_tensor():
    mesh = fem.unit_square(10)
    gradients, K_cells, weights = fine_fields(mesh, lambda x: 3 + jnp.sin(20 * x[0]) + jnp.cos(15 * x[1]))
    e = jnp.array([1.0, 0.0])
    scalar = upscaled_scalar(K_cells[:, 0, 0], gradients[0] - e[None, :], e, weights)
    assert scalar.shape == (1,)
    np.testing.assert_allclose(scalar[0], upscaled_tensor(K_cells, gradients, weights)[0, 0, 0], rtol=1e-12)


def test_lipschitz_bound_of_lemma_4_8():
    K = jnp.asarray(3 + np.sin(np.arange(300)))
    one, two = jnp.asarray(np.random.default_rng(0).standard_normal((2, 300, 2)))
    e = jnp.array([1.0, 0.0])
    left = jnp.abs(upscaled_scalar(K, one, e) - upscaled_scalar(K, two, e))[0]
    assert left <= 4.0 * jnp.sqrt(jnp.mean(jnp.sum((one - two) ** 2, axis=1)))


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)])
def test_jit_vmap_grad_and_dtype(dtype):
    random = np.random.default_rng(0)
    gradients = jnp.asarray(np.eye(2)[:, None, :] + 0.1 * random.standard_normal((3, 2, 40, 2)), dtype)
    K, parts = jnp.linspace(1, 2, 40, dtype=dtype), jnp.arange(40, dtype=jnp.int32) % 4

    def total(g):
        tensor = upscaled_tensor(K, g, None, parts, 4)
        scalar = upscaled_scalar(K, g[0], jnp.array([1, 0], dtype), None, parts, 4)
        return jnp.sum(tensor) + jnp.sum(scalar), (tensor, scalar)

    (_, (tensor, scalar)), slope = jax.jit(jax.vmap(jax.value_and_grad(total, has_aux=True)))(gradients)
    assert tensor.shape == (3, 4, 2, 2) and scalar.shape == (3, 4)
    assert tensor.dtype == scalar.dtype == slope.dtype == dtype
    assert np.all(np.isfinite(slope))


def test_taylor_remainder():
    random = np.random.default_rng(1)
    g, dg = (
        np.eye(2)[:, None, :] + 0.1 * random.standard_normal((2, 30, 2)),
        random.standard_normal((2, 30, 2)),
    )
    K, parts = jnp.asarray(2 + np.cos(np.arange(30))), jnp.arange(30, dtype=jnp.int32) % 2

    @jax.jit
    def f(g):
        return upscaled_tensor(K, g, None, parts, 2)

    value, slope = jax.jvp(f, (g,), (dg,))
    steps = 2.0 ** -np.arange(6, 11)
    remainder = [np.linalg.norm(f(g + t * dg) - value - t * slope) for t in steps]
    assert abs(np.polyfit(np.log(steps), np.log(remainder), 1)[0] - 2) < 0.1


def test_errors():
    g, K = np.stack([np.tile(e, (4, 1)) for e in np.eye(2)]), np.ones(4)
    np.testing.assert_allclose(upscale(K, g), np.eye(2)[None])
    with pytest.raises(
        InputError, match=r"mean gradients of part 0: expected a condition number up to 1e\+06"
    ):
        upscale(K, np.ones((2, 4, 2)))
    vanishing = np.stack([1.0 + 1e-9 * np.ones(8), -np.ones(8)]).reshape(1, 16, 1)  # mean 5e-10, size 1
    with pytest.raises(InputError, match="condition number"):
        upscale(np.ones(16), vanishing)
    with pytest.raises(InputError, match="condition number"):
        upscale(K, np.zeros((2, 4, 2)))
    with pytest.raises(InputError, match=r"gradients: expected shape \(d, M, d\)"):
        upscale(K, np.ones((2, 4)))
    with pytest.raises(InputError, match="conductivity: expected shape"):
        upscale(np.ones(3), g)
    with pytest.raises(InputError, match="fine fields: expected finite values"):
        upscale(K * np.nan, g)
    with pytest.raises(InputError, match="weights: expected 4 numbers"):
        upscale(K, g, weights=-K)
    with pytest.raises(InputError, match="part 1: expected at least one point"):
        upscale(K, g, parts=np.zeros(4, int), n_parts=2)
    with pytest.raises(InputError, match="parts: expected 4 integers from 0 to 0"):
        upscale(K, g, parts=np.ones(4, int))
    with pytest.raises(InputError, match="parts: expected the part of each point, for 2 parts"):
        upscaled_tensor(jnp.asarray(K), jnp.asarray(g), n_parts=2)
    with pytest.raises(InputError, match="point 1: expected a point in the unit box"):
        parts_of(np.array([[0.5], [1.5]]), 2)
    with pytest.raises(InputError, match="n_parts: expected an integer >= 1"):
        parts_of(np.array([[0.5]]), 0)
    with pytest.raises(InputError, match="points: expected points as rows"):
        parts_of(np.array([0.5]), 2)
