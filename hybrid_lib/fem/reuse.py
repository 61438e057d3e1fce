"""Compiled programs that are shared by what they compute, so that a second run of the same shapes compiles nothing.

``jax.jit`` knows a program by the Python function, and every run makes its functions anew. Here a function is traced, which takes
a moment, and the program is looked up by its *text*: operations, shapes, types and numbers. Arrays that the function closes over
(a source at the nodes, a reference) become arguments. Two problems whose functions differ have different texts or different
arguments, and a function that reads a changed variable is traced again whenever it is wrapped again: nothing is served by name.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

KEPT = 128
"""Most programs that are kept; the ones used longest ago go first."""
_programs: OrderedDict[bytes, Callable] = OrderedDict()
_compiled: WeakKeyDictionary[Callable, Callable] = WeakKeyDictionary()
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class shared:  # noqa: N801, used as a function, like jax.jit
    """`function`, compiled as by ``jax.jit``; wrappers of functions that compute the same have one program.

    Parameters
    ----------
    function : callable of trees of arrays

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> one, two = (shared(lambda x, a=a: a * x) for a in (jnp.ones(2), 2 * jnp.ones(2)))
    >>> one(jnp.ones(2)).tolist(), two(jnp.ones(2)).tolist()  # one program
    ([1.0, 1.0], [2.0, 2.0])
    """

    def __init__(self, function: Callable):
        self._function = function
        self._bound: dict[Any, _Bound] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        leaves, structure = jax.tree.flatten(arguments)
        signature = structure, tuple(map(jax.typeof, leaves)), jax.config.jax_enable_x64
        if signature not in self._bound:
            self._bound[signature] = _bind(self._function, arguments)
        program, constants, shape = self._bound[signature]
        return jax.tree.unflatten(shape, program(constants, leaves))

    def compile(self, *arguments: Any) -> Callable:
        """The compiled program for arguments of these shapes and types, without a call; it takes arguments as the function does."""
        program, constants, shape = _bind(self._function, arguments)
        leaves = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arguments)]
        if program not in _compiled:
            _compiled[program] = program.lower(constants, leaves).compile()
        compiled = _compiled[program]
        return lambda *given: jax.tree.unflatten(shape, compiled(constants, jax.tree.leaves(given)))


class _Bound(NamedTuple):
    """A program, the arrays that the function closes over, and the structure of its value."""

    program: Callable
    constants: list
    shape: Any


def _bind(function: Callable, arguments: tuple) -> _Bound:
    """What is known of a function at these arguments, or is made now."""
    traced, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    text = traced.jaxpr.pretty_print(use_color=False)
    key = hashlib.sha256(_ADDRESS.sub("", text).encode())
    for constant in _inner_constants(traced.jaxpr):
        keyed = jax.dtypes.issubdtype(constant.dtype, jax.dtypes.prng_key)
        key.update(np.asarray(jax.random.key_data(constant) if keyed else constant).tobytes())
    known = None if "callback" in text else _programs.get(key.digest())
    if known is None:
        inner = traced.jaxpr

        def evaluate(constants: list, leaves: list) -> list:
            return jaxpr_as_fun(ClosedJaxpr(inner, constants))(*leaves)

        known = jax.jit(evaluate)
        _programs[key.digest()] = known
        while len(_programs) > KEPT:
            _programs.popitem(last=False)
    if key.digest() in _programs:
        _programs.move_to_end(key.digest())
    return _Bound(known, list(traced.consts), jax.tree.structure(shape))


def _inner_constants(jaxpr: Any) -> Iterator[Any]:
    """Arrays that programs inside a program hold, which its text does not show."""
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            if isinstance(value, np.ndarray):
                yield value
            yield from getattr(value, "consts", ())
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _inner_constants(inner)
