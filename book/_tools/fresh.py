"""Forget executed chapters when something they depend on changed.

The execution cache notices a change of a chapter's own code, but not of the library it imports, the
versions it runs with or the data it reads. This script keeps a hash of those beside the cache and empties
the cache, and the build (which would not look at an unchanged page again), when the hash differs.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".jupyter_cache"
KEY = CACHE / "key"


def inputs(root: Path) -> list[Path]:
    """Files outside a chapter's own text on which its outputs may depend, sorted."""
    library, examples = (root / "hybrid_lib").rglob("*.py"), (root / "examples").rglob("*")
    data = (path for path in (root / "book").rglob("*") if path.suffix not in {".md", ".ipynb", ".bib"})
    hidden = {".ipynb_checkpoints", "__pycache__", "_static", "_tools"}  # looks and tools change no output
    found = [root / "requirements.txt", *library, *examples, *data]
    return sorted(path for path in found if path.is_file() and hidden.isdisjoint(path.parts))


def key(root: Path) -> str:
    """SHA-256 of the names and contents of the inputs and of the Python version."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in inputs(root):
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def main() -> None:
    """Empty the cache and the build unless they belong to the present inputs."""
    current = key(ROOT)
    if KEY.is_file() and KEY.read_text(encoding="utf-8") == current:
        print("book: library, pins and data unchanged; only chapters with changed code run")
        return
    print("book: library, pins or data changed; every chapter runs")
    for folder in (CACHE, ROOT / "_build"):
        shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir()
    KEY.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
