"""The repository's address and the version stand in one place each; `make address` and `make version` write the others."""

import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import hybrid_lib

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
FORKS = ["https://github.com/Ada-L/engine", "git@github.com:x/a.b_c.git", "https://github.com/hybrid-lib/engine-2/"]


def tool():
    spec = importlib.util.spec_from_file_location("address", ROOT / "book" / "_tools" / "address.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


address = tool()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the files in which an address or the version may stand."""
    root = tmp_path_factory.mktemp("tree")
    for path in address.files(ROOT, (*address.PLACES, *address.VERSIONS)):
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return root


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in address.files(root)}


@pytest.mark.parametrize("url", FORKS)
def test_a_fork_moves_every_address_and_nothing_else(copy, url):
    before, old, new = contents(copy), address.current(copy), address.repository(url)
    written = address.move(copy, new)
    assert address.current(copy) == new and len(written) > 40
    for path in written:
        assert address.moved(address.text(path), old, new) == address.text(path), f"{path}: something was left"
    package = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))
    assert package["project"]["urls"]["Repository"] == new.url
    for chapter in (copy / "book").glob("*.ipynb"):
        source, notebook = chapter.with_suffix(".md").read_text(encoding="utf-8"), json.loads(chapter.read_text(encoding="utf-8"))
        assert f'"{new.url}", "v{hybrid_lib.__version__}"' in source
        first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        assert "".join(first["source"]) in source, "the two files of a chapter stay in step"
    address.move(copy, old)
    assert contents(copy) == before


def versions(root):
    """What stands where a version has to, by file."""
    for pattern, place in address.VERSIONS.items():
        for path in address.files(root, (pattern,)):
            if path.suffix != ".md" or "{code-cell}" in address.text(path):
                yield path.name, re.findall(place, address.text(path), flags=re.MULTILINE)


def test_version_is_the_same_everywhere_and_moves_as_one(copy):
    assert {name: found for name, found in versions(ROOT) if found != [hybrid_lib.__version__]} == {}
    before = contents(copy)
    address.number(copy, "12.0.3rc1")
    assert {name: found for name, found in versions(copy) if found != ["12.0.3rc1"]} == {}
    address.number(copy, hybrid_lib.__version__)
    assert contents(copy) == before


def test_no_other_file_holds_the_address():
    old = address.current(ROOT)
    command = ["git", "grep", "-lIi", "--untracked", "-e", f"{old.owner}/{old.name}", "-e", f"{old.owner}.github.io"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        pytest.skip("not a clone")
    known = {path.relative_to(ROOT).as_posix() for path in address.files(ROOT)}
    assert set(result.stdout.splitlines()) - known - {"tests/test_address.py"} == set()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("see https://github.com/a-b/c.", "see https://github.com/New/d."),
        ("https://github.com/A-B/c.git", "https://github.com/New/d.git"),
        ("https://github.com/a-b/c/issues https://github.com/a-b/c-d", "https://github.com/New/d/issues https://github.com/a-b/c-d"),
        ("https://a-b.github.io/c/main/ https://x.github.io/c/", "https://new.github.io/d/main/ https://x.github.io/c/"),
        ("https://mybinder.org/v2/gh/a-b/c/main a-b/c", "https://mybinder.org/v2/gh/New/d/main a-b/c"),
    ],
)
def test_only_addresses_of_the_whole_name_are_moved(before, after):
    assert address.moved(before, address.Repository("a-b", "c"), address.Repository("New", "d")) == after


@pytest.mark.parametrize("url", ["", "example.org/a/b", "https://gitlab.com/a/b", "https://github.com/a", "https://github.com/a/b/tree/main"])
def test_another_address_is_refused_in_one_line(url):
    with pytest.raises(SystemExit, match=r"^address: expected https://github.com/OWNER/NAME, received .*$"):
        address.repository(url)
