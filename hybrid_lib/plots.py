"""One look for every figure: opaque white, colour-blind safe, one colour and line style for each role.

The colours are those of Okabe and Ito, orange and vermilion darkened: each stands out from white with a
contrast of at least 3, and dark orange from dark red for every kind of colour vision. A role (exact, coarse, pinn,
hybrid, …) keeps its colour in every chapter and, because line styles differ too, stays recognisable
without colour. Importing this module changes nothing: a chapter calls :func:`use_style`, or draws inside
:func:`style`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler

from hybrid_lib.errors import InputError

#: Colour of a role. "exact" is also used for references computed on a fine mesh.
COLOURS = MappingProxyType(
    {
        "exact": "#000000",
        "coarse": "#C68900",
        "pinn": "#0072B2",
        "hybrid": "#A8281A",
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

#: Matplotlib settings of the book. On white; dark pages turn line drawings dark and show maps in a night version.
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
        "legend.handlelength": 2.8,  # one and a half of the longest dashes
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
    '#A8281A'
    """
    if role not in COLOURS:
        known = ", ".join(COLOURS)
        raise InputError("role of a line", f"one of {known}", repr(role), "choose one or add a colour")
    return {"color": COLOURS[role], **_LINES[role]}


def curve(axis: mpl.axes.Axes, steps: np.ndarray, values: np.ndarray, role: str, label: str, **look) -> None:
    """A positive quantity per iteration on a logarithmic axis; of several seeds the median, in a band of all.

    Parameters
    ----------
    axis : Axes
        Where to draw.
    steps : (E,)
        Iterations.
    values : (E,) or (E, S)
        An error or a loss, for instance ``fit.evaluations["rel_l2"]``, of S seeds.
    role : str
        One of ``COLOURS``.
    label : str
        For the legend.
    **look
        Overrides of :func:`line`.

    Raises
    ------
    InputError
        If there is not one row of values for each step.
    """
    steps, values = np.asarray(steps), np.asarray(values, float)
    if values.ndim not in (1, 2) or values.shape[:1] != steps.shape:
        shapes = f"shape ({len(steps)},) or ({len(steps)}, S)"
        raise InputError("values of a curve", shapes, values.shape, "pass one row for each step")
    members = values.reshape(len(steps), -1)  # (E, S)
    look = {**line(role), **look}
    if members.shape[1] > 1:
        low, high = members.min(axis=1), members.max(axis=1)
        axis.fill_between(steps, low, high, color=look["color"], alpha=0.2, linewidth=0)
    axis.semilogy(steps, np.median(members, axis=1), label=label, **look)


def fields(
    axes: Sequence[mpl.axes.Axes],
    pictures: Mapping[str, np.ndarray],
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Fields on the unit square, one to an axis, each with its title, its colour bar and square pixels.

    Parameters
    ----------
    axes : sequence of Axes
        At least as many as pictures.
    pictures : mapping of str to (n1, n2) array
        Title to values on a grid that covers the square, indexed [x₁, x₂].
    limits : mapping of str to (low, high), optional
        Ends of the colour scale of a picture; default its least and largest value.

    Raises
    ------
    InputError
        If there are fewer axes than pictures.
    """
    if len(axes) < len(pictures):
        wanted = f"at least {len(pictures)}"
        raise InputError("axes of the fields", wanted, len(axes), "make as many as there are pictures")
    for axis, (title, values) in zip(axes, pictures.items(), strict=False):
        low, high = (limits or {}).get(title, (None, None))
        image = axis.imshow(np.asarray(values).T, extent=(0, 1, 0, 1), vmin=low, vmax=high, cmap=SEQUENTIAL)
        axis.grid(False)
        axis.set(title=title, xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.figure.colorbar(image, ax=axis)


ARROWS = 18
"""Arrows along the longer side of a domain."""


def on_mesh(axis: mpl.axes.Axes, mesh: Any, values: np.ndarray, title: str = "", log: bool = False) -> None:
    """A field on a mesh, with its title and its colour bar; in one dimension a curve, or steps.

    Parameters
    ----------
    axis : Axes
    mesh : fem.Mesh
    values : (n,) or (m,) array
        At the nodes, or one a cell.
    title : str
    log : bool
        A logarithmic scale, for positive values.

    Raises
    ------
    InputError
        If the values belong to neither the nodes nor the cells.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from hybrid_lib import fem
    >>> figure, axis = plt.subplots()
    >>> mesh = fem.lshape(4)
    >>> on_mesh(axis, mesh, mesh.points[:, 0], "the first coordinate")
    >>> plt.close(figure)
    """
    values = np.asarray(values)
    if values.shape not in ((len(mesh.points),), (len(mesh.cells),)):
        expected = f"shape ({len(mesh.points)},) or ({len(mesh.cells)},)"
        raise InputError("values on a mesh", expected, f"shape {values.shape}", "pass one value a node, or one a cell")
    nodal = len(values) == len(mesh.points)
    axis.set_title(title)
    if mesh.dimension == 1:
        x = mesh.points[:, 0]
        if nodal:
            order = np.argsort(x)
            axis.plot(x[order], values[order], **line("hybrid"))
        else:
            axis.stairs(values[np.argsort(x[mesh.cells].mean(axis=1))], np.sort(x), baseline=None, **line("medium"))
        axis.set_xlabel("x")
        axis.set_yscale("log" if log else "linear")
        return
    scale = mpl.colors.LogNorm() if log else None
    shading = {"shading": "gouraud"} if nodal else {}
    image = axis.tripcolor(*mesh.points.T, mesh.cells, values, cmap=SEQUENTIAL, norm=scale, rasterized=True, **shading)
    axis.grid(False)
    axis.set_aspect("equal")
    width, height = np.ptp(mesh.points, axis=0)
    axis.figure.colorbar(image, ax=axis, shrink=float(np.clip(1.2 * height / width, 0.4, 1.0)))


def arrows(axis: mpl.axes.Axes, mesh: Any, vectors: np.ndarray, colour: str = "white") -> None:
    """Arrows of a field of vectors over a picture of the plane, on a grid that keeps to the domain.

    Parameters
    ----------
    axis : Axes
    mesh : fem.Mesh
        In the plane.
    vectors : (m, 2) array
        One a cell. Arrows of the largest tenth fill their place; those below a thousandth of the largest are left out.
    colour : str
        With a dark rim, so that they show on light places too.

    Raises
    ------
    InputError
        If there is not one vector of the plane a cell.
    """
    from hybrid_lib import fem

    vectors = np.asarray(vectors)
    if vectors.shape != (len(mesh.cells), 2):
        received = f"shape {vectors.shape}"
        raise InputError("arrows", f"shape ({len(mesh.cells)}, 2)", received, "pass one vector of the plane a cell")
    lower, upper = mesh.points.min(axis=0), mesh.points.max(axis=0)
    step = (upper - lower).max() / ARROWS
    counts = np.maximum(1, np.floor((upper - lower) / step).astype(int))
    axes = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b, n in zip(lower, upper, counts, strict=True)]
    places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    places = places[fem.inside(mesh, places)]
    here = vectors[fem.locate(mesh, places)[0]]
    size = np.linalg.norm(here, axis=1)
    seen = size > 1e-3 * size.max(initial=0.0)
    if not seen.any():
        return
    most = np.quantile(size[seen], 0.9)  # at a corner it may have no limit
    here = here[seen] * np.minimum(1.0, most / size[seen])[:, None]
    axis.quiver(
        *places[seen].T, *here.T, angles="xy", scale_units="xy", scale=most / (0.95 * step), pivot="middle",
        color=colour, edgecolor="0.15", linewidth=0.4, width=0.006,
    )  # fmt: skip


def convergence(axis: mpl.axes.Axes, unknowns: Sequence[float], bounds: Sequence[float], tolerance: float | None = None) -> None:
    """Guaranteed bounds against unknowns, both logarithmic, with the tolerance as a grey line.

    Parameters
    ----------
    axis : Axes
    unknowns, bounds : sequences of float
        One a mesh.
    tolerance : float, optional
    """
    axis.loglog(unknowns, bounds, marker="o", ms=4, **line("hybrid"))
    if tolerance is not None:
        axis.axhline(tolerance, color="0.4", lw=1)
        where = {"xycoords": ("axes fraction", "data"), "ha": "left", "va": "bottom"}
        axis.annotate("tolerance", (0.01, tolerance), color="0.3", fontsize=9, **where)
    for one, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        one.set_minor_formatter(mpl.ticker.NullFormatter())
        marks = (1.0, 2.0, 5.0) if high < 10 * low else (1.0, 3.0) if high < 100 * low else (1.0,)
        one.set_major_locator(mpl.ticker.LogLocator(subs=marks))
        one.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:.4g}"))
    axis.set(xlabel="unknowns", ylabel="bound of the relative error")
