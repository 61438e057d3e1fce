"""``hybrid reproduce`` and ``hybrid ledger``: the paper's claims."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hybrid_lib.commands.start import check_folders, use_float64
from hybrid_lib.errors import InputError
from hybrid_lib.terminal import Progress, complain, say


def add_to(commands: Any) -> None:
    """``reproduce`` and ``ledger``."""
    again = commands.add_parser("reproduce", help="paper-scale runs into book/results, resumable")
    again.add_argument("claims", nargs="*", metavar="CLAIM", help="claims or runs; see --list")
    again.add_argument("--pending", action="store_true", help="what the ledger's rows wait for, cheapest first")
    again.add_argument("--scale", choices=("paper", "laptop"), help="only runs of this scale")
    again.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop before this; call again to go on")
    again.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="run directories (default: runs)")
    again.add_argument("--results", type=Path, metavar="DIR", help="artefacts (default: book/results)")
    again.add_argument("--list", action="store_true", help="print what is missing and do nothing")
    again.add_argument("--estimate", action="store_true", help="only time a few iterations of what is missing")
    again.add_argument("--smoke", action="store_true", help="tiny sizes, for a test of the path; needs --results")
    again.add_argument(
        "--checkpoint-every", type=float, default=30.0, metavar="SECONDS", help="between checkpoints (default: 30)"
    )
    again.set_defaults(action=reproduce)

    book = commands.add_parser("ledger", help="the paper's claims against our results")
    book.add_argument("--check", action="store_true", help="verify hashes, figures and verdicts; exit status 1 if not")
    book.add_argument("--update", action="store_true", help="compute the rows from the artefacts and write them")
    book.add_argument("--results", type=Path, metavar="DIR", help="artefacts (default: book/results)")
    book.add_argument("--json", action="store_true", help="print the rows as JSON")
    book.set_defaults(action=ledger)


def reproduce(options: Any) -> int:
    """``hybrid reproduce``: runs into artefacts."""
    if not options.claims and not options.pending:
        raise InputError("reproduce", "claims, or --pending", "neither", "see `hybrid reproduce --pending --list`")
    if options.time_limit is not None and not options.time_limit > 0:
        raise InputError("--time-limit", "seconds > 0", options.time_limit, "leave it out for no limit")
    if options.smoke and options.results is None:
        raise InputError("--smoke", "a --results folder of its own", "none", "add --results DIR")
    results = _results(options, write=not options.list)
    check_folders(write=not (options.list or options.estimate), runs=options.runs)
    from hybrid_lib import replication

    use_float64()  # the coarse problems and references are made in float64
    rows = [] if options.scale == "laptop" else list(replication.CLAIMS)  # no row waits for a laptop run
    names = replication.missing(replication.wanted(options.claims or rows, options.scale), results)
    if options.list:
        say("\n".join(names))
        return 0
    if options.estimate:
        replication.estimate([name for name in names if name in replication.RUNS], results, complain)
        return 0
    replication.reproduce(
        names,
        runs=options.runs,
        results=results,
        time_limit=options.time_limit,
        smoke=options.smoke,
        say=complain,
        progress=lambda steps: Progress(steps, quiet=False),
        checkpoint_every=options.checkpoint_every,
    )
    left = replication.missing(names, results)
    if left:
        complain(f"{len(left)} not finished: {', '.join(left)}")
    return 1 if left else 0


def ledger(options: Any) -> int:
    """``hybrid ledger``: the rows, computed, checked or written."""
    from hybrid_lib import replication

    results = _results(options, options.update)
    if options.check:
        problems = replication.check(results)
        for line in problems:
            complain(f"hybrid: {line}")
        if not problems:
            say(f"{len(replication.read(results))} rows hold")
        return 1 if problems else 0
    if options.update and not any(os.path.isfile(results / f"{name}.json") for name in replication.wanted([])):
        remedy = "`hybrid reproduce` makes them, see its --list"
        raise InputError("--results", "a folder with artefacts", f"none in {results}", remedy)
    table = replication.write(results) if options.update else replication.read(results)
    if options.json:
        say(json.dumps({"rows": table}))
        return 0
    for row in table:
        ours = row["ours"]["text"] if row["ours"] else "-"
        say(f"{row['verdict']:<14} {row['id']:<31} paper {row['paper']['text']:<16} ours {ours:<20} {row['reason']}")
    say(", ".join(f"{count} {verdict}" for verdict, count in replication.summary(table).items()))
    return 0


def _results(options, write: bool) -> Path:
    """The folder of the artefacts: the one named, else that of the clone or of the working directory, which is to exist."""
    from hybrid_lib import replication

    results = options.results or replication.results_folder()
    if options.results is None and not os.path.isdir(results):
        found = f"none in the folder of the library nor in {os.getcwd()}"
        remedy = "change into a clone of the repository, or name a folder with --results DIR"
        raise InputError("--results", "the folder book/results of a clone", found, remedy)
    check_folders(write, results=results)
    return results
