r"""A setting: a dataclass field that knows its words, its range and its choices, and values brought to its type."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError

MOST = 2**31 - 1
"""Largest whole number: steps and points are counted in int32."""
NONE = ("none", "auto")
"""Texts that stand for None in an optional setting."""


def setting(
    default: Any,
    words: str,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    may_change: bool = False,
) -> Any:
    """A dataclass field: what it is for, and which values it takes.

    Parameters
    ----------
    default
        ``dataclasses.MISSING`` for none.
    words : str
        One line for reports and the reference page.
    above, least, below : float, optional
        Values x with above < x, least ≤ x, x < below.
    choices : tuple of str
        Names that a text can be; empty for any.
    may_change : bool
        Whether it may change when a run is resumed: it is not in the fingerprint then.
    """
    known = {"words": words, "above": above, "least": least, "below": below, "choices": choices}
    return dataclasses.field(default=default, metadata=known | {"may_change": may_change})


class Section:
    """A frozen dataclass of settings, each brought to its type and checked when it is made, also by ``dataclasses.replace``."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            if not dataclasses.is_dataclass(kind_of(type(self), item.name)[0]):
                value = taken(_path(type(self), item.name), getattr(self, item.name), type(self), item)
                object.__setattr__(self, item.name, value)


def described(section: type) -> type:
    """A section with an attribute section in its docstring, made of the words of its fields."""
    lines = [
        f"    {item.name} : {_kind_words(section, item)}\n        {item.metadata['words']}"
        for item in dataclasses.fields(section)
        if item.metadata
    ]
    section.__doc__ = f"{section.__doc__.rstrip()}\n\n    Attributes\n    ----------\n" + "\n".join(lines) + "\n    "
    return section


@functools.cache
def kind_of(section: type, name: str) -> tuple[Any, bool]:
    """Type of a field without None, and whether None is allowed."""
    hint = typing.get_type_hints(section)[name]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(h for h in typing.get_args(hint) if h is not type(None)), True
    return hint, False


def taken(path: str, value: Any, section: type, item: dataclasses.Field) -> Any:
    """`value`, typed or text, as the Python value of a field.

    Raises
    ------
    InputError
        If it is of another type, out of its range, or not finite.
    """
    kind, optional = kind_of(section, item.name)
    if isinstance(value, str):
        value = str(value).strip()
    if optional and (value is None or (isinstance(value, str) and value.lower() in NONE)):
        return None
    try:
        if getattr(value, "ndim", None) == 0:  # a scalar of NumPy or JAX
            value = np.asarray(value).item()
        converted = _CONVERT.get(kind, _whole_numbers)(value)
    except (TypeError, ValueError, OverflowError, KeyError):
        converted = None
    if converted is None or not _allowed(converted, item.metadata):
        remedy = "choose one of these" if item.metadata.get("choices") else _REMEDY.get(kind, "for example 128,128").format(path)
        if item.metadata.get("least") == 0:
            remedy = f"set {path}=0 to do without"
        received = repr(value) if isinstance(value, str | type(None)) else str(value)
        expected = _kind_words(section, item)
        if isinstance(converted, float) and not math.isfinite(converted):
            expected = expected.replace("a number", "a finite number")
        if isinstance(converted, int) and converted > MOST:
            expected = f"an integer up to {MOST}"
        raise InputError(path, expected, received[:80], remedy)
    return converted


def _allowed(value: Any, known: Any) -> bool:
    """Whether a converted value is in the range of its field."""
    if isinstance(value, str):
        return bool(value) and (not known.get("choices") or value in known["choices"])
    if isinstance(value, tuple):
        return bool(value) and all(1 <= part <= MOST for part in value)
    above, least, below = (known.get(name) for name in ("above", "least", "below"))
    return (
        math.isfinite(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (isinstance(value, float) or value <= MOST)
    )


def _kind_words(section: type, item: dataclasses.Field) -> str:
    """What a field takes, in words: "an integer > 0 or none"."""
    kind, optional = kind_of(section, item.name)
    known = item.metadata
    above, least, below = (known.get(name) for name in ("above", "least", "below"))
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a name"}
    words = words.get(kind, "integers > 0, separated by commas")
    if known.get("choices"):
        words = "one of " + ", ".join(known["choices"])
    elif below is not None:
        words += f" in {'[' if above is None else '('}{above if least is None else least:g}, {below:g})"
    elif above is not None or least is not None:
        words += f" > {above:g}" if least is None else f" >= {least:g}"
    return words + (" or none" if optional else "")


def _path(section: type, name: str) -> str:
    """Dotted path of a setting; the sections are called as their classes: network of NetworkConfig."""
    head = section.__name__.removesuffix("Config").lower()
    return f"{head}.{name}" if head else name


def _whole(value: Any) -> int:
    if isinstance(value, bool | np.bool_):
        raise ValueError
    number = float(value) if isinstance(value, str) else value
    if number != int(number) or not isinstance(number, numbers.Real):
        raise ValueError
    return int(number)


def _real(value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | numbers.Real):
        raise ValueError
    return float(value)


def _truth(value: Any) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole_numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        value = [part for part in value.strip("()[] ").split(",") if part.strip()]
    return tuple(map(_whole, np.atleast_1d(np.asarray(value, object))))


_CONVERT = {int: _whole, float: _real, bool: _truth, str: _text}
_REMEDY = {
    int: "set {} to a whole number",
    float: "set {} to a number",
    bool: "write true or false",
    str: "pass a text",
}
