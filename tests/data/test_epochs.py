"""The counting of epochs that all loaders share, also users' own."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import DataLoader, IterableLoader
from minibnn.data.epochs import Loader


class Own(Loader):
    """Numbers in place of batches; `batches` knows nothing of `first`."""

    def __len__(self):
        return 4

    def batches(self, epoch):
        yield from (10 * epoch + i for i in range(4))

    def in_order(self, batch_size=None):
        return self

    def to(self, device):
        return self

    def look(self):
        return ()


LOADERS = {
    "own": Own,
    "arrays": lambda: DataLoader((np.arange(8),), 2),
    "iterable": lambda: IterableLoader(lambda e: [([e], [i]) for i in range(4)], 4),
}


@pytest.mark.parametrize("name", LOADERS)
def test_epochs_are_counted(name):
    loader = LOADERS[name]()
    assert [len(list(loader)) for _ in range(3)] == [4, 4, 4]
    assert loader.state()["epoch"] == 3
    assert loader.state()["position"] == 0
    batches = iter(loader)
    for done in (1, 2, 3):
        next(batches)
        assert (loader.state()["epoch"], loader.state()["position"]) == (3, done)
    next(batches)
    assert (loader.state()["epoch"], loader.state()["position"]) == (4, 0)


def test_a_loader_of_ones_own_goes_on_inside_an_epoch():
    one, other = Own(), Own()
    list(one)
    batches = iter(one)
    next(batches)
    other.restore(one.state())
    assert [list(other), list(other)] == [[11, 12, 13], [20, 21, 22, 23]]
    assert not one.only_gathers()
    assert not one.from_arrays()
    assert one.continues


def test_loops_that_make_the_batches_themselves():
    loader = Own()
    assert loader.begin_epoch() == (0, 0)
    loader.note_given(3)
    assert loader.state() == {"epoch": 0, "position": 3}
    other = Own()
    other.restore(loader.state())
    assert other.begin_epoch() == (0, 3)
    other.note_given(1)
    assert other.state() == {"epoch": 1, "position": 0}
