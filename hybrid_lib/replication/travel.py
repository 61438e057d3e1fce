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
from hybrid_lib.experiments.folder import BEGUN, locked

FILES = BEGUN
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


def recorded(folder: Path, part: dict[str, str]) -> bytes:
    """The content of a file that belongs to an artefact.

    Parameters
    ----------
    folder : Path
    part : dict with ``file`` and ``sha256``

    Raises
    ------
    InputError
        If the file is missing or not the recorded one.
    """
    path = Path(folder) / part["file"]
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != part["sha256"]:
        received = f"{found[:16]}…" if content else "no file"
        remedy = "restore the file, or run it again"
        raise InputError(f"artefact {part['file']}", f"SHA-256 {part['sha256'][:16]}…", received, remedy)
    return content


def zipped(entries: dict[str, bytes]) -> bytes:
    """A compressed zip file whose entries alone decide its bytes.

    Examples
    --------
    >>> zipped({"a": b"1"}) == zipped({"a": b"1"})
    True
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, date_time=_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=9)
    return buffer.getvalue()


def pack_run(directory: Path) -> bytes | None:
    """What a run directory needs to go on, as a zip file; None if it lacks a file of that, or if it takes more than 2 MB."""
    files = [Path(directory) / name for name in FILES]
    if not all(path.is_file() for path in files) or sum(path.stat().st_size for path in files) > 2 * MAX_BYTES:
        return None
    content = zipped({name: path.read_bytes() for name, path in zip(FILES, files, strict=True)})
    return content if len(content) <= MAX_BYTES else None


def unpack_run(content: bytes, directory: Path) -> bool:
    """Make a run directory from what :func:`pack_run` gave, unless it is one already; whether it did.

    ``config.json`` comes last, for it makes a directory a run.

    Raises
    ------
    InputError
        If another process writes to the directory.
    """
    directory = Path(directory)
    with locked(directory):
        if (directory / "config.json").exists():
            return False
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = sorted(FILES, key=lambda name: name == "config.json")
            training.write_together({directory / name: archive.read(name) for name in names})
    return True
