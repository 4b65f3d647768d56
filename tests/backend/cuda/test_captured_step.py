"""The kernels of a captured step leave what they cannot take to the references.

That they compute the same is in `test_implementations.py`.
"""

from __future__ import annotations

import numpy as np
from cuda_on_host import HOST_CUDA, launched

from minibnn.training.capture.operations import begin_step, gather_batch, note_step


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
