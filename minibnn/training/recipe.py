"""What a recipe is: a network and everything about its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias

from minibnn.backend import Array, Backend
from minibnn.checks import generator, integer, number
from minibnn.data import DataLoader, ImageDataset
from minibnn.layers import Layer, Sequential
from minibnn.losses import LogitCrossEntropy, Loss
from minibnn.optimizers import Adam, Optimizer
from minibnn.parameter import Buffer, Parameter
from minibnn.schedules import Constant, Cosine, Exponential, PerEpoch, Schedule
from minibnn.training.fit import fit

if TYPE_CHECKING:
    import pandas as pd

# How the learning rate moves: its start, the number of epochs and of updates in one.
Decay: TypeAlias = Callable[[float, int, int], Schedule]


def constant(rate: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """The same rate throughout."""
    return Constant(rate)


def cosine(rate: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """From `rate` to 0 along half a cosine, update by update."""
    return Cosine(rate, 0.0, length=epochs * steps_per_epoch)


@dataclass(frozen=True)
class ExponentialTo:
    """From the recipe's rate to `end` by the same factor after each epoch."""

    end: float

    def __call__(self, rate: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """The schedule."""
        return PerEpoch(Exponential(rate, self.end, length=epochs), steps_per_epoch)


def adam(model: Layer, schedule: Schedule) -> Optimizer:
    """Adam on every parameter."""
    return Adam(model.parameters(), schedule)


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained on images of 28x28 pixels in 10 classes.

    Attributes:
        name: as in `minibnn.recipes.RECIPES`.
        build: makes the network, without values.
        epochs: passes over the training images.
        batch_size: a last batch that would be smaller is left out.
        lr: the learning rate at the start.
        decay: how it moves from there.
        loss: makes the loss.
        optimizer: makes the optimiser from the model and the learning rate's schedule.
        held_out: how many training images are kept aside to choose the epoch with; the model ends
            as it was after the epoch with the best accuracy on them (the last one of several).
            0 for none: the model after the last epoch.
    """

    name: str
    build: Callable[[], Sequential]
    epochs: int
    batch_size: int
    lr: float
    decay: Decay = cosine
    loss: Callable[[], Loss] = LogitCrossEntropy
    optimizer: Callable[[Layer, Schedule], Optimizer] = adam
    held_out: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "held_out"):
            object.__setattr__(self, name, integer(self.name, name, getattr(self, name)))
        object.__setattr__(self, "lr", number(self.name, "lr", self.lr))

    def train(
        self,
        data: ImageDataset,
        *,
        seed: int = 0,
        device: str | Backend = "cpu",
        progress: bool | None = None,
        on_epoch: Callable[[pd.DataFrame], None] | None = None,
        start: Callable[[Sequential], object] | None = None,
        capture: bool | None = None,
        **changes: object,
    ) -> tuple[Sequential, pd.DataFrame]:
        """Train a new network; return it and its history.

        Args:
            data: training images, and test images to evaluate on after each epoch. With
                `held_out`, the history's test columns are of the images held out, and `data`'s
                test images are not looked at.
            seed: of every draw: initial weights, order of the batches, dropout.
            device: see `get_backend`.
            progress: see `fit`.
            on_epoch: see `fit`.
            start: called with the network after its values are drawn, to give it others: those of
                an earlier training, say.
            capture: see `fit`.
            changes: other values for attributes of the recipe: ``epochs=3``, ``lr=1e-3``.

        Raises:
            ValueError: for fewer training images than it holds out; as from `fit`.
            TypeError: for a change of something that a recipe does not have.
        """
        names = [field.name for field in fields(self)]
        unknown = sorted(set(changes) - set(names))
        if unknown:
            raise TypeError(
                f"{self.name}: expected changes to the recipe's attributes, got {unknown}; "
                f"there are {', '.join(names)}"
            )
        recipe = replace(self, **changes)  # type: ignore[arg-type]
        rng = generator(self.name, seed)
        if recipe.held_out:
            images = len(data.train_images)
            if recipe.held_out >= images:
                raise ValueError(
                    f"{self.name}: expected more than the {recipe.held_out:,} training images that "
                    f"it holds out, got {images:,}; use all of MNIST, or train(..., held_out=0)"
                )
            data = data.validation_split(recipe.held_out, rng)
        model = recipe.build().initialize(rng)
        if start is not None:
            start(model)
        model.to(device)
        arrays = (data.train_images, data.train_labels)
        train = DataLoader(arrays, recipe.batch_size, shuffle=True, drop_last=True, rng=rng)
        test = DataLoader((data.test_images, data.test_labels), recipe.batch_size)
        schedule = recipe.decay(recipe.lr, recipe.epochs, len(train))
        best = _Best(model) if recipe.held_out else None

        def after_epoch(history: pd.DataFrame) -> None:
            if best is not None:
                best.look(float(history.acc_test.iloc[-1]))
            if on_epoch is not None:
                on_epoch(history)

        history = fit(
            model,
            train,
            test,
            loss=recipe.loss(),
            optimizer=recipe.optimizer(model, schedule),
            epochs=recipe.epochs,
            progress=progress,
            on_epoch=after_epoch,
            capture=capture,
        )
        if best is not None:
            best.restore()
        return model, history


class _Best:
    """The values that a model had when its accuracy was best."""

    def __init__(self, model: Layer) -> None:
        self.model = model
        self.accuracy = -1.0
        self.values: list[Array] = []

    def look(self, accuracy: float) -> None:
        """Keep the model's values if they are at least as good as the best so far."""
        if accuracy >= self.accuracy:
            self.accuracy = accuracy
            self.values = [a.data.copy() for a in self._arrays()]

    def restore(self) -> None:
        """Give the model its best values back."""
        if self.values:  # not if the first epoch was interrupted
            for a, value in zip(self._arrays(), self.values, strict=True):
                a.data[...] = value

    def _arrays(self) -> list[Parameter | Buffer]:
        return [*self.model.parameters(), *self.model.buffers()]
