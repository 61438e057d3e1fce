"""Errors a user can act on: what went wrong, what was expected, what arrived, and the remedy."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hybrid_lib.captured import fresh

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class InputError(ValueError):
    """A user's input cannot be used; the message is one line that says why and what to do.

    Parameters
    ----------
    what : str
        The thing that is wrong, for example ``"eps"`` or ``"mesh cell 3"``.
    expected : str
        What would have been accepted.
    received : str
        What arrived.
    remedy : str
        What to do about it.

    Examples
    --------
    >>> print(InputError("eps", "a number > 0", "-0.1", "pass the period of the medium"))
    eps: expected a number > 0; received -0.1; pass the period of the medium
    """

    def __init__(self, what: str, expected: str, received: object, remedy: str):
        self.what, self.expected, self.received, self.remedy = what, expected, str(received), remedy
        text = f"{what}: expected {expected}; received {self.received}; {remedy}"
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its four parts, so that it comes back from another process."""
        return type(self), (self.what, self.expected, self.received, self.remedy)


def real_array(what: str, value: Any) -> np.ndarray:
    """`value` as a float64 array; complex numbers, masked entries, dates and texts are refused, not cut to something else.

    Raises
    ------
    InputError
        Named `what`.

    Examples
    --------
    >>> real_array("values", [1, True]).tolist()
    [1.0, 1.0]
    """
    if np.ma.is_masked(value):
        raise InputError(what, "real numbers", "a masked array", "fill the masked entries")
    remedy = "pass a number or an array of numbers"
    try:
        array = np.asarray("none" if value is None else value)
        if array.dtype.kind not in "cMmSU":  # complex, dates, texts
            return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        raise InputError(what, "real numbers", repr(value)[:80], remedy) from None
    remedy = "solve for real and imaginary part" if array.dtype.kind == "c" else remedy
    raise InputError(what, "real numbers", f"values of type {array.dtype}", remedy)


def whole(what: str, value: Any, least: int, remedy: str) -> int:
    """`value` as an int, if it is a whole number, of Python or NumPy, of at least `least`.

    Raises
    ------
    InputError
        Named `what`.

    Examples
    --------
    >>> whole("n", np.int64(4), 1, "pass the number of cells")
    4
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(what, f"a whole number >= {least}", repr(value), remedy)
    return int(value)


def require_package(module: str, purpose: str, install: str) -> Any:
    """An optional package, or one line that says how to get it.

    Raises
    ------
    InputError
        Named `purpose`, if it is not installed.

    Examples
    --------
    >>> require_package("antigravity_2", "flying", "hybrid-lib[files]")
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: flying: expected the package antigravity_2; received none; pip install "hybrid-lib[files]"
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise InputError(purpose, f"the package {package}", "none", f'pip install "{install}"') from None


def require_coordinates(what: str, function: Callable, dimension: int) -> None:
    """Refuse a function of one point that reads a coordinate which such a point does not have; JAX takes the nearest.

    Raises
    ------
    InputError
        Named `what`.

    Examples
    --------
    >>> require_coordinates("source", lambda x: x[0] + x[1], 2)
    >>> require_coordinates("source", lambda x: x[0] + x[1], 1)
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: source: expected coordinates of a point with 1: x[0]; received index 1; read no other
    >>> require_coordinates("source", lambda x: x[1:2].sum(), 1)
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: source: expected coordinates of a point with 1: x[0]; received an empty slice; read no other
    """
    import jax
    from jax.experimental import checkify

    def steps(jaxpr: Any) -> Iterator[Any]:
        for equation in jaxpr.eqns:
            yield equation
            inner = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr"))
            for value in inner:
                if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
                    yield from steps(getattr(value, "jaxpr", value))

    point, known = np.full(dimension, 0.5, np.float32), ", ".join(f"x[{k}]" for k in range(dimension))
    expected = f"coordinates of a point with {dimension}: {known}"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        done = list(steps(jax.make_jaxpr(fresh(function))(jax.ShapeDtypeStruct(point.shape, point.dtype)).jaxpr))
        if any(0 in getattr(value.aval, "shape", ()) for equation in done for value in equation.outvars):
            raise InputError(what, expected, "an empty slice", "read no other")
        read = [getattr(e.invars[0].aval, "shape", ()) for e in done if e.primitive.name in ("dynamic_slice", "gather")]
        if (dimension,) not in read:  # nothing picks from an array of as many numbers as a point has
            return
        try:
            found = checkify.checkify(fresh(function), errors=checkify.index_checks)(jax.numpy.asarray(point))[0].get()
        except NotImplementedError:  # something that cannot be looked into
            return
    wrong = re.search(r"index (-?\d+)", found or "")
    if wrong:
        index = int(wrong.group(1))
        raise InputError(what, expected, f"index {index if index >= 0 else index - dimension}", "read no other")


def require_one_argument(what: str, function: Any) -> None:
    """Refuse a function that cannot be called with one point alone; anything that does not say how it is called passes.

    Raises
    ------
    InputError
        Named `what`.

    Examples
    --------
    >>> require_one_argument("field", lambda x, y: x * y)
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: field: expected a function of one point x; received one of (x, y); write x[0], x[1] for x, y
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        remedy = "write x[0], x[1] for x, y"
        raise InputError(what, "a function of one point x", f"one of {signature}", remedy) from None


def require_real(what: str, value: Any) -> Any:
    """`value` at a point or at many, unless it is complex: numbers, arrays or what JAX traces.

    Raises
    ------
    InputError
        Named `what`.

    Examples
    --------
    >>> require_real("K", 2.0)
    2.0
    >>> require_real("K", 1j)
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: K: expected real values; received complex ones; solve for real and imaginary part
    """
    import jax.numpy as jnp

    if jnp.iscomplexobj(value):
        raise InputError(what, "real values", "complex ones", "solve for real and imaginary part")
    return value


def require_picklable(what: str, content: Any) -> None:
    """Refuse, in one line, what another process could not read: functions that no module holds under their name."""
    try:
        pickle.dumps(content)
    except InputError:
        raise
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        remedy = "define them there, or keep the run in a directory: out=, and resume=True"
        raise InputError(what, "functions defined at the top of a module", str(error), remedy) from None


def rounded(value: float, digits: int = 2, *, up: bool = False) -> str:
    """A number as people write it: up to a million without a power of ten.

    Parameters
    ----------
    value : float
    digits : int
        How many count.
    up : bool
        Never below the value, as a bound must be printed.

    Examples
    --------
    >>> rounded(0.000424, up=True), rounded(9.91, up=True), rounded(3.3e-05, 1, up=True), rounded(0.25, up=True)
    ('0.00043', '10', '4e-05', '0.25')
    >>> [rounded(value) for value in (0, 1.04, 248.7, 26013, 4.14e8, 8.84e-8)]
    ['0', '1', '250', '26,000', '4.1·10⁸', '8.8e-08']
    """
    number = float(f"{float(value):.{digits}g}")
    if up and number < value:
        last = float(f"{float(value):.{digits - 1}e}".split("e")[1]) - digits + 1
        number = float(f"{number + 10**last:.{digits}g}")
    if not 1e6 <= abs(number) < np.inf:
        return f"{number:,.10g}"
    mantissa, power = f"{number:e}".split("e+")
    return f"{float(mantissa):g}·10{power.lstrip('0').translate(_RAISED)}"
