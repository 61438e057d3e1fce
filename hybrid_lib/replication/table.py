r"""The ledger itself: one row a claim, computed from artefacts, written to ``ledger.json``, and checked against it.

A verdict is *replicated*, *partly*, *differs*, *not comparable* or *pending*. A row is judged from the seeds that exist, those
that came to their end if there are any; with fewer than the printed figure rests on it is *partly* at best. A run that is not
finished can make a claim *partly* true (its figure lies where a finished run's would have to) or leave it *pending*; it
replicates or contradicts only what its later iterations cannot change.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_lib import training
from hybrid_lib.errors import InputError
from hybrid_lib.replication import artefacts, travel
from hybrid_lib.replication.artefacts import Artefact
from hybrid_lib.replication.claim import Claim
from hybrid_lib.replication.claims import CLAIMS
from hybrid_lib.replication.runs import RUNS, SETTLED, seeds_of
from hybrid_lib.replication.verdicts import (
    APART,
    DIFFERS,
    HOLDS,
    PARTLY,
    PENDING,
    REPLICATED,
    SUCCESSES,
    VERDICTS,
    Measurement,
    number,
)

FILE = "ledger.json"
COSTS = "costs"
FAR = 1 / 3
"""Of its iterations a run must have come to count as more than pending."""


def results_folder() -> Path:
    """``book/results`` of this source tree; relative to the working directory if the library is installed elsewhere."""
    tree = Path(__file__).resolve().parents[2]
    return (tree if (tree / "pyproject.toml").is_file() else Path()) / "book" / "results"


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows, computed from the artefacts in `folder`.

    Parameters
    ----------
    folder : Path
        With ``<run>.json``, ``<run>.npz``; missing ones make a claim pending.

    Returns
    -------
    list of dict
        ``id, where, statement, paper, ours, tolerance, verdict, reason, artefacts, run``, and ``provisional``.

    Raises
    ------
    InputError
        If an artefact is damaged.
    """
    shelf = {name: artefacts.load(name, folder) for name in _wanted()}
    costs = artefacts.load(COSTS, folder)
    return [_row(claim, shelf, costs, Path(folder)) for claim in CLAIMS.values()]


def write(folder: Path) -> list[dict[str, Any]]:
    """Compute the rows and write ``ledger.json`` into `folder`."""
    table = rows(folder)
    content = json.dumps({"rows": table}, indent=1, ensure_ascii=False) + "\n"
    training.write_atomically(Path(folder) / FILE, content.encode())
    return table


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows as written.

    Raises
    ------
    InputError
        If there is no ledger, or it is not one.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise InputError("ledger", f"a file {path}", "none", "run `hybrid ledger --update`")
    try:
        return json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"ledger {path}", "JSON with rows", repr(error), "run `hybrid ledger --update`"
        ) from None


def check(folder: Path) -> list[str]:
    """What is wrong with the ledger in `folder`, a line each; empty if nothing.

    The files' hashes must be the recorded ones, every figure and verdict must come out of the artefacts again, every claim must
    have its row, and every artefact must belong to one.
    """
    folder, problems = Path(folder), []
    written = {row.get("id"): row for row in read(folder)}
    for row in written.values():
        for item in row.get("artefacts", ()):
            path = folder / item["file"]
            if not path.is_file():
                problems.append(f"{row['id']}: {item['file']} is missing")
            elif artefacts.digest(path) != item["sha256"]:
                problems.append(
                    f"{row['id']}: {item['file']} is not the file that was judged (SHA-256 differs)"
                )
    try:
        computed = {row["id"]: row for row in rows(folder)}
    except (InputError, KeyError, TypeError, ValueError) as error:  # a changed file may lack anything
        return [*problems, f"the rows cannot be computed: {error}"]
    for name in sorted(set(computed) | set(written)):
        if name not in written:
            problems.append(f"{name}: no row, run `hybrid ledger --update`")
        elif name not in computed:
            problems.append(f"{name}: no such claim")
        else:
            old, new = written[name], computed[name]
            problems += [
                f"{name}: {key} reads {_brief(old.get(key))}, the artefacts give {_brief(new[key])}"
                for key in new
                if old.get(key) != new[key]
            ]
    known = {file for name in _wanted() for file in (f"{name}.json", f"{name}.npz", travel.name_of(name))}
    known |= {FILE, f"{COSTS}.json"}
    stray = [p.name for p in sorted(folder.glob("*")) if p.suffix in (".json", ".npz", ".zip") and p.name not in known]
    return problems + [f"{name}: belongs to no claim" for name in stray]


def summary(table: list[dict[str, Any]]) -> dict[str, int]:
    """Number of rows by verdict."""
    return {verdict: sum(row["verdict"] == verdict for row in table) for verdict in VERDICTS}


def statements(table: list[dict[str, Any]]) -> list[str]:
    """Identifiers of the claims apart from readings, in order.

    Where the print leaves something open a claim is read in more than one way; such a row is named after the row it reads anew.

    Examples
    --------
    >>> statements([{"id": "fig1c-alone"}, {"id": "fig1c-alone-printed"}, {"id": "fig1c-alone-printed-radians-trained"}])
    ['fig1c-alone']
    >>> statements([{"id": "khat-eps15"}, {"id": "khat-eps15-net"}])
    ['khat-eps15']
    """
    return list(dict.fromkeys(re.sub(rf"(-printed)?(-radians-trained|-{SETTLED})?(-net)?$", "", row["id"]) for row in table))


def _wanted() -> set[str]:
    names = {name for claim in CLAIMS.values() for name in (*claim.needs, *claim.provisional)}
    return names | set(RUNS)


def _row(
    claim: Claim, shelf: dict[str, Artefact | None], costs: Artefact | None, folder: Path
) -> dict[str, Any]:
    groups = [_group(name, shelf) for name in claim.needs]
    used = [artefact for group in groups for artefact in group]
    ours = claim.measure(groups) if all(groups) else None
    verdict, reason = _verdict(claim, ours, groups)
    runs = [name for need in claim.needs for name in seeds_of(need) if name in RUNS]
    twins = [shelf[name] for name in claim.provisional]
    provisional = None
    if twins and all(twin is not None for twin in twins):
        rough = claim.measure([[twin] for twin in twins])
        if rough.values:
            provisional = _figures(claim, rough) | {"scale": "laptop", "iterations": twins[0].record["steps"]}
    return {
        "id": claim.id,
        "where": claim.where,
        "statement": claim.statement,
        "paper": {"value": claim.paper, "spread": claim.spread, "text": claim.printed or _paper_text(claim)},
        "ours": None if ours is None else _figures(claim, ours),
        "tolerance": claim.rule.as_dict(),
        "verdict": verdict,
        "reason": reason + (f" ({claim.remark})" if claim.remark else ""),
        "schedule": sorted({RUNS[name].schedule for name in runs}),
        "reading": sorted({RUNS[name].reading for name in runs} - {""}),
        "artefacts": [
            {"file": file, "sha256": artefacts.digest(folder / file)}
            for artefact in (*used, *(t for t in twins if t is not None and provisional))
            for file in artefacts.files_of(artefact)
        ],
        "run": {
            "needs": list(claim.needs),
            "command": f"python -m hybrid_lib reproduce {claim.id}",
            "missing": [
                _missing(name, shelf[name], costs)
                for name in claim.waits_for
                if name in RUNS and (shelf[name] is None or not shelf[name].complete)
            ],
        },
        "provisional": provisional,
    }


def _group(name: str, shelf: dict[str, Artefact | None]) -> list[Artefact]:
    """The artefacts of a run's seeds: those that came to their end or, while there is none, all that exist."""
    found = [shelf[seed] for seed in seeds_of(name) if shelf[seed] is not None]
    return [artefact for artefact in found if artefact.complete] or found


def _verdict(claim: Claim, ours: Measurement | None, groups: list[list[Artefact]]) -> tuple[str, str]:
    if ours is None:
        return PENDING, "not run yet"
    used = [artefact for group in groups for artefact in group]
    seeds = [{row["seed"] for artefact in group for row in artefact.record["seeds"]} for group in groups if _is_run(group)]
    count = len(set.intersection(*seeds)) if seeds else claim.seeds
    if not count:
        return PENDING, "no seed in common"
    few = f"; {count} of {claim.seeds} seeds" if count < claim.seeds > 1 else ""
    if few and claim.rule is SUCCESSES:
        return PENDING, ours.text + few
    if ours.apart:  # another setting, however far the run comes
        return APART, ours.apart + few
    if not ours.values and claim.rule is not HOLDS:
        verdict, reason = DIFFERS, ours.text
    elif not all(np.isfinite(ours.values)) and claim.rule is not HOLDS:
        verdict, reason = DIFFERS, "a seed has no finite value" + (f": {ours.text}" if ours.text else "")
    else:
        verdict, reason = claim.rule.judge(ours, claim.paper, claim.spread)
    if ours.flaw or few:  # not quite what the claim speaks of, or not yet as many
        verdict = PARTLY if verdict == REPLICATED else verdict
    reason += (f"; {ours.flaw}" if ours.flaw else "") + few
    if not ours.decided:
        verdict, reason = _unless_complete(verdict, reason, ours, used)
    return (PENDING if few and not ours.values else verdict), reason


def _is_run(group: list[Artefact]) -> bool:
    return all("seeds" in artefact.record for artefact in group)


def _unless_complete(verdict: str, reason: str, ours: Measurement, used: list[Artefact]) -> tuple[str, str]:
    cut = [a for a in used if not a.complete]
    if not cut:
        return verdict, reason
    reached = "; ".join(f"iteration {a.record['steps']:,} of {a.record['planned_steps']:,}" for a in cut)
    reached += f", where {ours.so_far}" if ours.so_far else ""
    far = all(a.record["steps"] >= FAR * a.record["planned_steps"] for a in cut)
    if verdict in (REPLICATED, PARTLY) and far:
        return PARTLY, f"{reason}, but only to {reached}"
    return PENDING, f"{reason} so far, at {reached}"


def _figures(claim: Claim, ours: Measurement) -> dict[str, Any]:
    if not ours.values:
        text = "–"
    elif np.isinf(ours.values).any():
        text = ", ".join("never" if np.isinf(value) else number(value) for value in ours.values)
    elif claim.rule is HOLDS:
        single = "holds" if sum(ours.values) else "fails"
        text = f"{int(sum(ours.values))} of {len(ours.values)}" if len(ours.values) > 1 else single
    elif claim.rule.name == "digits":
        text = f"{ours.mean:.6g}"
    else:
        text = number(ours.mean) + (f" ± {number(ours.spread)}" if len(ours.values) > 1 else "")
    return {
        "value": _six(ours.mean),
        "spread": _six(ours.spread) if np.isfinite(ours.mean) else None,
        "values": [_six(v) for v in ours.values],
        "text": text,
        "details": ours.text,
        "failed_seeds": list(ours.failed),
    }


def _paper_text(claim: Claim) -> str:
    return number(claim.paper) + (f" ± {claim.spread:g}" if claim.spread else "")


def _missing(name: str, artefact: Artefact | None, costs: Artefact | None) -> dict[str, Any]:
    """What is left of a run, and what it costs where it was timed."""
    spec_cost = None if costs is None else costs.record["runs"].get(name)
    out: dict[str, Any] = {
        "run": name,
        "iterations_done": 0 if artefact is None else artefact.record["steps"],
    }
    if spec_cost is not None:
        left = spec_cost["iterations"] - out["iterations_done"]
        out |= {
            "iterations": spec_cost["iterations"],
            "hours_left": _six(left * spec_cost["ms"] / 3.6e6),
            "device": costs.record["environment"]["device"],
        }
    return out


def _six(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "…"
