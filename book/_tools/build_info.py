"""Sphinx extension: the directive ``build-info``, a table of the versions and the device of this build."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def rows() -> dict[str, str]:
    """What a reader may want to know of the machine, as text by name."""
    from hybrid_lib.experiments import configuration, environment

    found = environment(configuration("heat2d"))
    return {
        "built": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "hybrid_lib": f"{found['hybrid_lib']}, source {found['source']}",
        "Python": found["python"],
        **found["packages"],
        "device": f"{found['device']}, {os.cpu_count()} cores",
        "system": f"{platform.system()} on {platform.machine()}",
    }


class BuildInfo(SphinxDirective):
    """``{build-info}`` without arguments."""

    def run(self) -> list[nodes.Node]:
        """A list table, parsed from text; the page is read anew in every build."""
        self.env.note_reread()
        lines = [".. list-table::", "   :header-rows: 1", "", "   * - what", "     - here"]
        for name, text in rows().items():
            lines += [f"   * - {name}", f"     - {text}"]
        box = nodes.container()
        self.state.nested_parse(StringList(lines), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Entry point for Sphinx."""
    app.add_directive("build-info", BuildInfo)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
