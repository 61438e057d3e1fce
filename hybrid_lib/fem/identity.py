"""What a function computes, told without tracing it: its code, its defaults and all that it closes over, by value.

The functions of this library that its code calls, and the numbers that they read, are a part of it. Whatever is neither of this
library nor of those below it, a function of a user for instance, has no identity, and has to be traced. Arrays made by
:func:`given` are a part by shape and type alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

import jax
import jax.numpy as jnp
import numpy as np

LIBRARIES = ("hybrid_lib", "jax", "flax", "optax")
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), np.dtype, np.generic)


_given: WeakValueDictionary[int, jax.Array] = WeakValueDictionary()


class _UnknownError(Exception):
    """Something that has no identity."""


def given(value: Any, dtype: Any = None) -> jax.Array:
    """A new array whose numbers are no part of a program that ``fem.shared`` makes, but an argument of it.

    For functions that close over it; they must not look at its numbers while they are traced.

    Examples
    --------
    >>> one, two = (functools.partial(jnp.multiply, given(a)) for a in (2.0, 3.0))
    >>> identity(one.args) == identity(two.args) != None
    True
    """
    array = jnp.array(value, dtype)
    _given[id(array)] = array
    return array


def is_given(value: Any) -> bool:
    """Whether :func:`given` made it."""
    return _given.get(id(value)) is value


def identity(function: Any, found: list[jax.Array] | None = None) -> Any:
    """A value that two functions share only if they compute the same; None where that cannot be told.

    Parameters
    ----------
    function : anything
    found : list, optional
        Gets the arrays of :func:`given`, each once, in the order in which they are met.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> identity(interval().vanishing) == identity(interval().vanishing) != None
    True
    """
    try:
        return _token(function, {}, [] if found is None else found)
    except _UnknownError:
        return None


def _token(value: Any, seen: dict[int, tuple[int, Any]], found: list[jax.Array]) -> Any:
    if isinstance(value, PLAIN):
        return type(value), repr(value)
    if isinstance(value, jax.core.Tracer):
        raise _UnknownError
    if is_given(value):
        place = next((k for k, known in enumerate(found) if known is value), len(found))
        found += [value] if place == len(found) else []
        return "given", place, jax.typeof(value)
    if isinstance(value, np.ndarray | jax.Array):
        keyed = jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
        array = np.ascontiguousarray(jax.random.key_data(value) if keyed else value)
        if array.dtype == object:
            raise _UnknownError
        return str(value.dtype), array.shape, bool(getattr(value, "weak_type", False)), hashlib.sha256(array.tobytes()).digest()
    if id(value) in seen:
        return "again", seen[id(value)][0]
    seen[id(value)] = len(seen), value  # held, so that no other object gets its place
    if isinstance(value, type | types.BuiltinFunctionType | types.ModuleType):
        return type(value), value
    if isinstance(value, dict):
        return dict, tuple((_token(key, seen, found), _token(item, seen, found)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value), *(_token(item, seen, found) for item in value)
    if isinstance(value, types.MethodType):
        return "method", _token(value.__func__, seen, found), _token(value.__self__, seen, found)
    if isinstance(value, functools.partial):
        return "partial", _token(value.func, seen, found), _token(value.args, seen, found), _token(value.keywords, seen, found)
    if isinstance(value, types.FunctionType):
        return _function(value, seen, found)
    if not type(value).__module__.startswith(LIBRARIES):
        raise _UnknownError
    if dataclasses.is_dataclass(value):
        names = [item.name for item in dataclasses.fields(value) if item.name not in ("parent", "name") or not _is_network(value)]
        return type(value), *(_token(getattr(value, name), seen, found) for name in names)
    if hasattr(value, "__wrapped__"):  # jitted, custom derivatives
        return type(value), _token(value.__wrapped__, seen, found)
    raise _UnknownError


def _is_network(value: Any) -> bool:
    """Whether it is a module of flax, whose place in a tree of modules says nothing of what it computes."""
    return any(kind.__module__.startswith("flax") for kind in type(value).__mro__)


def _function(value: types.FunctionType, seen: dict[int, tuple[int, Any]], found: list[jax.Array]) -> Any:
    if not (value.__module__ or "").startswith(LIBRARIES):
        raise _UnknownError
    code = value.__code__
    read = tuple((name, _token(known, seen, found)) for name, known in _read(code, value.__globals__))
    cells = tuple(_content(cell, seen, found) for cell in value.__closure__ or ())
    return code, read, cells, _token(value.__defaults__, seen, found), _token(value.__kwdefaults__, seen, found)


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Names that a code, or one inside it, may read from its module."""
    inner = (name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part))
    return tuple(dict.fromkeys((*code.co_names, *inner)))


def _read(code: types.CodeType, variables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What :func:`_is_ours` of the things that a code may read from its module, or through a module that it names."""
    names = _names(code)
    modules = [m for m in map(variables.get, names) if isinstance(m, types.ModuleType) and m.__name__.startswith("hybrid_lib")]
    for place in (variables, *map(vars, modules)):
        for name in names:
            if name in place and _is_ours(place[name]):
                yield name, place[name]


def _is_ours(value: Any) -> bool:
    """Whether a value is a number, a text, a function of this library, or a table of these."""
    if isinstance(value, dict | tuple | list):
        return all(map(_is_ours, value.values() if isinstance(value, dict) else value))
    ours = isinstance(value, types.FunctionType) and (value.__module__ or "").startswith("hybrid_lib")
    return ours or isinstance(value, PLAIN)


def _content(cell: types.CellType, seen: dict[int, tuple[int, Any]], found: list[jax.Array]) -> Any:
    try:
        return _token(cell.cell_contents, seen, found)
    except ValueError:  # nothing is bound yet
        return "empty"
