"""Sphinx extension: maps on dark pages.

A drawing of lines has the class ``dark-light``, and custom.css inverts it in the dark theme. Every other figure of a cell gets
a second rendering here: its thin parts (text, axes, lines) and its ground are inverted alike, areas of colour stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from PIL import Image
from scipy import ndimage
from sphinx.application import Sphinx

BARS = (7, 25), (25, 7)  # pixels, odd: an area holds one of these; markers, text and lines do not
GAP, HOLE = 5, 200  # lines that cross an area are no wider; a white place in it of more pixels is ground
INVERT = 0.93  # as in custom.css
# hue-rotate(180deg) as the standard of CSS filters defines it
ROTATE = np.array([[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]])


def opened(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The parts of a mask that hold a rectangle of this size."""
    return ndimage.maximum_filter(ndimage.minimum_filter(mask, size), size)


def closed(mask: np.ndarray) -> np.ndarray:
    """A mask with what is narrower than ``GAP`` filled."""
    return ~opened(~mask, (GAP, GAP))


def areas(image: np.ndarray) -> np.ndarray:
    """Which pixels of an RGB image (n1, n2, 3) belong to areas of colour, lines drawn over them included."""
    inked = (image < 255).any(axis=-1)  # pale middles of colour maps, too
    coloured = closed(np.ptp(image.astype(np.int16), axis=-1) > 25)
    found = closed(np.logical_or.reduce([opened(mask, bar) for mask in (inked, coloured) for bar in BARS]))
    holes, count = ndimage.label(~found)
    sizes = ndimage.sum_labels(~found, holes, np.arange(count + 1))
    return found | (sizes < HOLE)[holes]


def night(image: np.ndarray) -> np.ndarray:
    """The rendering of an RGB image (n1, n2, 3) for dark pages."""
    inverted = INVERT + (1 - 2 * INVERT) * image / 255
    turned = np.clip(inverted @ ROTATE.T, 0, 1)
    return np.where(areas(image)[..., None], image, np.round(255 * turned)).astype(np.uint8)


def pairs(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Handler of ``doctree-resolved``: a figure of a cell that is not inverted is followed by its dark rendering."""
    if app.builder.format != "html":
        return
    for node in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, node["uri"])
        if "dark-light" in node["classes"] or path.suffix != ".png" or "jupyter_execute" not in path.parts:
            continue
        target = path.with_name(f"{path.stem}-dark.png")
        if not target.exists() or target.stat().st_mtime < path.stat().st_mtime:
            Image.fromarray(night(np.asarray(Image.open(path).convert("RGB")))).save(target, optimize=True)
        dark = node.deepcopy()
        dark["uri"] = str(target.relative_to(app.srcdir))
        dark["candidates"] = {"*": dark["uri"]}
        dark["ids"], dark["names"] = [], []
        app.env.images.add_file(docname, dark["uri"])
        node["classes"].append("by-day")
        dark["classes"].append("by-night")
        node.parent.insert(node.parent.index(node) + 1, dark)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point for Sphinx."""
    app.connect("doctree-resolved", pairs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
