"""A training of a few steps with everything that a checkpoint has to keep."""

from __future__ import annotations

from contextlib import contextmanager

from clusters import clusters

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Bop,
    Cosine,
    DataLoader,
    Dense,
    Dropout,
    LogitCrossEntropy,
    OptimizerGroup,
    Sequential,
    SignSTE,
    StochasticSign,
    fit,
    split_parameters,
)
from minibnn.state_file import flatten, to_json
from minibnn.training.checkpoint import Saver

STEPS = 3  # in an epoch


class KilledError(BaseException):
    """In place of SIGKILL."""


class Training:
    """Made anew, it is the same training; `fit` runs it.

    Args:
        images: of the training data, in batches of 16.
        build: makes the network; None for one with batch norm and random streams.
    """

    def __init__(self, *, images=40, build=None, epochs=2, loss=None):
        self.model = (build or network)().initialize(1)
        self.train = DataLoader(clusters(images, 1), 16, shuffle=True, rng=2)
        self.test = DataLoader(clusters(20, 3), 16)
        binary, rest = split_parameters(self.model)
        schedule = Cosine(0.05, 0.0, length=12)
        self.optimizer = OptimizerGroup(Bop(binary, threshold=1e-6), Adam(rest, schedule))
        self.epochs = epochs
        self.loss = loss or LogitCrossEntropy()
        self.history = None

    def fit(self, checkpoint=None, **options):
        options = {"epochs": self.epochs, "progress": False, **options}
        self.history = fit(
            self.model, self.train, self.test, loss=self.loss, optimizer=self.optimizer,
            checkpoint=checkpoint, **options,
        )  # fmt: skip
        return self

    def ending(self):
        """All bytes that it ends with, by name."""
        parts = {"model": self.model, "optimizer": self.optimizer, "train": self.train}
        arrays, rest = flatten({name: part.state() for name, part in parts.items()})
        found = {name: a.tobytes() for name, a in arrays.items()}
        return found | {"rest": to_json(rest), "history": self.history.to_numpy().tobytes()}


def network():
    return Sequential(
        Dense(8, 12, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(12),
        Activation(StochasticSign(clip=1.0)),
        Dropout(0.2),
        Dense(12, 3, weight_quantizer=StochasticSign(), bias=False),
        BatchNorm(3),
    )


@contextmanager
def killed_after_save(number):
    """A context that "dies" right after so many checkpoints; the test goes on behind it."""
    real, saves = Saver.save, []

    def save(self):
        real(self)
        saves.append(self)
        if len(saves) == number:
            raise KilledError

    Saver.save = save
    try:
        yield
    except KilledError:
        return
    finally:
        Saver.save = real
    raise AssertionError(f"expected {number} checkpoints, got {len(saves)}")


def same_bits(one, other):
    """Whether two endings are equal; if not, what differs."""
    different = [k for k in {**one, **other} if one.get(k) != other.get(k)]
    assert not different
    return True
