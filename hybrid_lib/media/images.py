"""Media from pictures: PNG, TIFF and other image files, and NumPy files, with the first row at the top."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError, require_package
from hybrid_lib.media.data import raster
from hybrid_lib.media.medium import Medium, numbers, recorded

SHALLOW = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Modes of pillow with grey levels, of 8 bits."""
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
"""Of more bits."""


@recorded
def from_image(
    image: Path | str | np.ndarray,
    spacing: float | tuple[float, float] | None = None,
    *,
    values: Mapping[int, float] | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    smoothing: str | float | None = None,
) -> Medium:
    """A medium from a picture: rows from top to bottom, ``image[row, column]``, and the size of a pixel.

    ``medium.pixels.box`` is the rectangle it covers: ``domains.box(*medium.pixels.box)``. Beyond it the edge pixels go on.

    Parameters
    ----------
    image : path or (rows, columns) array
        A grey image: PNG, TIFF, JPEG and what else pillow reads, 8 or 16 bits, whole or floating numbers; `.npy`; or an array.
        Colours of 8 bits are taken where all three are equal.
    spacing : float or (along x, along y)
        Lengths of the sides of a pixel, in the unit of the coordinates.
    values : mapping of grey level to conductivity, optional
        For segmented images: every level that occurs needs one.
    alpha, beta : float, optional
        Instead: map the darkest and the brightest grey level that occur to these, linearly. With neither the numbers of
        the image are conductivities.
    origin : (x, y)
        The lower left corner of the image, of its pixels and not of their centres.
    smoothing
        As in :func:`hybrid_lib.media.raster`.

    Raises
    ------
    InputError
        For a file that is missing or no image, colours, colours of 16 bits, a tag that turns the picture, deep levels with white
        as 0, a missing spacing, a level without a value, and as :func:`hybrid_lib.media.raster`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> picture = np.array([[0, 0, 255], [255, 255, 255]])  # two dark pixels at the top left
    >>> medium = from_image(picture, 0.5, values={0: 1.0, 255: 50.0})
    >>> medium.pixels.box, float(medium.conductivity(jnp.array([0.6, 0.9])))
    (((0.0, 0.0), (1.5, 1.0)), 1.0)
    """
    levels = _grey(image)
    what = f"image {str(image)!r}" if isinstance(image, (str, Path)) else "image"
    numbers(f"{what}, [row, column]", levels)  # with the indices of the picture, not of the raster
    if spacing is None:
        raise InputError(
            f"spacing of the {what}",
            "the length of a pixel",
            "none",
            "pass spacing=, one number or (along x, along y)",
        )
    h = numbers("spacing", spacing)
    if h.shape not in ((), (2,)) or not np.all(h > 0):
        raise InputError(
            "spacing", "one number > 0, or two", spacing, "pass the sides of a pixel, (along x, along y)"
        )
    lower = numbers("origin", origin)
    if lower.shape != (2,):
        raise InputError("origin", "two numbers", origin, "pass the lower left corner (x, y)")
    if values is not None:
        if alpha is not None or beta is not None:
            raise InputError("values", "values, or alpha and beta", "both", "leave one out")
        found, levels = levels, _mapped(levels, values)
    if alpha is None and beta is None and levels.dtype != bool and levels.min() <= 0:
        row, column = (int(i) for i in np.unravel_index(levels.argmin(), levels.shape))
        remedy = "pass values=, or alpha and beta, which map grey levels to conductivities"
        if values is not None:
            remedy = f"correct the value of level {float(found[row, column]):g}"
        raise InputError(f"{what}, pixel [{row}, {column}]", "a conductivity > 0", f"{levels[row, column]:g}", remedy)
    upright = np.flipud(levels).T  # first index along x, second upwards
    upper = lower + np.broadcast_to(h, 2) * upright.shape
    return raster(upright, alpha=alpha, beta=beta, lower=lower, upper=upper, smoothing=smoothing)


def _grey(image: Any) -> np.ndarray:
    """The levels (rows, columns) of a file or an array."""
    what = "image"
    if isinstance(image, (str, Path)):
        what, image = f"image {str(image)!r}", _read(Path(image))
    if np.ma.is_masked(image):
        raise InputError(what, "a value in every pixel", "masked pixels", "fill them: array.filled(value)")
    levels = np.asarray(image)
    if levels.ndim == 3 and levels.shape[2] in (1, 3, 4):
        full = np.iinfo(levels.dtype).max if levels.dtype.kind in "iu" else 1
        if levels.shape[2] == 4 and np.any(levels[..., 3] < full):
            raise _transparent(what)
        colours = levels[..., : 3 if levels.shape[2] > 1 else 1]
        levels = _one_channel(what, colours, "save it in grey, or pass one channel: array[..., 0]")
    if levels.ndim != 2 or 0 in levels.shape:
        raise InputError(what, "a picture (rows, columns)", f"shape {levels.shape}", "pass one grey picture")
    return levels


def _one_channel(what: str, colours: np.ndarray, remedy: str) -> np.ndarray:
    """The levels where all channels are equal."""
    if np.any(colours != colours[..., :1]):
        raise InputError(what, "one grey level a pixel", "colours", remedy)
    return colours[..., 0]


def _transparent(what: str) -> InputError:
    return InputError(what, "pixels that are not transparent", "some that are", "put them on a background, and save it without")


def _read(path: Path) -> np.ndarray:
    """The array in a file."""
    what = f"image {str(path)!r}"
    if not path.is_file():
        raise InputError(what, "a file", "none" if not path.exists() else "a folder", "correct the path")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
            received = str(error).partition(".")[0] or "an empty file"
            raise InputError(what, "an array of numbers", received, "save it with numpy.save") from None
    text = "numpy.genfromtxt(path, delimiter={}, skip_header=0) with its delimiter, lines of header and points for decimal commas"
    reader = {".npz": "numpy.load(path)[name]", ".csv": text.format('","'), ".tsv": text.format(r'"\t"')}
    reader |= dict.fromkeys((".txt", ".dat", ".asc"), text.format("None"))
    if suffix in reader:
        remedy = f"pass the array, {reader[suffix]}, or save it as .npy"
        raise InputError(what, "a picture or .npy", f"a file {path.suffix}", remedy)
    pillow = require_package("PIL.Image", f"reading {path.name}", "pillow")
    try:
        with pillow.open(path) as picture:
            return _levels(what, picture)
    except InputError:
        raise
    except pillow.DecompressionBombError as error:
        raise InputError(what, "fewer pixels", str(error).partition(",")[0], "cut or shrink it, or pass the array") from None
    except (OSError, ValueError, SyntaxError) as error:
        remedy = "save it as PNG, TIFF or .npy"
        raise InputError(what, "a picture", str(error).partition("\n")[0][:80] or "none", remedy) from None


def _levels(what: str, picture: Any) -> np.ndarray:
    """The array of a picture of pillow, unless that would be another one than the file holds."""
    if (count := getattr(picture, "n_frames", 1)) > 1:
        raise InputError(what, "one picture", f"{count} in one file", "save one of them")
    mode = picture.mode
    if mode not in SHALLOW + DEEP:
        raise InputError(what, "a picture in grey", f"one in {mode}", "save it in grey")
    if mode in SHALLOW and _is_cut(picture):
        expected = "levels of 8 bits, or grey ones of 16"
        raise InputError(what, expected, "16 bits, of which 8 would be read", "save it as 16-bit grey, in PNG or TIFF")
    largest = picture.tile[0][3][-1] if picture.format == "PPM" and isinstance(picture.tile[0][3], tuple) else 255
    if largest not in (255, 65535):
        received = f"a largest level of {largest}, which would be stretched"
        raise InputError(what, "levels up to 255 or 65535", received, "save it as PNG")
    if mode in DEEP and getattr(picture, "tag_v2", {}).get(262) == 0:  # those of 8 bits are turned over by pillow
        raise InputError(what, "levels with black as 0", "a TIFF with white as 0", "save it with black as 0")
    if (turn := picture.getexif().get(0x112, 1)) in range(2, 9):
        expected, received = "a picture as it is stored", f"one to be turned, by its orientation tag {turn}"
        raise InputError(what, expected, received, "turn it and save it without the tag")
    if picture.has_transparency_data and picture.convert("RGBA").getextrema()[3][0] < 255:
        raise _transparent(what)
    if mode in ("P", "PA"):
        labels = "numpy.asarray(PIL.Image.open(path))" + "[..., 0]" * (mode == "PA")
        remedy = f"if they stand for materials, pass the labels, {labels}, or save these as .npy"
        return _one_channel(what, np.asarray(picture.convert("RGB")), remedy)
    levels = np.asarray(picture.convert("L") if mode == "LA" else picture)
    return levels.astype(np.uint8) if levels.dtype == bool else levels


def _is_cut(picture: Any) -> bool:
    """Whether pillow keeps 8 bits of 16."""
    if picture.format == "TIFF":
        return 16 in picture.tag_v2.get(258, ())
    return any(re.search(r";16[BLN]|'RGB', 65535", str(tile[3])) for tile in picture.tile)  # the latter in PPM


def _mapped(levels: np.ndarray, values: Mapping[int, float]) -> np.ndarray:
    """Conductivities of the levels of a segmented image."""
    found, place = np.unique(levels.astype(float), return_inverse=True)
    known = {float(level): value for level, value in values.items()}
    for level in found:
        if level not in known:
            shown = ", ".join(f"{one:g}" for one in found[:8]) + (
                f" … {len(found)} in all" if len(found) > 8 else ""
            )
            raise InputError(
                "values",
                f"one for each level of the image: {shown}",
                f"none for {level:g}",
                "add it, or pass alpha and beta",
            )
    mapped = [numbers(f"values, level {level:g}", known[level]) for level in found]
    if any(one.ndim for one in mapped):
        raise InputError("values", "one number for each level", "an array for one", "pass numbers")
    return np.array(mapped)[place].reshape(levels.shape)
