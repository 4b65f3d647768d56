"""Computing several parts of a batch in one process, each up to the next sum over all of them.

A layer's forward is a plain function, which cannot stop in its middle until other parts have come
as far. So each part has a thread. Only one of them runs at a time, in the order of the parts, and
hands over when it needs a sum: the computation is the same in each run.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from minibnn.backend import Array

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


_DIFFERENT = (
    "expected each of {} parts of a batch to add up the same things, got {} in one of them; call "
    "over_whole_batch whatever the values of the samples are"
)


class Turns:
    """Runs one function for each part, in lockstep.

    Args:
        parts: how many there are.
    """

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self._pool: ThreadPoolExecutor | None = None
        if parts > 1:
            from concurrent.futures import ThreadPoolExecutor  # slow to import

            self._pool = ThreadPoolExecutor(parts, "part")
        self._changed = threading.Condition()
        self._turn = 0
        self._failed = False
        self._given: list[Array] = []
        self._sum: Array = None

    def run(self, work: Sequence[Callable[[], None]]) -> None:
        """Run the functions, one for each part.

        Raises:
            Exception: what one of them raised; the others end at their next sum.
        """
        if len(work) == 1:
            work[0]()
            return
        pool = self._pool
        if pool is None or len(work) > self.parts:
            raise ValueError(f"Turns: expected at most {self.parts} functions, got {len(work)}")
        from concurrent.futures import wait

        self._turn, self._failed, self._given = 0, False, []
        futures = [
            # With the caller's context: NumPy's errstate, for instance.
            pool.submit(contextvars.copy_context().run, self._one, number, len(work), function)
            for number, function in enumerate(work)
        ]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C, while this thread waits
            self._fail()
            wait(futures)
            raise
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None and not isinstance(error, _OtherFailedError):
                raise error

    def add_up(
        self, number: int, count: int, a: Array, total: Callable[[list[Array]], Array]
    ) -> Array:
        """Give an array to the sum over all parts, and wait for the sum.

        Args:
            number: the part, from 0.
            count: how many parts there are.
            a: the part's array.
            total: makes the sum of all parts' arrays; the last part calls it.
        """
        if count == 1:
            return total([a])
        self._require_given(number, count)
        if self._given and a.shape != self._given[0].shape:
            raise RuntimeError(_DIFFERENT.format(count, "others"))
        self._given.append(a)
        if number == count - 1:
            self._sum, self._given = total(self._given), []
        self._pass_on(number, count)
        self._wait_for_turn(number)
        return self._sum

    def _one(self, number: int, count: int, function: Callable[[], None]) -> None:
        self._wait_for_turn(number)
        try:
            function()
            self._require_given(0, count)
        except BaseException:
            self._fail()
            raise
        self._pass_on(number, count)

    def _require_given(self, before: int, count: int) -> None:
        """Raise RuntimeError unless so many parts have given an array to the sum in hand.

        Otherwise one part would wait for ever for another, which has ended.
        """
        if len(self._given) != before:
            raise RuntimeError(_DIFFERENT.format(count, "another number"))

    def _wait_for_turn(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._turn == number or self._failed)
        if self._failed:
            raise _OtherFailedError

    def _pass_on(self, number: int, count: int) -> None:
        with self._changed:
            self._turn = (number + 1) % count
            self._changed.notify_all()

    def _fail(self) -> None:
        with self._changed:
            self._failed = True
            self._changed.notify_all()


class _OtherFailedError(Exception):
    """Another part has failed, and this one cannot go on."""
