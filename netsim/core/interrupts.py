"""Ctrl-C, and SIGTERM as schedulers send it: they end a run where it is, but nothing that is being written."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

INTERRUPTED = 130
"""Exit code after one of them."""

AT_ONCE: list[Callable[[], None]] = []
"""What is called before the second signal ends the process: what ends processes that would outlive it."""

_come: list[int] = []
_held = 0


class Interrupted(KeyboardInterrupt):
    """The exception that the first of the signals raises in the main thread."""


@contextmanager
def heard() -> Generator[None]:
    """Let the first of the signals raise :class:`Interrupted` in the block, and the second end the process at once.

    It does nothing outside the main thread, nor for a signal that the process was told to ignore. A signal is forgotten
    when the outermost block ends.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    outermost = _heard not in before.values()
    hook = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Interrupted) else hook(lost)
    _listen()
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
        if outermost:
            _come.clear()


@contextmanager
def heard_still() -> Generator[None]:
    """Let the signals do in the block, and after it, what they did before, though a library puts a handler there.

    Ray's ends the program at the first SIGTERM, without a word.
    """
    ours = signal.getsignal(signal.SIGTERM) is _heard
    try:
        yield
    except SystemExit as end:
        raise (Interrupted if ours else end) from None
    finally:
        if ours:
            _listen()


def _listen() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _heard)


def come() -> bool:
    """Return whether one of the signals came in the block of :func:`heard`; what fails then may fail because of it."""
    return bool(_come)


def raise_again() -> None:
    """Raise :class:`Interrupted` if a signal came and what it raised was lost, as in a callback of Python's own."""
    if _come and not _held:
        raise Interrupted


@contextmanager
def held() -> Generator[None]:
    """Let the first of the signals wait until the block ends; the second does not."""
    global _held
    before = len(_come)
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if len(_come) > before and not _held:
        raise Interrupted


@contextmanager
def none_for_children() -> Generator[None]:
    """Keep the signals from processes that are started in the block: a terminal sends them to children, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heard(number: int, frame: FrameType | None) -> None:
    _come.append(number)
    if len(_come) > 1:
        os.write(2, b"interrupted twice: ended at once\n")
        for end in AT_ONCE:
            with suppress(Exception):
                end()
        os._exit(128 + number)
    if not _held:
        raise Interrupted
