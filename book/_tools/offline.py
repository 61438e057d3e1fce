"""Sphinx extension: pages that need no network.

MathJax comes with the pages, from the package sphinx-mathjax-offline, which holds MathJax 3.2.2 as published. Of its
24 MB the pages get the 4 that they may ask for: TeX as input, HTML as output, the macros loaded on demand, the fonts.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

START = "tex-chtml.js"
PARTS = (START, "a11y", "input/tex/extensions", "output/chtml/fonts")


def source() -> Path:
    """The folder of MathJax in this environment."""
    found = find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise ExtensionError("MathJax is not installed: pip install sphinx-mathjax-offline, or make setup")
    return Path(found.origin).parent / "static" / "mathjax"


def settings(app: Sphinx, config: Config) -> None:
    """Handler of ``config-inited``: the pages look for MathJax beside themselves."""
    config.mathjax_path = f"mathjax/{START}"


def copy(app: Sphinx, error: Exception | None) -> None:
    """Handler of ``build-finished``."""
    if error is not None or app.builder.format != "html":
        return
    folder = source()
    for part in PARTS:
        target = Path(app.outdir) / "_static" / "mathjax" / part
        if not target.exists():
            copy_asset(str(folder / part), str(target.parent if (folder / part).is_file() else target))


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point for Sphinx."""
    app.connect("config-inited", settings)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
