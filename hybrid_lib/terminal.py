r"""The terminal of the command line: signs for every encoding, streams that may be closed or full, signals that end a run.

Only the command line uses it. The library itself writes to no stream and installs no handler of signals.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from types import FrameType

from hybrid_lib.errors import InputError

HANDLER = "hybrid_lib.signs"
ENDING = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK")
"""Signals that end a command as Ctrl-C does, where the system has them."""
REPEATED = 10.0
"""Seconds for which the same signal again changes nothing: a terminal that closes sends SIGHUP twice."""
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "…": "...", "×": "x", "·": "*", "∙": "*", "±": "+-", "∓": "-+",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∼": "~", "→": "->", "↦": "->", "←": "<-", "⇒": "=>", "‖": "||", "∥": "||",
    "∂": "d", "∇": "grad", "∫": "int", "√": "sqrt", "∑": "sum", "∏": "prod", "∞": "inf", "∈": "in", "⊂": "in", "∪": "u",
    "∩": "n", "⊕": "+", "⊗": "x", "∘": "o", "⌊": "[", "⌋": "]", "⌈": "[", "⌉": "]", "⟨": "<", "⟩": ">", "′": "'", "‘": "'",
    "’": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "°": "deg", "µ": "mu", "ε": "eps", "ϵ": "eps", "⁄": "/",
    "•": "*", "●": "*", "◐": "*", "○": "o", "ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "ᵀ": "^T", "ˣ": "^x", "\u0302": "-hat",
    "\u0303": "-tilde", "\u0304": "-bar", "\u0307": "-dot",
}  # fmt: skip
_UP = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_DOWN = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))


class Ended(KeyboardInterrupt):
    """Another signal than SIGINT. A plain KeyboardInterrupt in an ``exec``, as in imports, would end Python as SIGINT does."""


@contextlib.contextmanager
def session() -> Iterator[None]:
    """The streams and the signals of a command, for as long as it runs; in another thread than the main one only the streams."""
    _open_closed_streams()
    codecs.register_error(HANDLER, _fallback)
    changed = []
    for stream in (sys.stdout, sys.stderr):
        # where a stream was told to replace, it does so
        if getattr(stream, "errors", "") in ("strict", "surrogateescape", "backslashreplace") and hasattr(stream, "reconfigure"):
            changed.append((stream, stream.errors))
            stream.reconfigure(errors=HANDLER)
    before = _catch_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for stream, errors in changed:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


def say(text: str, end: str = "\n") -> None:
    """Print to standard output. Where its reader has gone, as in ``| head -1``, nothing more is printed and the command goes on.

    Raises
    ------
    InputError
        If it cannot be written for another reason, as on a full disk.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise InputError("standard output", "a place that can be written", error.strerror, "write to another one") from None


def complain(text: str) -> None:
    """Print a line to standard error, or nowhere, if there is none that can be written."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def signal_of(error: KeyboardInterrupt) -> signal.Signals:
    """The signal behind a :class:`KeyboardInterrupt`: SIGINT for Ctrl-C, else one of :data:`ENDING`."""
    return next((item for item in error.args if isinstance(item, signal.Signals)), signal.SIGINT)


def plain(text: str, before: str = "", after: str = "") -> str:
    r"""`text` in ASCII: signs by their names or a likeness, letters without their marks, the rest as an escape.

    Parameters
    ----------
    text : str
    before, after : str
        What stands beside it; a name keeps a space from letters.

    Examples
    --------
    >>> plain("‖u‖ ≤ 10⁻³ ε², K̂ − √3")
    '||u|| <= 10^-3 eps^2, K-hat - sqrt 3'
    """
    out = ""
    for k, sign in enumerate(text):
        left, right = text[k - 1] if k else before[-1:], text[k + 1] if k + 1 < len(text) else after[:1]
        if sign in _UP or sign in _DOWN:
            same = _UP if sign in _UP else _DOWN
            out += ("" if left in same and left else "^_"[same is _DOWN]) + same[sign]
            continue
        name = sign if sign.isascii() else _name(sign)
        word = len(name) > 1 and name.isalpha() and not unicodedata.name(sign).startswith("LATIN")
        out += " " * (word and left.isalpha() and not out.endswith(" ")) + name
        out += " " * (word and right.isascii() and right.isalnum())
    return out


def _name(sign: str) -> str:
    """One sign in ASCII."""
    if sign in _SIGNS:
        return _SIGNS[sign]
    if "\udc80" <= sign <= "\udcff":  # a byte of a file name that is no text
        return f"\\x{ord(sign) - 0xDC00:02x}"
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?([A-Z]+)", unicodedata.name(sign, ""))
    if greek:
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    parts = unicodedata.normalize("NFKD", sign)
    if parts != sign:
        return "".join(c if c.isascii() else _name(c) for c in parts if not unicodedata.combining(c))
    return "" if unicodedata.combining(sign) else sign.encode("ascii", "backslashreplace").decode()


def _fallback(error: UnicodeError) -> tuple[str, int]:
    """Handler of :mod:`codecs`: what an encoding lacks, in ASCII; powers as a whole, whatever of them the encoding has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, end = error.object, error.end
    while end < len(text) and text[end - 1] in (_UP | _DOWN) and text[end] in (_UP | _DOWN):
        end += 1
    return plain(text[error.start : end], text[: error.start], text[end:]), end


def _open_closed_streams() -> None:
    """Give a stream that was closed (``2>&-``) the null device, before another file takes its number and is written into."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))  # noqa: SIM115


def _silence(stream) -> None:
    """Turn a stream that cannot be written to the null device, so that the end of the process does not fail on it."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _catch_signals() -> dict[signal.Signals, object]:
    """Let :data:`ENDING` raise :class:`Ended`, unless ignored (``nohup``) or handled; the handlers there were before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    last: dict[int, float] = {}

    def end(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - last.get(number, -REPEATED) >= REPEATED:
            last[number] = now
            raise Ended(signal.Signals(number))

    found = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    return {number: signal.signal(number, end) for number in found if signal.getsignal(number) is signal.SIG_DFL}


class Progress:
    """A progress bar on a terminal, nothing in pipes; a context that yields the callbacks of a run."""

    def __init__(self, steps: int, quiet: bool):
        self._bar = None
        if sys.stderr.isatty() and not quiet:
            from tqdm import tqdm

            self._bar = tqdm(total=steps, unit="it", dynamic_ncols=True, leave=False)

    def __enter__(self):
        return () if self._bar is None else (self._update,)

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            if self._bar is not None:
                self._bar.close()

    def say(self, line: str) -> None:
        """Print a line on standard error, above the bar."""
        if self._bar is None:
            complain(line)
        else:
            with contextlib.suppress(OSError):
                self._bar.write(line, file=sys.stderr)

    def _update(self, result) -> None:
        with contextlib.suppress(OSError):  # the terminal has gone; the run has not
            self._bar.update(int(result.state.step) - self._bar.n)
            if "rel_l2" in result.evaluations:
                self._bar.set_postfix(rel_l2=f"{float(result.evaluations['rel_l2'][-1].min()):.2e}")
