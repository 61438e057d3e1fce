"""Sphinx extension: ``{front-picture}`` and ``{front-table}`` of the first page; each number comes from a committed result."""

from __future__ import annotations

import json
import math
import re
import statistics
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from hybrid_lib.replication import statements

RESULTS = Path(__file__).resolve().parents[1] / "results"
ALT = (
    "Above three squares: a conductivity with period 0.1, the network's solution with its ripples, and the smooth coarse "
    "state. Below, relative error against seconds, both logarithmic: finite elements reach one per cent within a fifth of a "
    "second, the network after tens of seconds, the paper's run on a GPU after minutes."
)
VERDICTS = ("replicated", "partly", "differs", "not comparable", "pending")
BEGIN, END = "<!-- from here: book/_tools/front_picture.py -->", "<!-- to here -->"


@cache
def record(name: str) -> dict[str, Any]:
    """A committed result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def elements(problem: str, method: str) -> list[tuple[float, float]]:
    """(Processor seconds, relative L² error) of finite elements, mesh by mesh."""
    rows = record("beyond/classical-rivals")["problems"][problem]["rows"]
    return [(row["cpu_seconds"], row["rel_l2"]) for row in rows if row["method"] == method]


def facts() -> dict[str, Any]:
    """Every number of the first page."""
    verdicts = [row["verdict"] for row in record("ledger")["rows"]]
    ours = {row["id"]: row["ours"] and row["ours"]["value"] for row in record("ledger")["rows"]}
    printed = {row["id"]: row["paper"]["value"] for row in record("ledger")["rows"] if row["paper"]}
    rivals, seeds = record("beyond/classical-rivals"), record("beyond/defect-seeds")
    run, corners = record("beyond/front"), record("beyond/factorial")["runs"]
    alone = {name: corners[f"heat1d-eps{name}/none/gauss-newton/two-scale"] for name in ("15", "100")}
    best = min(rivals["networks"]["paper"]["heat2d"], key=lambda row: row["rel_l2"])
    circles = record("beyond/hypercircle")["rows"]
    periods = {row["periods"] for row in circles}
    return {
        "claims": len(verdicts),
        "statements": len(statements(record("ledger")["rows"])),  # the claims apart from readings
        **{word: verdicts.count(word) for word in VERDICTS},
        "hybrid_100": ours["fig2c-hybrid"],
        "alone_100": ours["fig2c-alone"],
        "hybrid_15": ours["fig1c-hybrid"],
        "alone_15": ours["fig1c-alone"],
        "printed_15": printed["fig1c-hybrid"],
        "printed_alone_15": printed["fig1c-alone"],
        "hybrid_plane": record("heat2d-hybrid-mlp")["seeds"][0]["last_rel_l2"],
        "hybrid_plane_steps": record("heat2d-hybrid-mlp")["steps"],
        "printed_plane": printed["table1-hybrid-mlp-l2"],
        "printed_steps": int(printed["table1-hybrid-mlp-iterations"]),
        "defect_15": seeds["heat1d-eps15"]["median_rel_l2"],
        "defect_100": seeds["heat1d-eps100"]["median_rel_l2"],
        "defect_plane": seeds["heat2d"]["median_rel_l2"],
        **{f"none_{name}": statistics.median(row["last_rel_l2"] for row in runs) for name, runs in alone.items()},
        "net_l2": run["last"]["rel_l2"],
        "net_seconds": run["last"]["cpu_seconds"],
        "net_percent": run["percent_seconds"],
        "paper_l2": best["rel_l2"],
        "paper_seconds": best["seconds"],
        **{f"{m}_percent": min(s for s, e in elements("heat2d", m) if e < 0.01) for m in ("P1", "P2")},
        "bound": max(row["bound"] for row in circles),
        "bound_seconds": max(
            statistics.median(row["cpu_seconds"] for row in circles if row["periods"] == m and not row["cold"]) for m in periods
        ),
        "largest": min(periods),
        "smallest": max(periods),
    }


def short(value: float) -> str:
    """Two digits; a power of ten where there would be three zeros after the point."""
    if value >= 1e-3:
        return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}·10⁻{str(-int(power)).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def caption() -> str:
    """The words under the picture, in book and README alike."""
    f = {name: value if isinstance(value, int) else short(value) for name, value in facts().items()}
    return (
        f"The paper's plane problem, ε = 1/10. Above: medium; network after {f['net_seconds']} s with the defect coupling; "
        "coarse finite-element state. Below: relative L² error against time. The "
        f"network (seed 0) ends at {f['net_l2']}. It takes {f['net_percent']} s to one per cent, "
        f"linear elements {f['P1_percent']} s, quadratic ones {f['P2_percent']} s. "
        f"The paper's best network: {f['paper_l2']} after {f['paper_seconds']} s of a GPU."
    )


def table() -> list[tuple[str, str]]:
    """Five lines: what was asked, what came out; the second in MyST."""
    percent = math.ceil(1000 * facts()["bound"]) / 10  # a bound is rounded up
    f = {name: value if isinstance(value, int) else short(value) for name, value in facts().items()}
    return [
        (
            f"[the paper's {f['statements']} claims, in {f['claims']} readings](07_paper_against_ours.md)",
            f"{f['replicated']} replicated, {f['partly']} partly, {f['differs']} differ, {f['not comparable']} not comparable, "
            f"{f['pending']} pending",
        ),
        (
            "the paper's coupling at full size, one seed",
            f"[helps at ε = 1/100](05_heat1d_eps100.md): relative error {f['hybrid_100']}, without it {f['alone_100']}; "
            f"[stalls at 1/15](04_heat1d_eps15.md): {f['hybrid_15']}, printed {f['printed_15']}, without it {f['alone_15']}, "
            f"printed {f['printed_alone_15']}; "
            f"[in the plane](06_heat2d.md), unfinished, {f['hybrid_plane']} after {f['hybrid_plane_steps']:,} iterations, "
            f"printed {f['printed_plane']} after {f['printed_steps']:,}",
        ),
        (
            "[a coupling without bias](08_defect_coupling.md), Gauss-Newton; not in the paper",
            f"median error {f['defect_15']} at ε = 1/15, {f['defect_100']} at 1/100, without it {f['none_15']} and "
            f"{f['none_100']}; {f['defect_plane']} in the plane",
        ),
        (
            "[finite elements](what_instead.md)",
            f"sooner at one per cent on every problem here: in the plane {f['P2_percent']} s against {f['net_percent']} s",
        ),
        (
            "[a bound of its own error](11_hypercircle.md), two networks; not in the paper",
            f"in the plane, ε = 1/{f['largest']} to 1/{f['smallest']}, same sizes: error in energy at most "
            f"{percent:.1f} %, by Student's limit at 99 %, in {f['bound_seconds']} processor seconds",
        ),
    ]


def renewed(readme: str) -> str:
    """The README with the picture and its caption between the two marks."""
    picture = (
        '<picture><source media="(prefers-color-scheme: dark)" srcset="book/_static/front-dark.svg">'
        f'<img src="book/_static/front-light.svg" width="640" alt="{ALT}"></picture>'
    )
    text = f"{BEGIN}\n{picture}\n\n*{caption()}*\n{END}"
    return re.sub(rf"{BEGIN}.*?{END}", lambda _: text, readme, flags=re.DOTALL)


class Front(SphinxDirective):
    """A part of the first page, parsed from text; the page is read anew in every build."""

    def lines(self) -> list[str]:
        """The text, in MyST."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """What the text gives."""
        self.env.note_reread()
        box = nodes.container()
        self.state.nested_parse(StringList(self.lines()), self.content_offset, box)
        return box.children


class FrontPicture(Front):
    """``{front-picture}`` without arguments: two variants, one for each theme, and the caption."""

    def lines(self) -> list[str]:
        """Two images and a paragraph; on paper one image."""
        paper = self.env.app.builder.format == "latex"  # knows no SVG and no dark
        files = {"card.png": ""} if paper else {f"front-{theme}.svg": f"only-{theme}" for theme in ("light", "dark")}
        images = [
            line
            for name, kind in files.items()
            for line in (
                f"```{{image}} _static/{name}",
                f":alt: {ALT}",
                f":class: {kind} front-picture",
                ":width: 640px",
                "```",
            )
        ]
        return [*images, "", "```{div} front-caption", caption(), "```"]


class FrontTable(Front):
    """``{front-table}`` without arguments."""

    def lines(self) -> list[str]:
        """A table with a head."""
        return ["| | measured |", "|---|---|", *(f"| {left} | {right} |" for left, right in table())]


def card(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The picture that a link to a page shows elsewhere; its address is that of the pages of main."""
    owner, name = app.config.html_theme_options["repository_url"].split("/")[-2:]
    image = f"https://{owner.lower()}.github.io/{name}/main/_static/card.png"
    context["metatags"] = context.get("metatags", "") + (
        f'\n<meta property="og:title" content="{escape(context.get("title", name))}">'
        f'\n<meta property="og:image" content="{image}">\n<meta name="twitter:card" content="summary_large_image">'
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Entry point for Sphinx."""
    app.add_directive("front-picture", FrontPicture)
    app.add_directive("front-table", FrontTable)
    app.connect("html-page-context", card)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
