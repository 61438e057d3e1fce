"""The reference pages say what the program does: options, messages, terms, described modules."""

import argparse
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from hybrid_lib import cli
from hybrid_lib.config import LEFT_OUT
from hybrid_lib.errors import InputError
from hybrid_lib.training import restore

BOOK = Path(__file__).resolve().parents[1] / "book"
LIBRARY = BOOK.parent / "hybrid_lib"
TROUBLE = (BOOK / "troubleshooting.md").read_text(encoding="utf-8")


def dialogues():
    """(command, answer) of every console block."""
    blocks = re.findall(r"```console\n(.*?)```", TROUBLE, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [(command.removeprefix("$ hybrid "), answer) for command, answer in zip(lines[::2], lines[1::2], strict=True)]


def options(command):
    """Long options of a command of the parser, but for --help."""
    actions = cli._parser()._actions
    commands = next(action for action in actions if isinstance(action, argparse._SubParsersAction)).choices
    return {name for action in commands[command]._actions for name in action.option_strings} - {"-h", "--help"}


@pytest.mark.parametrize("command, answer", dialogues(), ids=[command for command, _ in dialogues()])
def test_console_block_is_what_the_command_prints(command, answer, capsys, tmp_path, monkeypatch):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    pattern = re.escape(answer).replace("…", ".*")
    assert out == "" and re.fullmatch(pattern, err.rstrip("\n")), err


def test_refusal_of_another_configuration(tmp_path):
    header = json.dumps({"format": 1, "fingerprint": "20e8c34e4a3aa9ff"})
    np.savez(tmp_path / "state.npz", header=np.asarray(header))
    with pytest.raises(InputError) as error:
        restore(tmp_path / "state.npz", None, "29f3f95542cd2e93")
    assert str(error.value) in TROUBLE


def test_settings_that_may_change_on_a_resume_are_named():
    sentence = re.search(r"Of all settings, only (.*?) may change", TROUBLE, flags=re.DOTALL).group(1)
    assert list(LEFT_OUT) == re.findall(r"`([^`]+)`", sentence)


@pytest.mark.parametrize("command", ["solve", "run", "show", "ledger", "reproduce"])
def test_options_of_the_page_are_those_of_the_parser(command):
    page = (BOOK / "api" / "cli.md").read_text(encoding="utf-8")
    section = page.split(f"## hybrid {command}\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(--[a-z-]+)", section, flags=re.MULTILINE)
    assert set(listed) == options(command) and len(listed) == len(set(listed))


def test_terms_are_sorted_and_refer_to_a_page():
    text = (BOOK / "glossary.md").read_text(encoding="utf-8").split("```{glossary}\n")[1].split("\n```")[0]
    entries = [entry.split("\n", 1) for entry in text.split("\n\n")]
    terms = [term.casefold() for term, _ in entries]
    assert terms == sorted(terms) and len(terms) == len(set(terms)) >= 40
    for term, definition in entries:
        pages = re.findall(r"\]\(([^)]+\.md)\)", definition)
        assert pages and all((BOOK / page).is_file() for page in pages), term


def test_every_described_module_exists_once():
    pages = sorted((BOOK / "api").glob("*.md"))
    described = [name for page in pages for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))]
    assert len(described) == len(set(described))
    for name in described:
        path = LIBRARY.joinpath(*name.split(".")[1:])
        assert path.with_suffix(".py").is_file(), name
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages <= {name.split(".")[1] for name in described}
