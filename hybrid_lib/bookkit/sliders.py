"""Figures with a slider that need no kernel: every frame is drawn beforehand and lies inside the page.

A chapter shows a :func:`slider` as the last value of a cell. In a browser it is a range control, which the mouse, a
finger or the arrow keys move, above one picture for each value. Without scripts, and wherever html is not shown (a
PDF, a static viewer), it is the picture of the value it starts with. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image  # matplotlib requires it

from hybrid_lib.errors import InputError

Value = TypeVar("Value")

_ALT_LENGTH = 30  # shorter texts do not describe a figure

# The event handler stands in the control itself, so that it needs no id: any number of sliders share a page, also when
# a page shows the same one twice. Colab puts outputs into frames of their own; this works in there, too.
_ON_INPUT = (
    "var box=this.closest('.slider-figure'),n=+this.value,"
    "shown=box.querySelectorAll('img'),text=shown[n].dataset.value;"
    "shown.forEach(function(img,i){img.style.display=i===n?'block':'none'});"
    "box.querySelector('.slider-value').textContent=text;"
    "this.setAttribute('aria-valuetext',text)"
)


@dataclass(frozen=True)
class Slider:
    """Pictures of a figure for several values of one parameter; made by :func:`slider`.

    Attributes
    ----------
    name : str
        What the control sets.
    labels : tuple of str
        The values as shown, one for each frame.
    alts : tuple of str
        What each frame shows, in words.
    frames : tuple of bytes
        PNG files of one size.
    size : (width, height)
        Of a frame, in pixels.
    start : int
        The frame shown first.
    """

    name: str
    labels: tuple[str, ...]
    alts: tuple[str, ...]
    frames: tuple[bytes, ...] = field(repr=False)
    size: tuple[int, int]
    start: int

    def __repr__(self) -> str:
        return f"slider over {self.name}: {', '.join(self.labels)}"

    def _repr_png_(self) -> bytes:
        return self.frames[self.start]

    def _repr_html_(self) -> str:
        name, shown = html.escape(self.name), html.escape(self.labels[self.start])
        widest = max(map(len, self.labels))  # so that the control keeps its length
        control = (
            '<div style="display:flex;align-items:center;gap:0.6rem">'
            '<label style="display:flex;flex:1;align-items:center;gap:0.6rem;margin:0">'
            f'<span style="white-space:nowrap">{name}</span><input type="range" min="0" max="{len(self.frames) - 1}" '
            f'step="1" value="{self.start}" autocomplete="off" aria-valuetext="{shown}" oninput="{_ON_INPUT}" '
            'style="flex:1;min-width:0;height:1.75rem;margin:0;color:inherit;accent-color:currentColor;'
            'outline-offset:-3px;cursor:pointer"></label>'
            f'<span class="slider-value" style="min-width:{widest}ch;text-align:left;'
            f'font-variant-numeric:tabular-nums">{shown}</span></div>'
        )
        without = f"<noscript><p>Scripts are off: the picture stays at {name} = {shown}.</p></noscript>"
        return f'<div class="slider-figure" style="max-width:{self.size[0]}px">{control}{without}{self._images()}</div>'

    def _images(self) -> str:
        width, height = self.size
        rows = zip(self.labels, self.alts, self.frames, strict=True)
        return "".join(
            f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{html.escape(alt)}" '
            f'data-value="{html.escape(label)}" width="{width}" height="{height}" '
            f'style="display:{"block" if i == self.start else "none"};max-width:100%;height:auto">'
            for i, (label, alt, png) in enumerate(rows)
        )


def slider(
    draw: Callable[[Value], Figure],
    values: Sequence[Value],
    *,
    name: str,
    alt: str | Sequence[str],
    labels: Sequence[str] | None = None,
    start: int = 0,
    dpi: float = 100,
    limit: int = 600_000,
) -> Slider:
    """A figure with a slider, one frame for each value, that needs neither a kernel nor a connection.

    Parameters
    ----------
    draw : callable
        ``draw(value)`` returns a new matplotlib figure. It is closed after it has been saved. All frames have their
        axes where the first one has them; fix their limits as well, so that nothing jumps.
    values : sequence
        At least two values of the parameter, in the order of the slider.
    name : str
        What the slider sets, plain text: ``"ε"``. It labels the control.
    alt : str or sequence of str
        What the figure shows, in words, for who does not see it: one text, or one for each value.
    labels : sequence of str, optional
        The values as texts; default ``format(value, "g")``.
    start : int
        Which frame is shown first, and alone where scripts are off or html is not shown.
    dpi : float
        Pixels per inch of the figure.
    limit : int
        Most bytes of html. All frames lie in the page, and in the notebook.

    Returns
    -------
    Slider
        Display it as the last value of a cell.

    Raises
    ------
    InputError
        If there are fewer than two values, texts do not match the values in number, a description is shorter than
        30 characters, ``start`` is no index, ``draw`` returns no figure, the frames differ in size, or the html
        gets longer than ``limit``.

    Notes
    -----
    Frames are reduced to 64 colours, which a line plot or a colour map on a white ground hardly shows and which
    makes them several times smaller.

    Examples
    --------
    >>> def draw(k):
    ...     figure, axis = plt.subplots(figsize=(2, 1))
    ...     _ = axis.plot([0, 1], [0, k])
    ...     return figure
    >>> slider(draw, [1, 2, 3], name="k", alt="A straight line from the origin with slope k.")
    slider over k: 1, 2, 3
    """
    values = list(values)
    if len(values) < 2:
        raise InputError("values of a slider", "at least 2", len(values), "show a single value as a figure")
    labels = [format(value, "g") for value in values] if labels is None else list(labels)
    alts = [alt] * len(values) if isinstance(alt, str) else list(alt)
    for what, texts in (("labels", labels), ("descriptions", alts)):
        if len(texts) != len(values):
            raise InputError(f"{what} of a slider", f"{len(values)}, as values", len(texts), "pass one for each value")
    if short := [text for text in alts if len(text) < _ALT_LENGTH]:
        remedy = "say in words what the figure shows"
        raise InputError("description of a slider", f"at least {_ALT_LENGTH} characters", repr(short[0]), remedy)
    if not 0 <= start < len(values):
        raise InputError("start of a slider", f"an index from 0 to {len(values) - 1}", start, "pass the first frame's")
    frames, sizes, places = [], [], None
    for value in values:
        figure = draw(value)
        if not isinstance(figure, Figure):
            raise InputError("draw of a slider", "a matplotlib Figure", type(figure).__name__, "let draw return it")
        places = _place(figure, places)
        png, size = _saved(figure, dpi)
        frames.append(png)
        sizes.append(size)
    if len(set(sizes)) > 1:
        found = ", ".join(sorted({f"{width} × {height}" for width, height in sizes}))
        raise InputError("frames of a slider", "one size in pixels", found, "give all figures the same figsize")
    made = Slider(name, tuple(labels), tuple(alts), tuple(frames), sizes[0], start)
    if (length := len(made._repr_html_().encode())) > limit:
        remedy = "fewer values, a smaller figure or a smaller dpi"
        raise InputError("html of a slider", f"at most {limit:,} bytes", f"{length:,}", remedy)
    return made


def _place(figure: Figure, places: list | None) -> list:
    """Positions of the axes: the given ones, applied, or those of the figure's own layout, computed."""
    if places is None or len(places) != len(figure.axes):
        figure.draw_without_rendering()
        places = [axis.get_position() for axis in figure.axes]
    figure.set_layout_engine("none")  # a layout costs more than a drawing
    for axis, place in zip(figure.axes, places, strict=True):
        axis.set_position(place)
    return places


def _saved(figure: Figure, dpi: float) -> tuple[bytes, tuple[int, int]]:
    """The figure as a PNG of few colours, and its size; the figure is closed."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    few = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    plt.close(figure)
    packed = io.BytesIO()
    few.save(packed, format="PNG", optimize=True)
    return packed.getvalue(), few.size
