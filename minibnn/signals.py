"""Signals that end a training: the batch in hand is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

# What a terminal, a batch queue or a shutdown sends; Windows has no SIGHUP.
ENDING = [s for s in (getattr(signal, n, None) for n in ("SIGTERM", "SIGHUP")) if s is not None]

INTERRUPTED = 130  # the exit code after Ctrl-C

_running: list[Interrupt] = []  # the trainings that are running, the innermost last
_endings: list[Ending] = []  # of the commands that are running


class Interrupt:
    """A context in which signals only set `requested`, so that training can end by itself.

    The first Ctrl-C sets it, and a second one raises KeyboardInterrupt as usual. Signals that are
    ignored (Ctrl-C in a background job, SIGHUP under `nohup`) stay ignored. Handlers of SIGTERM and
    SIGHUP that somebody else has installed stay in place; one of Ctrl-C comes back at the end. Only
    the main thread handles signals.

    Args:
        ending: whether SIGTERM and SIGHUP set it, too; otherwise they end the process as usual.

    Attributes:
        requested: the number of the signal, or 0.
    """

    def __init__(self, *, ending: bool = False) -> None:
        self.requested = 0
        self._signals = [signal.SIGINT, *(ENDING if ending else [])]
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        _running.append(self)
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                before = signal.getsignal(number)
                ours = (signal.SIG_DFL, signal.default_int_handler)
                if before in ours or (number == signal.SIGINT and callable(before)):
                    self._previous[number] = before
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _running.remove(self)
        for number, before in self._previous.items():
            signal.signal(number, before)

    def request(self, number: int) -> None:
        """End the training after the batch in hand; a second Ctrl-C ends it at once.

        What ends the process counts more than Ctrl-C, whichever came first.
        """
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.requested in (0, signal.SIGINT):
            self.requested = number

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.request(number)


class Ending:
    """Which of SIGTERM and SIGHUP a command has received, as its exit code: 143 or 129, else 0."""

    code = 0


def note_ending(number: int) -> None:
    """Let the command end as if it had received this signal, which another rank has received."""
    for ending in _endings if number in ENDING else ():
        ending.code = ending.code or 128 + number


def interrupted_code() -> int:
    """The exit code of a command that a KeyboardInterrupt has left."""
    return next((ending.code for ending in _endings if ending.code), INTERRUPTED)


@contextmanager
def gentle_ending() -> Iterator[Ending]:
    """A context for commands: SIGTERM and SIGHUP act as Ctrl-C does, but for the exit code.

    A running training finishes its batch; anything else is left by a KeyboardInterrupt.
    """
    ending = Ending()
    _endings.append(ending)

    def handle(number: int, frame: FrameType | None) -> None:
        if ending.code:
            return  # senders repeat themselves; the first is being obeyed
        ending.code = 128 + number
        if not _running:
            raise KeyboardInterrupt
        for training in _running:  # one may run inside another, or in a thread
            training.request(number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:
                previous[number] = signal.signal(number, handle)
    try:
        yield ending
    finally:
        _endings.remove(ending)
        for number, before in previous.items():
            signal.signal(number, before)
