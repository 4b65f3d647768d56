"""The softmax and the cross-entropy in C beside the reference."""

from __future__ import annotations

import numpy as np
import pytest
from devices import built

from minibnn.backend import CPU
from minibnn.losses.cross_entropy import cross_entropy, cross_entropy_gradient, log_softmax


@built
@pytest.mark.parametrize("shape", [(1, 1), (64, 10), (7, 40), (7, 41)])
def test_softmax_in_c_equals_numpys(shape, rng):
    """To a few roundings of the larger term: the exponential is another one."""
    x = (rng.standard_normal(shape) * 20).astype(np.float32)
    for got, expected in zip(CPU.run(log_softmax, x), log_softmax(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)
    x = np.array([[1e4, 0], [np.inf, 0], [np.nan, 0], [0, np.nan], [-np.inf, 0]], np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        for got, expected in zip(CPU.run(log_softmax, x), log_softmax(x), strict=True):
            np.testing.assert_array_equal(got, expected)


@built
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("shape", [(1, 2), (64, 10), (131, 40)])
def test_the_cross_entropy_in_c_equals_the_reference_after_the_same_softmax(shape, dtype, rng):
    """To the last bit, loss and gradient."""
    logits = (rng.standard_normal(shape) * 9).astype(np.float32)
    labels = rng.integers(shape[1], size=shape[0]).astype(dtype)
    labels[0] = shape[1] - 1
    loss, p = CPU.run(cross_entropy, logits, labels, 0.0)
    expected, expected_p = cross_entropy(logits, labels, 0.0)  # it runs the softmax in C
    assert (loss, type(loss)) == (expected, type(expected))
    np.testing.assert_array_equal(p, expected_p)
    np.testing.assert_array_equal(
        CPU.run(cross_entropy_gradient, p, labels, 0.0), cross_entropy_gradient(p, labels, 0.0)
    )


@built
@pytest.mark.parametrize("label", [10, -1, 2**40])
def test_a_label_that_is_no_class_is_left_to_numpy(label, rng):
    logits = rng.standard_normal((5, 10)).astype(np.float32)
    labels = np.array([0, 9, 3, 4, label])
    if label < 0:  # counts from the end there
        np.testing.assert_array_equal(
            CPU.run(cross_entropy_gradient, logits, labels, 0.0),
            cross_entropy_gradient(logits, labels, 0.0),
        )
        return
    for reference in (cross_entropy, cross_entropy_gradient):
        with pytest.raises(IndexError):
            CPU.run(reference, logits, labels, 0.0)


@built
def test_labels_that_c_cannot_read_are_left_to_numpy(rng):
    logits = rng.standard_normal((5, 10)).astype(np.float32)
    labels = rng.integers(10, size=5)
    frozen = labels.copy()
    frozen.flags.writeable = False
    unaligned = np.empty(labels.nbytes + 1, np.uint8)[1:].view(labels.dtype)
    unaligned[...] = labels
    strange = [frozen, unaligned, labels.astype(">i8"), np.repeat(labels, 2)[::2]]
    strange += [labels.astype(kind) for kind in (np.int32, np.uint64, np.int8)]
    expected, p = CPU.run(cross_entropy, logits, labels, 0.0)
    for other in strange:
        assert CPU.run(cross_entropy, logits, other, 0.0)[0] == expected
        np.testing.assert_array_equal(
            CPU.run(cross_entropy_gradient, p, other, 0.0),
            CPU.run(cross_entropy_gradient, p, labels, 0.0),
        )
