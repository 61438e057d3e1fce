"""Write the repository's address, or the version of the library, in every file that holds it.

    python book/_tools/address.py [--url URL | --version VERSION]

The address stands in _config.yml, the version in hybrid_lib/__init__.py; the other files follow: the first cell of each
chapter (.md and .ipynb alike, outputs stay), the package's metadata, links for GitHub, Pages and Binder. Without an option,
say what they are and how many files hold the address.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("*", ".github/**/*", ".devcontainer/*", ".binder/*", "book/*.md", "book/*.ipynb", "book/api/*.md")
NUMBER = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"
VERSIONS = {  # where the version stands, by file; the chapters' first cell names a tag
    "hybrid_lib/__init__.py": rf'(?<=^__version__ = "){NUMBER}(?=")',
    "CITATION.cff": rf"(?<=^version: ){NUMBER}$",
    ".zenodo.json": rf'(?<="version": "){NUMBER}(?=")',
    "book/*.md": rf'(?<=", "v){NUMBER}(?=", "/content/)',
    "book/*.ipynb": rf'(?<=\\", \\"v){NUMBER}(?=\\", \\"/content/)',
}


class Repository(NamedTuple):
    """A repository on GitHub."""

    owner: str
    name: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://github.com/{self.owner}/{self.name}"


def repository(url: str) -> Repository:
    """Owner and name in an address, also in the forms that ``git clone`` takes; ends the program if it is another."""
    found = re.fullmatch(r"(?:https://|git@)github\.com[/:]([A-Za-z\d-]+)/([\w.-]+?)(?:\.git)?/?", url.strip())
    if found is None:
        sys.exit(f"address: expected https://github.com/OWNER/NAME, received {url!r}: Pages, Colab and Binder follow from it")
    return Repository(*found.groups())


def current(root: Path) -> Repository:
    """The repository that _config.yml names."""
    return repository(yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"])


def moved(words: str, old: Repository, new: Repository) -> str:
    """A text with each form of the old address replaced: GitHub, Pages, Binder."""
    forms = {
        rf"(?<=github\.com/){old.owner}/{re.escape(old.name)}(?![\w-])": f"{new.owner}/{new.name}",
        rf"(?<=//){old.owner}\.github\.io/{re.escape(old.name)}(?![\w-])": f"{new.owner.lower()}.github.io/{new.name}",
        rf"(?<=/gh/){old.owner}/{re.escape(old.name)}(?![\w-])": f"{new.owner}/{new.name}",
    }
    for pattern, replacement in forms.items():
        words = re.sub(pattern, replacement, words, flags=re.IGNORECASE)
    return words


def files(root: Path, patterns: tuple[str, ...] = PLACES) -> Iterator[Path]:
    """Files in which an address may stand, each once, sorted."""
    return (path for path in sorted({path for pattern in patterns for path in root.glob(pattern)}) if path.is_file())


def text(path: Path) -> str:
    """What a file holds, byte for byte; nothing if it is no text."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return ""


def rewrite(paths: Iterator[Path], change: Callable[[str], str]) -> list[Path]:
    """Change texts in place, byte for byte but for the change; the files that were written."""
    written = []
    for path in paths:
        before = text(path)
        after = change(before)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            written.append(path)
    return written


def move(root: Path, new: Repository) -> list[Path]:
    """Replace the address of _config.yml by another everywhere."""
    old = current(root)
    return rewrite(files(root), lambda words: moved(words, old, new))


def holding(root: Path) -> list[Path]:
    """The files that hold the address of _config.yml, in one of its forms."""
    old = current(root)
    return [path for path in files(root) if moved(text(path), old, Repository("-", "-")) != text(path)]


def number(root: Path, version: str) -> list[Path]:
    """Write a version everywhere."""
    written = []
    for pattern, place in VERSIONS.items():
        written += rewrite(files(root, (pattern,)), lambda words, place=place: re.sub(place, version, words, flags=re.M))
    return written


def main() -> None:
    """Move, number, or tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--url", help="the new address, https://github.com/OWNER/NAME")
    which.add_argument("--version", help="the new version, as 1.2.3 or 1.2.3rc1")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to change; default: this one")
    arguments = parser.parse_args()
    root = arguments.root
    if arguments.version:
        if re.fullmatch(NUMBER, arguments.version) is None:
            sys.exit(f"version: expected three numbers such as 1.2.3, or 1.2.3rc1, received {arguments.version!r}")
        print(f"version {arguments.version}: {len(number(root, arguments.version))} files written")
    elif arguments.url:
        new = repository(arguments.url)
        print(f"{new.url}: {len(move(root, new))} files written")
    else:
        old = current(root)
        print(f"{old.url}: in {len(holding(root))} files. After a fork: make address URL=https://github.com/you/{old.name}")


if __name__ == "__main__":
    main()
