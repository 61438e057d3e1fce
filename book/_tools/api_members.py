"""Sphinx extension: which members the pages under ``book/api`` describe, and what a reference to another one becomes.

Where a package lists its public names, its modules show those and no others; a module from which the package
takes nothing shows all that has no leading underscore. Fields of records stand in the docstring of their class
and are not repeated. A docstring may refer to a function of the library that no page describes: its name then
stands there without a link. A name that does not exist stays an error.
"""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import re
from typing import Any

from docutils.nodes import Element
from sphinx.application import Sphinx


def public_names(module: str) -> set[str] | None:
    """Names of a module that its package exports; None if there is no such selection."""
    package = importlib.import_module(module.rpartition(".")[0])
    own = vars(importlib.import_module(module))
    exported = {name for name in getattr(package, "__all__", ()) if name in own}
    return {name for name in exported if getattr(own[name], "__module__", module) == module} or None


def skip_member(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Handler of ``autodoc-skip-member``: True leaves the member out, None lets autodoc decide."""
    if what == "class":
        return None if inspect.isroutine(obj) or isinstance(obj, (property, functools.cached_property)) else True
    module = app.env.temp_data.get("autodoc:module") or ""
    names = public_names(module) if module.count(".") == 2 else None
    return True if names is not None and name not in names else None


def plain_signature(app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any) -> tuple:
    """Handler of ``autodoc-process-signature``: without the two arguments that flax adds to every network."""
    return (signature and re.sub(r", parent=<[^>]*>, name=None", "", signature)), returns


def long_value(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Handler of ``autodoc-process-docstring``: no value of data whose text is long, or names a place in memory."""
    if what == "data" and (len(shown := repr(obj)) > 120 or "<" in shown):
        options["no-value"] = True


def exists(name: str) -> bool:
    """Whether a dotted name below ``hybrid_lib`` stands for something."""
    module, _, rest = name.partition(".")
    target = importlib.import_module(module)
    for part in rest.split("."):
        if not hasattr(target, part):
            return False
        target = getattr(target, part)
    return True


def without_link(app: Sphinx, env: Any, node: Element, text: Element) -> Element | None:
    """Handler of ``missing-reference``: the plain name, if the library has it."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].lstrip(".")
    names = [f"{node.get('py:module')}.{target}", target]
    return text if any(name.startswith("hybrid_lib.") and exists(name) for name in names) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Entry point for Sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-process-docstring", long_value)
    app.connect("missing-reference", without_link)
    gc.set_threshold(200_000, 20, 100)  # page trees are millions of small objects: look for garbage less often
    return {"parallel_read_safe": True, "parallel_write_safe": True}
