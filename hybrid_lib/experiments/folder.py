r"""The directory of a run: claimed and locked by the process that writes it, and the record of what the run solves.

It holds ``config.json``, ``environment.json``, ``problem.npz``, ``history.npz``, ``finish.npz`` (of a run
with a Ritz finish), ``checkpoint/state.npz`` and ``summary.json``.
Nothing in it is overwritten by another run: not by one with other settings, nor with another medium, source, direction or
start, as far as values at some thousand points and integrals of the reference tell, nor by a second process on the same run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hybrid_lib import training
from hybrid_lib.config import ABSENT, LEFT_OUT, Config, as_dict, fingerprint, flat
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.identity import MOST_POINTS, problem_record, same
from hybrid_lib.experiments.references import Reference
from hybrid_lib.problems import Problem
from hybrid_lib.units import units

try:
    import fcntl
except ImportError:  # pragma: no cover, Windows: two processes in one directory are the user's care there
    fcntl = None

Tree = Any
BEGUN = ("config.json", "environment.json", "problem.npz", "checkpoint/state.npz")
"""Files of a run that has begun."""
FILES = (*BEGUN, "history.npz", "finish.npz", "summary.json")
"""All files of a run."""
_LEFT = re.compile(rf"\.({'|'.join(re.escape(Path(name).name) for name in FILES)})\.[0-9a-f]+\.tmp")
UNKNOWN = "given"
"""Stands in the place of a digest where parameters were given and the run has not begun yet."""


class InUseError(InputError):
    """Another process writes to the run directory."""


class RunFolder:
    """A run directory that this process has claimed; made by :func:`claimed`.

    Attributes
    ----------
    path : Path
    checkpoint : Path
        ``checkpoint/state.npz``; it exists as soon as a run can be continued.
    identity : str
        The fingerprint that the run was begun with.
    """

    def __init__(self, path: Path, config: Config, seeds: tuple[int, ...], identity: str | None = None):
        self.path, self.checkpoint = path, path / "checkpoint" / "state.npz"
        self.identity = identity or fingerprint(config, seeds)
        self._config, self._seeds = config, seeds

    def write_config(self, initial: str | None) -> None:
        """Write ``config.json``: the settings, the seeds, and the digest of the parameters that the run started from."""
        content = {
            "config": as_dict(self._config),
            "seeds": list(self._seeds),
            "fingerprint": self.identity,
            "initial": initial,
        }
        write_json(self.path / "config.json", content)

    def write_environment(self, now: dict[str, Any]) -> None:
        """Write ``environment.json``: `now`, with the sources and devices of earlier slices under ``earlier``."""
        path = self.path / "environment.json"
        if path.exists():
            before = read_json(path)
            earlier = before.pop("earlier", [])
            mark = {key: before.get(key) for key in ("source", "device", "platform", "x64")}
            same = mark == {key: now[key] for key in mark} or mark in earlier
            earlier = earlier if same else [*earlier, mark]
            now = now | ({"earlier": earlier} if earlier else {})
        write_json(path, now)

    def check_initial(self, digest: str | None) -> str | None:
        """The digest of the start of the run that is resumed; refuses another start than the first call's.

        Where the directory does not say (a run of an older version, or one killed while it was assembled) a given start is taken.
        """
        content = read_json(self.path / "config.json")
        known = content.get("initial", UNKNOWN if digest is not None else None)
        if digest == known or (known == UNKNOWN and digest is not None):
            return digest
        begun = self.checkpoint.exists()
        if digest is None and begun:
            return known
        then = "none: the run starts from what its seeds draw" if known is None else "the parameters of the first call"
        remedy = "leave initial out, or choose another out=" if begun or known is None else "pass them again"
        raise InputError("resume, initial", then, "none" if digest is None else "other parameters", remedy)

    def check_problem(self, problem: Problem, reference: Reference | None, what: str = "resume") -> None:
        """Refuse another medium, source, direction or domain than those of the run that is resumed, or read."""
        stored = self.record()
        if not stored:
            return
        for name, now in problem_record(problem, reference, stored["points"]).items():
            if name == "reference" and name not in stored:
                continue  # begun without one
            if not same(stored.get(name), now):
                name = "medium or source" if name == "reference" else name
                remedy = "resume with the same problem, or choose another out="
                remedy = remedy if what == "resume" else "pass the problem of the run"
                raise InputError(f"{what}, {name}", f"that of the run in {self.path}", "another", remedy)

    def frequencies(self, like: Tree) -> Tree | None:
        """The frequencies of all seeds that the run was begun with, in the structure of `like`; None if there is no record."""
        stored = self.record()
        leaves, structure = jax.tree.flatten(like)
        found = [stored.get(f"fixed{k}") for k in range(len(leaves))]
        if not stored or any(a is None or a.shape != b.shape for a, b in zip(found, leaves, strict=True)):
            return None
        return jax.tree.unflatten(structure, [a.astype(b.dtype) for a, b in zip(found, leaves, strict=True)])

    def write_problem(self, problem: Problem, reference: Reference | None, points: np.ndarray, fixed: Tree) -> None:
        """Write ``problem.npz``, unless it is there: what :meth:`check_problem` looks at, and the frequencies of all seeds."""
        if self.record():
            return
        arrays = problem_record(problem, reference, points[:MOST_POINTS].astype(float))
        arrays["units"] = np.asarray(units(problem))  # what the network's factor needs, for who reads the run without the problem
        arrays |= {f"fixed{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(fixed))}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        training.write_atomically(self.path / "problem.npz", buffer.getvalue())

    def record(self) -> dict[str, np.ndarray]:
        """What ``problem.npz`` holds; empty where there is none."""
        path = self.path / "problem.npz"
        if not path.exists():  # a run of an older version, or one that has not begun
            return {}
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except training.UNREADABLE:
            remedy = "restore it, or run again in another folder"
            raise InputError(str(path), "a record written by this library", "something else", remedy) from None


@contextlib.contextmanager
def claimed(
    out: Path | str, config: Config, seeds: tuple[int, ...], resume: bool, saving: bool = False
) -> Iterator[RunFolder]:
    """A run directory for the time of the context: locked, and removed again if the run fails before its first step.

    Parameters
    ----------
    out : path
    config : Config
    seeds : tuple of int
    resume : bool
        Whether it is to exist already.
    saving : bool
        What is saved is not resumed.

    Raises
    ------
    InputError
        If `out` cannot be written, is in use by another process (:class:`InUseError`), holds a run although `resume` is off,
        holds none although it is on, or holds one with other settings; the first that differs is named.
    """
    out = Path(out)
    if os.path.exists(out) and not os.path.isdir(out):
        raise InputError("out", "a directory", out, "choose another out=")
    if resume and not os.path.exists(out / "config.json"):
        remedy = "choose another out=" if os.path.isdir(out) and _content(out) else "start it without resume=True"
        raise InputError("resume", "a run directory with config.json", out, remedy)
    new = [path for path in (out, *out.parents) if not os.path.exists(path)]
    with locked(out):
        _sweep(out)
        if not resume and _content(out):
            remedy = "choose another out=" if saving else "add resume=True to continue it, or choose another out="
            if not (out / "config.json").exists():
                remedy = "there is no run in it: choose another out="
            raise InputError("out", "a new or empty directory", out, remedy)
        folder = RunFolder(out, config, seeds, _same_settings(out, config, seeds) if resume else None)
        done = training.steps_done(folder.checkpoint) if resume else 0
        if done > config.training.steps:
            remedy = "leave training.steps as it was, or choose another out="
            raise InputError("resume, training.steps", f"at least the {done:,} that are done", config.training.steps, remedy)
        try:
            yield folder
        except BaseException as error:
            if not resume and not _can_go_on(folder.checkpoint, error):
                _undo(out, new)
            raise


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make a directory and hold an exclusive lock on it, where the file system has locks; it ends with the process at the latest.

    Raises
    ------
    InUseError
        If another process holds it.
    InputError
        If the directory cannot be made or written.
    """
    handle = _lock(Path(out))
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may still hold the handle
            os.close(handle)


class Saver:
    """A callback that saves every `every` seconds, and what came last when asked to."""

    def __init__(self, path: Path, identity: str, every: float):
        self._path, self._identity, self._every = path, identity, every
        self._at, self._unsaved = time.perf_counter(), None

    def __call__(self, result: training.FitResult) -> None:
        """Take note of `result`, and save it if it is time."""
        self._unsaved = result
        if time.perf_counter() - self._at >= self._every:
            self.save()

    def save(self) -> None:
        """Save what came last, unless it is saved."""
        if self._unsaved is not None:
            training.save(self._path, self._unsaved, self._identity)
            self._at, self._unsaved = time.perf_counter(), None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or one line that says that it is none."""
    found = "something else"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        content, found = None, getattr(error, "strerror", None) or found
    if not isinstance(content, dict):
        remedy = "restore it, or run again in another folder"
        raise InputError(str(path), "a JSON object written by this library", found, remedy)
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    training.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _lock(out: Path) -> int | None:
    while True:
        handle = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            refused = None if os.access(out, os.R_OK | os.W_OK | os.X_OK) else "no permission to write"
            if not refused and fcntl is not None:
                with contextlib.suppress(FileNotFoundError):  # its owner has failed and removed it in between
                    handle = os.open(out, os.O_RDONLY)
        except OSError as error:
            refused = error.strerror
        if refused:
            raise InputError("out", "a directory that can be written", f"{out}: {refused}", "choose another out=")
        if fcntl is None:  # pragma: no cover
            return None
        if handle is None:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            remedy = "wait for it, or choose another out="
            raise InUseError("out", "a directory that no other run writes to", out, remedy) from None
        except OSError:  # pragma: no cover, network file systems
            os.close(handle)
            return None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(out)):
                return handle
        os.close(handle)


def _content(out: Path) -> list[Path]:
    """What lies in a directory, but for what a kill left half written."""

    def left(path: Path) -> bool:
        return bool(_LEFT.fullmatch(path.name)) or (path.name == "checkpoint" and path.is_dir() and not _content(path))

    try:
        return [path for path in out.iterdir() if not left(path)]
    except OSError as error:
        raise InputError("out", "a directory that can be read", f"{out}: {error.strerror}", "choose another out=") from None


def _sweep(out: Path) -> None:
    """Remove what a kill left half written; only with the lock, for others may be writing it."""
    for path in (*out.glob(".*.tmp"), *out.glob("checkpoint/.*.tmp")) if fcntl is not None else ():
        if _LEFT.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _can_go_on(checkpoint: Path, error: BaseException) -> bool:
    """Whether something is worth keeping: steps, or the start of a run that was stopped by hand."""
    if not checkpoint.exists():
        return False
    try:
        return isinstance(error, KeyboardInterrupt) or training.steps_done(checkpoint) > 0
    except InputError:
        return True


def _undo(out: Path, new: list[Path]) -> None:
    """Remove what a run has left that failed before its first step: its own files, and the directories that it made."""
    with contextlib.suppress(OSError):
        for name in BEGUN:
            (out / name).unlink(missing_ok=True)
        for path in (out / "checkpoint", *new):
            if path.exists():
                path.rmdir()


def _same_settings(out: Path, config: Config, seeds: tuple[int, ...]) -> str | None:
    """The fingerprint that a run was begun with; refuses to go on with other settings, and names the first that differs.

    What the directory says is completed by what its version stood for, so that neither a changed default nor a new setting
    makes two runs one.
    """
    path = out / "config.json"
    before = read_json(path)
    then = before.get("config")
    if not isinstance(then, dict):
        raise InputError(str(path), "the settings of a run", "none", "restore it, or run again in another folder")
    then = ABSENT | flat(then) | {"seeds": before.get("seeds")}
    now = flat(json.loads(json.dumps(as_dict(config)))) | {"seeds": list(seeds)}
    for key in dict.fromkeys([*now, *then]):
        if key in LEFT_OUT:
            continue
        if key not in now:
            remedy = "resume with the version that began the run"
            raise InputError(f"resume, {key}", "a setting of this version", then[key], remedy)
        if json.loads(json.dumps(then.get(key))) != now[key]:
            remedy = "resume with the same options, or choose another out="
            raise InputError(f"resume, {key}", f"{then.get(key)}, as in {path}", now[key], remedy)
    return before.get("fingerprint")
