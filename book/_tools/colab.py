"""Run chapters as Google Colab does: each notebook alone in an empty folder, with the versions of Colab's image.

    python book/_tools/colab.py [--as-new] [CHAPTER ...]

The interpreter that runs this script runs the chapters; ``make colab`` takes the one of ``.venv-colab``. The first cell of
a chapter is executed as it stands, ``git clone`` and ``pip install`` included. Three things stand in for what is absent
here: git's ``url.<base>.insteadOf`` leads the repository's URL to a local one, which holds the files of this working tree
under the tag of their version; an IPython start-up file puts empty modules ``google.colab`` in place; and ``/content``,
where Colab starts notebooks, is the empty folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
STUB = """import sys, types
colab, colab.output = types.ModuleType("google.colab"), types.ModuleType("google.colab.output")  # jax asks for the second
sys.modules |= {"google.colab": colab, "google.colab.output": colab.output}
"""
START = '"/content/'  # where the first cell clones to, in every chapter
SHOWN = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "matplotlib", "ipython", "ipykernel")


def git(*arguments: str, cwd: Path) -> str:
    """Output of a git command, independent of the user's settings."""
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = {f"GIT_{role}_{part}": "book" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **own, **who}, check=True, capture_output=True, text=True
    ).stdout


def repository(folder: Path, tag: str | None) -> Path:
    """A new repository of one commit in ``folder``: the files of this working tree, with a tag or without."""
    folder.mkdir(parents=True)
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git("init", "--quiet", "--initial-branch=main", cwd=folder)
    git("add", "--all", "--force", cwd=folder)
    git("commit", "--quiet", "--message=the working tree", cwd=folder)
    if tag:
        git("tag", tag, cwd=folder)
    return folder


def settings(home: Path, url: str, remote: Path) -> dict[str, str]:
    """Environment of a kernel: the URL leads to the local repository, IPython starts with the stub, no other path is set."""
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text(STUB, encoding="utf-8")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHONPATH", "GIT_", "JAX_"))}
    return {
        **kept,
        "IPYTHONDIR": str(home / "ipython"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{remote.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the old kernel's debugger has words for Python 3.13 on stderr
    }


def passed(notebook: nbformat.NotebookNode) -> list[str]:
    """Names of the checks that the outputs of a notebook report as passed, in order."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    lines = "".join(output.get("text", "") for output in outputs).splitlines()
    return [line.partition(" ok: ")[0] for line in lines if " ok: " in line]


def run(source: Path, folder: Path, environment: Mapping[str, str]) -> nbformat.NotebookNode:
    """Execute one .ipynb alone in the empty ``folder``; raises if a cell fails or another set of checks passes than before."""
    folder.mkdir(parents=True)
    shutil.copyfile(source, folder / source.name)
    notebook = nbformat.read(folder / source.name, as_version=4)
    before = passed(notebook)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    if first.source.count(START) != 1:
        raise ValueError(f"{source.name}: the first cell does not clone to {START}...")
    first.source = first.source.replace(START, f'"{folder.as_posix()}/')
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=place).execute(env=dict(environment))
    if passed(notebook) != before:
        raise AssertionError(f"{source.name}: checks passed here: {passed(notebook)}; in the book: {before}")
    return notebook


def address(source: Path) -> tuple[str, str]:
    """URL and tag that the first cell of a chapter fetches."""
    found = re.search(r'url, tag, home = "([^"]+)", "([^"]+)"', source.read_text(encoding="utf-8").replace('\\"', '"'))
    if found is None:
        raise ValueError(f"{source.name}: the first cell names no URL and tag")
    return found[1], found[2]


def main() -> int:
    """Run the chapters named, or all, and say how each went; the exit status is 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--as-new", action="store_true", help="uninstall first what the first cell has to install: pyamg")
    parser.add_argument("chapters", nargs="*", help="stems such as 01_multiscale_problem; default: all")
    arguments = parser.parse_args()
    chapters = {path.stem: path for path in sorted((ROOT / "book").glob("*.ipynb"))}
    if unknown := set(arguments.chapters) - set(chapters):
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(chapters)}")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in SHOWN), flush=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="colab-") as name:
        url, tag = address(next(iter(chapters.values())))
        environment = settings(Path(name) / "home", url, repository(Path(name) / "remote", tag))
        for stem in arguments.chapters or chapters:
            start, folder = time.perf_counter(), Path(name) / stem
            if arguments.as_new:
                subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", "pyamg"], check=True)
            try:
                count = len(passed(run(chapters[stem], folder, environment)))
                print(f"{stem}: {count} checks passed, {time.perf_counter() - start:.0f} s", flush=True)
            except Exception as error:  # the report of one chapter must not keep the others from running
                failed.append(stem)
                print(f"{stem}: FAILED after {time.perf_counter() - start:.0f} s\n{error}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"failed: {', '.join(failed)}" if failed else "every chapter runs alone as on Colab")
    return min(len(failed), 1)


if __name__ == "__main__":
    sys.exit(main())
