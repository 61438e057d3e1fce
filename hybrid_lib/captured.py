"""NumPy arrays that a function closes over, so that JAX may trace it in single and in double precision.

JAX rounds a captured float64 array to float32 where 64-bit numbers are off, and keeps the rounded one with the array as long as a
traced program lives. Once training has traced a function in float32, an evaluation in float64 then meets arrays of float32, and
the other way round: the program cannot be built. So functions from outside are traced with copies of their arrays, new each
time; a function is called once a block of points, and not once a point.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

ROUNDED = (np.float64, np.int64, np.uint64, np.complex128)
"""Types of numbers that JAX takes for others where 64-bit numbers are off."""
LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "hybrid_lib", "builtins", "functools", "flax", "optax", "matplotlib")
"""Modules whose globals are not looked at: they hold no arrays of a problem."""


def fresh(function: Callable) -> Callable:
    """The function with copies of the arrays that it closes over or reads from globals; itself if none are found.

    Looked into are closures, defaults and globals of functions, and of functions that these hold; ``functools.partial``, methods,
    jitted functions, tuples, lists, dictionaries, and attributes of plain objects. Arrays of modules, of classes, and in objects
    that make their own copies or attributes are not reached: :func:`traced` is for these.

    Examples
    --------
    >>> far = lambda x, centre=np.array([0.5, 0.5]): np.sum((x - centre) ** 2).item()
    >>> fresh(far) is far, fresh(far)(np.zeros(2))
    (False, 0.5)
    >>> fresh(abs) is abs
    True
    """
    try:
        return _copied(function, {})
    except RecursionError:  # a long chain of functions
        return function


def calls_fresh(function: Callable) -> Callable:
    """Mark a function that calls those from outside by :func:`fresh` itself, so that nobody copies it."""
    function.calls_fresh = function
    return function


def traced(call: Callable[[], Any]) -> Any:
    """The value of a call that traces a function; anew, without JAX's programs, where one holds an array in another precision."""
    import jax

    try:
        return call()
    except (TypeError, RuntimeError) as error:  # JaxRuntimeError is one
        if not ("same dtypes" in str(error) or "E0102" in str(error)):
            raise
        jax.clear_caches()
        return call()


def _copied(value: Any, met: dict[int, Any]) -> Any:
    """The value with copies of its arrays; the value itself where it holds none."""
    if value is None or isinstance(value, (bool, int, float, str, np.generic, type, types.ModuleType, types.BuiltinFunctionType)):
        return value
    if id(value) in met:
        return met[id(value)][1]
    if isinstance(value, np.ndarray):
        made = value.copy() if value.dtype.type in ROUNDED else value
    else:
        met[id(value)] = value, value  # where it holds itself
        made = _made(value, met)
    met[id(value)] = value, made  # held, so that no other object gets its place
    return made


def _made(value: Any, met: dict[int, Any]) -> Any:
    if isinstance(value, types.FunctionType):
        return value if value.__dict__.get("calls_fresh") is value else _function(value, met)
    if isinstance(value, (tuple, list)) and (type(value) in (tuple, list) or hasattr(value, "_make")):
        items = [_copied(item, met) for item in value]
        return value if _same(items, value) else getattr(type(value), "_make", type(value))(items)
    if type(value) is dict:
        items = {name: _copied(item, met) for name, item in value.items()}
        return value if _same(items.values(), value.values()) else items
    if isinstance(value, functools.partial):
        inner = value.func, value.args, value.keywords
        made = [_copied(item, met) for item in inner]
        return value if _same(made, inner) else type(value)(made[0], *made[1], **made[2])
    if isinstance(value, types.MethodType):
        owner, code = _copied(value.__self__, met), _copied(value.__func__, met)
        return value if owner is value.__self__ and code is value.__func__ else types.MethodType(code, owner)
    kind = type(value)
    if kind.__module__.split(".")[0] in LIBRARIES:
        if kind.__name__ in ("custom_jvp", "custom_vjp"):
            return _with_attributes(value, ("fun", "jvp", "fwd", "bwd", "__wrapped__"), met)
        jitted = kind.__name__ == "PjitFunction"
        inner = _copied(value.__wrapped__, met) if jitted else None
        return value if not jitted or inner is value.__wrapped__ else inner
    own = ("__del__", "__copy__", "__getattr__", "__getattribute__", "__reduce__", "__reduce_ex__", "__setattr__", "__slots__")
    if any(name in vars(one) for one in kind.__mro__[:-1] for name in own) or not hasattr(value, "__dict__"):
        return value
    return _with_attributes(value, tuple(vars(value)), met)


def _with_attributes(value: Any, names: tuple[str, ...], met: dict[int, Any]) -> Any:
    """A shallow copy of an object with copies in some attributes; itself where they hold none."""
    held = {name: vars(value)[name] for name in names if name in vars(value)}
    items = {name: _copied(item, met) for name, item in held.items()}
    if _same(items.values(), held.values()):
        return value
    try:
        made = copy.copy(value)
        vars(made).update(items)
    except Exception:  # what cannot be copied stays
        return value
    return made


def _function(function: types.FunctionType, met: dict[int, Any]) -> Callable:
    """The same code with copies in closure, defaults and globals."""
    cells = function.__closure__ or ()
    closed = [_content(cell) for cell in cells]
    defaults, keywords = function.__defaults__, function.__kwdefaults__
    names = () if (function.__module__ or "").split(".")[0] in LIBRARIES else _names(function.__code__)
    read = {name: function.__globals__[name] for name in names if name in function.__globals__}
    before = (*closed, defaults, keywords, *read.values())
    after = [_copied(item, met) for item in before]
    if _same(after, before):
        return function
    around = function.__globals__ | dict(zip(read, after[len(closed) + 2 :], strict=True)) if read else function.__globals__
    new = [old if one is other else types.CellType(one) for old, one, other in zip(cells, after, closed, strict=False)]
    made = types.FunctionType(function.__code__, around, function.__name__, after[len(closed)], tuple(new) if cells else None)
    made.__kwdefaults__ = after[len(closed) + 1]
    made.__dict__.update(function.__dict__)
    return functools.update_wrapper(made, function, updated=())


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(code: types.CodeType) -> tuple[str, ...]:
    """Names that a code and those within it look up outside."""
    inner = [name for one in code.co_consts if isinstance(one, types.CodeType) for name in _names(one)]
    return tuple(dict.fromkeys((*code.co_names, *inner)))


def _same(some: Any, others: Any) -> bool:
    return all(one is other for one, other in zip(some, others, strict=True))
