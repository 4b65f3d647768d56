"""benchmarks/harness/roofline.py: bytes, operations and the least time."""

from __future__ import annotations

import pytest

from harness.contestant import Job
from harness.roofline import (
    Ceilings,
    inference_needs,
    least_time,
    needs,
    pooled_outputs,
    training_needs,
)


def test_bytes_and_operations_are_those_of_the_docstring():
    def job(**fields):
        given = {"kind": "train", "sizes": (784, 2, 3), "bias": True, "norm": False, "clip": None}
        return Job(**given | {"batch": 5} | fields)

    weights = 784 * 2 + 2 * 3
    parameters = weights + 2 + 3
    one = 784 * 2 * 2 / 8 + 2 * 3 * 3 / 8  # signs: written and read; read again where there is a dx
    one += 32 * parameters
    one += 5 * 2 * 16 + 5 * 3 * 20  # z, dz; dz again where there is a dx
    one += 5 * 2 * 3 / 8  # signs of the hidden layer
    one += 5 * (2 * 784 + 5)
    flops = 5 * (784 * 2 * 4 + 2 * 3 * 6)
    assert training_needs(job()) == (one, flops)
    # Batch norm: two parameters per channel instead of one, and z read again.
    normed = job(bias=False, norm=True, clip=1.0)
    assert training_needs(normed) == (one + 32 * 5 + 4 * 5 * (2 + 3), flops)
    clipped = job(clip=1.0)  # the last layer has no sign: its z is not read again
    assert training_needs(clipped) == (one + 4 * 5 * 2, flops)

    # 28x28 -> 26x26x2, pooled to 13x13x2 = 338.
    conv = training_needs(job(sizes=(338, 10), convs=(2,), pooled=(0,), batch=1))
    expected = 18 * 2 / 8 + 3380 * 3 / 8 + 32 * (18 + 2 + 3380 + 10)
    expected += 26 * 26 * 2 * 16 + 338 * 8 + 338 * 3 / 8 + 10 * 20 + 2 * 784 + 5
    assert conv == (expected, 4 * 26 * 26 * 18 + 6 * 3380)
    # 28 -> 26 -> 13 -> 11; pooling drops the last row and column.
    twice = job(sizes=(50, 10), convs=(1, 2), pooled=(0, 1), batch=2)
    assert training_needs(twice).operations == 2 * (4 * 676 * 9 + 6 * 121 * 18 + 6 * 500)
    assert [pooled_outputs(twice, i) for i in (0, 1)] == [2 * 13 * 13, 2 * 5 * 5 * 2]

    assert inference_needs(job(), 10, bits=False) == (4 * weights + 7850, 20 * weights)
    assert inference_needs(job(), 10, bits=True) == (weights / 8 + 20 + 7850, 20 * weights)
    assert needs(job(kind="predict")) == inference_needs(job(), 5, bits=True)
    assert needs(job(kind="evaluate")) == inference_needs(job(), 10_000, bits=False)
    test = inference_needs(job(), 70_000, bits=False)
    assert needs(job(kind="whole")) == (
        10 * (12_000 * one + test.bytes), 10 * (12_000 * flops + test.operations)
    )  # fmt: skip
    with pytest.raises(ValueError, match="no roofline is known for 'load'"):
        needs(job(kind="load"))

    slow_copy = Ceilings(copy=one / 2, float32=flops, tf32=8 * flops, float16=16 * flops)
    assert least_time(job(), slow_copy) == (2, "bytes")
    quick_copy = Ceilings(copy=8 * one, float32=flops, tf32=4 * flops, float16=16 * flops)
    assert least_time(job(), quick_copy) == (1, "operations")
    assert least_time(job(tf32=True), quick_copy) == (0.25, "operations")
    packed = Ceilings(copy=1e30, float32=1, tf32=1, float16=10 * weights)
    assert least_time(job(kind="predict"), packed) == (1, "operations")
