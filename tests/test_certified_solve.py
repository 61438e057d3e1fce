"""Linear elements with their proof: insulated sides, quadratic stream functions, and the error of the mean flux."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.fem.fluxes import insulated_facets, nodes_held

# Each is a union of facets of every mesh: a side that ends within a facet is another problem on the refined mesh.
SIDES = [None, lambda x: x[1] == 0.0, lambda x: x[0] == 0.0, lambda x: (x[1] == 0.0) | (x[1] == 1.0)]


def _with_holes():
    """A square of seven by five with two holes of one cell each, and half of another part beside it."""
    whole = fem.unit_square(7)
    column, row = (7 * whole.points[whole.cells].mean(axis=1)).astype(int).T
    kept = (row < 5) & ~((row == 1) & (column == 1)) & ~((row == 3) & (column == 4)) | (row == 6) & (column < 3)
    used, cells = np.unique(whole.cells[kept], return_inverse=True)
    return fem.from_simplices(whole.points[used], cells.reshape(-1, 3))


HOLES = _with_holes()


def energy(mesh, K, nodal):
    slope = fem.cell_gradients(mesh, nodal)
    return np.sqrt(np.einsum("m,mi,mij,mj->", mesh.volumes, slope, fem.cell_coefficient(mesh, K), slope))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), degree=st.sampled_from([1, 2]), sides=st.sampled_from(SIDES), tensor=st.booleans(),
    shape=st.sampled_from(["square", "L", "interval", "holes"]),
)  # fmt: skip
def test_never_below_the_error_with_insulated_sides(seed, degree, sides, tensor, shape):
    rng = np.random.default_rng(seed)
    mesh = {"square": fem.unit_square(3), "L": fem.lshape(2), "interval": fem.interval(5), "holes": HOLES}[shape]
    if shape == "interval" and sides is not None:
        sides = lambda x: x[0] == 0.0  # noqa: E731
    m, d = len(mesh.cells), mesh.dimension
    K, f, e = np.exp(2 * rng.normal(size=m)), rng.normal(size=m), rng.normal(size=d)
    if tensor:
        root = rng.normal(size=(m, d, d)) * np.sqrt(K)[:, None, None]
        K = root @ root.mT + 0.1 * K[:, None, None] * np.eye(d)
    boundary = lambda x: 2 * x[0] - 1.0  # noqa: E731
    found = fem.certified_solve(mesh, K, f, boundary, e, sides, degree)
    fine, K_fine, f_fine = mesh, K, f
    for _ in range({1: 6, 2: 3}[d]):
        fine, K_fine, f_fine = fem.refine(fine), np.repeat(K_fine, 2**d, axis=0), np.repeat(f_fine, 2**d)
    best = fem.certified_solve(fine, K_fine, f_fine, boundary, e, sides)
    error = energy(fine, K_fine, fem.interpolation_matrix(mesh, fine.points) @ found.nodal - best.nodal)
    assert error * (1 - 1e-9) <= found.proof.bound <= 5 * error + 1e-9
    assert found.proof.gap == pytest.approx(found.proof.bound, rel=1e-6, abs=1e-9)
    # A field moved inside has a larger error, and the bound of the moved field holds it, too.
    nodal = found.nodal.copy()
    nodal[mesh.interior_nodes] += rng.normal(size=len(mesh.interior_nodes))
    moved = fem.energy_bound(mesh, K, f, nodal, e, sides, degree)
    error = energy(fine, K_fine, fem.interpolation_matrix(mesh, fine.points) @ nodal - best.nodal)
    assert error * (1 - 1e-9) <= moved.bound
    np.testing.assert_allclose(moved.flux.mean, found.proof.flux.mean, atol=1e-9)  # the flux knows the boundary values only


def test_nothing_flows_through_insulated_sides_and_the_flux_balances_the_source():
    rng, mesh = np.random.default_rng(0), fem.lshape(3)
    f = rng.normal(size=len(mesh.cells))
    sides = lambda x: (x[0] == -1.0) | (x[1] == 1.0)  # noqa: E731
    for degree in (1, 2):
        flux = fem.certified_solve(mesh, np.exp(rng.normal(size=len(mesh.cells))), f, insulated=sides, degree=degree).proof.flux
        shut, corners, seen = insulated_facets(mesh, sides), mesh.points[mesh.cells], {}
        for hat in range(3):
            a, b = corners[:, (hat + 1) % 3], corners[:, (hat + 2) % 3]
            normal = np.stack([(b - a)[:, 1], -(b - a)[:, 0]], axis=1)
            at = np.stack([a, b], axis=1)  # both ends: the normal component is linear there
            through = np.einsum("mqi,mi->mq", flux.at(mesh, at), normal)
            assert np.abs(through[shut[:, hat]]).max(initial=0.0) < 1e-12
            for k in range(len(at)):
                for end, value in zip(at[k], through[k], strict=True):
                    key = (*np.round(a[k] + b[k], 9), *np.round(end, 9))
                    seen.setdefault(key, []).append(value)
        assert max(abs(sum(pair)) for pair in seen.values() if len(pair) == 2) < 1e-12
        if degree == 2:
            assert np.abs(np.trace(flux.bend, axis1=1, axis2=2)).max() < 1e-12


def test_a_channel_with_insulated_walls_is_one_dimensional():
    mesh = fem.unit_square(6)
    K = np.where(mesh.points[mesh.cells].mean(axis=1)[:, 0] < 0.5, 1.0, 9.0)
    walls = lambda x: (x[1] == 0.0) | (x[1] == 1.0)  # noqa: E731
    found = fem.certified_solve(mesh, K, 0.0, lambda x: x[0], insulated=walls)
    np.testing.assert_allclose(found.nodal, np.interp(mesh.points[:, 0], [0, 0.5, 1], [0, 0.9, 1]), atol=1e-12)
    assert found.proof.bound < 1e-12
    np.testing.assert_allclose(found.proof.flux.mean, np.broadcast_to([1.8, 0.0], (72, 2)), atol=1e-12)
    assert nodes_held(mesh, insulated_facets(mesh, walls)).tolist() == np.flatnonzero(mesh.points[:, 0] % 1 == 0).tolist()


def test_the_mean_flux_is_off_by_half_the_gap():
    """-Δu = 2 (x(1 - x) + y(1 - y)) would oscillate; f = 1 on the square does not, and u is its Fourier series."""
    mesh, v = fem.unit_square(8), fem.unit_square(8).points
    nodal = np.prod(v * (1 - v), axis=1)
    found = fem.energy_bound(mesh, 1.0, 1.0, nodal)
    x, w = fem.quadrature_points(mesh, 8)
    k = np.arange(1, 80, 2)
    decay = np.cosh(np.pi * k * (x[..., 1, None] - 0.5)) / np.cosh(np.pi * k / 2)
    rise = np.sinh(np.pi * k * (x[..., 1, None] - 0.5)) / np.cosh(np.pi * k / 2)
    factor, angle = 4 / (np.pi * k) ** 3, np.pi * k * x[..., 0, None]
    exact = np.stack([
        np.sum(factor * np.pi * k * np.cos(angle) * (1 - decay), axis=-1),
        np.sum(-factor * np.pi * k * np.sin(angle) * rise, axis=-1),
    ], axis=-1)  # fmt: skip
    mean = (found.flux.at(mesh, x) + fem.cell_gradients(mesh, nodal)[:, None]) / 2
    assert np.sqrt(np.sum(w * np.sum((mean - exact) ** 2, axis=-1))) == pytest.approx(found.gap / 2, rel=1e-3)


def test_a_quadratic_stream_function_is_sharper_where_the_flux_is_smooth():
    problem = lambda x: 3 + jnp.sin(8 * jnp.pi * x[0]) + jnp.sin(8 * jnp.pi * x[1])  # noqa: E731
    source = lambda x: 10 * jnp.exp(-100 * jnp.sum((x - 0.5) ** 2))  # noqa: E731
    first, second = (fem.certified_solve(fem.unit_square(32), problem, source, 0.0, [1.0, 0.0], degree=k).proof for k in (1, 2))
    assert first.bound / second.bound == pytest.approx(1.506 / 1.014, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degree": 3}, "degree: expected 1 or 2; received 3"),
        ({"insulated": lambda x: True}, "insulated: expected a side with given values in each connected part"),
        ({"insulated": [[0, 4]]}, r"insulated: expected facets of the boundary; received nodes \[0, 4\]"),
        ({"insulated": [0, 1]}, r"insulated: expected a function of x, or node numbers of shape \(k, 2\)"),
        ({"direction": [1.0]}, r"direction: expected a vector of shape \(2,\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        fem.certified_solve(fem.unit_square(2), 1.0, 1.0, **arguments)
