"""Ends a process whose training stands still: a program that waits for itself cannot be interrupted from Python.

What counts is processor time, not the clock: a process that was stopped, a machine that slept, and one that is busy with other
work are not standing still. On an accelerator the host may rightly be idle, and so may one of several processes: there nothing
is watched.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax

from hybrid_lib import processes
from hybrid_lib.errors import InputError

SECONDS = 60.0
"""Without processor time for this long inside a program the process ends; ``HYBRID_LIB_STANDSTILL`` sets another, 0 for never."""
STATUS = 1
"""Exit status, that of any run that failed."""
RESCUE = 10.0
"""Seconds to save what there is."""
TICK = 0.5
USED = 0.005
"""Seconds of processor time a second that a waiting process may use: its other threads look around now and then."""


class Watchdog:
    """A context in which :meth:`watched` blocks are watched.

    Parameters
    ----------
    rescue : callable () -> str
        Saves what there is and says how to go on; it has :data:`RESCUE` seconds. It may be exchanged.
    """

    def __init__(self, rescue: Callable[[], str]):
        self.rescue, self._limit, self._what = rescue, standstill_seconds(), None
        self._over = threading.Event()

    def __enter__(self) -> Watchdog:
        processes.rescue_with(lambda: self.rescue())
        if self._limit and jax.default_backend() == "cpu" and jax.process_count() == 1:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, error: Any, *_) -> None:
        self._over.set()
        if error is None:  # else it may be the loss of a process, and this one is about to end
            processes.rescue_with(None)

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Watch what is done inside, called `what` in the message."""
        self._what = what
        try:
            yield
        finally:
            self._what = None

    def _watch(self) -> None:
        still, before = 0.0, time.process_time()
        while not self._over.wait(TICK):  # a stopped process does not come by here: only time that it could have used counts
            now, what = time.process_time(), self._what
            idle = what is not None and now - before < USED * TICK and not _others_run()
            still, before = (still + TICK if idle else 0.0), now
            if still >= self._limit and what == self._what:
                self._end(what)

    def _end(self, what: str) -> None:
        said = ["nothing was kept"]
        saver = threading.Thread(target=lambda: said.append(self.rescue()), daemon=True)
        saver.start()
        saver.join(RESCUE)
        error = InputError(
            what, "processor time", f"none for {self._limit:g} s", f"run it again with NPROC=1, one thread; {said[-1]}"
        )
        with suppress(OSError):
            os.write(2, f"hybrid: {error}\n".encode(errors="replace"))
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(STATUS)


def standstill_seconds() -> float:
    """The limit in force, from ``HYBRID_LIB_STANDSTILL``; 0 watches nothing."""
    text = os.environ.get("HYBRID_LIB_STANDSTILL", "")
    try:
        seconds = float(text or SECONDS)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise InputError("HYBRID_LIB_STANDSTILL", "seconds >= 0", repr(text), "0 watches nothing")
    return seconds


def _others_run() -> bool:
    """Whether another thread runs, or waits for a processor or a disk; where the system does not say, no."""
    own = threading.get_native_id()
    with suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            if task.name != str(own):
                with suppress(OSError, IndexError):  # a thread may end meanwhile
                    if (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] in "RD":
                        return True
    return False
