"""What a release consists of, gathered in _build/release with checksums; ``make release`` makes the parts before.

    python book/_tools/release.py [--check TAG]

Beside sdist and wheel (dist/) the printed book, the built pages and the notebooks, and NOTES.md: the part of CHANGELOG.md on
this version. With ``--check`` only: whether TAG names the version, and whether the changelog knows it with a date.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "hybrid_lib"


def version(root: Path) -> str:
    """The version that the library states."""
    text = (root / NAME / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, flags=re.MULTILINE)[1]


def notes(root: Path, number: str) -> tuple[str, str]:
    """When the changelog says that a version came out, and what it says of it."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(number)}\] - (\S+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return (found[1], found[2].strip()) if found else ("", "")


def check(root: Path, tag: str) -> None:
    """End the program unless the tag, the version and the changelog agree."""
    number = version(root)
    if tag != f"v{number}":
        sys.exit(f"release: the library is {number}, expected the tag v{number}, received {tag!r}: make version VERSION=...")
    date, _ = notes(root, number)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) is None:
        sys.exit(f"release: CHANGELOG.md: expected the heading '## [{number}] - YEAR-MONTH-DAY', received {date or 'none'!r}")


def pack(target: Path, folder: Path, files: Iterable[Path]) -> None:
    """Write files into one archive, named relative to a folder, below the archive's own name."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            if path.is_file():
                archive.write(path, f"{target.stem}/{path.relative_to(folder).as_posix()}")


def gather(root: Path) -> list[Path]:
    """The files of the release; ends the program if a part has not been made."""
    number, folder = version(root), root / "_build" / "release"
    pages, printed = root / "_build" / "html", root / "_build" / "latex" / f"{NAME}.pdf"
    packages = [*(root / "dist").glob(f"{NAME}-{number}*.whl"), *(root / "dist").glob(f"{NAME}-{number}.tar.gz")]
    parts = {"sdist and wheel: make dist": len(packages) == 2, "pages: make book": (pages / "index.html").is_file()}
    if lacks := [part for part, there in (parts | {"printed book: make pdf": printed.is_file()}).items() if not there]:
        sys.exit(f"release: not made: {'; '.join(lacks)}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stem = f"{NAME}-{number}"
    for path, name in [*((path, path.name) for path in packages), (printed, f"{stem}.pdf")]:
        shutil.copyfile(path, folder / name)
    pack(folder / f"{stem}-html.zip", pages, pages.rglob("*"))
    pack(folder / f"{stem}-notebooks.zip", root / "book", (root / "book").glob("*.ipynb"))
    made = sorted(folder.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    (folder / "NOTES.md").write_text(notes(root, number)[1] + "\n", encoding="utf-8")
    return sorted(folder.iterdir())


def main() -> None:
    """Check, or gather and list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", metavar="TAG", help="only compare the tag with the version and the changelog")
    parser.add_argument("--root", type=Path, default=ROOT, help="the source tree; default: this one")
    arguments = parser.parse_args()
    if arguments.check is not None:
        check(arguments.root, arguments.check)
        return
    for path in gather(arguments.root):
        print(f"{path.stat().st_size:12,}  {path}")


if __name__ == "__main__":
    main()
