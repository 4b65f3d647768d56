"""Large arrays in memory that is used again, but never while another array can see it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minibnn.backend.cpu import large_arrays


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(large_arrays, "LARGE", 400)
    monkeypatch.setattr(large_arrays, "_blocks", [])


def address(a):
    return a.__array_interface__["data"][0]


def test_memory_is_used_again_once_nothing_refers_to_it():
    first = large_arrays.empty((10, 10))
    place = address(first)
    part, flat = first[3:], first.reshape(-1)[5:]
    del first
    assert address(large_arrays.empty((100,))) != place
    del part
    assert address(large_arrays.empty((100,))) != place
    del flat
    again = large_arrays.empty((5, 20))
    assert address(again) == place
    assert (again.shape, again.dtype, again.flags.c_contiguous) == ((5, 20), np.float32, True)
    memory = memoryview(again)
    del again
    assert address(large_arrays.empty((100,))) != place
    memory.release()
    assert address(large_arrays.empty((100,))) == place


def test_few_blocks_are_kept_and_small_arrays_are_ordinary():
    arrays = [large_arrays.empty((100 + i,)) for i in range(20)]
    for i, a in enumerate(arrays):
        a[...] = i
    assert [a[0] for a in arrays] == list(range(20))
    assert len(large_arrays._blocks) == large_arrays.MOST
    assert large_arrays.empty((99,)).base is None


def test_several_threads_never_get_the_same_memory():
    def use(value):
        for _ in range(300):
            a = large_arrays.empty((128,))
            a[...] = value
            if not (a == value).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))


def test_very_large_arrays_and_those_of_a_thread_that_would_wait_are_ordinary(monkeypatch):
    monkeypatch.setattr(large_arrays, "LARGEST", 4000)
    assert large_arrays.empty((1001,)).base is None
    with large_arrays._lock:  # as in a process forked while another thread was in `empty`
        assert large_arrays.empty((100,)).base is None
    assert large_arrays.empty((100,)).base is not None
