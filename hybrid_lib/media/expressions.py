"""Media of a function of one point, or of a formula as text: numbers, names and a list of functions, never run as a program."""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import operator
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.media.medium import (
    SAFETY,
    Medium,
    check_dimension,
    check_period,
    check_shape,
    check_values,
    edge_points,
    evaluate,
    known_within,
    make_medium,
    pointwise,
    positive,
    recorded,
    sample_points,
)

COORDINATES = "xy"
"""Names of the coordinates of a point."""
CONSTANTS = {"pi": math.pi, "e": math.e}
LONGEST = 10_000
"""Characters of a formula."""
DEEPEST = 100
"""Parts in one another: Python's own stack ends at some hundreds."""
LARGEST = float(np.finfo(float).max)
POWERS = 64
"""Whole numbers up to which a power is a product."""
_ONE = ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "log10", "sqrt", "abs", "floor", "ceil", "round", "sign")
_ARCS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
FUNCTIONS: dict[str, tuple[int, Callable]] = {
    **{name: (1, getattr(jnp, name)) for name in (*_ONE, *_ARCS.values())},
    **{name: (1, getattr(jnp, long)) for name, long in _ARCS.items()},
    "atan2": (2, jnp.arctan2),
    "hypot": (2, jnp.hypot),
    "mod": (2, jnp.mod),
    "min": (-2, lambda *given: reduce(jnp.minimum, given)),
    "max": (-2, lambda *given: reduce(jnp.maximum, given)),
    "where": (3, lambda condition, yes, no: jnp.where(condition != 0, yes, no)),
    "clip": (3, jnp.clip),
}
"""Functions by name, with their number of arguments, −2 for two or more."""
_BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.Mod: jnp.mod, ast.FloorDiv: jnp.floor_divide,
}  # fmt: skip
_COMPARED = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """A formula in the coordinates x and y, as a function of one point that JAX can trace and differentiate.

    It knows numbers, ``+ - * / // % **``, comparisons (1 where true, else 0), ``and or not``, ``a if b else c``, pi, e, the
    parameters, and the functions of :data:`FUNCTIONS`; nothing else, and no text is run.

    Attributes
    ----------
    text : str
    dimension : int
        d: in one dimension there is no y.
    parameters : mapping of str to float
        Further names.
    what : str
        What it stands for, in messages.

    Raises
    ------
    InputError
        If the text is no such formula, naming what is wrong, and the nearest name for an unknown one.

    Examples
    --------
    >>> inclusions = Expression("1 + 49*(hypot(x - 0.5, y) < r)", 2, {"r": 0.25})
    >>> float(inclusions(jnp.array([0.4, 0.1]))), float(inclusions(jnp.array([0.9, 0.1])))
    (50.0, 1.0)
    >>> Expression("sine(x)", 1)
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: formula: expected known names; received 'sine'; did you mean sin?
    """

    text: str
    dimension: int
    parameters: Mapping[str, float] = field(default_factory=dict)
    what: str = "formula"

    def __post_init__(self) -> None:
        check_dimension(self.dimension)
        if not isinstance(self.text, str) or not self.text.strip():
            raise InputError(self.what, "a formula", repr(self.text)[:80], 'for example "2 + sin(2*pi*x)"')
        if len(self.text) > LONGEST:
            raise InputError(self.what, f"at most {LONGEST} characters", len(self.text), "write it in Python")
        for name, value in self.parameters.items():
            if not _is_new(name) or isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
                remedy = "choose another name and a number"
                raise InputError("parameters", "new names with numbers", f"{name} = {value!r}", remedy)
        if _depth(self._tree) > DEEPEST:
            raise InputError(self.what, f"a formula of at most {DEEPEST} parts in one another", "more", "write it in Python")
        try:
            with jax.numpy_dtype_promotion("standard"):
                jax.eval_shape(self, jax.ShapeDtypeStruct((self.dimension,), jnp.float32))
        except RecursionError:
            raise InputError(self.what, "a formula", "one nested too deep", "write it in Python") from None
        except InputError as error:  # without JAX's notes
            raise InputError(error.what, error.expected, error.received, error.remedy) from None

    def __hash__(self) -> int:
        return hash((self.text, self.dimension, tuple(self.parameters.items())))

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            place = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            received = f"{self.text.strip()[:60]!r}, {getattr(error, 'msg', 'which cannot be read')}{place}"
            raise InputError(self.what, "a formula", received, "correct it there") from None

    def __call__(self, x: Any) -> Any:
        """The value at one point x (d,), of its dtype."""
        return jnp.asarray(self._value(self._tree, x), x.dtype)

    def _value(self, node: ast.expr, x: Any) -> Any:
        """The value of a part of the formula, a scalar of the dtype of x."""
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return _number(number, x.dtype)
            case ast.Name(id=name):
                return self._named(name, x)
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(power))) if power <= POWERS:
                return self._value(left, x) ** power
            case ast.BinOp(op=op) if type(op) in _BINARY:
                first, rest = _chain(node)
                value = self._value(first, x)
                for part in rest:
                    value = _BINARY[type(part.op)](value, self._value(part.right, x))
                return value
            case ast.BinOp(op=ast.BitXor()):
                raise InputError(self.what, "a power as a**b", "a^b", "write ** for ^")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, x)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand, x)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return jnp.asarray(self._value(operand, x) == 0, x.dtype)
            case ast.BoolOp(op=op, values=values):
                fold = jnp.logical_and if isinstance(op, ast.And) else jnp.logical_or
                return jnp.asarray(reduce(fold, [self._value(one, x) != 0 for one in values]), x.dtype)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARED for op in ops):
                ends = [self._value(one, x) for one in (left, *others)]
                found = [_COMPARED[type(op)](a, b) for op, a, b in zip(ops, ends[:-1], ends[1:], strict=True)]
                return jnp.asarray(reduce(jnp.logical_and, found), x.dtype)
            case ast.IfExp(test=test, body=body, orelse=other):
                return jnp.where(self._value(test, x) != 0, self._value(body, x), self._value(other, x))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._called(name, args, x)
        received = ast.unparse(node)[:60]
        remedy = "write it in Python, with media.from_function"
        remedy = "write x and y for the coordinates" if isinstance(node, ast.Subscript) else remedy
        raise InputError(self.what, "numbers, names and calls of known functions", repr(received), remedy)

    def _named(self, name: str, x: Any) -> Any:
        names = COORDINATES[: self.dimension]
        if name in names:
            return x[names.index(name)]
        known = CONSTANTS | dict(self.parameters)
        if name in known:
            return _number(known[name], x.dtype)
        if name in FUNCTIONS:
            raise InputError(self.what, f"{name}(…)", name, "give it its arguments")
        raise self._unknown(name, [*names, *known, *FUNCTIONS])

    def _called(self, name: str, args: list[ast.expr], x: Any) -> Any:
        if name not in FUNCTIONS:
            raise self._unknown(name, list(FUNCTIONS))
        count, function = FUNCTIONS[name]
        if len(args) != count and not (count < 0 and len(args) >= -count):
            expected = f"{count} argument{'s' * (count > 1)}" if count > 0 else "two arguments or more"
            raise InputError(self.what, f"{name} with {expected}", f"{len(args)}", "correct the call")
        return jnp.asarray(function(*(self._value(one, x) for one in args)), x.dtype)

    def _unknown(self, name: str, known: list[str]) -> InputError:
        near = difflib.get_close_matches(name, known, n=1)
        one = "there is no y in one dimension" if name == "y" else f"known are {', '.join(known)}"
        return InputError(self.what, "known names", repr(name), f"did you mean {near[0]}?" if near and name != "y" else one)


def _is_new(name: Any) -> bool:
    """Whether a parameter may be called so: as Python reads it, and neither a word of the language nor of formulas."""
    known = {*FUNCTIONS, *CONSTANTS, *COORDINATES, *keyword.kwlist}
    return isinstance(name, str) and name.isidentifier() and name not in known and unicodedata.normalize("NFKC", name) == name


def _chain(node: ast.AST) -> tuple[ast.AST, list[ast.BinOp]]:
    """The first part of a + b − c + … and the operations on it in their order: one loop, however many there are."""
    rest: list[ast.BinOp] = []
    while isinstance(node, ast.BinOp) and type(node.op) in _BINARY and not (rest and isinstance(node.op, ast.Pow)):
        rest.append(node)
        node = node.left
    return node, rest[::-1]


def _depth(tree: ast.AST) -> int:
    """How many parts of a formula are in one another, with a chain of operations as one."""
    level, depth = [tree], 0
    while level:
        below, depth = [], depth + 1
        for node in level:
            first, rest = _chain(node)
            below += [part.right for part in rest] + ([first] if rest else list(ast.iter_child_nodes(node)))
        level = below
    return depth


def _number(number: float, dtype: Any) -> jax.Array:
    """A number of the formula; infinite where the type of the points ends before it."""
    most = float(jnp.finfo(dtype).max)
    return jnp.asarray(float(number) if abs(number) <= most else math.inf if number > 0 else -math.inf, dtype)


@recorded
def from_function(
    function: Callable,
    dimension: int,
    alpha: float | None = None,
    beta: float | None = None,
    gradient: Callable | None = None,
    *,
    period: float | None = None,
    box: tuple[float | Sequence[float], float | Sequence[float]] = (0.0, 1.0),
    is_lipschitz: bool | None = None,
) -> Medium:
    """A medium from a JAX function of one point, x (d,) -> () or (d, d).

    The function is evaluated at `SAMPLES` points of a box and on its boundary: it must be finite, symmetric and
    positive there. Bounds that are not given are the extreme eigenvalues at these points, divided or
    multiplied by `SAFETY`; then ``bounds_exact`` is False. Given ones are taken as exact once the samples
    respect them.

    Parameters
    ----------
    function : callable
        The conductivity; its value is cast to x's dtype.
    dimension : int
        *d*.
    alpha, beta : float, optional
        Known bounds.
    gradient : callable, optional
        x (d,) -> (d,), ∇K of a scalar or the row divergence Σ_i ∂_i K_ij of a tensor. None: automatic
        differentiation.
    period : float, optional
        Known period; checked at the sample points.
    box : (lower, upper)
        Where the samples lie, by numbers for all axes or corners: (−1, 1) for the L-shape, ``domain.box`` for any.
    is_lipschitz : bool, optional
        False: K jumps and has no divergence. True: it does not, by the caller's word. None: whoever needs ∇·K looks for jumps
        that automatic differentiation does not see (`jnp.where`, `jnp.floor`, `jnp.round`, comparisons) and refuses them.

    Raises
    ------
    InputError
        If the function is none or JAX cannot trace it, a shape is wrong, a sample is not finite, not symmetric, not
        positive definite or outside the given bounds, or the function does not have the given period.

    Examples
    --------
    >>> medium = from_function(lambda x: 1.0 + x[0] ** 2, 1, alpha=1.0, beta=2.0)
    >>> float(medium.divergence(jnp.array([0.5]))[0])
    1.0
    """
    d = check_dimension(dimension)
    if not callable(function):
        raise InputError("function", "a function of one point x", function, "a number goes to media.constant")
    conductivity = pointwise(function, d)
    shape = check_shape("function", conductivity, d, ((), (d, d)))
    if gradient is not None:
        check_shape("gradient", pointwise(gradient, d), d, ((d,),))
    if period is not None:
        period = positive("period", period, "pass None when there is none")
    points = sample_points(d, *box)
    values = evaluate(conductivity, points)
    edge = edge_points(d, *box)
    ranges = [check_values(v, x) for v, x in ((values, points), (evaluate(conductivity, edge), edge))]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if period is not None:
        check_period(conductivity, period, points, values)
    slack = 1e-5  # of each bound: rounding, float32 included
    noise = 4.0 * np.finfo(values.dtype).eps * high if shape else 0.0  # of the eigenvalues of a tensor
    exact = alpha is not None and beta is not None
    alpha = low / SAFETY if alpha is None else positive("alpha", alpha, "the medium is elliptic")
    beta = high * SAFETY if beta is None else positive("beta", beta, "the medium is elliptic")
    if alpha > low * (1.0 + slack) + noise or beta < high * (1.0 - slack):
        raise InputError(
            "bounds",
            f"alpha ≤ {low:g} and beta ≥ {high:g}, the values found at sample points",
            f"alpha = {alpha:g}, beta = {beta:g}",
            "widen them or leave them out",
        )
    medium = make_medium(
        conductivity,
        d,
        alpha,
        beta,
        divergence=gradient,
        bounds_exact=exact,
        period=period,
        name="function",
        is_tensor=shape != (),
        is_lipschitz=is_lipschitz,
    )
    return known_within(medium, box, False)


@recorded
def from_formula(text: str, dimension: int, parameters: Mapping[str, float] | None = None, **options: Any) -> Medium:
    """A medium from a formula as text, K = text(x, y).

    Parameters
    ----------
    text : str
        See :class:`Expression`.
    dimension : int
        *d*.
    parameters : mapping of str to float, optional
        Names in the formula beside x, y, pi and e.
    **options
        Of :func:`hybrid_lib.media.from_function`: bounds, period, box.

    Raises
    ------
    InputError
        As :class:`Expression` and :func:`hybrid_lib.media.from_function`.

    Examples
    --------
    >>> medium = from_formula("2 + sin(2*pi*x/eps)", 1, {"eps": 0.1}, period=0.1)
    >>> float(medium.conductivity(jnp.zeros(1)))
    2.0
    """
    return from_function(Expression(text, dimension, dict(parameters or {}), "medium.formula"), dimension, **options)
