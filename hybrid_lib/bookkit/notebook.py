"""What a chapter needs beside mathematics: numbers in prose, open tolerances, the origin of a result.

Outside a notebook, and where ``myst_nb`` is not installed (as on Colab), :func:`glue` does nothing, so a
chapter runs unchanged in the book, in a test and in a browser.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.errors import rounded as rounded  # for chapters

LINE = 80  # characters of a line of output that a page shows without scrolling
_ENTRY_KEYS = {"value", "rtol", "atol", "why"}


def glue(name: str, value: Any, fmt: str = "") -> None:
    """Make a number available to the prose of its chapter as ``{glue:text}`name```.

    Parameters
    ----------
    name : str
        Unique within the chapter.
    value : number or str
        A scalar (a 0-d array counts as one) or a finished text.
    fmt : str
        Format specification; the text in the prose is ``format(value, fmt)``.

    Notes
    -----
    The cell that calls it shows nothing, but records the text as a hidden output: keep it apart from cells
    tagged ``nbval-check-output``. In a notebook without ``myst_nb``, as on Colab, it prints name and text.

    Examples
    --------
    >>> glue("harmonic_mean", 3**0.5, ".3f")  # no notebook here: nothing happens
    """
    text = value if isinstance(value, str) else format(np.asarray(value).item(), fmt)
    if find_spec("IPython") is None:
        return
    from IPython import get_ipython

    if get_ipython() is None:
        return
    if find_spec("myst_nb") is None:  # as on Colab, where the prose shows the name and not the number
        print(f"{name} = {text}")
        return
    from myst_nb import glue as myst_glue

    myst_glue(name, text, display=False)


def expectations(chapter: str, folder: str | Path = "expected") -> Callable[[str, Any], None]:
    """The function ``check(key, value)`` of a chapter: it compares results with ``expected/<chapter>.json``.

    The file maps a key to ``{"value": v, "rtol": r, "atol": a, "why": reason}``. A result x passes if
    `|x − v| ≤ a + r |v|` in every entry; NaN never passes. A pass prints the expected value, the tolerance and its
    reason but not x, so that the text is the same on every machine; a reason without room goes to a line of its own.

    Parameters
    ----------
    chapter : str
        File name without suffix, for example ``"01_multiscale_problem"``.
    folder : path
        Where the file lies, as seen from the notebook.

    Returns
    -------
    check : callable
        ``check(key, value)`` raises AssertionError with the computed value, the expected one and the
        reason of the tolerance if they disagree, and InputError if the key is unknown or the shapes
        differ.

    Raises
    ------
    InputError
        If there is no such file, or an entry lacks one of the four fields or has no reason.

    Examples
    --------
    >>> check = expectations("01_multiscale_problem", "book/expected")  # doctest: +SKIP
    >>> check("harmonic_mean", 3**0.5)  # doctest: +SKIP
    harmonic_mean ok: expected 1.73205 within rtol 1e-12 (closed form)
    """
    path = Path(folder) / f"{chapter}.json"
    if not path.is_file():
        remedy = f"run the notebook in the folder book/ (now {Path.cwd()})"
        raise InputError("expected values", f"a file {path}", "none", remedy)
    table = json.loads(path.read_text(encoding="utf-8"))
    for key, entry in table.items():
        if set(entry) != _ENTRY_KEYS or not entry["why"]:
            raise InputError(
                f"entry {key!r} of {path}",
                "the fields value, rtol, atol and a non-empty why",
                ", ".join(sorted(entry)) or "nothing",
                "state the tolerance and its reason",
            )

    def check(key: str, value: Any) -> None:
        """Compare ``value`` with the entry ``key``."""
        if key not in table:
            known = ", ".join(table)
            raise InputError(f"key of {path}", f"one of {known}", repr(key), "add it with a tolerance")
        entry = table[key]
        expected = np.asarray(entry["value"], dtype=np.float64)
        computed = np.asarray(value, dtype=np.float64)
        if computed.shape != expected.shape:
            shapes = f"shape {expected.shape}", f"shape {computed.shape}"
            raise InputError(f"value for {key!r}", *shapes, f"pass the quantity that stands in {path}")
        wanted, reason = f"{_short(expected)} within {_tolerance_text(entry)}", f"({entry['why']})"
        if not np.all(np.abs(computed - expected) <= entry["atol"] + entry["rtol"] * np.abs(expected)):
            raise AssertionError(f"{chapter}, {key}: computed {_short(computed)}, expected {wanted} {reason}")
        passed = f"{key} ok: expected {wanted}"
        if len(passed) + 1 + len(reason) <= LINE:
            print(passed, reason)
        else:
            print(passed, textwrap.fill(reason, LINE, initial_indent="    ", subsequent_indent="     "), sep="\n")

    return check


def _tolerance_text(entry: Mapping[str, Any]) -> str:
    parts = [f"{name} {entry[name]:.2g}" for name in ("rtol", "atol") if entry[name]]
    return " and ".join(parts) or "no tolerance"


def _short(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{value:.6g}"
    return np.array2string(value, precision=4, threshold=8, floatmode="maxprec")


@dataclass(frozen=True)
class Table:
    """A table with a header line; a notebook shows it as HTML, a terminal as text. `links` are addresses by entry."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    links: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "\n".join(" | ".join(line) for line in (self.header, *self.lines))

    def _repr_html_(self) -> str:
        def one(text: str) -> str:
            shown = html.escape(text)
            return f'<a href="{html.escape(self.links[text])}">{shown}</a>' if text in self.links else shown

        def cells(tag: str, line: Iterable[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{', '.join(map(one, text.split(', ')))}</{tag}>" for text in line) + "</tr>"

        body = "".join(cells("td", line) for line in self.lines)
        head = cells("th", self.header)
        return f'<div style="overflow-x:auto"><table class="table"><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def as_table(header: str, rows: Iterable[Iterable[Any]]) -> Table:
    """Results in columns: a table on a page, lines in a terminal.

    Parameters
    ----------
    header : str
        Names of the columns, with ``|`` between them.
    rows : iterable of iterable
        A row's entries, as many as there are names; a number is written as ``str`` does, so format it before.

    Raises
    ------
    InputError
        If a row has more or fewer entries than the header.

    Examples
    --------
    >>> as_table("cells | error", [(4, "2.5e-01"), (8, "6.2e-02")])
    cells | error
    4 | 2.5e-01
    8 | 6.2e-02
    """
    names = tuple(name.strip() for name in header.split("|"))
    lines = tuple(tuple(str(entry) for entry in row) for row in rows)
    for line in lines:
        if len(line) != len(names):
            raise InputError("row of a table", f"{len(names)} entries", str(len(line)), f"one for each of {', '.join(names)}")
    return Table(names, lines)


@dataclass(frozen=True)
class Passport:
    """Origin of a result as (field, text) pairs; a notebook shows it as one small line."""

    fields: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return " · ".join(f"{name}: {text}" for name, text in self.fields)

    def _repr_html_(self) -> str:
        pairs = " · ".join(f"<b>{html.escape(name)}</b> {html.escape(text)}" for name, text in self.fields)
        return f'<p class="passport">{pairs}</p>'


_PASSPORT_FIELDS = (
    ("experiment", "experiment"),
    ("method", "method"),
    ("network", "network"),
    ("optimiser", "optimiser"),
    ("scale", "scale"),
    ("seeds", "seeds"),
    ("dtype", "dtype"),
    ("device", "device"),
    ("hybrid_lib", "hybrid_lib"),
    ("packages", "with"),
    ("seconds", "wall time"),
    ("source", "source"),
)


def passport(run: Mapping[str, Any] | str | Path) -> Passport:
    """Where a result comes from: configuration, seeds, precision, device, versions, wall time, source hash.

    Parameters
    ----------
    run : mapping or path
        A record, a JSON file, or a run directory, whose ``config.json``, ``environment.json`` and
        ``summary.json`` are read in this order. Known fields: ``experiment``, ``method``, ``network``,
        ``optimiser``, ``scale``, ``seeds`` (numbers, or rows with ``seed`` and ``seconds``), ``dtype``,
        ``device``, ``hybrid_lib`` (its version), ``packages`` (package to version), ``seconds``,
        ``source`` (a hash). Others are left out.

    Returns
    -------
    Passport
        Display it as the last value of a cell.

    Raises
    ------
    InputError
        If there is nothing at the path, or none of the known fields is recorded.

    Examples
    --------
    >>> passport({"experiment": "heat2d", "seeds": [0, 1, 2], "dtype": "float32", "seconds": 41.3})
    experiment: heat2d · seeds: 0, 1, 2 · dtype: float32 · wall time: 41 s
    """
    record = dict(run) if isinstance(run, Mapping) else _read_record(Path(run))
    rows = [row for row in record.get("seeds", ()) if isinstance(row, Mapping) and "seconds" in row]
    if rows and "seconds" not in record:
        record["seconds"] = max(row["seconds"] for row in rows)  # seeds run side by side
    fields = tuple((label, _field_text(key, record[key])) for key, label in _PASSPORT_FIELDS if key in record)
    if not fields:
        known = ", ".join(key for key, _ in _PASSPORT_FIELDS)
        found = ", ".join(map(str, record)) or "nothing"
        raise InputError("passport", f"some of the fields {known}", found, "record them with the result")
    return Passport(fields)


def _read_record(path: Path) -> dict[str, Any]:
    names = ("config.json", "environment.json", "summary.json")
    files = [path / name for name in names if (path / name).is_file()] if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise InputError("passport", "a run directory or a JSON file", str(path), "check the path")
    record: dict[str, Any] = {}
    for file in files:
        record.update(json.loads(file.read_text(encoding="utf-8")))
    return record


def _field_text(key: str, value: Any) -> str:
    if key == "seconds":
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    if key == "source":
        return str(value)[:12]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    if isinstance(value, list | tuple):
        # a seed is a number, or one row of a summary
        return ", ".join(str(item["seed"] if isinstance(item, Mapping) else item) for item in value)
    return str(value)
