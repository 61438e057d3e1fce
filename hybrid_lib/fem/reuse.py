"""Compiled programs that are shared by what they compute, so that a second run of the same shapes compiles nothing.

``jax.jit`` knows a program by the Python function, and every run makes its functions anew. Here a function is traced, which takes
a moment, and the program is looked up by its *text*: operations, shapes, types and numbers, those in the arrays that the function
closes over among them. Two problems whose functions differ have different programs, and a function that reads a changed variable
is traced again whenever it is wrapped again: nothing is served by name. What a run passes as arguments (parameters, points and
the conductivity there, averages, weights) has no part in it. A function that is made of this library's code and of values alone
is not even traced again: see :mod:`hybrid_lib.fem.identity`.

The arrays that a function closes over are constants of its program, but for those of :func:`hybrid_lib.fem.identity.given`, which
are arguments: two sources then share a program. Not all arrays are, since the compiler folds constants, and the last bits of a
history would change.
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

from hybrid_lib.fem.identity import identity, is_given

KEPT = 128
"""Most programs that are kept; the ones used longest ago go first."""
SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")
"""Of JAX, with which a function is traced to another program, or to none."""
HIDING = ("callback", "custom_jvp", "custom_vjp")
"""What a callback does, and how a function with a derivative of its own is differentiated, no text says."""
_programs: OrderedDict[bytes, Callable] = OrderedDict()
_traced: OrderedDict[Any, Any] = OrderedDict()
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
    >>> one, two, three = (shared(lambda x, a=a: a * x) for a in (2.0, 2.0, 3.0))  # two programs
    >>> [f(jnp.ones(2)).tolist() for f in (one, two, three)]
    [[2.0, 2.0], [2.0, 2.0], [3.0, 3.0]]
    """

    def __init__(self, function: Callable):
        self._function = function
        self._bound: dict[Any, _Bound] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        leaves, structure = jax.tree.flatten(arguments)
        signature = structure, tuple(map(jax.typeof, leaves)), *(getattr(jax.config, name) for name in SETTINGS)
        if signature not in self._bound:
            self._bound[signature] = _found(self._function, signature, arguments)
        program, shape, given, _ = self._bound[signature]
        return jax.tree.unflatten(shape, program(given, leaves))

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        """What ``jax.jit`` makes of the function at these arguments, to be looked at or timed; not shared."""
        return jax.jit(self._function).lower(*arguments)

    def compile(self, *arguments: Any) -> Callable:
        """The compiled program for arguments of these shapes and types, without a call; it takes what the function takes."""
        program, shape, given, _ = _bind(self._function, arguments)
        leaves = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arguments)]
        if program not in _compiled:
            _compiled[program] = program.lower(given, leaves).compile()
        compiled = _compiled[program]
        return lambda *arguments: jax.tree.unflatten(shape, compiled(given, jax.tree.leaves(arguments)))


class _Bound(NamedTuple):
    """A program on what is given and on leaves, the structure of its value, what is given, and whether that is all of it."""

    program: Callable
    shape: Any
    given: tuple[Any, ...]
    complete: bool


def _found(function: Callable, signature: tuple, arguments: tuple) -> _Bound:
    """What a function of the same identity was bound to before, with what is given now, or what it is bound to now."""
    met: list[Any] = []
    known = identity(function, met)
    if known is None:
        return _bind(function, arguments)
    if (kept := _traced.pop((known, signature), None)) is None:
        bound = _bind(function, arguments)
        places = [next((k for k, one in enumerate(met) if one is array), None) for array in bound.given]
        if not bound.complete or None in places:
            return bound
        kept = bound._replace(given=tuple(places))
    _traced[known, signature] = kept
    while len(_traced) > KEPT:
        _traced.popitem(last=False)
    return kept._replace(given=tuple(met[k] for k in kept.given))


def _bind(function: Callable, arguments: tuple) -> _Bound:
    """The program of a function at these arguments: one that is known, or a new one."""
    traced, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    text = traced.jaxpr.pretty_print(use_color=False)
    inner = list(_inner_constants(traced.jaxpr))
    given = tuple(constant for constant in traced.consts if is_given(constant))
    held = [None if is_given(constant) else constant for constant in traced.consts]
    key = hashlib.sha256((_ADDRESS.sub("", text) + str([constant is None for constant in held])).encode())
    for constant in (*(constant for constant in held if constant is not None), *inner):
        keyed = jax.dtypes.issubdtype(constant.dtype, jax.dtypes.prng_key)
        key.update(np.asarray(jax.random.key_data(constant) if keyed else constant).tobytes())
    digest = b"" if any(word in text for word in HIDING) else key.digest()
    jaxpr = traced.jaxpr

    def run(given: tuple, leaves: list) -> list:
        rest = iter(given)
        return jaxpr_as_fun(ClosedJaxpr(jaxpr, [next(rest) if one is None else one for one in held]))(*leaves)

    program = _programs.pop(digest, None) or jax.jit(run)
    if digest:
        _programs[digest] = program
    while len(_programs) > KEPT:
        _programs.popitem(last=False)
    return _Bound(program, jax.tree.structure(shape), given, not any(map(is_given, inner)))


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
