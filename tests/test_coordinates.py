"""A function of one point reads the coordinates that there are; JAX would take the nearest one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import fem

WRONG = {
    "other": (lambda x: x[1], 1),
    "from the end": (lambda x: 1 + x[-2] ** 2, -2),
    "behind an ellipsis": (lambda x: jnp.sin(x[..., 2]), 2),
    "taken": (lambda x: jnp.take(x, 1), 1),
    "by a list": (lambda x: jnp.sum(x[jnp.array([0, 1])]), 1),
    "inside a compiled one": (lambda x: jax.jit(lambda y: y[3])(x), 3),
    "in one branch": (lambda x: jnp.where(x[0] > 0.3, x[1], 1.0), 1),
}
WAYS = {
    "source": lambda f: hl.Problem(medium=hl.media.constant(1.0, 1), source=f),
    "conductivity": lambda f: hl.media.from_function(lambda x: 2.0 + 0.1 * f(x), 1, is_lipschitz=True),
    "elements": lambda f: fem.load(fem.interval(3), f),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRONG)
def test_a_coordinate_that_is_not_there_is_refused(way, name):
    function, index = WRONG[name]
    with pytest.raises(hl.InputError, match=rf"a point with 1: x\[0\]; received index {index}; read no other$"):
        WAYS[way](function)


def test_those_that_are_there_are_read():
    table = jnp.array([1.0, 3.0])
    tabled = lambda x: table[(x[0] > 0.5).astype(int)]  # noqa: E731
    for function in (lambda x: x[0] + x[-1], lambda x: x.sum(), tabled, lambda x: x[-2] * x[1]):
        problem = hl.Problem(medium=hl.media.constant(1.0, 2), source=function)
        assert np.isfinite(fem.evaluate(problem.source, np.full((1, 2), 0.25))).all()
    with pytest.raises(hl.InputError, match=r"a point with 2: x\[0\], x\[1\]; received index 2"):
        hl.Problem(medium=hl.media.constant(1.0, 2), source=lambda x: x[2])
