"""What a captured step does around the model: its kernels, run on the host, and the references."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA, launched

from minibnn.training.capture.operations import begin_step, gather_batch, note_step

FLOATS = [np.float32, np.float64]


def on_the_host(reference, *args):
    return reference(*args)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_floats", "n_keys"), [(0, 0), (3, 0), (2, 4)])
def test_a_step_begins(n_floats, n_keys, dtype):
    float_table = np.arange(5 * n_floats).reshape(5, n_floats).astype(dtype)
    key_table = np.arange(5 * n_keys, dtype=np.uint32).reshape(5, n_keys)
    for run in (on_the_host, HOST_CUDA.run):
        counter, now = np.array(1), np.array(-7)
        floats, keys = np.zeros(n_floats, dtype), np.zeros(n_keys, np.uint32)
        for step in (1, 2, 3):
            run(begin_step, counter, now, floats, float_table, keys, key_table)
            np.testing.assert_array_equal(floats, float_table[step])
            np.testing.assert_array_equal(keys, key_table[step])
            assert (now, counter) == (step, step + 1)
    launched(*["begin_step"] * 3)


@pytest.mark.parametrize("shape", [(50, 28, 28), (50, 3), (50,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("batch", [12, 7])
def test_batches_are_gathered(batch, shape, dtype, rng):
    arrays = rng.integers(0, 256, shape).astype(dtype), rng.standard_normal((50, 5))
    order, now = rng.permutation(50)[: 4 * batch], np.array(2)
    for run in (on_the_host, HOST_CUDA.run):
        got = run(gather_batch, arrays, order, now, batch)
        for one, a in zip(got, arrays, strict=True):
            assert one.dtype == a.dtype
            np.testing.assert_array_equal(one, a[order[2 * batch : 3 * batch]])
    launched("gather_batch")


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_step_is_noted(dtype):
    for run in (on_the_host, HOST_CUDA.run):
        losses, verdicts = np.zeros(4), np.ones(4, bool)
        for now, value in enumerate([1.5, 2.5, np.nan]):
            allowed = np.array(now < 1)
            run(note_step, losses, verdicts, np.array(now), np.array(value, dtype), allowed)
        np.testing.assert_array_equal(losses, [1.5, 2.5, np.nan, 0])
        np.testing.assert_array_equal(verdicts, [True, False, False, True])
    launched(*["note_step"] * 3)


def test_what_the_kernels_do_not_take_the_references_do(rng):
    """Arrays with gaps, and half precision."""
    wide = rng.integers(0, 256, (50, 6))
    arrays, order, now = (wide[:, ::2], wide[:, 0]), rng.permutation(50), np.array(1)
    for one, a in zip(HOST_CUDA.run(gather_batch, arrays, order, now, 5), arrays, strict=True):
        np.testing.assert_array_equal(one, a[order[5:10]])
    losses, verdicts = np.zeros(2), np.ones(2, bool)
    loss = np.array(0.5, np.float16)
    HOST_CUDA.run(note_step, losses, verdicts, now, loss, np.array(False))
    assert (losses.tolist(), verdicts.tolist()) == ([0, 0.5], [True, False])
    table = np.arange(8, dtype=np.float16).reshape(4, 2)
    floats, none = np.zeros(2, np.float16), np.zeros((4, 0), np.uint32)
    HOST_CUDA.run(begin_step, np.array(3), now, floats, table, none[0], none)
    assert floats.tolist() == [6, 7]
    launched()
