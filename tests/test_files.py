"""Files: a write that fails leaves what was there before, a kill leaves nothing in the way, line ends change no hash."""

import errno
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from test_folder import CONFIG, SHORT, problem

from hybrid_lib import experiments, training
from hybrid_lib import files as written
from hybrid_lib.cli import main
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import folder, references
from hybrid_lib.replication import CLAIMS, check, results_folder, table, write


@pytest.fixture
def full(monkeypatch):
    """A disk that is full from the n-th write on; None makes room again."""
    real, left = written._synchronise, [None]

    def synchronise(handle):
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(written, "_synchronise", synchronise)
    return lambda count: left.__setitem__(0, count)


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_threads_that_write_the_same_file_do_not_meet(tmp_path):
    path, failed = tmp_path / "a.npz", []

    def often(sign: bytes) -> None:
        for _ in range(100):
            try:
                training.write_atomically(path, 1000 * sign)
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=often, args=(sign,)) for sign in (b"a", b"b", b"c")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failed == [] and path.read_bytes() in (1000 * b"a", 1000 * b"b", 1000 * b"c")
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_write_that_fails_changes_nothing(full, tmp_path):
    training.write_atomically(tmp_path / "a", b"old")
    full(0)
    with pytest.raises(InputError, match="a: expected a file that can be written; received No space left on device; make room"):
        training.write_atomically(tmp_path / "a", b"new")
    full(1)
    with pytest.raises(InputError, match="b: expected a file that can be written"):
        training.write_together({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert files(tmp_path) == {"a": b"old"}
    full(None)
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="c: expected a file that can be written; received Is a directory"):
        training.write_atomically(tmp_path / "c", b"new")
    with pytest.raises(InputError, match="expected a file that can be written"):
        training.write_atomically(tmp_path / "a" / "b", b"new")
    assert files(tmp_path) == {"a": b"old"}


def test_a_file_keeps_its_permissions_and_a_link_stays_one(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o664)
    (tmp_path / "link").symlink_to("old")
    training.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "old").read_bytes() == b"new"
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o664 and len(files(tmp_path)) == 2


def test_a_file_of_a_long_name_is_written_with_the_usual_permissions(tmp_path):
    name = "ä" * 120
    training.write_atomically(tmp_path / name, b"1")
    (tmp_path / "other").write_bytes(b"1")
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("writes", [0, 4])
def test_the_same_command_works_when_there_is_room_again(writes, full, tmp_path):
    full(writes)
    with pytest.raises(InputError, match="No space left on device"):
        experiments.train(problem(), SHORT, out=tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []
    full(None)
    with folder.claimed(tmp_path / "new" / "run", CONFIG, (0,), False):
        pass


def test_a_disk_that_fills_up_later_keeps_the_run(full, tmp_path):
    def fill(result):
        if int(result.state.step) == 2:
            full(0)

    config = experiments.with_settings(CONFIG, {"training.report_every": "1", "training.record_every": "1"})
    with pytest.raises(InputError, match="No space left on device"):
        experiments.train(problem(), config, out=tmp_path / "run", callbacks=(fill,), checkpoint_every=0)
    assert training.steps_done(tmp_path / "run" / "checkpoint" / "state.npz") == 1
    assert not list(tmp_path.rglob("*.tmp"))
    full(None)
    assert experiments.train(problem(), config, out=tmp_path / "run", resume=True).summary["steps"] == 4


def test_what_a_kill_left_half_written_is_not_in_the_way(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    for name in (".problem.npz.1234.tmp", "checkpoint/.state.npz.0123456789ab.tmp"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(InputError, match="start it without resume=True"), folder.claimed(tmp_path, CONFIG, (0,), True):
        pass
    with folder.claimed(tmp_path, CONFIG, (0,), False):
        assert files(tmp_path) == {}


def test_a_folder_with_something_else_sends_nobody_in_a_circle(tmp_path):
    (tmp_path / ".notes.tmp").write_text("mine")
    for resume, expected in ((True, "a run directory with config.json"), (False, "a new or empty directory")):
        with pytest.raises(InputError, match=expected) as error, folder.claimed(tmp_path, CONFIG, (0,), resume):
            pass
        assert error.value.remedy.endswith("choose another out=") and "resume=" not in error.value.remedy


def test_a_folder_that_cannot_be_made_is_refused_at_once():
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    with pytest.raises(InputError, match="out: expected a directory that can be written"), folder.locked(Path("/proc/run")):
        pass


@pytest.mark.parametrize("option", ["results", "runs"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(option, monkeypatch, capsys, tmp_path):
    (tmp_path / "locked").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and real(path, mode))
    places = {"results": tmp_path, "runs": tmp_path} | {option: tmp_path / "locked" / "new"}
    assert main(["reproduce", "kstar-1d", *(text for key, path in places.items() for text in (f"--{key}", str(path)))]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"--{option}: expected a folder that can be written" in err
    assert os.listdir(tmp_path) == ["locked"]


def test_references_need_no_cache(full, monkeypatch, tmp_path):
    """The cache is a file, the disk is full: the same numbers, and nothing is left."""
    (tmp_path / "file").write_text("")
    config = experiments.configuration("heat2d")
    found = []
    for place in ("file", "kept"):
        monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path / place))
        full(0)
        found.append(references._cached(experiments.problem_of(config), 10))
        full(None)
    references._cached(experiments.problem_of(config), 10)
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert [p.name for p in tmp_path.rglob("*.*")] == [p.name for p in (tmp_path / "kept").iterdir()]


def test_without_a_home_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("HYBRID_LIB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert references.cache_directory() == tmp_path / ".cache" / "hybrid_lib"
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    with pytest.raises(InputError):
        training.write_atomically(references.cache_directory() / "a", b"")
    assert list(tmp_path.iterdir()) == []


def test_line_ends_of_a_checkout_change_no_hash(tmp_path):
    shutil.copytree(results_folder(), tmp_path / "results")
    before = (tmp_path / "results" / "ledger.json").read_bytes()
    for path in (tmp_path / "results").rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert check(tmp_path / "results") == []
    write(tmp_path / "results")
    assert (tmp_path / "results" / "ledger.json").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [["ledger"], ["ledger", "--update"], ["ledger", "--check"], ["ledger", "--json"], ["reproduce", "--pending", "--list"]],
)
def test_outside_of_a_clone_the_ledger_says_where_it_looked(arguments, monkeypatch, capsys, tmp_path):
    installed = tmp_path / "site-packages" / "hybrid_lib" / "ledger" / "table.py"
    (tmp_path / "site-packages" / "book").mkdir(parents=True)  # another package
    monkeypatch.setattr(table, "__file__", str(installed))
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and f"nor in {tmp_path}; change into a clone" in err
    assert files(tmp_path) == {} and os.listdir(tmp_path) == ["site-packages"]


def test_a_ledger_is_not_made_of_nothing(capsys, tmp_path):
    for place in (tmp_path, tmp_path / "new"):
        assert main(["ledger", "--update", "--results", str(place)]) == 2
        assert f"--results: expected a folder with artefacts; received none in {place}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] and len(CLAIMS) > 0
