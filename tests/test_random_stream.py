"""RandomStream: counts, replay, and parts of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import RandomStream
from minibnn.backend import CPU
from minibnn.random_stream import stream_keys, uniform


def test_a_stream_counts_its_arrays_from_0():
    """Array n of a stream depends on seed and count alone: equal on every device, in each version."""
    stream = RandomStream()
    stream.initialize(np.random.default_rng(5))
    assert stream.seed == np.random.default_rng(5).integers(2**63)
    for count in range(3):
        assert stream.count == count
        expected = uniform(np, (2, 3), *stream_keys(stream.seed, count), 0, np.float32)
        np.testing.assert_array_equal(stream.uniform(CPU, (2, 3), np.float32), expected)
    stream.initialize(np.random.default_rng(6))
    assert stream.count == 0, "a new seed starts from the beginning"


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 3, 2, 4), (6, 0)])
def test_parts_of_a_batch_draw_what_the_whole_does(device, shape):
    """Each number belongs to its sample's position in the batch."""
    stream = RandomStream()
    stream.initialize(np.random.default_rng(3))
    whole = device.to_host(stream.uniform(device, shape, np.float32))
    for begin, end in ((0, 3), (3, 6), (1, 2)):
        stream.count, stream.first_sample = 0, begin
        part = stream.uniform(device, (end - begin, *shape[1:]), np.float32)
        np.testing.assert_array_equal(device.to_host(part), whole[begin:end])
        assert stream.count == 1


def test_a_first_sample_is_a_place():
    with pytest.raises(ValueError, match="RandomStream: expected first_sample of at least 0"):
        RandomStream().first_sample = -1
