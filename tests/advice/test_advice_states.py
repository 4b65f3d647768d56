"""The advice about states that a checkpoint cannot keep, and about seeds and places: followed."""

from __future__ import annotations

import numpy as np
import pytest
from advice import advised, shows
from checkpointed import Training, killed_after_save, same_bits

from minibnn import Checkpoint, DataLoader, LogitCrossEntropy
from minibnn.state_file import flatten


class Noting(LogitCrossEntropy):
    """A loss that notes something in each step."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.seen = kind, 0

    def forward(self, logits, labels):
        self.seen += 1
        return super().forward(logits, labels)

    def state(self):
        return {"seen": self.kind(range(self.seen))}

    def restore(self, state):
        self.seen = len(state["seen"])


def test_what_grows_is_kept_in_a_list(tmp_path):
    with advised("training", "keep its names, shapes and dtypes, and what grows in a list"):
        Training(loss=Noting(np.array)).fit(Checkpoint(tmp_path / "array"))
    path, whole = tmp_path / "list", Training(loss=Noting(list)).fit()
    with killed_after_save(2):
        Training(loss=Noting(list)).fit(Checkpoint(path, "1step"))
    again = Training(loss=Noting(list)).fit(Checkpoint(path, resume=True))
    assert same_bits(again.ending(), whole.ending())
    assert again.loss.seen == whole.loss.seen


def test_an_array_of_too_many_axes_is_reshaped():
    array = np.zeros([1] * 9)
    with advised("state_file.py", "reshape it"):
        flatten({"a": array})
    flatten({"a": array.reshape(1)})


def test_an_epoch_is_finished_or_begun_again():
    def restored():
        other, training = Training(), Training()
        next(iter(other.train))
        training.train.restore(other.train.state())
        return training

    with advised(
        "training",
        "finish that epoch with a loop of your own, or begin it again with train.position = 0",
    ):
        restored().fit()
    training = restored()
    for _ in training.train:
        pass
    assert len(training.fit().history) == 2
    training = restored()
    training.train.position = 0
    assert len(training.fit().history) == 2


def test_another_seed_has_another_file(tmp_path):
    def seeded(seed, path):
        training = Training()
        training.train = DataLoader(training.train.arrays, 16, shuffle=True, rng=seed)
        return training.fit(Checkpoint(tmp_path / path, resume=True), epochs=1)

    seeded(2, "run")
    with pytest.warns(UserWarning, match="seed") as caught:
        seeded(3, "run")
    text = str(caught[0].message)
    shows("training/checkpoint.py", "for a training with another seed, choose another file", text)
    seeded(3, "other")


class Less:
    """Sets a dropout's rate, and sets it again."""

    def __init__(self, dropout):
        self.dropout = dropout

    def __call__(self, history):
        self.dropout.rate = 0.1

    def state(self):
        return {"rate": self.dropout.rate}

    def restore(self, state):
        self.dropout.rate = state["rate"]


def test_an_argument_is_set_by_an_on_epoch_with_a_state(tmp_path, caplog):
    training = Training()
    training.fit(Checkpoint(tmp_path / "one"), on_epoch=Less(training.model.layers[3]).__call__)
    shows(
        "training",
        "(if on_epoch sets it, give on_epoch the methods state and restore, and set it there, too)",
        caplog.text,
    )
    caplog.clear()
    training = Training()
    training.fit(Checkpoint(tmp_path / "two"), on_epoch=Less(training.model.layers[3]))
    assert not caplog.records


def test_a_class_with_a_state_gets_a_restore():
    def counting(**more):
        return type("Counting", (LogitCrossEntropy,), {"state": lambda self: {"calls": 1}, **more})

    with advised("state", "write restore, which puts back what state adds"):
        counting()
    counting(restore=lambda self, state: None)().restore({"calls": 1})


def test_a_path_gets_a_checkpoint(tmp_path):
    path = str(tmp_path / "run")
    with advised("training", "write Checkpoint({})") as hint:
        Training().fit(path)
    assert f"Checkpoint({path!r})" in hint.text
    Training().fit(Checkpoint(path))
    assert (tmp_path / "run").exists()
