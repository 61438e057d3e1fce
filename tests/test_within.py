"""Points in a domain: what is inside, what is on the boundary up to rounding, and what is refused with its number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.pinn import domains
from hybrid_lib.pinn.within import points_in

RING = np.array([[0, 0], [3, 0], [3, 3], [0, 3]]), np.array([[1, 1], [2, 1], [2, 2], [1, 2]])
MAKERS = {
    "interval": lambda unit, shift: domains.interval(shift, shift + unit),
    "box": lambda unit, shift: domains.box((shift, 0.0), (shift + unit, 2 * unit)),
    "polygon": lambda unit, shift: domains.polygon(unit * RING[0] + shift, [unit * RING[1] + shift]),
    "mesh": lambda unit, shift: domains.from_mesh(fem.from_simplices(unit * L.points + shift, L.cells)),
}
L = fem.lshape(3)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=8, deadline=None)
@given(st.sampled_from([1e-6, 0.3, 1.0, 7e5]), st.floats(-3, 3), st.integers(0, 99))
def test_the_boundary_is_inside_and_what_is_farther_is_not(name, unit, shift, seed):
    domain, rng = MAKERS[name](unit, shift * unit), np.random.default_rng(seed)
    starts, ends = (np.array(a) for a in domain._ends())
    t = rng.random((len(starts), 1))
    edge, along = starts + t * (ends - starts), ends - starts
    normal = np.array([[-1.0], [1.0]]) if len(starts[0]) == 1 else np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    if name == "mesh":  # its facets go either way
        normal[~fem.inside(domain.first, edge - 1e-6 * unit * normal)] *= -1
    if name == "polygon":  # both are given anticlockwise
        normal *= np.repeat([1, -1], 4)[:, None]
    points_in(domain, edge)
    points_in(domain, edge + 3e-10 * unit * normal)
    points_in(domain, edge - 1e-4 * unit * normal)
    if abs(shift) < 1:
        points_in(domain, np.float32(edge))
    for k, x in enumerate(edge + 1e-5 * unit * normal):
        with pytest.raises(InputError, match=r"point 2: expected a point in the domain .*; received \[.*\] outside it"):
            points_in(domain, np.stack([edge[0], edge[k], x]))


def test_a_cloud_is_judged_as_the_domain_does():
    for name, make in MAKERS.items():
        domain = make(1.0, 0.0)
        lower, upper = map(np.array, domain.box)
        x = lower + (upper - lower) * np.random.default_rng(1).uniform(-0.2, 1.2, (400, len(lower)))
        known = np.asarray(jax.jit(jax.vmap(domain.contains))(jnp.asarray(x)))
        assert 0 < known.sum() < 400, name
        points_in(domain, x[known])
        with pytest.raises(InputError, match=rf"point {np.argmin(known)}: .* move the {(~known).sum()} point"):
            points_in(domain, x)


@pytest.mark.parametrize("points", [[0.5], 0.5, [[0.1, 0.2]], [[np.nan]], [["a"]], [[1j]], None])
def test_what_is_no_point_is_one_line(points):
    with pytest.raises(InputError) as error:
        points_in(domains.interval(), points)
    assert "\n" not in str(error.value)
