"""Calls that take turns in one process and on one thread."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any


def restart_on_one_thread() -> None:
    """Restart this program with one BLAS thread, unless it has only one. Call this first."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])


def take_turns(calls: list[Callable[[], Any]], seconds: float) -> list[list[float]]:
    """The microseconds of processor time of each call, for so many seconds, or five times.

    The first turn, in which caches are cold, is left out.
    """
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while len(times[0]) < 6 or time.perf_counter() < end:
        for call, spent in zip(calls, times, strict=True):
            start = time.thread_time()
            call()
            spent.append(1e6 * (time.thread_time() - start))
    return [spent[1:] for spent in times]
