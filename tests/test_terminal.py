"""The command line in any terminal: encodings without its signs, streams that are closed or full, signals that end a run."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import SMALL

from hybrid_lib import cli, terminal, training
from hybrid_lib.cli import main
from hybrid_lib.terminal import HANDLER, plain

ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437", "koi8-r", "gbk", "cp932", "big5", "euc-kr", "utf-8")
TROUBLE = (Path(__file__).parents[1] / "book" / "troubleshooting.md").read_text(encoding="utf-8")


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")


def test_signs_have_names():
    assert plain("ε δ K̂ L² √3 a − b 2×2 10⁻³ x₁₂ ‖∇u‖ ≤ ½ Kε äß…") == (
        "eps delta K-hat L^2 sqrt 3 a - b 2x2 10^-3 x_12 ||grad u|| <= 1/2 K eps ass..."
    )


@given(st.text(), st.sampled_from(ENCODINGS))
@settings(max_examples=300, deadline=None)
def test_every_text_can_be_printed(text, encoding):
    with terminal.session():
        shown = text.encode(encoding, HANDLER).decode(encoding)
    if text.isascii():
        assert shown == text
    assert plain(text).isascii()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("arguments", [["ledger"], ["list"]])
def test_commands_print_in_every_encoding(arguments, encoding, monkeypatch):
    found = {}
    for name in ("utf-8", encoding):
        monkeypatch.setattr(sys, "stdout", stream(name))
        assert main(arguments) == 0
        found[name] = sys.stdout.buffer.getvalue().decode(name)
        assert sys.stdout.errors == "strict"
    assert len(found[encoding].splitlines()) == len(found["utf-8"].splitlines())
    if encoding == "ascii" and arguments == ["ledger"]:
        assert "±" in found["utf-8"] and "0.339 +- 0.0039" in found["ascii"]


def test_complaints_print_in_every_encoding(monkeypatch):
    for encoding in ENCODINGS:
        monkeypatch.setattr(sys, "stderr", stream(encoding))
        assert main(["run", "heat1d-ε⁻¹"]) == 2
        said = sys.stderr.buffer.getvalue().decode(encoding)
        assert said.count("\n") == 1 and ("heat1d-ε" in said or "heat1d-eps^-1" in said)


def test_an_error_handler_that_was_asked_for_stays(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace"))
    assert main(["ledger"]) == 0
    assert b"0.339 ? 0.0039" in sys.stdout.buffer.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line(monkeypatch, capsys):
    for arguments in (["list"], ["ledger"], ["--version"], ["run", "--help"]):
        with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert main(arguments) == 2
        assert "standard output: expected a place that can be written; received No space left" in capsys.readouterr().err
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert main(["run", "heat3d"]) == 2


def test_a_reader_that_has_gone_changes_no_status(monkeypatch, capsys):
    def diverged(options):
        terminal.say("a line")
        terminal.say("another")
        return 1

    monkeypatch.setattr(cli, "_list", diverged)
    for arguments, status in ((["ledger"], 0), (["list"], 1), (["--version"], 0)):
        read, written = os.pipe()
        os.close(read)
        with open(written, "w", encoding="utf-8") as pipe:
            monkeypatch.setattr(sys, "stdout", pipe)
            with contextlib.suppress(SystemExit):
                assert main(arguments) == status
        assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize(
    "redirection, status", [(">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0), (">/dev/full", 2), (">/dev/full 2>&-", 2)]
)
def test_closed_and_full_streams_of_a_shell(redirection, status):
    command = f'"{sys.executable}" -m hybrid_lib --version {redirection}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == status and "Traceback" not in done.stderr and done.stderr.count("\n") <= 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_as_ctrl_c_does(name, monkeypatch, capsys, tmp_path):
    number = getattr(signal, name, None)
    if number is None or signal.getsignal(number) is not signal.SIG_DFL:
        pytest.skip("not here")
    reports = []

    def end(result):
        reports.append(int(result.state.step))
        if len(reports) == 2:
            os.kill(os.getpid(), number)

    real = training.save

    def again(*arguments):  # a terminal that closes sends it twice
        if len(reports) == 2:
            os.kill(os.getpid(), number)
        real(*arguments)

    monkeypatch.setattr(training, "save", again)

    monkeypatch.setattr(cli.Progress, "__enter__", lambda self: (end,))
    steps = ["--set", "training.steps=40", "--set", "training.report_every=10"]
    out = tmp_path / "run"
    arguments = ["run", "heat1d-eps15", *SMALL, *steps, "--out", str(out)]
    assert main(arguments) == 128 + number
    err = capsys.readouterr().err
    forecast, line = err.splitlines()
    assert forecast.endswith("for 40 steps") and line == f"hybrid: ended by {name}; {out} continues with --resume"
    assert line.replace(str(out), "runs/a").replace("SIGHUP", "SIGTERM") in TROUBLE
    assert signal.getsignal(number) is signal.SIG_DFL
    assert (out / "config.json").exists() and not list(out.rglob("*.tmp"))
    assert training.steps_done(out / "checkpoint" / "state.npz") == reports[0] > 0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_in_the_middle_of_an_import_has_its_own_status(tmp_path):
    """Python ends as by SIGINT where an ``exec``, as of a dataclass, was left by a plain KeyboardInterrupt."""
    (tmp_path / "caught.py").write_text(
        "import os, signal, sys\nfrom hybrid_lib import terminal\nwith terminal.session():\n    try:\n"
        "        exec('os.kill(os.getpid(), signal.SIGTERM)')\n    except KeyboardInterrupt as error:\n"
        "        sys.exit(128 + terminal.signal_of(error))\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    done = subprocess.run([sys.executable, "-m", "caught"], env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_an_ignored_signal_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminal.session():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_command_in_another_thread_leaves_the_signals_alone(capsys):
    found = []
    thread = threading.Thread(target=lambda: found.append(main(["list"])))
    thread.start()
    thread.join()
    assert found == [0]
