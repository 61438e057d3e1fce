"""What several commands check before they start: a device for JAX, and folders."""

from __future__ import annotations

import os
from pathlib import Path

from hybrid_lib import enable_float64
from hybrid_lib.errors import InputError


def use_float64() -> None:
    """Enable float64 in JAX, and say in one line if it finds no device."""
    import jax

    enable_float64()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # for a missing plugin JAX has no message
        found = str(error).partition("(")[0].strip() or f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        raise InputError("device", "a platform that JAX finds here", found, "unset JAX_PLATFORMS") from error


def check_folders(write: bool, **paths: Path | None) -> None:
    """Refuse a folder that is a file or lies below one, and, to `write`, one that cannot be written or made."""
    for name, path in paths.items():
        there = next((p for p in (path, *path.parents) if os.path.exists(p)), None) if path is not None else None
        if there is not None and not there.is_dir():
            raise InputError(f"--{name}", "a folder", f"{path}; {there} is a file", f"choose another --{name}")
        if write and there is not None and not os.access(there, os.W_OK | os.X_OK):
            found = f"{path}: no permission to write" + ("" if there == path else f" in {there}")
            raise InputError(f"--{name}", "a folder that can be written", found, f"choose another --{name}")
