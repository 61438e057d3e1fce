"""Put the versions of the book side by side, as the site that goes online: _build/site.

    python book/_tools/site.py

The pages of main come from _build/html, those of releases from _build/releases/*-<version>-html.zip (as ``make release``
packs them). Each version has a folder, its pages lead to versions.html, and index.html leads to the newest release.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{head}
<title>Versions of the book</title></head>
<body><h1>Versions of the book</h1><ul>{links}</ul></body></html>
"""


def order(name: str) -> tuple:
    """Key by which versions are sorted: by number, a candidate before its release, main last."""
    found = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?", name)
    if found is None:
        return (1,)
    *numbers, kind, candidate = found.groups()
    return (0, *map(int, numbers), kind or "z", int(candidate or 0))


def unpack(archive: Path, folder: Path) -> None:
    """The content of the one folder of an archive."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    (inner,) = folder.iterdir()
    for path in inner.iterdir():
        shutil.move(path, folder)
    inner.rmdir()


def sign(folder: Path, name: str) -> None:
    """Say at the foot of each page which version it is, with a link to the others."""
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        head, foot, tail = text.rpartition("</body>")
        if foot:
            others = Path(os.path.relpath(folder.parent / "versions.html", page.parent)).as_posix()
            line = f'<p style="text-align:center">This is version {name}. <a href="{others}">Other versions</a></p>'
            page.write_text(f"{head}{line}{foot}{tail}", encoding="utf-8")


def assemble(html: Path, releases: Path, site: Path) -> list[str]:
    """Make the site anew; the names of its versions, newest first."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    if (html / "index.html").is_file():
        shutil.copytree(html, site / "main")
    for archive in releases.glob("*-html.zip"):
        unpack(archive, site / f"v{archive.name.removesuffix('-html.zip').rpartition('-')[2]}")
    names = sorted((folder.name for folder in site.iterdir()), key=order, reverse=True)
    if not names:
        sys.exit(f"site: expected pages in {html} (make book) or archives in {releases}, found none")
    for name in names:
        sign(site / name, name)
    finished = [name for name in names if order(name)[4:5] == ("z",)]
    start = (finished or names)[0]
    links = "".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in names)
    go = f'<meta http-equiv="refresh" content="0; url={start}/index.html">'
    (site / "index.html").write_text(PAGE.format(head=go, links=links), encoding="utf-8")
    (site / "versions.html").write_text(PAGE.format(head="", links=links), encoding="utf-8")
    (site / ".nojekyll").touch()  # folders such as _static are served too
    return names


def main() -> None:
    """Assemble and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    build = ROOT / "_build"
    parser.add_argument("--html", type=Path, default=build / "html", help="the built pages of main")
    parser.add_argument("--releases", type=Path, default=build / "releases", help="the folder of archives")
    parser.add_argument("--site", type=Path, default=build / "site", help="where to put the site; it is made anew")
    arguments = parser.parse_args()
    names = assemble(arguments.html, arguments.releases, arguments.site)
    print(f"{', '.join(names)}: file://{arguments.site / 'index.html'}")


if __name__ == "__main__":
    main()
