r"""Several processes of one run: started together, ended together.

JAX joins them and sends what the layout asks for. Here is what it leaves open. The first process, the coordinator, writes and
speaks; the others compute. Each of them keeps a line to it, a connection that the system closes when a process ends, however it
ends: what one of them complains of, and that one is lost, is known at once, said once, and ends all. JAX itself notices after
its time-out, in many lines, and for a program that waits in a collective operation nothing else can.
"""

from __future__ import annotations

import atexit
import os
import secrets
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hybrid_lib.errors import InputError

WAIT = 60
"""Seconds for which processes wait for each other at the start; ``distributed(wait=…)`` sets another."""
GRACE = 5.0
"""Seconds in which what has been lost is to be told, and the others are to end."""
_KEY = "hybrid_lib/line"
NOISE = ("coordination_service", "preemption_sync_manager", "Additional GRPC error", ":UNKNOWN:Error received")
"""What JAX says of a loss beside that it ends the process."""
FILTER = '''
import os, sys
loss, *noise = map(os.fsencode, sys.argv[1:])
said = not loss
for line in sys.stdin.buffer:
    if b"client.h:" in line and loss:
        line = loss + b"\\n"
    elif b"client.h:" in line or any(part in line for part in noise):
        continue
    if line.startswith(b"hybrid: process 0 of "):
        if said:
            continue
        said = True
    os.write(2, line)
'''
_peers: _Peers | None = None


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
        _peers = _Peers(jax.process_index(), jax.process_count())
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
    _complain(f"hybrid: {InputError('distributed', f'all processes at {where} within {wait} s', received, remedy)}")
    _exit(2)


def _first_line(line: socket.socket, most: int = 64) -> bytes:
    """What comes up to the end of a line, and nothing of what comes after it."""
    found = b""
    while len(found) < most and not found.endswith(b"\n"):
        if not (byte := line.recv(1)):
            break
        found += byte
    return found


class _Peers:
    """The line between the processes: the coordinator holds one connection to each of the others."""

    def __init__(self, index: int, count: int):
        self.index, self.count = index, count
        self.rescue: Callable[[], str] | None = None
        self._ending = threading.Lock()
        self._sockets: dict[int, socket.socket] = {}
        self._gone: set[int] = set()
        # nothing public has the store of keys, and says where the coordinator is
        from jax._src.distributed import global_state

        if index == 0:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            server = socket.create_server(("", 0), family=family, dualstack_ipv6=both)
            server.settimeout(WAIT)
            token = secrets.token_hex(16)
            global_state.client.key_value_set(_KEY, f"{server.getsockname()[1]} {token}")
            while len(self._sockets) < count - 1:
                line, _ = server.accept()
                line.settimeout(GRACE)
                with suppress(OSError, ValueError):  # whoever else calls at this port
                    number, said = _first_line(line).split()
                    if secrets.compare_digest(said, token.encode()) and 0 < int(number) < count:
                        self._sockets[int(number)] = line
                        continue
                line.close()
            server.close()
        else:
            port, token = global_state.client.blocking_key_value_get(_KEY, 1000 * WAIT).split()
            host = global_state.coordinator_address.rpartition(":")[0].strip("[]")
            line = socket.create_connection((host, int(port)), WAIT)
            line.sendall(f"{index} {token}\n".encode())
            self._sockets[0] = line
            self._filter()
        for line in self._sockets.values():
            line.settimeout(None)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        threading.Thread(target=self._listen, name="line", daemon=True).start()

    def _filter(self) -> None:
        """Pass standard error through another process, which says the loss of the coordinator in a line, where JAX has ten."""
        sys.stderr.flush()
        reader, writer = os.pipe()
        command = [sys.executable, "-S", "-c", FILTER, self._loss(0) if self.index == 1 else "", *NOISE]
        with suppress(OSError):
            subprocess.Popen(command, stdin=reader, stdout=subprocess.DEVNULL, start_new_session=True)
            os.dup2(writer, 2)
        os.close(reader)
        os.close(writer)

    def _loss(self, index: int, remedy: str = "resume it, on as many processes as there are") -> str:
        what = "the coordinator" if index == 0 else f"process {index}"
        error = InputError(f"process {index} of {self.count}", "all processes up to the end", f"{what} is lost", remedy)
        return f"hybrid: {error}"

    def fail(self, line: str, status: int) -> None:
        """Say `line` and end all, or have the coordinator do so."""
        if not self._ending.acquire(blocking=False):
            time.sleep(10 * GRACE)  # another thread is about to end this process
        if self.index == 0:
            self._end(line, status)
        with suppress(OSError):
            self._sockets[0].sendall(f"{status} {line}\n".encode(errors="replace"))
            time.sleep(GRACE)
        _exit(status)

    def leave(self) -> None:
        """Say that this process has done its part."""
        self._ending.acquire(blocking=False)
        for line in self._sockets.values():
            with suppress(OSError):
                line.sendall(b"done\n")

    def _end(self, line: str, status: int) -> None:
        """The end of all, from the coordinator."""
        _complain(line)
        for other in self._sockets.values():
            with suppress(OSError):
                other.sendall(f"{status} \n".encode())
        until = time.monotonic() + GRACE
        for other in self._sockets.values():  # the service of JAX is in this process: it goes last
            with suppress(OSError):
                other.settimeout(max(until - time.monotonic(), 0.01))
                while other.recv(4096):
                    pass
        _exit(status)

    def _listen(self) -> None:
        waiting = selectors.DefaultSelector()
        rest = {}
        for index, line in self._sockets.items():
            waiting.register(line, selectors.EVENT_READ, index)
            rest[index] = b""
        while waiting.get_map():
            for key, _ in waiting.select():
                try:
                    got = key.fileobj.recv(4096)
                except OSError:
                    got = b""
                if got:
                    *lines, rest[key.data] = (rest[key.data] + got).split(b"\n")
                    for line in lines:
                        self._hear(key.data, line.decode(errors="replace"))
                    continue
                waiting.unregister(key.fileobj)
                if key.data not in self._gone:
                    self._lost(key.data)

    def _hear(self, index: int, line: str) -> None:
        """A line of another process: that it is done, or what ends all."""
        if line == "done":
            self._gone.add(index)
            return
        status, _, text = line.partition(" ")
        if not self._ending.acquire(blocking=False):
            return
        if self.index == 0:
            self._saved()
            self._end(text, int(status))
        _exit(int(status))

    def _lost(self, index: int) -> None:
        """The end after a loss: the coordinator says it, or the first of the others, if it is the coordinator that is lost."""
        if not self._ending.acquire(blocking=False):
            return
        if self.index == 0:
            self._end(self._loss(index, self._saved()), 1)
        _complain(self._loss(index) if self.index == 1 else "")
        _exit(1)

    def _saved(self) -> str:
        """Save, for at most ten seconds, and say how to go on."""
        said = ["run it again, on as many processes as there are"]
        rescue = self.rescue
        if rescue is not None:
            saver = threading.Thread(target=lambda: said.append(rescue()), daemon=True)
            saver.start()
            saver.join(10)
        return said[-1]


def _complain(line: str) -> None:
    if line:
        with suppress(OSError):
            os.write(2, f"{line}\n".encode(errors="replace"))


def _exit(status: int) -> None:
    """End this process at once: those that are lost would be waited for."""
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(status)


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
