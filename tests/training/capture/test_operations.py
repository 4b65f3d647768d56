"""What a captured step does around the model: its scalars, its batch, and its loss."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.training.capture.operations import begin_step, gather_batch, note_step

FLOATS = [np.float32, np.float64]


def on(backend, *arrays):
    return [backend.asarray(np.array(a)) for a in arrays]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_floats", "n_keys"), [(0, 0), (3, 0), (2, 4)])
def test_a_step_begins(n_floats, n_keys, dtype, backend):
    float_table = np.arange(5 * n_floats).reshape(5, n_floats).astype(dtype)
    key_table = np.arange(5 * n_keys, dtype=np.uint32).reshape(5, n_keys)
    counter, now = on(backend, np.int64(1), np.int64(-7))
    floats, keys = on(backend, np.zeros(n_floats, dtype), np.zeros(n_keys, np.uint32))
    tables = on(backend, float_table, key_table)
    for step in (1, 2, 3):
        backend.run(begin_step, counter, now, floats, tables[0], keys, tables[1])
        np.testing.assert_array_equal(backend.to_host(floats), float_table[step])
        np.testing.assert_array_equal(backend.to_host(keys), key_table[step])
        assert (backend.to_host(now), backend.to_host(counter)) == (step, step + 1)


@pytest.mark.parametrize("shape", [(50, 4, 3), (50,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_batches_are_gathered(shape, dtype, backend, rng):
    arrays = rng.integers(0, 256, shape).astype(dtype), rng.standard_normal((50, 5))
    order = rng.permutation(50)[:28]
    given = tuple(on(backend, *arrays)), *on(backend, order, np.int64(2)), 7
    got = backend.run(gather_batch, *given)
    for one, a in zip(got, arrays, strict=True):
        assert one.dtype == a.dtype
        np.testing.assert_array_equal(backend.to_host(one), a[order[14:21]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_step_is_noted(dtype, backend):
    losses, verdicts = on(backend, np.zeros(4), np.ones(4, bool))
    for now, value in enumerate([1.5, 2.5, np.nan]):
        given = on(backend, np.int64(now), dtype(value), np.bool_(now < 1))
        backend.run(note_step, losses, verdicts, *given)
    np.testing.assert_array_equal(backend.to_host(losses), [1.5, 2.5, np.nan, 0])
    np.testing.assert_array_equal(backend.to_host(verdicts), [True, False, False, True])
