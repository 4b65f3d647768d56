"""Batches of an iterable: each epoch anew, checked, on a device, resumed if it has a state."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import IterableLoader


def read(epoch):
    rng = np.random.default_rng(epoch)
    for _ in range(4):
        yield rng.random((3, 2)), rng.integers(0, 2, 3)


class Reader:
    """An iterable with a state, which reads on where it is."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        while True:
            self.at += 1
            yield np.full((2, 1), self.at), np.zeros(2, int)

    def state(self):
        return {"at": self.at}

    def restore(self, state):
        self.at = state["at"]


def values(batches):
    return [x.ravel().tolist() for x, _ in batches]


def test_a_function_makes_each_epoch():
    loader = IterableLoader(read, 4)
    got = [values(loader) for _ in range(3)]
    assert got == [values(read(e)) for e in range(3)]
    assert (len(loader), loader.epoch) == (4, 3)
    assert values(loader.batches(1)) == got[1]


def test_an_iterable_begins_anew():
    batches = list(read(0))
    loader = IterableLoader(batches)
    assert len(loader) == 4
    assert values(loader) == values(loader) == values(batches)
    assert values(loader.in_order()) == values(batches)
    assert loader.in_order(77).epoch == 0


def test_what_is_beyond_the_length_is_left_out():
    assert values(IterableLoader(read, 2)) == values(read(0))[:2]
    endless = IterableLoader(Reader(), 3)
    assert [values(endless) for _ in range(2)] == [
        [[n, n] for n in (1, 2, 3)], [[n, n] for n in (4, 5, 6)],
    ]  # fmt: skip


def test_batches_are_moved_and_may_be_lists(device):
    loader = IterableLoader([([[1.5, 2.0]], [1], [0.5])]).to(device)
    ((x, labels, weights),) = loader
    assert all(isinstance(a, device.array_type) for a in (x, labels, weights))
    assert device.to_host(x).tolist() == [[1.5, 2.0]]


def test_looking_at_the_first_batch_changes_nothing():
    reader = Reader()
    loader = IterableLoader(reader, 3)
    x, _ = loader.look()
    assert x.ravel().tolist() == [1, 1]
    assert (reader.at, loader.epoch, loader.position) == (0, 0, 0)
    assert values(IterableLoader(read, 4).look() for _ in range(1)) == values(read(0))[:1]


def test_an_evaluation_takes_no_batches_from_the_training():
    loader = IterableLoader(Reader(), 3)
    for _ in range(2):
        assert values(loader.in_order()) == [[1, 1], [2, 2], [3, 3]]
    assert values(loader) == [[1, 1], [2, 2], [3, 3]]
    assert values(loader.in_order()) == [[4, 4], [5, 5], [6, 6]]
    next(iter(loader.in_order()))  # also if it is stopped
    assert values(loader) == [[4, 4], [5, 5], [6, 6]]


def test_it_continues_inside_an_epoch_if_it_has_a_state():
    one, other = IterableLoader(Reader(), 4), IterableLoader(Reader(), 4)
    assert one.continues
    batches = iter(one)
    got = values(next(batches) for _ in range(3))
    other.restore(one.state())
    assert other.position == 3
    got += values(other) + values(other)
    assert got == [[n, n] for n in range(1, 9)]
    assert other.epoch == 2


def test_without_a_state_it_continues_with_the_next_epoch_only():
    one, other = IterableLoader(read, 4), IterableLoader(read, 4)
    assert not one.continues
    first = values(one)
    other.restore(one.state())
    assert values(other) == values(read(1)) != first
    next(iter(one))
    with pytest.raises(ValueError, match=r"expected batches with state\(\) and restore\(state\), "):
        other.restore(one.state())
    assert (other.epoch, other.position) == (2, 0), "nothing was changed"
    other.position = 2
    with pytest.raises(ValueError, match="to continue inside an epoch, got function without"):
        next(iter(other))


def short(epoch):
    return list(read(epoch))[: 4 - epoch]


def test_an_epoch_that_ends_early_is_refused():
    loader = IterableLoader(short, 4)
    assert len(values(loader)) == 4
    with pytest.raises(ValueError, match="expected 4 batches in epoch 1, got 3; make length"):
        values(loader)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((2, 3)), r"expected \(x, targets\) or .* got ndarray"),
        ((np.zeros((2, 3)),), "got tuple of 1"),
        ((np.zeros((2, 3)), np.zeros(3)), r"expected arrays of one length, .* \[2, 3\]"),
        ((np.zeros((0, 3)), np.zeros(0)), r"at least 1, got lengths \[0, 0\]"),
        ((np.float64(1), np.zeros(1)), r"got lengths \[0, 1\]"),
    ],
)
def test_other_batches_are_refused(batch, message):
    with pytest.raises((TypeError, ValueError), match=f"epoch 0, batch 1: .*{message}"):
        values(IterableLoader([next(read(0)), batch]))


def no_argument():
    return []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IterableLoader(read(0), 4), "got generator, which can be gone through once"),
        (lambda: IterableLoader(iter([1]), 1), "got list_iterator"),
        (lambda: IterableLoader(read), r"function has no len\(\); write IterableLoader"),
        (lambda: IterableLoader(Reader()), r"Reader has no len\(\)"),
        (lambda: IterableLoader([]), "expected length of at least 1, got 0"),
        (lambda: IterableLoader(read, 0), "expected length of at least 1, got 0"),
        (lambda: IterableLoader(7, 3), "expected an iterable of batches, .* got 7"),
        (lambda: IterableLoader(Reader, 3), "got <class"),
        (
            lambda: IterableLoader(no_argument, 3),
            r"got no_argument\(\): too many .*; give it one argum",
        ),
        (lambda: values(IterableLoader(lambda epoch: None, 3)), "got NoneType; yield the batches"),
    ],
)
def test_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
