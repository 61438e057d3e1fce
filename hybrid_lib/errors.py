"""Errors a user can act on: what went wrong, what was expected, what arrived, and the remedy."""

from __future__ import annotations


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
