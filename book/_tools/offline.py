"""Sphinx extension: pages that need no network.

MathJax comes with the pages, from the package sphinx-mathjax-offline, which holds MathJax 3.2.2 as published. Of its
24 MB the pages get the 4 that they may ask for: TeX as input, HTML as output, the macros loaded on demand, the fonts.
Thebe, which would run cells over the network, has no button here; Jupyter Book declares it all the same, and Sphinx 7.4 twice.
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


def scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Handler of ``html-page-context``: a page has each script once, and nothing of thebe."""
    kept = {(str(one.filename or ""), str(one.attributes)): one for one in reversed(context["script_files"])}
    context["script_files"] = [one for key, one in reversed(kept.items()) if "thebe" not in "".join(key).lower()]


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
    app.connect("html-page-context", scripts, priority=900)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
