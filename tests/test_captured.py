"""Functions that close over NumPy arrays: traced in single and in double precision, one after the other."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib.captured import calls_fresh, fresh

CENTRES = np.array([[0.3, 0.3], [0.6, 0.7]])


def hill(x, centre=None):
    return jnp.sum((x - (CENTRES[0] if centre is None else centre)) ** 2)


def around(x):
    return sum(hill(x, one) for one in CENTRES)


class Field:
    def __init__(self):
        self.centre, self.name = np.array([0.5, 0.4]), "field"

    def __call__(self, x):
        return jnp.sum((x - self.centre) ** 2)

    def twice(self, x):
        return 2 * self(x)


def held():
    c = np.array([0.5, 0.4])
    table = {"c": c, "more": [c, (c, 1.0)]}
    field = Field()
    return {
        "closure": lambda x: jnp.sum((x - c) ** 2),
        "dictionary": lambda x: jnp.sum((x - table["c"]) ** 2 + (x - table["more"][1][0]) ** 2),
        "globals": around,
        "default": lambda x, c=c: jnp.sum((x - c) ** 2),
        "keyword": functools.partial(hill, centre=c),
        "nested": lambda x: hill(x) + (lambda y: jnp.sum(y - c))(x),
        "comprehension": lambda x: jnp.stack([jnp.sum((x - one) ** 2) for one in CENTRES]).sum(),
        "object": field,
        "method": field.twice,
        "jitted": jax.jit(lambda x: jnp.sum((x - c) ** 2)),
    }


@pytest.mark.parametrize("name", held())
def test_a_function_is_called_with_copies(name):
    function = held()[name]
    x = jnp.array([0.1, 0.7])
    assert fresh(function) is not function
    assert fresh(function)(x) == function(x)


def test_what_holds_no_arrays_stays_itself():
    ready = jnp.ones(2)
    single = np.ones(2, np.float32)
    for function in (lambda x: x, lambda x: x + ready, lambda x: x + single, jnp.sin, functools.partial(jnp.add, 1.0), len):
        assert fresh(function) is function
    marked = calls_fresh(lambda x: hill(x))
    assert fresh(marked) is marked


def test_derivatives_of_ones_own_stay():
    c = np.array([0.5, 0.4])

    @jax.custom_jvp
    def distance(x):
        return jnp.sqrt(jnp.sum((x - c) ** 2))

    @distance.defjvp
    def _(primals, tangents):
        (x,), (t,) = primals, tangents
        r = distance(x)
        return r, (x - c) @ t / jnp.where(r > 0, r, 1.0)

    assert fresh(distance) is not distance
    assert jax.grad(fresh(distance))(jnp.array(c)).tolist() == [0.0, 0.0]


class Closing(Field):
    closed = False

    def __del__(self):
        Closing.closed = True


class Proxy:
    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __call__(self, x):
        return self._inner(x)


@pytest.mark.parametrize("kind", [Closing, lambda: Proxy(Field())])
def test_objects_with_ways_of_their_own_are_not_copied(kind):
    function, Closing.closed = kind(), False
    assert fresh(function) is function and not Closing.closed
    assert fresh(function)(jnp.zeros(2)) == Field()(jnp.zeros(2))


def test_a_long_chain_of_functions_is_called_as_it_is():
    chain = Field()
    for _ in range(300):
        chain = lambda x, inner=chain: inner(x)  # noqa: E731
    assert fresh(chain)(jnp.zeros(2)) == Field()(jnp.zeros(2))


def test_one_array_has_one_copy():
    c = np.ones((3, 3))
    function = fresh(lambda x, a=c, b=(c, c): jnp.sum(a @ x) + jnp.sum(b[0] @ x) + jnp.sum(b[1] @ x))
    assert len(jax.make_jaxpr(function)(jnp.ones(3)).consts) <= 1


def test_a_function_that_holds_itself_ends():
    def factorial(n, scale=CENTRES):
        return 1.0 if n == 0 else n * factorial(n - 1) + 0 * scale[0, 0]

    assert fresh(factorial)(4) == 24


def test_a_changed_array_is_seen():
    c = np.zeros(2)
    function = lambda x: jnp.sum(x - c)  # noqa: E731
    assert fresh(function)(jnp.ones(2)) == 2
    c[:] = 1
    assert fresh(function)(jnp.ones(2)) == 0


PROGRAM = """
import types, jax, jax.numpy as jnp, numpy as np
import hybrid_lib as hl
from hybrid_lib import fem
from hybrid_lib.methods.lifting import lifting

centres = np.array([[0.3, 0.3], [0.6, 0.7]])
K = lambda x: 1 + jnp.sum(jnp.exp(-100 * jnp.sum((x - centres) ** 2, axis=1)))
q = lambda x: jnp.sum(jnp.exp(-50 * jnp.sum((x - centres) ** 2, axis=1)))
g = lambda x: jnp.sum((x - centres[0]) ** 2)
kept = [jax.jit(f) for f in (K, q, g)]
for f in kept:  # programs in float32 that live on
    f(jnp.ones(2))
medium = hl.media.from_function(K, 2)
problem = hl.Problem(medium=medium, source=q, boundary=hl.Dirichlet(g))
found = hl.solve(problem, n=4)
assert found.bound < 1 and hl.certify(problem, found.w, mesh=found.mesh).bound > 0
assert fem.evaluate(g, np.zeros((3, 2))).dtype == np.float64
module = types.ModuleType("module")
module.centre = np.array([0.3, 0.3])
far = lambda x: jnp.sum((x - module.centre) ** 2)
kept.append(jax.jit(far))
kept[-1](jnp.ones(2))
assert np.allclose(fem.evaluate(far, np.zeros((3, 2))), 0.18)
fields = medium.conductivity, medium.divergence, problem.source, lifting(problem).base
for double in (False, True, False):
    with jax.enable_x64(double) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(double):
        for field in fields:
            assert jax.jit(jax.vmap(field))(jnp.ones((2, 2))).dtype == (jnp.float64 if double else jnp.float32)
print("done")
"""


def test_both_precisions_in_one_process(tmp_path):
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path)
    assert ran.stdout.strip().endswith("done"), ran.stderr[-2000:]
