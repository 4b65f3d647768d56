"""Shift and cutout against loops over pixels; the loader's draws repeat and can be resumed."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev

from minibnn import Cutout, DataLoader, RandomShift


def images(shape=(60, 7, 5), dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


@pytest.mark.parametrize("shape", [(60, 7, 5), (60, 7, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_image_is_moved_as_a_whole(shape, dtype, backend):
    x = images(shape, dtype)
    there, rng = backend.asarray(x), np.random.default_rng(1)
    before = strictdev.readbacks()
    y = RandomShift(2, fill=9)(there, rng)
    assert strictdev.readbacks() == before
    y = backend.to_host(y)
    assert (y.dtype, y.shape) == (dtype, shape)
    padded = np.full((60, 11, 9, *shape[3:]), 9, dtype)
    padded[:, 2:9, 2:7] = x
    found = set()
    for n in range(60):
        at = [(a, b) for a in range(5) for b in range(5)
              if (padded[n, a : a + 7, b : b + 5] == y[n]).all()]  # fmt: skip
        assert len(at) == 1
        found |= set(at)
    assert len(found) > 18, "moves in all directions"
    assert {a for a, _ in found} == {b for _, b in found} == set(range(5))
    np.testing.assert_array_equal(backend.to_host(there), x)  # the batch itself is not changed


@pytest.mark.parametrize("shape", [(300, 7, 5), (300, 7, 5, 3)])
@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_a_square_is_covered(shape, size, backend):
    x = images(shape)
    before = strictdev.readbacks()
    y = Cutout(size, fill=250)(backend.asarray(x), np.random.default_rng(1))
    assert strictdev.readbacks() == before
    y = backend.to_host(y)
    assert (y.dtype, y.shape) == (x.dtype, shape)
    covered = (y == 250).reshape(300, 7, 5, -1).all(axis=3)
    np.testing.assert_array_equal(y[~covered], x[~covered])
    for square in covered:
        rows, columns = square.any(axis=1), square.any(axis=0)
        np.testing.assert_array_equal(square, rows[:, None] & columns)
        assert 1 <= rows.sum() <= size
        assert 1 <= columns.sum() <= size
    if size == 3:  # 3 in the middle, 2 at an edge
        assert {int(square.any(axis=1).sum()) for square in covered} == {2, 3}
    if size < 3:
        assert covered.any(axis=0).all(), "anywhere"


@pytest.mark.parametrize("augment", [RandomShift(1), Cutout(2)])
def test_what_is_no_image_is_refused(augment):
    with pytest.raises(ValueError, match=r"expected images of shape .*, got \(4, 25\)"):
        augment(np.zeros((4, 25)), np.random.default_rng(0))
    assert augment(np.zeros((4, 25)).reshape(4, 5, 5), np.random.default_rng(0)).shape == (4, 5, 5)


@pytest.mark.parametrize("make", [RandomShift, Cutout])
def test_sizes_are_positive_integers(make):
    with pytest.raises(ValueError, match="of at least 1, got 0"):
        make(0)
    with pytest.raises(TypeError, match=r"of type int, got 1\.5"):
        make(1.5)


# --- In a loader ---------------------------------------------------------------------------------


def loader(augment=None, rng=3, **options):
    x = images((20, 4, 4))
    return DataLoader((x, np.arange(20)), 6, shuffle=True, rng=rng, augment=augment, **options)


def epoch(batches):
    return [(x.tolist(), labels.tolist()) for x, labels in batches]


def noise(x, rng):
    return x + rng.integers(0, 9, x.shape).astype(x.dtype)


def test_draws_depend_on_seed_epoch_and_batch_only():
    one, other = loader(noise), loader(noise)
    first = [epoch(one) for _ in range(3)]
    assert [epoch(other.batches(e)) for e in (2, 0, 1)] == [first[2], first[0], first[1]]
    assert epoch(loader(noise, rng=4)) != first[0]
    # another draw in each batch and epoch, though the noise of one seed alone would be the same
    drawn = set()
    plain = loader()
    for e in range(3):
        for (x, _), (y, _) in zip(plain.batches(e), one.batches(e), strict=True):
            drawn.add((y[:2] - x[:2]).tobytes())
    assert len(drawn) == 12


def test_it_is_resumed_inside_an_epoch():
    whole = [batch for _ in range(2) for batch in epoch(loader(noise))]
    whole = epoch(loader(noise).batches(0)) + epoch(loader(noise).batches(1))
    one, other = loader(noise), loader(noise)
    batches = iter(one)
    got = epoch(next(batches) for _ in range(2))
    other.restore(one.state())
    assert got + epoch(other) + epoch(other) == whole


def test_labels_order_and_evaluation_stay():
    plain, augmented = loader(), loader(noise)
    for (_, a), (_, b) in zip(plain, augmented, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in augmented.in_order()]),
                                  plain.arrays[0])  # fmt: skip
    assert not augmented.only_gathers()
    assert augmented.from_arrays()
    assert plain.only_gathers()
    np.testing.assert_array_equal(augmented.arrays[0], plain.arrays[0])


def test_it_works_without_shuffling():
    x = images((20, 4, 4))
    one, other = (DataLoader((x, x), 6, rng=3, augment=noise) for _ in range(2))
    assert epoch(one) == epoch(other.batches(0))
    assert one._seed > 0


def test_a_device_gets_the_same_batches(device):
    host, there = loader(Cutout(2)), loader(Cutout(2)).to(device)
    for (x, _), (y, _) in zip(host, there, strict=True):
        assert isinstance(y, device.array_type)
        np.testing.assert_array_equal(device.to_host(y), x)


@pytest.mark.parametrize(
    ("augment", "got"),
    [
        (lambda x, rng: x / 255, r"got float64 \(6, 4, 4\)"),
        (lambda x, rng: x[:-1], r"got uint8 \(5, 4, 4\)"),
        (lambda x, rng: x.tolist(), "got list"),
        (lambda x, rng: None, "got NoneType"),
        (lambda x, rng: x[0, 0, 0], "got uint8"),
    ],
)
def test_other_samples_are_refused(augment, got):
    with pytest.raises(ValueError, match=f"expected augment to return 6 samples of uint8 .*{got}"):
        next(iter(loader(augment)))


@pytest.mark.parametrize("augment", [RandomShift, Cutout])
@pytest.mark.parametrize("fill", [0.5, -1, 256, float("nan"), float("inf")])
def test_a_fill_that_no_pixel_can_be_is_refused(augment, fill, backend):
    x, rng = images((2, 4, 4)), np.random.default_rng(0)
    message = rf"{augment.__name__}: expected fill .* are uint8, got {fill}; .* from 0 to 255"
    with pytest.raises(ValueError, match=message):
        augment(1, fill=fill)(backend.asarray(x), rng)
    floats = backend.asarray(x.astype(np.float32))
    assert augment(1, fill=fill)(floats, rng).dtype == np.float32
    assert augment(1, fill=255.0)(backend.asarray(x), rng).dtype == np.uint8


def test_refused():
    with pytest.raises(TypeError, match=r"expected rng, .* with augment"):
        DataLoader((images(), images()), 6, augment=Cutout(2))
    for augment in (Cutout, 3):
        with pytest.raises(TypeError, match=r"write an object such as Cutout\(8\)"):
            loader(augment)
