"""Batches: complete, reproducible, and belonging to whoever took them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn import DataLoader


def loader(n=10, size=3, **options):
    x = np.arange(n)
    return DataLoader((x, x * x, np.stack([x, -x], axis=1)), size, **options)


@given(st.integers(1, 40), st.integers(1, 45), st.booleans(), st.booleans(), st.integers(0, 5))
def test_every_sample_once(n, size, shuffle, drop_last, epoch):
    if drop_last and n < size:
        return
    data = loader(n, size, shuffle=shuffle, drop_last=drop_last, rng=1)
    batches = list(data.batches(epoch))
    assert len(batches) == len(data)
    assert all(len(x) == size for x, _, _ in batches[:-1])
    seen = np.concatenate([x for x, _, _ in batches])
    assert len(set(seen.tolist())) == len(seen) == (n // size * size if drop_last else n)
    for x, squares, pairs in batches:
        np.testing.assert_array_equal(squares, x * x)
        np.testing.assert_array_equal(pairs, np.stack([x, -x], axis=1))


def order(data, epoch):
    return np.concatenate([x for x, _, _ in data.batches(epoch)]).tolist()


def test_order_depends_on_seed_and_epoch_only():
    one, two = (loader(50, 7, shuffle=True, rng=np.random.default_rng(3)) for _ in range(2))
    for _ in one:  # a whole epoch, and a part of one
        pass
    next(iter(one))
    assert order(one, 4) == order(two, 4) == order(one, 4)
    assert order(one, 4) != order(one, 5)
    assert order(one, 4) != order(loader(50, 7, shuffle=True, rng=4), 4)
    # the order is the samples', not the batch size's
    assert order(one, 4) == order(loader(50, 11, shuffle=True, rng=np.random.default_rng(3)), 4)


def test_iteration_goes_through_the_epochs():
    data = loader(30, 4, shuffle=True, rng=0)
    epochs = [np.concatenate([x for x, _, _ in data]).tolist() for _ in range(3)]
    assert epochs == [order(data, e) for e in range(3)]
    assert data.epoch == 3


def test_kept_batches_stay_as_they_were(backend):
    for shuffle in (False, True):
        data = loader(40, 6, shuffle=shuffle, rng=0).to(backend)
        kept = [batch for _ in range(2) for batch in data]
        values = [tuple(backend.to_host(a).copy() for a in batch) for batch in kept]
        for batch in data:
            for a in batch:
                a[...] = -1
        for batch, value in zip(kept, values, strict=True):
            for a, b in zip(batch, value, strict=True):
                np.testing.assert_array_equal(backend.to_host(a), b)
        np.testing.assert_array_equal(backend.to_host(data.arrays[0]), np.arange(40))


def test_a_device_gives_the_same_batches(device):
    host, there = (loader(20, 6, shuffle=True, rng=5) for _ in range(2))
    there.to(device)
    for a, b in zip(host, there, strict=True):
        for x, y in zip(a, b, strict=True):
            assert isinstance(y, device.array_type)
            np.testing.assert_array_equal(device.to_host(y), x)


def test_in_order():
    data = loader(10, 4, shuffle=True, drop_last=True, rng=0)
    assert [x.tolist() for x, _, _ in data.in_order()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(data.in_order(10)) == 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DataLoader((), 3), ValueError, r"got lengths \[\]"),
        (lambda: DataLoader((np.zeros(3), np.zeros(4)), 3), ValueError, r"got lengths \[3, 4\]"),
        (lambda: DataLoader((np.zeros((0, 2)),), 3), ValueError, r"at least 1, got lengths \[0\]"),
        (lambda: loader(3, 0), ValueError, "batch_size of at least 1, got 0"),
        (lambda: loader(3, 4, drop_last=True), ValueError, "3 samples make no batch of 4"),
        (lambda: loader(shuffle=True), TypeError, "expected rng, .* with shuffle=True"),
        (
            lambda: DataLoader(np.zeros((9, 2)), 3),
            TypeError,
            r"expected a tuple of arrays .* got ndarray",
        ),
        (
            lambda: DataLoader((np.zeros(9),), np.zeros(9)),
            TypeError,
            "a batch size, .* and ndarray",
        ),
        (lambda: DataLoader(([1, 2],), 1), TypeError, "expected a NumPy or CuPy array, got list"),
    ],
)
def test_refuses(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_arrays_on_two_devices(device):
    with pytest.raises(TypeError, match="expected all arrays on one device"):
        DataLoader((np.zeros(3), device.asarray(np.zeros(3))), 1)


def test_arrays_in_another_order_give_the_same_batches(backend):
    x = np.arange(60).reshape(6, 10)
    for array in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        data = DataLoader((array,), 4, shuffle=True, rng=0).to(backend)
        expected = DataLoader((x,), 4, shuffle=True, rng=0)
        for (a,), (b,) in zip(data, expected, strict=True):
            np.testing.assert_array_equal(backend.to_host(a), b)
        assert data.arrays[0].flags.c_contiguous  # or each batch would copy the whole array


@pytest.mark.parametrize("name", ["__iter__", "__len__", "batches", "order"])
def test_a_loader_that_somebody_changed_does_more_than_gather(name):
    """In a class of their own, or in one object."""
    assert loader().only_gathers()
    kind = type("Mine", (DataLoader,), {name: lambda self, *_: None})
    assert not kind((np.arange(4),), 2).only_gathers()
    assert type("Mine", (DataLoader,), {"other": 1})((np.arange(4),), 2).only_gathers()
    one = loader()
    setattr(one, name, getattr(one, name))
    assert not one.only_gathers()


def test_without_shuffling_the_order_is_the_arrays():
    data = loader(7, 3)
    for epoch in (0, 5):
        np.testing.assert_array_equal(data.order(epoch), np.arange(7))
        assert order(data, epoch) == list(range(7))


class Augmented(DataLoader):
    """Its batches depend on the epoch's number alone."""

    def batches(self, epoch):
        rng = np.random.default_rng([3, epoch])
        for x, *others in super().batches(epoch):
            yield (x + self.backend.asarray(rng.integers(0, 100, x.shape)), *others)


class Reversed(DataLoader):
    def order(self, epoch):
        return super().order(epoch)[::-1] if epoch % 2 else super().order(epoch)


def taken(batches):
    return [[a.tolist() for a in batch] for batch in batches]


@pytest.mark.parametrize("kind", [DataLoader, Augmented, Reversed])
@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"shuffle": True, "drop_last": True}])
def test_a_restored_loader_goes_on_after_the_last_batch(kind, options, backend):
    """Inside an epoch and between two; also one with another seed, in the middle of its own."""
    arrays = np.arange(10), np.arange(10) * 1.0

    def make(seed):
        return kind(arrays, 3, **options, rng=seed).to(backend)

    def take(loader):
        return taken(tuple(map(backend.to_host, batch)) for batch in loader)

    n = len(make(0))
    expected = [take(epoch) for data in [make(0)] for epoch in (data, data, data)]
    for count in range(2 * n + 1):
        data, other = make(0), make(1)
        batches = itertools.chain.from_iterable(itertools.repeat(data))
        for _ in range(count):
            next(batches)
        state = data.state()
        next(iter(other))
        other.restore(state)
        assert other.state() == state
        epoch, first = state["epoch"], state["position"]
        assert (epoch, first) == divmod(count, n)
        assert take(other) == expected[epoch][first:]
        if epoch < 2:
            assert take(other) == expected[epoch + 1]  # and no batch of the next one is missing
        assert other.state()["position"] == 0


def test_a_restored_position_is_used_once():
    data = loader(10, 3)
    next(iter(data))
    data.restore(data.state())
    assert data.state() == {"seed": 0, "epoch": 0, "position": 1}
    next(iter(data))
    assert data.state() == {"seed": 0, "epoch": 0, "position": 2}
    assert len(taken(data)) == 4  # the next epoch, as this one was left


def test_loops_that_make_batches_themselves_count_them():
    data = loader(10, 3)
    data.restore({"seed": 5, "epoch": 7, "position": 2})
    assert data.begin_epoch() == (7, 2)
    assert data.state() == {"seed": 5, "epoch": 7, "position": 2}
    data.note_given(1)
    assert data.state() == {"seed": 5, "epoch": 7, "position": 3}
    data.note_given(1)
    assert data.state() == {"seed": 5, "epoch": 8, "position": 0}
    assert data.begin_epoch() == (8, 0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"position": -1}, ValueError, "position of at least 0, got -1"),
        ({"epoch": 1.5}, TypeError, "expected epoch of type int, got 1.5"),
        ({"more": 1}, ValueError, "a state with more as nothing, got a number"),
        ({"seed": "x"}, ValueError, "a state with seed as a number, got a text"),
    ],
)
def test_another_state_changes_nothing(change, error, message):
    data = loader(10, 3, shuffle=True, rng=0)
    next(iter(data))
    before = data.state()
    with pytest.raises(error, match=message):
        data.restore({**before, "epoch": 3, **change})
    assert data.state() == before


def test_a_class_that_gives_out_batches_itself_cannot_be_resumed():
    """Nobody knows how many; one that overrides `batches` can be, as the hint says."""

    class Mine(DataLoader):
        def __iter__(self):
            return self.batches(0)

    with pytest.raises(TypeError, match=r"Mine: expected .* __iter__ of its own; override batches"):
        Mine((np.arange(4),), 2).state()

    class Whole(Mine):
        def state(self):
            return {"mine": 1}

        def restore(self, state):
            pass

    assert Whole((np.arange(4),), 2).state() == {"mine": 1}


def test_a_class_extends_the_state():
    class Counting(DataLoader):
        epochs = 0

        def state(self):
            return {**super().state(), "epochs": self.epochs}

        def restore(self, state):
            super().restore(state)
            self.epochs = state["epochs"]

    one, other = (Counting((np.arange(6),), 2, shuffle=True, rng=seed) for seed in (0, 1))
    one.epochs = 4
    next(iter(one))
    other.restore(one.state())
    assert other.epochs == 4
    assert other.state() == one.state()
    assert taken(other) == taken(one.batches(0, first=1))


# --- Splitting -----------------------------------------------------------------------------------


def test_a_split_divides_the_samples():
    data = loader(50, 7, shuffle=True, rng=3)
    training, validation = data.split(0.3)
    parts = [part.arrays[0].tolist() for part in (training, validation)]
    assert sorted(parts[0] + parts[1]) == list(range(50))
    assert (len(parts[1]), len(validation)) == (15, 3)
    assert parts[1] != list(range(35, 50)), "drawn, not the last ones"
    for part in (training, validation):
        np.testing.assert_array_equal(part.arrays[1], part.arrays[0] ** 2)
    assert not validation.shuffle
    again = loader(50, 7, shuffle=True, rng=3)
    list(again)  # whatever the epoch
    assert again.split(0.3)[1].arrays[0].tolist() == parts[1]
    assert loader(50, 7, shuffle=True, rng=4).split(0.3)[1].arrays[0].tolist() != parts[1]
    assert (data.samples, data.epoch) == (50, 0)


def test_a_split_goes_on_in_the_epoch():
    data = loader(50, 7, shuffle=True, rng=3)
    expected = [x.tolist() for x, *_ in data.split(0.3)[0].batches(1)]
    list(data)
    training, _ = data.split(0.3)
    assert [x.tolist() for x, *_ in training] == expected


def test_a_device_splits_alike(device):
    here, there = (loader(20, 6, shuffle=True, rng=5) for _ in range(2))
    for a, b in zip(here.split(0.2), there.to(device).split(0.2), strict=True):
        np.testing.assert_array_equal(device.to_host(b.arrays[0]), a.arrays[0])


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, 0.001, 0.999, float("nan")])
def test_a_part_is_never_empty(fraction):
    with pytest.raises(ValueError, match="a fraction of its 50 samples that leaves some for train"):
        loader(50, 7, shuffle=True, rng=3).split(fraction)


def test_a_split_refuses():
    with pytest.raises(ValueError, match="expected a loader with shuffle=True, whose seed draws"):
        loader(50, 7).split(0.1)
    with pytest.raises(ValueError, match="5 samples make no batch of 7 with drop_last=True"):
        loader(10, 7, shuffle=True, rng=1, drop_last=True).split(0.5)
    with pytest.raises(TypeError, match="expected fraction to be a number, got '10%'"):
        loader(50, 7, shuffle=True, rng=1).split("10%")
