"""The CUDA kernels of losses and counts, run on the host, against their references."""

from __future__ import annotations

from functools import partial
from itertools import product

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import HOST_CUDA

from minibnn import DataLoader, Dense, LogitCrossEntropy, evaluate
from minibnn.backend import CPU, select
from minibnn.backend.cuda import labels as cuda_labels
from minibnn.losses.accuracy import count_correct
from minibnn.losses.cross_entropy import cross_entropy, cross_entropy_gradient

# (batch, classes): for one block, and for several.
SMALL = [(1, 1), (1, 10), (64, 10), (100, 10), (512, 10), (5, 2), (33, 32), (7, 33), (40, 100)]
LARGE = [(513, 10), (300, 100), (9000, 1)]

every_shape = pytest.mark.parametrize("shape", SMALL + LARGE)
both_floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])


launched = partial(cuda_on_host.launched, forget=True)


def reference(operation, *given):
    return operation(*given)


def loss_and_gradient(run, logits, labels, smoothing):
    """By the implementations of a device, or by the references."""
    loss, p = run(cross_entropy, logits, labels, smoothing)
    return loss, run(cross_entropy_gradient, p, labels, smoothing)


@both_floats
@every_shape
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy(smoothing, shape, dtype, rng):
    logits = (5 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    before = logits.copy()
    loss, gradient = loss_and_gradient(HOST_CUDA.run, logits, labels, smoothing)
    launched("cross_entropy", *["column_sums"] * (shape in LARGE), "cross_entropy_gradient")
    exact = loss_and_gradient(reference, logits.astype(np.float64), labels, smoothing)
    assert (loss.shape, loss.dtype, gradient.dtype) == ((), dtype, dtype)
    np.testing.assert_array_equal(logits, before)
    # A dozen roundings in a row's softmax, a few dozen in the sums.
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(loss, exact[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gradient, exact[1], rtol=0, atol=tolerance / shape[0])


@pytest.mark.parametrize("kind", ["u1", "i4", "i8", "i1", "u2", "u8"])
@pytest.mark.parametrize("classes", [10, 200])
def test_labels_of_all_kinds(classes, kind, rng):
    logits = rng.standard_normal((70, classes)).astype(np.float32)
    labels = rng.integers(0, min(classes, 128), 70)
    labels[0] = classes - 1 if kind != "i1" else 1  # 199 is negative if a byte is read with a sign
    results = []
    for given in (labels, labels.astype(kind), np.repeat(labels.astype(kind), 2)[::2]):
        loss, gradient = loss_and_gradient(HOST_CUDA.run, logits, given, 0.1)
        results.append([loss, gradient, HOST_CUDA.run(count_correct, logits, given)])
    launched(*["cross_entropy", "cross_entropy_gradient", "count_correct"] * 3)
    for result in results[1:]:
        for got, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("dtype", "classes", "smoothing"),
    [*product([np.float32], [5, 40], [0.0, 0.3]), (np.float64, 40, 0.3)],
)
@pytest.mark.parametrize("value", [1e37, -1e37, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("position", [0, 3, "all", "all but one"])
def test_awkward_logits(position, classes, value, smoothing, dtype, rng):
    """They affect their own row, and no other."""
    logits = rng.standard_normal((3, classes)).astype(dtype)
    labels = np.array([0, 3, 1])
    logits[1, slice(None) if isinstance(position, str) else position] = value
    if position == "all but one":
        logits[1, 2] = 0
    for label in (0, 2, 3):
        labels[1] = label
        got = loss_and_gradient(HOST_CUDA.run, logits, labels, smoothing)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = loss_and_gradient(reference, logits, labels, smoothing)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
        counts = (run(count_correct, logits, labels) for run in (HOST_CUDA.run, reference))
        assert len({int(count) for count in counts}) == 1
    launched(*["cross_entropy", "cross_entropy_gradient", "count_correct"] * 3)


def test_a_label_that_is_no_class_shows():
    logits = np.zeros((4, 3), np.float32)
    for wrong in (3, -1, 2**40):
        labels = np.array([0, 1, wrong, 2])
        loss, gradient = loss_and_gradient(HOST_CUDA.run, logits, labels, 0.0)
        assert np.isnan(loss)
        np.testing.assert_allclose(gradient[2], [1 / 12] * 3)
        assert HOST_CUDA.run(count_correct, logits, labels) == 1


@both_floats
@every_shape
def test_counts(shape, dtype, rng):
    logits = rng.integers(0, 4, shape).astype(dtype)  # many are equal
    labels = rng.integers(0, shape[1], shape[0])
    logits[rng.random(shape) < 0.01] = np.nan
    logits[rng.random(shape) < 0.1] = -0.0
    count = HOST_CUDA.run(count_correct, logits, labels)
    launched("count_correct", *["add_counts"] * (shape in LARGE))
    assert (count.shape, count.dtype) == ((), np.int64)
    best, known = logits.argmax(axis=1), ~np.isnan(logits).any(axis=1)
    assert count == ((best == labels) & known).sum() == count_correct(logits, labels)
    assert HOST_CUDA.run(count_correct, logits, best) == known.sum()


@both_floats
@pytest.mark.parametrize("shape", [(1700, 10), (2500, 3)])
def test_few_blocks_go_on_until_all_rows_are_done(shape, dtype, monkeypatch, rng):
    monkeypatch.setattr(cuda_labels, "MOST_BLOCKS", 3)
    monkeypatch.setattr(cuda_labels, "ROUNDS", 1)
    logits = rng.standard_normal(shape).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    loss, gradient = loss_and_gradient(HOST_CUDA.run, logits, labels, 0.1)
    exact = loss_and_gradient(reference, logits.astype(np.float64), labels, 0.1)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14  # as in test_cross_entropy
    np.testing.assert_allclose(loss, exact[0], rtol=tolerance)
    np.testing.assert_allclose(gradient, exact[1], rtol=0, atol=tolerance / shape[0])
    assert HOST_CUDA.run(count_correct, logits, labels) == count_correct(logits, labels)
    launched(
        "cross_entropy", "column_sums", "cross_entropy_gradient", "count_correct", "add_counts"
    )
    grids = HOST_CUDA.kernels.grids[-5:]
    assert (grids[0], grids[3]) == ((3, 1, 1), (3, 1, 1))


def test_more_counts_than_a_block_has_threads(rng):
    counts, total = rng.integers(0, 9, 2500), np.empty((), np.int64)
    arguments = (total, counts, np.int64(counts.size))
    HOST_CUDA.kernels.launch(
        "accuracy", "add_counts", np.float32, arguments, blocks=1, threads=1024
    )
    assert total == counts.sum()


def test_what_the_kernels_cannot_take():
    half = np.zeros((4, 3), np.float16)
    assert HOST_CUDA.run(count_correct, half, np.array([0, 0, 1, 2])) == 2
    loss, gradient = loss_and_gradient(HOST_CUDA.run, half, np.array([0, 0, 1, 2]), 0.0)
    assert (loss.dtype, gradient.dtype) == (np.float16, np.float16)
    launched()


@both_floats
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_either_side_may_decline(smoothing, dtype, rng):
    """The gradient depends only on the forward's p, from the kernel or from the reference."""
    logits, labels = 3 * rng.standard_normal((50, 10)).astype(dtype), rng.integers(0, 10, 50)
    sides = HOST_CUDA.run, reference
    found = []
    for forward in sides:
        _, p = forward(cross_entropy, logits, labels, smoothing)
        before = p.copy()
        found += [run(cross_entropy_gradient, p, labels, smoothing) for run in sides]
        np.testing.assert_array_equal(p, before)
        np.testing.assert_array_equal(found[-2], found[-1])  # of the same p to the bit
    np.testing.assert_allclose(found[0], found[2], rtol=0, atol=2e-6 / 50)
    columns = np.asfortranarray(logits)
    gradient = loss_and_gradient(HOST_CUDA.run, columns, labels, smoothing)[1]
    np.testing.assert_array_equal(gradient, found[0])
    launched(*["cross_entropy", "cross_entropy_gradient", "cross_entropy_gradient"],
             *["cross_entropy", "cross_entropy_gradient"])  # fmt: skip


def test_probabilities_and_empty_batches_are_the_references(rng):
    logits, t = rng.standard_normal((6, 4)), rng.dirichlet(np.ones(4), 6)
    got = loss_and_gradient(HOST_CUDA.run, logits, t, 0.1)
    for a, b in zip(got, loss_and_gradient(reference, logits, t, 0.1), strict=True):
        np.testing.assert_array_equal(a, b)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    assert HOST_CUDA.run(count_correct, *none) == count_correct(*none) == 0
    launched()


def test_loss_and_evaluation(rng, monkeypatch):
    """With uint8 labels and a layout with gaps, in the loss and in `evaluate`."""
    x, labels = rng.standard_normal((30, 8)).astype(np.float32), rng.integers(0, 5, 30, np.uint8)
    results = []
    for backend in (CPU, HOST_CUDA):
        monkeypatch.setitem(select._by_array_type, np.ndarray, backend)
        model = Dense(8, 5).initialize(0).to(backend)
        logits, loss = model.forward(x).repeat(2, axis=1)[:, ::2], LogitCrossEntropy(0.1)
        value = loss.forward(logits, labels)
        data = DataLoader((x, labels), 7).to(backend)
        results.append([value, loss.backward(), *evaluate(model, data, loss)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
    launched(*["cross_entropy", "cross_entropy_gradient", "cross_entropy", "count_correct"])
