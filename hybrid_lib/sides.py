r"""What is known on the sides of a domain: temperature, flux, or exchange with surroundings.

.. math:: w = g, \qquad n\cdot K\nabla w = p, \qquad n\cdot K\nabla w = c\,(a - w)

with the outward normal n. A positive flux brings heat in, as K∇w points from cold to warm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.media.medium import shape_at_point

Value = float | Callable


@dataclass(frozen=True)
class Dirichlet:
    """w = value.

    Attributes
    ----------
    value : float or callable x (d,) -> ()
        g, a number or a function of one point, written with jax.numpy.

    Examples
    --------
    >>> Dirichlet(20.0)
    Dirichlet(value=20.0)
    """

    value: Value = 0.0

    def __post_init__(self) -> None:
        _settle(self, "value")


@dataclass(frozen=True)
class Neumann:
    """n·K∇w = flux; 0, an insulated side, by default.

    Attributes
    ----------
    flux : float or callable x (d,) -> ()
        p, what comes in a unit of length; negative where heat leaves.

    Examples
    --------
    >>> Neumann()
    Neumann(flux=0.0)
    """

    flux: Value = 0.0

    def __post_init__(self) -> None:
        _settle(self, "flux")


@dataclass(frozen=True)
class Robin:
    """n·K∇w = coefficient·(ambient − w).

    Attributes
    ----------
    coefficient : float or callable x (d,) -> ()
        c ≥ 0, of the exchange.
    ambient : float or callable x (d,) -> ()
        a, the temperature around.

    Examples
    --------
    >>> Robin(-1.0)
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: Robin coefficient: expected a number >= 0; received -1.0; n·K∇w = coefficient·(ambient − w)
    """

    coefficient: Value
    ambient: Value = 0.0

    def __post_init__(self) -> None:
        _settle(self, "coefficient")
        _settle(self, "ambient")
        if not callable(self.coefficient) and self.coefficient < 0:
            remedy = "n·K∇w = coefficient·(ambient − w)"
            raise InputError("Robin coefficient", "a number >= 0", self.coefficient, remedy)


Condition = Dirichlet | Neumann | Robin


def _settle(condition: Any, name: str) -> None:
    """A number as a float; a function as it is."""
    value, what = getattr(condition, name), f"{type(condition).__name__} {name}"
    if callable(value):
        return
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf" or not np.isfinite(array):
        raise InputError(what, "a finite number or a function of one point", repr(value)[:80], "pass one of these")
    object.__setattr__(condition, name, float(array))


def settled(boundary: Any, names: tuple[str, ...], dimension: int) -> dict[str, Condition]:
    """One condition for each side of a domain, in the order of its sides.

    Parameters
    ----------
    boundary : condition, or dict of side name to condition
        One condition is that of all sides.
    names : tuple of str
        Of the sides.
    dimension : int
        d, of the points at which functions are asked.

    Raises
    ------
    InputError
        For a side without a condition, an unknown side, something that is no condition, or a value that is no scalar
        function of one point.

    Examples
    --------
    >>> settled(Dirichlet(1.0), ("left", "right"), 1)["right"]
    Dirichlet(value=1.0)
    """
    if isinstance(boundary, Condition):
        boundary = dict.fromkeys(names, boundary)
    known = ", ".join(names)
    if not isinstance(boundary, dict):
        received = repr(boundary)[:80]
        expected = "a condition, or a dict of side names and conditions"
        raise InputError("boundary", expected, received, f"the sides are {known}")
    for name, condition in boundary.items():
        if name not in names:
            raise InputError("boundary", f"names of sides: {known}", repr(name), "correct the name")
        if not isinstance(condition, Condition):
            received, remedy = repr(condition)[:80], "write Dirichlet(value) for a temperature"
            raise InputError(f"boundary {name!r}", "Dirichlet, Neumann or Robin", received, remedy)
        for key, value in vars(condition).items():
            what = f"boundary {name!r}, {key}"
            if callable(value) and (shape := shape_at_point(what, value, dimension)) != ():
                raise InputError(what, "a number at one point x", f"shape {shape}", "index the point: x[0] instead of x")
    missing = [name for name in names if name not in boundary]
    if missing:
        remedy = "Neumann() is an insulated side"
        raise InputError("boundary", f"a condition for each side: {known}", f"none for {', '.join(missing)}", remedy)
    return {name: boundary[name] for name in names}
