r"""The line between the processes of one run: what befalls one of them is told to all.

The first process, the coordinator, holds a connection to each of the others, which the system closes when a process ends, however
it ends: what one of them complains of, and that one is lost, is known at once, said once, and ends all. JAX itself notices after
its time-out, in many lines, and for a program that waits in a collective operation nothing else can.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

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


class Peers:
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
        end(status)

    def leave(self) -> None:
        """Say that this process has done its part."""
        self._ending.acquire(blocking=False)
        for line in self._sockets.values():
            with suppress(OSError):
                line.sendall(b"done\n")

    def _end(self, line: str, status: int) -> None:
        """The end of all, from the coordinator."""
        complain(line)
        for other in self._sockets.values():
            with suppress(OSError):
                other.sendall(f"{status} \n".encode())
        until = time.monotonic() + GRACE
        for other in self._sockets.values():  # the service of JAX is in this process: it goes last
            with suppress(OSError):
                other.settimeout(max(until - time.monotonic(), 0.01))
                while other.recv(4096):
                    pass
        end(status)

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
        end(int(status))

    def _lost(self, index: int) -> None:
        """The end after a loss: the coordinator says it, or the first of the others, if it is the coordinator that is lost."""
        if not self._ending.acquire(blocking=False):
            return
        if self.index == 0:
            self._end(self._loss(index, self._saved()), 1)
        complain(self._loss(index) if self.index == 1 else "")
        end(1)

    def _saved(self) -> str:
        """Save, for at most ten seconds, and say how to go on."""
        said = ["run it again, on as many processes as there are"]
        rescue = self.rescue
        if rescue is not None:
            saver = threading.Thread(target=lambda: said.append(rescue()), daemon=True)
            saver.start()
            saver.join(10)
        return said[-1]


def complain(line: str) -> None:
    """Say `line`, if there is one, on standard error, whatever Python has made of it."""
    if line:
        with suppress(OSError):
            os.write(2, f"{line}\n".encode(errors="replace"))


def end(status: int) -> None:
    """End this process at once: those that are lost would be waited for."""
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(status)


def _first_line(line: socket.socket, most: int = 64) -> bytes:
    """What comes up to the end of a line, and nothing of what comes after it."""
    found = b""
    while len(found) < most and not found.endswith(b"\n"):
        if not (byte := line.recv(1)):
            break
        found += byte
    return found
