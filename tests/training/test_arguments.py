"""Arguments that `on_epoch` sets are in no state, and named when a checkpoint is written."""

from __future__ import annotations

import logging

import pytest
from checkpointed import Training, killed_after_save, same_bits
from few_images import few_images

from minibnn import (
    SGD,
    Checkpoint,
    Constant,
    Dense,
    Dropout,
    Flatten,
    LogitCrossEntropy,
    OptimizerGroup,
    PerEpoch,
    Rescale,
    Sequential,
)
from minibnn.training.arguments import arguments_in_no_state
from minibnn.training.job import differences
from minibnn.training.recipe import Recipe


class Plateau:
    """A schedule of a user's own, with a state."""

    def __init__(self):
        self.rate = 0.1

    def __call__(self, step):
        return self.rate

    def state(self):
        return {"rate": self.rate}

    def restore(self, state):
        self.rate = state["rate"]


class Warm(Dense):
    """A layer with an argument in its state."""

    def __init__(self, warmth):
        super().__init__(3, 3)
        self.warmth = warmth

    def arguments(self):
        return {"warmth": self.warmth}

    def state(self):
        return {**super().state(), "warmth": self.warmth}

    def restore(self, state):
        super().restore(state)
        self.warmth = state["warmth"]


CHANGES = {
    "a dropout's rate": (
        lambda t: setattr(t.model.layers[3], "rate", 0.5),
        "model, layers 3, rate: 0.2 then, 0.5 now",
    ),
    "Bop's threshold": (
        lambda t: setattr(t.optimizer.optimizers[0], "threshold", 0.5),
        "optimizer 0, threshold: 1e-06 then, 0.5 now",
    ),
    "another schedule": (
        lambda t: setattr(t.optimizer.optimizers[1], "learning_rate", Constant(0.5)),
        "optimizer 1, learning_rate: Cosine then, Constant now",
    ),
    "a number for a schedule": (
        lambda t: setattr(t.optimizer.optimizers[1], "learning_rate", 0.5),
        "optimizer 1, learning_rate: Cosine then, a number, in its state now",
    ),
    "a layer less": (
        lambda t: setattr(t.model, "_layers", t.model.layers[:5]),
        "model, layers: 6 then, 5 now",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_found(name):
    change, text = CHANGES[name]
    training = Training()
    given = training.model, training.loss, training.optimizer
    before = arguments_in_no_state(*given)
    assert arguments_in_no_state(*given) == before
    change(training)
    assert list(differences(before, arguments_in_no_state(*given))) == [text]


def test_what_is_in_a_state_may_change():
    model = Sequential(Warm(1.0), Sequential(Warm(2.0))).initialize(0)
    parameters = list(model.parameters())
    plateau = Plateau()
    group = OptimizerGroup(SGD(parameters[:1], 0.1), SGD(parameters[1:], plateau))
    before = arguments_in_no_state(model, LogitCrossEntropy(), group)
    group.optimizers[0].learning_rate = 0.5
    plateau.rate = 0.5
    model.layers[0].warmth = model.layers[1].layers[0].warmth = 0.5
    assert arguments_in_no_state(model, LogitCrossEntropy(), group) == before


def test_a_schedule_around_one_with_a_state_is_compared():
    model = Sequential(Dense(3, 3)).initialize(0)
    optimizer = SGD(model.parameters(), PerEpoch(Plateau(), 2))
    before = arguments_in_no_state(model, LogitCrossEntropy(), optimizer)
    optimizer.schedule.schedule.rate = 0.5
    assert arguments_in_no_state(model, LogitCrossEntropy(), optimizer) == before
    optimizer.learning_rate = PerEpoch(optimizer.schedule.schedule, 3)
    found = list(differences(before, arguments_in_no_state(model, LogitCrossEntropy(), optimizer)))
    assert found == ["optimizer 0, learning_rate, steps_per_epoch: 2 then, 3 now"]


class Annealed:
    """An on_epoch that sets a dropout's rate, and sets it again when it is restored."""

    def __init__(self, training):
        self.dropout = training.model.layers[3]
        self.seen = {}

    def __call__(self, history):
        self.seen[str(len(history))] = self.dropout.rate = 0.2 / (1 + len(history))

    def state(self):
        return {"seen": dict(self.seen), "rate": self.dropout.rate}

    def restore(self, state):
        self.seen, self.dropout.rate = state["seen"], state["rate"]


def annealed(checkpoint, *, named=False):
    training = Training(epochs=3)
    on_epoch = Annealed(training)
    return training.fit(checkpoint, on_epoch=on_epoch.__call__ if named else on_epoch).ending()


@pytest.mark.parametrize("saves", [2, 3, 4, 5, 7])
def test_an_on_epoch_that_restores_them_resumes_exactly(tmp_path, caplog, saves):
    caplog.set_level(logging.INFO, "minibnn")
    path = tmp_path / "run"
    with killed_after_save(saves):
        annealed(Checkpoint(path, "1step"))
    assert same_bits(annealed(Checkpoint(path, "1step", resume=True)), annealed(None))
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_one_that_cannot_is_named_once(tmp_path, caplog):
    annealed(Checkpoint(tmp_path / "run", "1step"), named=True)
    (record,) = caplog.records
    assert "got model, layers 3, rate: 0.2 then, 0.1 now (if on_epoch sets it" in record.message


def test_a_recipe_that_holds_images_out_names_it_too(tmp_path, caplog):
    dropouts = []

    def build():
        dropouts.append(Dropout(0.4))
        return Sequential(Flatten(), Rescale(1 / 255), dropouts[-1], Dense(784, 10))

    def on_epoch(history):
        dropouts[-1].rate = 0.1

    recipe = Recipe("mine", build, epochs=2, batch_size=10, learning_rate=0.1, held_out=20)
    recipe.train(
        few_images(60, 10), on_epoch=on_epoch, progress=False, checkpoint=Checkpoint(tmp_path / "r")
    )
    (record,) = caplog.records
    assert "got model, layers 2, rate: 0.4 then, 0.1 now" in record.message


def test_it_is_named_before_the_second_step_if_an_epoch_has_one(tmp_path):
    training = Training(images=16)
    with pytest.raises(TypeError, match=r"rate: 0\.2 then, 0\.1 now"):
        training.fit(
            Checkpoint(tmp_path / "run"), on_epoch=Annealed(training).__call__, epochs=3
        )  # fmt: skip
