"""The chapters' first cell, and one chapter alone in an empty folder as on Google Colab; `make colab` runs them all."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("pip")

ROOT = Path(__file__).resolve().parents[1]
LIGHT = ROOT / "book" / "07_paper_against_ours.ipynb"  # reads results, trains nothing


def tool():
    spec = importlib.util.spec_from_file_location("colab", ROOT / "book" / "_tools" / "colab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


colab = tool()


def first_cell(home):
    notebook = nbformat.read(LIGHT, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    return cell.source.replace(colab.START, f'"{home.as_posix()}/')


def remote(folder, tag):
    """A repository with the least that the first cell needs: a first commit, which bears the tag, and a second one."""
    (folder / "book").mkdir(parents=True)
    colab.git("init", "--quiet", "--initial-branch=main", cwd=folder)
    for version in ("tagged", "newest"):
        (folder / "book" / "version").write_text(version)
        colab.git("add", "--all", cwd=folder)
        colab.git("commit", "--quiet", f"--message={version}", cwd=folder)
        if tag and version == "tagged":
            colab.git("tag", tag, cwd=folder)
    return folder


def run_first_cell(folder, repository, stub=colab.STUB):
    """Standard output of the cell and of what it leaves: the folder it is in, the version there, the first path."""
    url, _ = colab.address(LIGHT)
    folder.mkdir(exist_ok=True)
    program = f"{stub}\n{first_cell(folder)}\nprint(os.getcwd(), open('version').read(), sys.path[0], sep='\\n')"
    environment = colab.settings(folder / "home", url, repository)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_first_cell_fetches_the_version_of_its_page(tmp_path):
    _, tag = colab.address(LIGHT)
    result = run_first_cell(tmp_path / "content", remote(tmp_path / "remote", tag))
    home = tmp_path / "content" / "hybrid-lib"
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(home / "book"), "tagged", str(home)]


def test_first_cell_takes_the_newest_version_when_there_is_no_such_tag_and_says_so(tmp_path):
    _, tag = colab.address(LIGHT)
    result = run_first_cell(tmp_path / "content", remote(tmp_path / "remote", None))
    assert result.returncode == 0, result.stderr
    told, *rest = result.stdout.splitlines()
    assert told == f"{tag} is not published: taking the newest version."
    assert rest[1] == "newest"


def test_first_cell_says_in_one_line_why_the_repository_cannot_be_fetched(tmp_path):
    url, _ = colab.address(LIGHT)
    result = run_first_cell(tmp_path / "content", tmp_path / "nothing")
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"No network, or no public repository at {url} (fatal: ") and line.endswith(").")
    assert not (tmp_path / "content" / "hybrid-lib").exists(), "the next try starts anew"


def test_first_cell_says_in_one_line_that_pyamg_cannot_be_installed_and_tries_again(tmp_path):
    _, tag = colab.address(LIGHT)
    absent = f"{colab.STUB}\nimport importlib.util, os\nimportlib.util.find_spec = lambda name: None\n"
    offline = f"{absent}os.environ.update(PIP_NO_INDEX='1', PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS='', PIP_TARGET='target')"
    result = run_first_cell(tmp_path / "content", remote(tmp_path / "remote", tag), stub=offline)
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("pyamg cannot be installed, is there a network? (ERROR: Could not find a version that satisfies")
    (tmp_path / "content" / "home").rename(tmp_path / "before")
    again = run_first_cell(tmp_path / "content", tmp_path / "nothing")
    assert again.returncode == 0, "what was fetched is there"


def test_first_cell_does_nothing_elsewhere(tmp_path):
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "version").write_text("untouched")
    result = run_first_cell(tmp_path / "content", remote(tmp_path / "remote", None), stub="")
    assert result.stdout.split()[:2] == [str(tmp_path / "content"), "untouched"]
    assert sorted(os.listdir(tmp_path / "content")) == ["home", "version"]


@pytest.mark.slow
def test_a_chapter_runs_alone_in_an_empty_folder(tmp_path):
    url, tag = colab.address(LIGHT)
    environment = colab.settings(tmp_path / "home", url, colab.repository(tmp_path / "remote", tag))
    notebook = colab.run(LIGHT, tmp_path / "content", environment)
    assert sorted(os.listdir(tmp_path / "content")) == [LIGHT.name, "hybrid-lib"]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source)
