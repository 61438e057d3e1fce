"""The page of notation holds: its code names exist, its equations stand in the modules it names, its chapters are there."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
SPLIT = re.compile(r"(?<!\\)\|")
CHAPTERS = (
    "01_multiscale_problem",
    "03_hybrid_method",
    "08_defect_coupling",
    "numerical_homogenisation",
    "upscaling_consistency",
)


def tables():
    """Rows of the tables that have a column ``code``, as dicts."""
    found, header = [], None
    for line in (BOOK / "notation.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in SPLIT.split(line.strip("|"))]
        if header is None:
            header = cells
        elif "code" in header and not set(line) <= set("|-"):
            assert len(cells) == len(header), line
            found.append(dict(zip(header, cells, strict=True)))
    return found


ROWS = tables()
each_row = pytest.mark.parametrize("row", ROWS, ids=[row["symbol"] for row in ROWS])


def names(row):
    return re.findall(r"`([^`]+)`", row["code"])


def module_and_rest(name):
    """The longest importable prefix of ``hybrid_lib.<name>`` and the attributes behind it."""
    parts = ["hybrid_lib", *name.split(".")]
    for length in range(len(parts), 0, -1):
        try:
            return importlib.import_module(".".join(parts[:length])), parts[length:]
        except ModuleNotFoundError as error:
            if not error.name.startswith("hybrid_lib"):
                raise
    raise AssertionError(name)


def resolve(name):
    """The object a code name stands for; a field of a record counts as one."""
    name, _, argument = name.rstrip(")").partition("(")
    target, rest = module_and_rest(name)
    for attribute in rest:
        fields = getattr(target, "__annotations__", {}) if inspect.isclass(target) else {}
        assert hasattr(target, attribute) or attribute in fields, f"{name}: no {attribute} in {target}"
        target = getattr(target, attribute, fields.get(attribute))
    if argument:
        assert argument in inspect.signature(target).parameters, f"{name} has no argument {argument}"
    return target


def test_there_are_rows_and_no_symbol_stands_alone():
    assert len(ROWS) > 60
    assert all(row["symbol"].startswith("$") and row["meaning"] and row["in the book"] for row in ROWS)


@each_row
def test_code_names_exist(row):
    assert names(row) or row["code"] == "—", row
    for name in names(row):
        resolve(name)


@each_row
def test_equations_stand_in_the_modules(row):
    numbers = re.findall(r"\(\d\.\d+\)", row.get("paper", ""))
    algorithms = re.findall(r"Alg\. (\d\.\d)", row.get("paper", ""))
    assert bool(numbers or algorithms) == bool(row.get("paper")), row
    sources = ""
    for name in names(row):
        module, _ = module_and_rest(name.partition("(")[0])
        package = importlib.import_module(module.__name__.rpartition(".")[0])
        sources += inspect.getsource(module) + inspect.getsource(package)
    for wanted in [*numbers, *(f"Algorithm {number}" for number in algorithms)]:
        assert wanted in sources, f"{wanted} is not in the modules of {names(row)}"


@each_row
def test_chapters_and_labels_exist(row):
    pages = re.findall(r"\]\(([^)]+\.md)\)", row["in the book"])
    assert pages, row
    text = "".join((BOOK / page).read_text(encoding="utf-8") for page in pages)
    for label in re.findall(r"\{eq\}`([^`]+)`", row["in the book"]):
        assert f"({label})" in text, f"{label} is not in {pages}"
    for label in re.findall(r"\{prf:ref\}`([^`]+)`", row["in the book"]):
        assert f":label: {label}\n" in text, f"{label} is not in {pages}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_decorated_letters_of_a_chapter_are_listed(chapter):
    """A capital with a hat, a bar, a tilde or a script, or with the index delta, or a weight tau, has a row."""
    prose = re.sub(r"```\{code-cell\}.*?\n```", "", (BOOK / f"{chapter}.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    letters = r"\\(?:widehat|mathfrak|mathcal|overline|widetilde) [A-Z]|\\tau_\d|[A-Z]'?_\\delta|\b[a-zA-Z]_h\b"
    listed = " ".join(row["symbol"] for row in ROWS)
    assert {letter for letter in re.findall(letters, prose) if letter not in listed} == set()
