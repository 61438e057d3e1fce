"""The ledger as a page shows it: tables of rows, and the hours that pending runs would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hybrid_lib.bookkit.notebook import Table
from hybrid_lib.replication.artefacts import Artefact, load
from hybrid_lib.replication.runs import READING_WORDS, seeds_of
from hybrid_lib.replication.verdicts import APART, DIFFERS, PARTLY, PENDING, REPLICATED, number, times

SIGNS = {REPLICATED: "●", PARTLY: "◐", DIFFERS: "○", APART: "≠", PENDING: "…"}


def claims_table(rows: Iterable[Mapping[str, Any]], address: str = "") -> Table:
    """Claim, paper's figure, ours, verdict, reason and artefacts of each row; provisional figures are marked.

    Parameters
    ----------
    rows : iterable of dict
        From :func:`hybrid_lib.replication.table.read`.
    address : str
        Of the folder with the artefacts, for links; without it there are none.

    Examples
    --------
    >>> claims_table([]).header
    ('claim', 'paper', 'ours', 'verdict', 'reason', 'files')
    """
    lines, links = [], {}
    for row in rows:
        ours = row["ours"]["text"] if row["ours"] and row["ours"]["text"] != "nan" else "–"
        if row["provisional"]:
            counted = row["tolerance"]["rule"] == "successes"
            ours += f" (laptop: {row['provisional']['details' if counted else 'text']})"
        reason = row["reason"]
        if row["ours"] and row["ours"]["details"] and row["ours"]["details"] not in reason:
            reason += f"; {row['ours']['details']}"
        if row["ours"] and row["ours"]["failed_seeds"]:
            reason += "; L² error above 0.1 for seed " + ", ".join(map(str, row["ours"]["failed_seeds"]))
        names = [a["file"].removesuffix(".json") for a in row["artefacts"] if a["file"].endswith(".json")]
        lines.append(
            (
                f"{row['where']}: {row['statement']}",
                row["paper"]["text"],
                ours,
                f"{SIGNS[row['verdict']]} {row['verdict']}",
                reason,
                ", ".join(names) or "–",
            )
        )
        if address:
            links |= {name: f"{address.rstrip('/')}/{name}.json" for name in names}
    return Table(("claim", "paper", "ours", "verdict", "reason", "files"), tuple(lines), links)


def rules_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Each rule once: name, tolerance, why."""
    rules = {tuple(row["tolerance"][key] for key in ("rule", "text", "why")) for row in rows}
    return Table(("rule", "tolerance", "why"), tuple(sorted(rules)))


def readings_table(folder: Path, experiment: str, method: str = "pinn", schedule: str = "printed") -> Table:
    """Fourier networks as printed and in each reading of what the print leaves open: relative errors of the last iterate by seed.

    Parameters
    ----------
    folder : Path
        With the artefacts.
    experiment, method : str
        As in ``hybrid run``.
    schedule : str
        Of the learning rate, ``printed`` or ``usable``; see :mod:`hybrid_lib.replication.runs`.

    Returns
    -------
    Table
        A line a reading; a run that is not finished says at which iteration it stands.
    """
    lines = []
    for reading, words in {"": "as printed", **READING_WORDS}.items():
        suffix = "printed" if schedule == "printed" else ""
        name = "-".join(part for part in (experiment, method, "ms", suffix, reading) if part)
        found = [artefact for seed in seeds_of(name) if (artefact := load(seed, folder)) is not None]
        rows = [(row, artefact) for artefact in found for row in artefact.record["seeds"]]
        for key in ("last_rel_l2", "last_rel_h1"):
            texts = [_last(row[key], artefact) for row, artefact in rows]
            norm = "L²" if key == "last_rel_l2" else "H¹"
            lines.append((words if norm == "L²" else "", norm, ", ".join(texts) or "not run"))
    return Table(("reading", "norm", "seed by seed"), tuple(lines))


def _last(value: float | None, artefact: Artefact) -> str:
    text = "not finite" if value is None else number(value)
    return text if artefact.complete else f"{text} (at {artefact.record['steps']:,})"


def pending_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Runs that are missing or unfinished: iterations done, iterations in all, hours left on the device that timed them."""
    runs = {item["run"]: item for row in rows for item in row["run"]["missing"]}
    lines = []
    for item in sorted(runs.values(), key=lambda i: i.get("hours_left", float("inf"))):
        whole = f"{item['iterations']:,}" if "iterations" in item else "–"
        hours = f"{times(item['hours_left'])} h on {item['device']}" if "hours_left" in item else "not timed"
        lines.append((item["run"], f"{item['iterations_done']:,}", whole, hours))
    return Table(("run", "iterations done", "of", "left"), tuple(lines))
