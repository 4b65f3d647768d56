"""RandomStream: counts, replay, parts of a batch; its numbers are uniform, and equal everywhere."""

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


# --- The numbers -------------------------------------------------------------------------------


def drawn(backend, shape, *, seed=1, count=0, first=0, dtype=np.float64):
    return backend.run(uniform, backend.xp, shape, *stream_keys(seed, count), first, dtype)


def test_uniform_numbers_known_values():
    """From the equations, worked out with Python's integers."""

    def mix(h):
        h = ((h ^ h >> 16) * 0x85EBCA6B) % 2**32
        h = ((h ^ h >> 13) * 0xC2B2AE35) % 2**32
        return h ^ h >> 16

    assert mix(1) == 0x514E28B7  # MurmurHash3's published finaliser of 1
    k0, k1 = (int(k) for k in stream_keys(0, 0))
    assert k1 << 32 | k0 == 0xE220A8397B1DCDAF  # SplitMix64's published first number for seed 0
    expected = [(mix(mix((i + k0) % 2**32) ^ k1) >> 8) / 2**24 for i in range(100)]
    np.testing.assert_array_equal(drawn(CPU, (100,), seed=0), expected)


def test_uniform_numbers_are_the_same_everywhere(backend):
    keys = stream_keys(12345, 3)
    expected = uniform(np, (50, 7), *keys, 0, np.float32)
    for dtype in (np.float32, np.float64):
        got = backend.run(uniform, backend.xp, (50, 7), *keys, 0, dtype)
        assert got.dtype == dtype
        np.testing.assert_array_equal(backend.to_host(got), expected)
    assert drawn(backend, ()).shape == ()


def test_uniform_numbers_end_where_they_would_begin_anew(backend):
    with pytest.raises(ValueError, match=r"at most 2\^32 numbers, got \(65537, 65536, 4096\)"):
        drawn(backend, (65537, 65536, 4096))
    assert drawn(backend, (3, 0)).shape == (3, 0)
    assert drawn(backend, (2,), first=2**32 - 2).shape == (2,)
    for first in (2**32 - 1, -1):
        with pytest.raises(
            ValueError, match=rf"got \(2,\) from position {first} on; draw it in parts"
        ):
            drawn(backend, (2,), first=first)


def test_uniform_numbers_are_uniform_and_independent():
    """Two million numbers against what chance allows (five standard deviations)."""
    u = np.stack([drawn(CPU, (1000, 1000), seed=7, count=count) for count in range(2)])
    n = u.size
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / n)
    counts = np.bincount((u.ravel() * 1000).astype(int), minlength=1000)
    chi2 = ((counts - n / 1000) ** 2 / (n / 1000)).sum()
    assert abs(chi2 - 999) < 5 * np.sqrt(2 * 999)
    c = u - 0.5
    pairs = [
        (c[0, :, :-1], c[0, :, 1:]),  # neighbours
        (c[0, :-1], c[0, 1:]),  # neighbouring rows
        (c[0], c[1]),  # neighbouring arrays of a stream
        (c[0], drawn(CPU, (1000, 1000), seed=8) - 0.5),  # neighbouring streams
    ]
    for a, b in pairs:
        assert abs((a * b).sum()) < 5 * np.sqrt(a.size) / 12
