r"""Several processes of one run: started together, ended together.

JAX joins them and sends what the layout asks for. The first process, the coordinator, writes and speaks; the others compute, each
with a line to it (:mod:`hybrid_lib.peers`), so that a loss, or an error, of one of them ends all.
"""

from __future__ import annotations

import atexit
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hybrid_lib.errors import InputError
from hybrid_lib.peers import GRACE, WAIT, Peers, complain, end

_peers: Peers | None = None


def distributed(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None, wait: int = WAIT
) -> bool:
    """Join the processes of a run; to be called in each of them, before anything is computed.

    Parameters
    ----------
    coordinator : str, optional
        HOST:PORT of the first process, with a port that is free there. Left out, with the other two, under Slurm, Open MPI and
        Kubernetes, which know.
    processes : int, optional
        How many.
    process : int, optional
        Which of them this is; 0 is the coordinator.
    wait : int
        Seconds to wait for the others.

    Returns
    -------
    bool
        Whether this process is the coordinator, which writes, and is to speak.

    Raises
    ------
    InputError
        For arguments that are missing or cannot be, a second call, a call after something was computed, and processes that do
        not find each other.

    Examples
    --------
    >>> distributed("localhost", 2, 0)
    Traceback (most recent call last):
    hybrid_lib.errors.InputError: coordinator: expected HOST:PORT; received 'localhost'; name the port, as in localhost:9911
    """
    import jax  # here and below: the command line looks at this module before it knows whether it needs JAX

    global _peers
    given = (coordinator, processes, process)
    if None in given and given != (None,) * 3:
        raise InputError("distributed", "coordinator, processes and process, or none of them", given, "give all three")
    if coordinator is not None:
        _check(coordinator, processes, process)
    if _peers is not None:
        raise InputError("distributed", "one call in a process", "a second one", "call it once, first of all")
    if on_cpu := os.environ.get("JAX_PLATFORMS", "") == "cpu" or not _accelerated():
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    late = threading.Timer(wait, _late, (coordinator, process, wait))  # JAX would wait twice as long, and abort
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=2 * wait)
    except (ValueError, TypeError) as error:
        remedy = "name HOST:PORT of the first process, how many there are, and which one this is"
        expected = "processes that Slurm, Open MPI or Kubernetes started"
        raise InputError("distributed", expected, str(error).splitlines()[0], remedy) from error
    except RuntimeError as error:
        raise _refused(error, coordinator) from None
    finally:
        late.cancel()
    if jax.process_count() > 1:
        _keep_output(on_cpu)
        _peers = Peers(jax.process_index(), jax.process_count())
        sys.excepthook = _excepthook
        atexit.register(_leave)
    return is_coordinator()


def is_coordinator() -> bool:
    """Whether this process is the one that writes: the first, or the only one."""
    return _peers is None or _peers.index == 0


def fail(line: str, status: int) -> None:
    """End all processes: the coordinator says `line`, whoever calls this; returns at once where there is only one process."""
    if _peers is not None:
        _peers.fail(line, status)


def lost(seconds: float = GRACE) -> None:
    """After an error that may come of the loss of another process: wait for the line to tell, which ends this one."""
    if _peers is not None:
        time.sleep(seconds)


def described(error: BaseException) -> str:
    """An error in a line, with the process that it befell."""
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return f"process {_peers.index} of {_peers.count}: {type(error).__name__}: {first}" if _peers is not None else first


def rescue_with(rescue: Callable[[], str] | None) -> None:
    """What to do, and to say, before a loss ends this process: save what there is, and tell how to go on."""
    if _peers is not None:
        _peers.rescue = rescue


def told(content: bytes) -> bytes:
    """The coordinator's `content`, in all processes."""
    if _peers is None:
        return content
    import numpy as np
    from jax.experimental import multihost_utils

    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(content), np.int32)))
    own = np.zeros(size, np.uint8) if _peers.index else np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(own)).tobytes() if size else b""


def agreed(value: float) -> float:
    """A number of the coordinator, in all processes: what the host decides has to be the same everywhere."""
    if _peers is None:
        return value
    return struct.unpack("d", told(struct.pack("d", value)))[0]


def everyone(flag: bool) -> bool:
    """Whether a condition holds in every process."""
    if _peers is None:
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.asarray(flag, np.int32))))


def _keep_output(on_cpu: bool) -> None:
    """Standard output for Python alone: gloo greets there, and NCCL writes its log."""
    sys.stdout.flush()
    old, kept = sys.stdout, os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null if on_cpu else 2, 1)
    os.close(null)
    sys.stdout = open(kept, "w", encoding=old.encoding, errors=old.errors, buffering=1)  # noqa: SIM115


def _check(coordinator: str, processes: int, process: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        remedy = "name the port, as in localhost:9911"
        raise InputError("coordinator", "HOST:PORT", repr(coordinator), remedy)
    if processes < 1:
        raise InputError("processes", "an integer >= 1", processes, "count all of them")
    if not 0 <= process < processes:
        raise InputError("process", f"an integer from 0 to {processes - 1}", process, "the coordinator is 0")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise InputError("coordinator", "a host that is known here", f"{coordinator}: {error.strerror}", "name another") from None


def _accelerated() -> bool:
    """Whether JAX will find another platform than the CPU, as far as can be told before it looks."""
    from importlib.util import find_spec

    kinds = ("cuda12", "cuda13", "rocm60", "rocm7")
    return any(find_spec(f"jax_{kind}_plugin") is not None for kind in kinds)


def _refused(error: RuntimeError, coordinator: str | None) -> InputError:
    """Why JAX does not join the processes."""
    text = str(error).splitlines()[0]
    if "before" in text or "once" in text:
        return InputError("distributed", "a call before anything is computed", "a later one", "call it first of all")
    if "RPC server" in text:
        remedy = "choose another port, the same in every process"
        return InputError("coordinator", "a port that is free on the first process", coordinator, remedy)
    return InputError("distributed", "processes that JAX can join", text[:120], "see the page on several devices")


def _late(coordinator: str | None, process: int | None, wait: int) -> None:
    """The end of a process that does not meet the others."""
    where = "the coordinator" if coordinator is None else coordinator
    received = "no answer" if process else "fewer of them" if process == 0 else "none, or fewer of them"
    remedy = "see that all are started, with the same HOST:PORT of the first, and that it can be reached"
    complain(f"hybrid: {InputError('distributed', f'all processes at {where} within {wait} s', received, remedy)}")
    end(2)


def _excepthook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """An error that nobody caught ends all processes: one line for bad input, else the trace of the process that failed."""
    if isinstance(error, InputError):
        fail(f"hybrid: {error}", 2)
    lost()
    sys.__excepthook__(kind, error, trace)
    fail(f"hybrid: {described(error)}", 1)


def _leave() -> None:
    """At the end of a process that has done its part."""
    if _peers is not None:
        _peers.leave()
        with suppress(Exception):
            import jax

            jax.distributed.shutdown()
