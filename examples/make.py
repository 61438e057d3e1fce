"""Makes the picture of examples/rock.toml: ``python examples/make.py``. Nothing random: the same file every time."""

from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent


def rock(rows: int = 24, columns: int = 48) -> np.ndarray:
    """Three phases: grains (level 255) in a matrix (128), with a crack (0) from left to right; the first row is the top one."""
    row, column = np.mgrid[0:rows, 0:columns]
    levels = np.full((rows, columns), 128, np.uint8)
    for top, left, radius in ((6, 8, 4), (5, 27, 5), (17, 16, 5), (18, 38, 4)):
        levels[np.hypot(row - top, column - left) < radius] = 255
    levels[np.abs(row - 12 - 2 * np.sin(column / 6)) < 0.8] = 0
    return levels


if __name__ == "__main__":
    Image.fromarray(rock()).save(HERE / "rock.png", optimize=True)
