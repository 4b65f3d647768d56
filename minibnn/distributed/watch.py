"""Ending all processes if one waits too long for the others.

A collective call of MPI returns when all ranks have made it. If one of them is stopped, or lost
with its machine, and the launcher does not notice, the others would wait for ever.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

LOST = 75  # the exit code: EX_TEMPFAIL of sysexits.h, "try again later"
LAST = 5.0  # seconds after which this process ends, whether or not MPI could end all of them


class Watch:
    """Ends all processes if this one waits for longer than allowed.

    .. code-block:: python

        with watch("adding up gradients"):
            comm.Allreduce(...)

    Args:
        who: begins the message.
        seconds: how long a wait may last.
        abort: ends all ranks with an exit code, as MPI's Abort does. A launcher that only sees this
            process end may report the signal by which it ends the others instead.

    Attributes:
        waits: how many there were: collective calls of MPI.
        nbytes: how many bytes this rank has given to them.
    """

    def __init__(self, who: str, seconds: float, abort: Callable[[int], object]) -> None:
        self.who = who
        self.seconds = seconds
        self.abort = abort
        self.waits = self.nbytes = 0
        self._what = ""
        self._since: float | None = None  # None: it does not wait
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def __call__(self, what: str, nbytes: int = 0) -> Watch:
        """Say what the next wait is for, and how many bytes this rank gives."""
        self._what = what
        self.waits += 1
        self.nbytes += nbytes
        return self

    def __enter__(self) -> None:
        self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name=self.who, daemon=True)
            self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._since = None

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(min(1.0, self.seconds / 4)):
            since = self._since
            if since is not None and time.monotonic() - since > self.seconds:
                stream = sys.__stderr__ or sys.stderr  # a rank may be silenced otherwise
                stream.write(
                    f"{self.who}: waited {self.seconds:g} s for the other ranks, {self._what}; one "
                    "of them has failed, is lost, stopped or very slow; this rank ends. The last "
                    "checkpoint is whole: run the same command again, with a larger timeout if "
                    "they were slow\n"
                )
                stream.flush()
                threading.Thread(target=self._end, daemon=True).start()
                self.abort(LOST)  # from here: the main thread is in a call that does not return

    def _end(self) -> None:
        time.sleep(LAST)
        os._exit(LOST)
