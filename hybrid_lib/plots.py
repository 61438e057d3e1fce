"""One look for every figure: opaque white, colour-blind safe, one colour and line style for each role.

The colours are those of Okabe and Ito; a role (exact, coarse, pinn, hybrid, …) keeps its colour in every
chapter and, because line styles differ too, stays recognisable without colour. Importing this module
changes nothing: a chapter calls :func:`use_style`, or draws inside :func:`style`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

import matplotlib as mpl
from cycler import cycler

from hybrid_lib.errors import InputError

#: Colour of a role. "exact" is also used for references computed on a fine mesh.
COLOURS = MappingProxyType(
    {
        "exact": "#000000",
        "coarse": "#E69F00",
        "pinn": "#0072B2",
        "hybrid": "#D55E00",
        "homogenised": "#009E73",
        "medium": "#7F7F7F",
    }
)

_LINES = MappingProxyType(
    {
        "exact": {"linestyle": "-", "linewidth": 1.2},
        "coarse": {"linestyle": (0, (6, 2)), "linewidth": 2.0},
        "pinn": {"linestyle": (0, (1, 1)), "linewidth": 2.0},
        "hybrid": {"linestyle": (0, (4, 1, 1, 1)), "linewidth": 1.8},
        "homogenised": {"linestyle": (0, (8, 2)), "linewidth": 2.0},
        "medium": {"linestyle": "-", "linewidth": 1.0},
    }
)

_CYCLE = ("pinn", "hybrid", "homogenised", "coarse")

#: Colour map of fields, readable in grey and by colour-blind readers; signed differences take DIVERGING.
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"

#: Matplotlib settings of the book. White, because dark pages show figures on a light box.
STYLE = MappingProxyType(
    {
        "figure.figsize": (6.4, 3.2),
        "figure.dpi": 120,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        "savefig.transparent": False,
        "axes.facecolor": "white",
        "axes.prop_cycle": cycler(color=[COLOURS[role] for role in _CYCLE]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.labelsize": 11,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "font.size": 11,
        "legend.fontsize": 10,
        "legend.frameon": False,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "image.cmap": SEQUENTIAL,
        "image.origin": "lower",
        "text.usetex": False,
        "mathtext.fontset": "cm",
    }
)


def use_style() -> None:
    """Draw every later figure of this process in the style of the book.

    Examples
    --------
    >>> use_style()
    >>> mpl.rcParams["figure.facecolor"]
    'white'
    """
    mpl.rcParams.update(STYLE)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the book inside a ``with`` block and leave the settings outside untouched.

    Examples
    --------
    >>> with style():
    ...     mpl.rcParams["text.usetex"]
    False
    """
    with mpl.rc_context(dict(STYLE)):
        yield


def line(role: str) -> dict[str, object]:
    """Keyword arguments of ``Axes.plot`` for a role: its colour, line style and width.

    Parameters
    ----------
    role : str
        One of ``COLOURS``: ``exact, coarse, pinn, hybrid, homogenised, medium``.

    Raises
    ------
    InputError
        If the role is unknown.

    Examples
    --------
    >>> line("hybrid")["color"]
    '#D55E00'
    """
    if role not in COLOURS:
        known = ", ".join(COLOURS)
        raise InputError("role of a line", f"one of {known}", repr(role), "choose one or add a colour")
    return {"color": COLOURS[role], **_LINES[role]}
