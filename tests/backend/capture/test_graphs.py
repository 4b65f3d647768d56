"""Capturing a device's work: its memory, the garbage collector, and what interrupts it."""

from __future__ import annotations

import gc
import itertools
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import strictdev
from captured_training import (
    CLASSES,
    OPTIMIZERS,
    Own,
    assert_equal,
    batches,
    dense,
    reads,
    run_both,
    training,
    warned,
)
from devices import STRICT

from minibnn import (
    Layer,
)
from minibnn.backend.capture.graphs import Graphs
from minibnn.training import CapturedSteps, PlainSteps


def test_captured_work_is_done_by_its_replay_and_as_often_as_captured(device):
    graphs, a = device.graphs, device.xp.zeros(3)

    def work():
        a.__iadd__(1)

    with graphs.stream():
        work()  # compiles what it needs
        captured = graphs.capture(work, (1, 3))
        stream = device.xp.cuda.get_current_stream()
    assert all(work.is_on(stream) for work in captured.values())
    assert device.to_host(a).tolist() == [1, 1, 1], "to capture work does not do it"
    for times, expected in ((1, 2), (3, 5), (3, 8)):
        captured[times].replay()
        with graphs.stream():
            assert device.to_host(a).tolist() == [expected] * 3


def test_each_thread_has_a_stream_of_its_own_for_each_device():
    graphs, found = Graphs(strictdev), []

    def look():
        for _ in range(2):
            with graphs.stream():
                found.append(strictdev.cuda.get_current_stream().ptr)

    outside = strictdev.cuda.get_current_stream().ptr
    look()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(look).result()
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len({outside, *found}) == 3


# --- Memory --------------------------------------------------------------------------------------


def test_a_stand_in_without_a_pool_for_the_capture(monkeypatch):
    """Memory from the common pool would be given to others while the captured step writes to it."""
    monkeypatch.setattr(strictdev.cuda, "using_allocator", lambda allocator: strictdev.no_sync())
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(steps, batches(STRICT), "AllocationOutsidePool")


def test_a_capture_that_needs_more_memory_than_there_is(monkeypatch):
    """Its pool must not give back what an earlier part of the captured step works on."""
    plain = training(PlainSteps, STRICT, dense, OPTIMIZERS["adam"])
    one, other = batches(STRICT), batches(STRICT)
    plain.epoch(one)
    memory = strictdev.cuda.Memory
    monkeypatch.setattr(memory, "limit", memory.used + 10_000)
    captured = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(captured, other, r"MemoryError: the GPU has no [\d,]+ bytes left", epochs=1)
    assert_equal(plain, captured)


def test_another_error_of_cuda_is_told_as_it_is(monkeypatch):
    def failing(size):
        raise strictdev.cuda.CUDARuntimeError("cudaErrorIllegalAddress: it was earlier")

    monkeypatch.setattr(strictdev.cuda, "Memory", failing)
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(steps, batches(STRICT), "CUDARuntimeError: cudaErrorIllegalAddress")


@pytest.fixture
def collector():
    """Off while a test runs, as a user may have it, and then as before."""
    was = gc.isenabled()
    gc.disable()
    yield
    if was:
        gc.enable()


def test_captured_work_keeps_its_memory(collector):
    """What the pool gives back, it gives back to others only when the graph is gone."""
    used = strictdev.cuda.Memory.used
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    loader = batches(STRICT)
    steps.epoch(loader)
    assert strictdev.cuda.Memory.used > used
    steps._captured.captured[1]._memory.pool.free_all_blocks()
    steps.epoch(loader)
    del steps
    assert strictdev.cuda.Memory.used == used


def test_dead_captures_are_gone_at_once(collector):
    """Not when the collector comes, which may be in the next capture."""
    loader = batches(STRICT)
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    steps.epoch(loader)
    graphs = [weakref.ref(work._graph) for work in steps._captured.captured.values()]
    steps.optimizer._m = steps.optimizer._m * 1
    steps.epoch(loader)  # captures anew
    assert steps.captured
    assert [graph() for graph in graphs] == [None] * len(graphs)
    graphs = [weakref.ref(work._graph) for work in steps._captured.captured.values()]
    del steps
    assert [graph() for graph in graphs] == [None] * len(graphs)


@pytest.mark.parametrize("spoil", [None, reads])
@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_in_a_capture(enabled, spoil, collector):
    seen = []

    def look(layer, x):
        if strictdev.cuda.capturing() is not None:
            seen.append(gc.isenabled())
        return x if spoil is None else spoil(layer, x)

    if enabled:
        gc.enable()
    steps = training(CapturedSteps, STRICT, lambda: dense(Own(look)), OPTIMIZERS["adam"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        steps.epoch(batches(STRICT))
    assert steps.captured is (spoil is None)
    assert seen
    assert not any(seen)
    assert gc.isenabled() is enabled


# --- A capture that is cut short -----------------------------------------------------------------


class Careless(Layer):
    """Reads a value, and goes on as if nothing had happened."""

    def forward(self, x, *, train=False):
        self.check_input(x)
        if train:
            with suppress(Exception):
                float(x[0, 0])
            self.saved = (x.shape,)
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


@pytest.mark.parametrize("layer", [Careless, lambda: Own(reads)])
def test_an_invalidated_capture_is_ended(layer):
    """Else everything on its stream would fail for ever, and `fit` with it."""
    plain = training(PlainSteps, STRICT, lambda: dense(layer()), OPTIMIZERS["adam"])
    captured = training(CapturedSteps, STRICT, lambda: dense(layer()), OPTIMIZERS["adam"])
    one, other = batches(STRICT, 11), batches(STRICT, 11)
    for _ in range(2):
        plain.epoch(one)
    match = "CaptureInvalidated" if layer is Careless else "reading one element"
    warned(captured, other, match)
    assert_equal(plain, captured)
    run_both(STRICT, dense, OPTIMIZERS["adam"])  # on the same stream


def test_a_stream_that_captures_for_somebody_else():
    graphs = STRICT.graphs
    with graphs.stream():
        stream = strictdev.cuda.get_current_stream()
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="a stream that captures nothing"):
            graphs.capture(lambda: None)
        assert stream.is_capturing()
        stream.end_capture()


def test_ctrl_c_while_it_captures_leaves_nothing_open(monkeypatch, device):
    """In the first moment of the capture, and in the middle of it."""
    for moment in ("begin", "middle"):
        steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
        loader = batches(device)
        with monkeypatch.context() as patch:
            if moment == "middle":
                patch.setattr(type(steps.loss), "backward", interrupt(type(steps.loss).backward, 4))
            elif device is STRICT:
                begin = strictdev.cuda.Stream.begin_capture
                patch.setattr(
                    strictdev.cuda.Stream, "begin_capture", interrupt(begin, 1, after=True)
                )
            else:
                continue
            with pytest.raises(KeyboardInterrupt):
                steps.epoch(loader)
        assert steps.loss.saved is None
        with pytest.raises(RuntimeError, match="backward"):
            steps.model.backward(steps.model.backend.xp.zeros((10, CLASSES), np.float32))
        assert not steps.captured
        steps.epoch(loader)
        assert steps.captured
        assert sorted(steps._captured.captured) == [1]


def interrupt(function, call, after=False):
    calls = itertools.count(1)

    def interrupted(*arguments):
        result = function(*arguments) if after else None
        if next(calls) == call:
            raise KeyboardInterrupt
        return result if after else function(*arguments)

    return interrupted
