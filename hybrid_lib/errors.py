"""Errors a user can act on: what went wrong, what was expected, what arrived, and the remedy."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np


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
    except (TypeError, ValueError):
        raise InputError(what, "real numbers", repr(value)[:80], remedy) from None
    remedy = "solve for real and imaginary part" if array.dtype.kind == "c" else remedy
    raise InputError(what, "real numbers", f"values of type {array.dtype}", remedy)


def require_picklable(what: str, content: Any) -> None:
    """Refuse, in one line, what another process could not read: functions that no module holds under their name."""
    try:
        pickle.dumps(content)
    except InputError:
        raise
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        remedy = "define them there, or keep the run in a directory: out=, and resume=True"
        raise InputError(what, "functions defined at the top of a module", str(error), remedy) from None
