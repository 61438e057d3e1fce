"""The passport of a run's numbers: versions, device, precision, and a digest of the library's own source."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

import hybrid_lib
from hybrid_lib import __version__
from hybrid_lib.config import Config


def environment(config: Config) -> dict[str, Any]:
    """Versions, device and precision: the passport of a run's numbers."""
    packages = {}
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "scipy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover
            packages[name] = "unknown"
    return {
        "hybrid_lib": __version__,
        "source": source_hash(),
        "python": platform.python_version(),
        "packages": packages,
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "dtype": config.dtype,
        "x64": bool(jax.config.jax_enable_x64),
    }


def source_hash() -> str:
    """SHA-256 of the library's Python files, names and contents in sorted order; the first 16 digits."""
    root, digest = Path(hybrid_lib.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]
