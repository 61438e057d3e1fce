r"""Artefacts of runs: small files under ``book/results/`` that every figure of the ledger is read from.

A run leaves ``<run>.json`` (configuration, seeds, errors, versions, device, wall time, source hash) and ``<run>.npz`` (thinned
histories, the solution on a plotting grid, the coarse view; float32), and as long as it is not finished the checkpoint of
:mod:`hybrid_lib.replication.travel`. A calculation leaves a ``<name>.json`` alone.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from hybrid_lib import experiments, training
from hybrid_lib.config import as_dict, fingerprint
from hybrid_lib.errors import InputError
from hybrid_lib.replication import travel
from hybrid_lib.replication.runs import RunSpec

MAX_BYTES = travel.MAX_BYTES
PARTS = ("arrays", "checkpoint")
"""Files of a record beside itself."""
HISTORY_ROWS = 400
GRID_1D, GRID_2D = 2001, 101


@dataclass(frozen=True, eq=False)
class Artefact:
    """What one run, or one calculation, left behind: `record` (the JSON) and `arrays` (empty for a calculation)."""

    name: str
    record: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def complete(self) -> bool:
        """Whether the run came to its end; a calculation always has."""
        return self.record.get("steps", 0) >= self.record.get("planned_steps", 0) or bool(
            self.record.get("finished")
        )


def plotting_grid(dimension: int) -> np.ndarray:
    """Points of the stored solution: 2,001 on the interval, 101 × 101 on the square in C order; (k, d) float64."""
    if dimension == 1:
        return np.linspace(0.0, 1.0, GRID_1D)[:, None]
    side = np.linspace(0.0, 1.0, GRID_2D)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


def export(spec: RunSpec, result: experiments.RunResult, folder: Path) -> Artefact:
    """Write the artefact of a run, finished or not; the arrays first, so that the record never promises too much.

    Parameters
    ----------
    spec : RunSpec
    result : RunResult
        After any slice.
    folder : Path
        ``book/results``.

    Returns
    -------
    Artefact

    Raises
    ------
    InputError
        If the arrays take more than 2 MB.
    """
    setup, config = result.setup, result.setup.config
    arrays = _arrays(result)
    content = pack(arrays)
    if len(content) > MAX_BYTES:
        raise InputError(
            f"artefact of {spec.id}", f"at most {MAX_BYTES:,} bytes", len(content), "thin the history"
        )
    record = {
        "run": spec.id,
        "schedule": spec.schedule,
        **{
            key: result.summary[key]
            for key in ("experiment", "method", "network", "optimiser", "scale", "dtype")
        },
        "steps": result.summary["steps"],
        "planned_steps": config.training.steps,
        "finished": result.fit.finished,
        "seconds": round(result.fit.seconds, 1),
        "seeds": [_seed_row(result, index) for index in range(len(setup.seeds))],
        "environment": _environment(result),
        "config": as_dict(config),
        "fingerprint": fingerprint(config, setup.seeds),
        "arrays": {"file": f"{spec.id}.npz", "sha256": hashlib.sha256(content).hexdigest()},
    }
    folder, directory = Path(folder), result.summary["run_dir"]
    carried, packed = folder / travel.name_of(spec.id), None
    if directory is not None and not result.fit.finished:
        packed = travel.pack_run(Path(directory))
    files = {folder / f"{spec.id}.npz": content}
    if packed is not None:
        record["checkpoint"] = {"file": carried.name, "sha256": hashlib.sha256(packed).hexdigest()}
        files[carried] = packed
    training.write_together(files | {folder / f"{spec.id}.json": _encoded(record)})
    if packed is None:
        carried.unlink(missing_ok=True)
    return Artefact(spec.id, record, arrays)


def write_calculation(name: str, record: dict[str, Any], folder: Path) -> Artefact:
    """Write the record of a calculation, with the numbers cut to nine digits."""
    record = {"calculation": name} | _short(record)
    training.write_atomically(Path(folder) / f"{name}.json", _encoded(record))
    return Artefact(name, record, {})


def load(name: str, folder: Path) -> Artefact | None:
    """The artefact called `name`, or None if there is none.

    Raises
    ------
    InputError
        If a file is damaged: not JSON, or arrays or a checkpoint whose SHA-256 is not the recorded one.
    """
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"artefact {path.name}", "JSON", str(error), "restore the file, or run it again"
        ) from None
    parts = {part: travel.recorded(Path(folder), record[part]) for part in PARTS if part in record}
    return Artefact(name, record, unpack(parts["arrays"]) if "arrays" in parts else {})


def files_of(artefact: Artefact) -> list[str]:
    """Names of the files an artefact consists of."""
    parts = [artefact.record[part]["file"] for part in PARTS if part in artefact.record]
    return [f"{artefact.name}.json", *parts]


def digest(path: Path) -> str:
    """SHA-256 of a file as git stores it, text with line feeds, whatever ends its lines here; 64 hexadecimal digits."""
    content = Path(path).read_bytes()
    return hashlib.sha256(content.replace(b"\r\n", b"\n") if Path(path).suffix == ".json" else content).hexdigest()


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of a compressed .npz whose content alone decides them.

    Examples
    --------
    >>> pack({"a": np.arange(3)}) == pack({"a": np.arange(3)})
    True
    """
    entries = {}
    for name, values in arrays.items():
        entry = io.BytesIO()
        np.lib.format.write_array(entry, np.ascontiguousarray(values), allow_pickle=False)
        entries[f"{name}.npy"] = entry.getvalue()
    return travel.zipped(entries)


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of :func:`pack`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def thin(rows: int, keep: int = HISTORY_ROWS) -> np.ndarray:
    """Indices of at most `keep` rows out of `rows`: evenly spread, the first and the last among them.

    Examples
    --------
    >>> thin(5, 3).tolist()
    [0, 2, 4]
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, keep)).round().astype(int)) if rows else np.arange(0)


def _arrays(result: experiments.RunResult) -> dict[str, np.ndarray]:
    """Histories, solution and coarse view of every seed, float32 but for the steps."""
    fit, setup = result.fit, result.setup
    arrays: dict[str, np.ndarray] = {}
    for kind, table in (("history", fit.history), ("evaluations", fit.evaluations)):
        chosen = thin(len(table.get("step", ())))
        for name, values in table.items():
            values = np.asarray(values)[chosen]
            arrays[f"{kind}:{name}"] = values.astype(np.int32 if name == "step" else np.float32)
    points = plotting_grid(setup.problem.domain.dimension)
    seeds = range(len(setup.seeds))
    arrays["solution"] = np.stack([_in_blocks(result, points, s) for s in seeds]).astype(np.float32)
    if setup.coarse_problem is not None:
        views = [result.coarse(s) for s in seeds]
        arrays["coarse:nodes"] = np.asarray(views[0]["nodes"], np.float32)
        for name in [name for name in views[0] if name != "nodes"]:  # averaged, or defect
            arrays[f"coarse:{name}"] = np.stack([view[name] for view in views]).astype(np.float32)
    return arrays


def _seed_row(result: experiments.RunResult, index: int) -> dict[str, Any]:
    """One seed's errors as in the summary of its run, and max |u_θ − u| over the reference's quadrature points."""
    row = {k: v for k, v in result.summary["seeds"][index].items() if k != "seconds"}
    u = _in_blocks(result, result.reference.points, index)
    return _short(row | {"max_error": float(np.max(np.abs(u - result.reference.value)))})


def _environment(result: experiments.RunResult) -> dict[str, Any]:
    """The run directory's, which knows of earlier slices; without a directory, the present one."""
    path = Path(result.summary["run_dir"] or "") / "environment.json"
    return (
        json.loads(path.read_text(encoding="utf-8"))
        if path.is_file()
        else experiments.environment(result.setup.config)
    )


def _in_blocks(result: experiments.RunResult, points: np.ndarray, seed: int, block: int = 4096) -> np.ndarray:
    parts = [points[k : k + block] for k in range(0, len(points), block)]
    return np.concatenate([result.solution(jnp.asarray(part), seed)[0] for part in parts])


def _encoded(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _short(value: Any) -> Any:
    """Floats cut to nine digits, through dicts and lists."""
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_short(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.9g}")
    return value
