r"""Checkpoints that travel with the artefacts, so that a long run can be finished on another machine.

The artefact of an unfinished run has a third file, ``<run>.checkpoint.zip``: what its directory needs to go on. Where there is no
run directory, :func:`unpack_run` makes one from it, and the run goes on where it stopped, bit for bit on a CPU of the same
kind. The file is removed when the run is finished.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from hybrid_lib import training
from hybrid_lib.errors import InputError

FILES = ("config.json", "environment.json", "problem.npz", "checkpoint/state.npz")
MAX_BYTES = 2_000_000
_DATE = (1980, 1, 1, 0, 0, 0)


def name_of(run: str) -> str:
    """File name of a run's checkpoint.

    Examples
    --------
    >>> name_of("heat1d-eps15-hybrid-ms")
    'heat1d-eps15-hybrid-ms.checkpoint.zip'
    """
    return f"{run}.checkpoint.zip"


def pack_run(directory: Path | None, target: Path) -> dict[str, str] | None:
    """Write what a run directory needs to go on to `target`, and return its record; None if that takes more than 2 MB.

    Parameters
    ----------
    directory : Path or None
        None, or a directory that lacks a file: nothing to pack.
    target : Path

    Returns
    -------
    dict with ``file`` and ``sha256``, or None
    """
    if directory is None or not all((Path(directory) / name).is_file() for name in FILES):
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in FILES:
            info = zipfile.ZipInfo(name, date_time=_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, (Path(directory) / name).read_bytes(), compresslevel=9)
    content = buffer.getvalue()
    if len(content) > MAX_BYTES:
        return None
    training.write_atomically(Path(target), content)
    return {"file": Path(target).name, "sha256": hashlib.sha256(content).hexdigest()}


def unpack_run(source: Path, sha256: str, directory: Path) -> None:
    """Make the run directory `directory` from the file of :func:`pack_run`; ``config.json`` last, for it makes a directory a run.

    Raises
    ------
    InputError
        If the file is missing or not the recorded one.
    """
    source, directory = Path(source), Path(directory)
    content = source.read_bytes() if source.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        received = f"{found[:16]}…" if content else "no file"
        remedy = "restore the file, or remove the artefact to begin anew"
        raise InputError(f"checkpoint {source.name}", f"SHA-256 {sha256[:16]}…", received, remedy)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in sorted(FILES, key=lambda name: name == "config.json"):
            training.write_atomically(directory / name, archive.read(name))
