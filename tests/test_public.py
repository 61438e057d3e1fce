"""What makes the repository public: workflows, releases, the site with its versions, the package outside the clone."""

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hybrid_lib

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
VENV = Path(sys.executable).parent
TAG = f"v{hybrid_lib.__version__}"

each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def content(workflow):
    return yaml.safe_load(workflow.read_text(encoding="utf-8"))


def steps(workflow):
    return [step for job in content(workflow)["jobs"].values() for step in job.get("steps", ())]


def run(*command, **settings):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, **settings)


def test_actionlint_finds_nothing():
    found = shutil.which("actionlint", path=f"{ROOT / '_build' / 'actionlint' / 'bin'}") or shutil.which("actionlint")
    if found is None:
        pytest.skip("no actionlint: make workflows")
    result = run(found, "-color=false", *WORKFLOWS, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@each_workflow
def test_make_targets_and_variables_of_a_workflow_exist(workflow):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [words for step in steps(workflow) for words in re.findall(r"^make (.*)$", step.get("run", ""), flags=re.M)]
    targets = {word for words in commands for word in words.split() if "=" not in word}
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    variables = {word.partition("=")[0] for words in commands for word in words.split() if "=" in word}
    assert all(re.search(rf"^{name} \?=|\$\({name}\)", makefile, flags=re.MULTILINE) for name in variables)


@each_workflow
def test_workflow_has_few_rights_and_no_secrets(workflow):
    text, found = workflow.read_text(encoding="utf-8"), content(workflow)
    assert found["permissions"] in ({}, {"contents": "read"}), "rights beyond reading are a job's"
    assert "concurrency" in found and "secrets" not in text and "pull_request_target" not in text
    events = found[True]  # YAML reads the key `on` so
    for name, job in found["jobs"].items():
        rights = job.get("permissions", {})
        if "pull_request" in events and "write" in rights.values():
            assert job["if"] == "github.event_name == 'push'", f"{name}: a pull request must not write"
        assert "uses" in job or job["timeout-minutes"] <= 120
    for step in steps(workflow):
        action = step.get("uses", "")
        assert not action or re.fullmatch(r"(actions/[\w/-]+@v\d+|pypa/gh-action-pypi-publish@release/v1)", action), action
        if action.startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "what comes from outside is passed as a variable of the environment"


def test_pinned_caches_follow_the_requirements():
    for step in (step for workflow in WORKFLOWS for step in steps(workflow) if "setup-python" in step.get("uses", "")):
        given = step["with"]
        assert "cache" not in given or (ROOT / given["cache-dependency-path"]).is_file()


def test_tests_run_on_what_the_package_promises():
    package = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    jobs = content(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    pythons = jobs["linux"]["strategy"]["matrix"]["python"]
    assert pythons[0] == re.search(r'requires-python = ">=([\d.]+)"', package)[1]
    assert {job["runs-on"] for job in jobs.values()} == {"ubuntu-latest", "macos-latest", "windows-latest"}


def test_binder_and_the_container_do_what_make_setup_does():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"] == "make setup"
    binder = ROOT / ".binder"
    assert (binder / "requirements.txt").read_text(encoding="utf-8") == "-r ../requirements.txt\n"
    setup = re.search(r"^\.venv/installed:.*?\n\n", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.S | re.M)[0]
    for line in ("--no-deps -e .", "python -c 'import matplotlib.font_manager'"):
        assert line in setup and line in (binder / "postBuild").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ISSUE_TEMPLATE/*.yml", "dependabot.yml"])
def test_forms_can_be_read(name):
    files = list((ROOT / ".github").glob(name))
    assert files and all(isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict) for path in files)


def test_metadata_of_citation_archive_and_package_agree():
    archive = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert archive["title"] == citation["title"] and archive["keywords"] == citation["keywords"]
    assert str(archive["version"]) == str(citation["version"]) == hybrid_lib.__version__
    assert archive["license"] == citation["license"] == "BSD-3-Clause"
    assert [one["name"] for one in archive["creators"]] == [one["name"] for one in citation["authors"]]
    assert archive["related_identifiers"][0]["identifier"] == citation["references"][0]["doi"]
    assert archive["related_identifiers"][1]["identifier"] == citation["repository-code"]


def release_tree(root, heading):
    """A tree in which everything of a release has been made."""
    shutil.copytree(ROOT / "hybrid_lib", root / "hybrid_lib", ignore=lambda _, names: set(names) - {"__init__.py"})
    changes = f"# Changelog\n\n{heading}\n\n### Added\n\n- a wheel\n\n## [0.0.1] - 2020-01-01\n\n- old\n"
    (root / "CHANGELOG.md").write_text(changes)
    stem = f"hybrid_lib-{hybrid_lib.__version__}"
    for name in (f"dist/{stem}-py3-none-any.whl", f"dist/{stem}.tar.gz", "_build/latex/hybrid_lib.pdf", "book/01.ipynb"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in ("index.html", "api/fem.html", "_static/a.css"):
        (root / "_build" / "html" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "_build" / "html" / name).write_text(f"<html><body>{name}</body></html>")
    return root


def test_release_gathers_what_was_made_with_notes_and_checksums(tmp_path):
    release = tool("release")
    root = release_tree(tmp_path, f"## [{hybrid_lib.__version__}] - 2026-12-01")
    release.check(root, TAG)
    names = [path.name for path in release.gather(root)]
    stem = f"hybrid_lib-{hybrid_lib.__version__}"
    parts = ["-html.zip", "-notebooks.zip", "-py3-none-any.whl", ".pdf", ".tar.gz"]
    assert names == ["NOTES.md", "SHA256SUMS", *(f"{stem}{part}" for part in parts)]
    folder = root / "_build" / "release"
    assert (folder / "NOTES.md").read_text() == "### Added\n\n- a wheel\n"
    assert run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=folder).returncode == 0
    assert zipfile.ZipFile(folder / f"{stem}-notebooks.zip").namelist() == [f"{stem}-notebooks/01.ipynb"]
    (root / "_build" / "latex" / "hybrid_lib.pdf").unlink()
    with pytest.raises(SystemExit, match="release: not made: printed book: make pdf"):
        release.gather(root)


@pytest.mark.parametrize(
    ("tag", "heading", "message"),
    [
        ("v9.9.9", "## [X] - 2026-12-01", "expected the tag"),
        ("", "## [X] - 2026-12-01", "expected the tag"),
        (TAG, "## [X] - unreleased", "expected the heading .* received 'unreleased'"),
        (TAG, "## Something", "expected the heading .* received 'none'"),
    ],
)
def test_release_of_another_version_or_without_a_date_is_refused_in_one_line(tmp_path, tag, heading, message):
    root = release_tree(tmp_path, heading.replace("X", hybrid_lib.__version__))
    with pytest.raises(SystemExit, match=rf"^release: .*{message}.*$"):
        tool("release").check(root, tag)


def test_versions_of_the_book_stand_side_by_side(tmp_path):
    site, release = tool("site"), tool("release")
    root = release_tree(tmp_path, "")
    pages, archives = root / "_build" / "html", tmp_path / "releases"
    archives.mkdir()
    for number in ("0.9.0", "0.10.0", "0.11.0rc1"):
        release.pack(archives / f"hybrid_lib-{number}-html.zip", pages, pages.rglob("*"))
    out = tmp_path / "site"
    assert site.assemble(pages, archives, out) == ["main", "v0.11.0rc1", "v0.10.0", "v0.9.0"]
    assert 'content="0; url=v0.10.0/index.html"' in (out / "index.html").read_text(), "the newest that is finished"
    for name in ("main", "v0.9.0", "v0.10.0", "v0.11.0rc1"):
        assert f'href="{name}/index.html"' in (out / "versions.html").read_text()
        page = (out / name / "api" / "fem.html").read_text()
        assert f'This is version {name}. <a href="../../versions.html">' in page and page.endswith("</p></body></html>")
        assert 'href="../versions.html"' in (out / name / "index.html").read_text()
        assert (out / name / "_static" / "a.css").is_file()
    assert "versions.html" not in (pages / "index.html").read_text(), "the build itself is left alone"
    assert site.assemble(pages, tmp_path / "none", out) == ["main"]
    assert "url=main/index.html" in (out / "index.html").read_text()
    with pytest.raises(SystemExit, match=r"^site: expected pages .* found none$"):
        site.assemble(tmp_path / "none", tmp_path / "none", out)


@pytest.mark.slow
def test_sdist_and_wheel_hold_the_library_and_nothing_else_and_run_elsewhere(tmp_path):
    pytest.importorskip("build")
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools 77 or newer")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CITATION.cff"):
        shutil.copyfile(ROOT / name, tree / name)
    shutil.copytree(ROOT / "hybrid_lib", tree / "hybrid_lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "examples", tree / "examples")
    result = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", cwd=tree)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    modules = {path.relative_to(tree).as_posix() for path in tree.glob("hybrid_lib/**/*.py")}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == modules | {"hybrid_lib/py.typed"} and wheel.name == f"hybrid_lib-{hybrid_lib.__version__}-py3-none-any.whl"
    stem = f"hybrid_lib-{hybrid_lib.__version__}"
    with tarfile.open(tmp_path / "dist" / f"{stem}.tar.gz") as sdist:
        packed = set(sdist.getnames())
    assert {f"{stem}/examples/{path.name}" for path in (ROOT / "examples").iterdir() if path.is_file()} <= packed

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    assert run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel).returncode == 0
    # what the library stands on is lent by this environment, after the new one's own packages
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "zz_lent.pth").write_text("\n".join(lent))
    where = run(python, "-E", "-c", "import hybrid_lib; print(hybrid_lib.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(packages), where.stderr
    listed = run(tmp_path / "venv" / "bin" / "hybrid", "list", cwd=tmp_path)
    assert listed.returncode == 0 and "heat2d" in listed.stdout, listed.stderr
    ledger = run(tmp_path / "venv" / "bin" / "hybrid", "ledger", cwd=tmp_path)
    assert ledger.returncode == 2 and len(ledger.stderr.splitlines()) == 1, "results travel with the clone: one line says so"
