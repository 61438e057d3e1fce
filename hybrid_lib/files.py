"""Files that a reader, or a kill, never sees half written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from hybrid_lib.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a kill, sees the old file or the new one and nothing between.

    The content is on the disk before it takes the name, and the name before this returns, where the system can say so. Several
    threads and processes may write the same file: the last one wins. A link stays one, and an old file's permissions stay.

    Raises
    ------
    InputError
        If it cannot be written, as on a full disk; the old file is as it was, and nothing else is left.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none takes its name before all are on the disk; then they do so in the order given.

    Raises
    ------
    InputError
        As in :func:`write_atomically`.
    """
    waiting: dict[Path, Path] = {}
    try:
        for path, content in ((Path(os.path.realpath(path)), content) for path, content in files.items()):
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
            with open(waiting[path], "xb") as file:
                file.write(content)
                file.flush()
                _synchronise(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                os.chmod(waiting[path], stat.S_IMODE(path.stat().st_mode))
        for path in list(waiting):
            os.replace(waiting[path], path)
            del waiting[path]
        for folder in {Path(os.path.realpath(path)).parent for path in files}:
            with contextlib.suppress(OSError):  # some systems open no directory
                handle = os.open(folder, os.O_RDONLY)
                try:
                    _synchronise(handle)
                finally:
                    os.close(handle)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "make room there, or choose another folder" if full else "choose another folder"
        raise InputError(str(path), "a file that can be written", error.strerror or error, remedy) from error
    finally:
        for temporary in waiting.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _synchronise(handle: int) -> None:
    """Wait until a file is on the disk; some file systems cannot say."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
