"""One page about one solution: what was asked, what came out and how sure it is, with pictures; a file that needs no other."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid_lib import __version__, plots
from hybrid_lib.errors import rounded
from hybrid_lib.experiments.export import of_elements

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --soft: #f3f3f1; --rule: #cfcfca; --accent: #00588a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --paper: #17191c; --soft: #22262b; --rule: #454b52; --accent: #7cc4f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; color: var(--ink); background: var(--paper);
       font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.answer { font-size: 1.1rem; border-left: .25rem solid var(--accent); padding-left: .8rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .9rem; }
img { width: 100%; height: auto; background: #fff; border-radius: .4rem; }
pre { background: var(--soft); padding: .8rem; border-radius: .4rem; overflow-x: auto; }
footer { margin-top: 2rem; font-size: .85rem; }
"""


def page(solution: Any, found: Mapping[str, Any], text: str, advice: Any = None) -> str:
    """The page as HTML, pictures and all.

    Parameters
    ----------
    solution : FieldSolution
    found : mapping
        What ``hybrid solve --json`` prints.
    text : str
        The problem file.
    advice : Advice, optional

    Returns
    -------
    str
    """
    title = html.escape(found["title"])
    parts = [f"<h1>{title}</h1>", f'<p class="answer">{html.escape(answer(found))}</p>', "<h2>Heat through the sides</h2>"]
    rows = [(name, row["heat"], within(row), row["mean"]) for name, row in found["sides"].items()]
    parts.append(_table(("side", "heat coming in", "off by at most", "mean temperature"), rows))
    parts.append(f"<p>{html.escape(balance(found))}</p>")
    parts.append('<h2>Pictures</h2><div class="pictures">')
    for name, (picture, words) in pictures(solution, found).items():
        source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        caption = html.escape(f"{name[0].upper()}{name[1:]}: {words}")
        parts.append(f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    parts.append("</div>")
    if advice is not None:
        parts.append("<h2>What each method would take</h2>")
        parts.append(_table(advice.header, advice.lines) + f"<p>{html.escape(advice.reason)}</p>")
    parts.append("<h2>Meshes</h2>")
    meshes = [(m["unknowns"], m["cells"], per_cent(m["bound"]), f"{m['seconds']:.2f}") for m in found["meshes"]]
    parts.append(_table(("unknowns", "cells", "bound of the relative error", "seconds"), meshes))
    parts.append(f"<h2>The problem file</h2><pre>{html.escape(text.strip())}</pre>")
    parts.append(f"<footer>hybrid_lib {__version__}; every number is in the unit of the problem file.</footer>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    head += f"<title>{title}</title><style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def answer(found: Mapping[str, Any]) -> str:
    """How sure the solution is, in a sentence."""
    if found["bound"] is None:
        return f"Solved with {found['unknowns']:,} unknowns; no bound of the error: {found['reason']}."
    sure = f"The relative error of the energy is at most {per_cent(found['bound'])}, guaranteed up to quadrature"
    met = f"the tolerance was {per_cent(found['tolerance'])}"
    return f"{sure}; {met}{'' if found['reached'] else ', which was not reached: ' + found['reason']}."


def within(row: Mapping[str, Any]) -> str:
    """What the heat through a side may be off by, rounded up to two digits."""
    bound = row["within"]
    if bound is None or not math.isfinite(bound):
        return "unknown"
    if bound == 0:
        return "given"
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return rounded(math.ceil(bound / unit - 1e-9) * unit)


def balance(found: Mapping[str, Any]) -> str:
    """Where heat comes from and that none is lost."""
    left = sum(row["heat"] for row in found["sides"].values()) + found["source"]
    return f"Sources give {found['source']:.6g}. What comes in through the sides and from the sources adds up to {left:.1e}."


def pictures(solution: Any, found: Mapping[str, Any]) -> dict[str, tuple[bytes, str]]:
    """PNG and caption of medium, temperature, heat flux, error and convergence, by name."""
    mesh, fields = solution.mesh, of_elements(solution)
    K = fields.cellwise["K"]
    shown = K if K.ndim == 1 else np.linalg.eigvalsh(K)[:, -1]
    drawn = {"medium": (lambda axis: plots.on_mesh(axis, mesh, shown, log=shown.max() > 20 * shown.min()), "the conductivity"
                        + (", its largest principal value" if K.ndim > 1 else ""))}  # fmt: skip

    def temperature(axis: Any) -> None:
        plots.on_mesh(axis, mesh, solution.w)

    drawn["temperature"] = (temperature, f"from {solution.w.min():.4g} to {solution.w.max():.4g}")
    flux = fields.cellwise["heat_flux"]

    def heat(axis: Any) -> None:
        plots.on_mesh(axis, mesh, np.linalg.norm(flux, axis=1))
        if mesh.dimension == 2:
            plots.arrows(axis, mesh, flux)

    drawn["heat flux"] = (heat, "its size" + (", and the way that heat goes" if mesh.dimension == 2 else ""))
    if "indicator" in fields.cellwise:
        share = fields.cellwise["indicator"] / np.sqrt(mesh.volumes)
        least = 1e-3 * share.max()
        drawn["error"] = (
            (lambda axis: plots.on_mesh(axis, mesh, np.maximum(share, least), log=True)) if least > 0
            else (lambda axis: plots.on_mesh(axis, mesh, share)),
            "where it may sit: the share of each cell in the bound, by area",
        )  # fmt: skip
    meshes = [row for row in found["meshes"] if row["bound"]]
    if len(meshes) > 1:
        lists = ([row[key] for row in meshes] for key in ("unknowns", "bound"))
        pair = tuple(lists)
        drawn["convergence"] = (lambda axis: plots.convergence(axis, *pair, found["tolerance"]), "the bound on each mesh")
    width, height = np.ptp(mesh.points, axis=0) if mesh.dimension == 2 else (4.0, 3.0)
    tall = float(np.clip(3.8 * height / width, 1.4, 5.0)) + 0.7  # of a picture of the domain, beside its colour bar
    return {name: (_png(draw, 3.6 if name == "convergence" else tall), words) for name, (draw, words) in drawn.items()}


def _png(draw: Any, height: float) -> bytes:
    """A picture in the style of the book, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with plots.style():
        figure = Figure(figsize=(4.8, height), dpi=110)
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        content = io.BytesIO()
        figure.savefig(content, format="png")
    return content.getvalue()


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; numbers to six digits, on the right."""

    def cell(value: Any) -> str:
        number = isinstance(value, (int, float))
        text = f"{value:,}" if isinstance(value, int) else f"{value:.6g}" if number else str(value)
        return f"<td{' class=number' * number}>{html.escape(text)}</td>"

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    lines = "".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def per_cent(value: float | None) -> str:
    """A relative error for people."""
    return "none" if value is None else f"{rounded(100 * value)} %"
