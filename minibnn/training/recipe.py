"""Recipes: a network and its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from minibnn.backend import Array, Backend
from minibnn.checks import generator, integer, number
from minibnn.data import DataLoader, ImageDataset
from minibnn.layers import Layer, Sequential
from minibnn.losses import LogitCrossEntropy, Loss
from minibnn.optimizers import Adam, Optimizer
from minibnn.parameter import Buffer, Parameter
from minibnn.renames import renamed, renamed_argument
from minibnn.schedules import Constant, Cosine, Exponential, PerEpoch, Schedule
from minibnn.state import State, Stateful, has_state
from minibnn.training.checkpoint import Checkpoint
from minibnn.training.fit import fit

if TYPE_CHECKING:
    import pandas as pd

    from minibnn.distributed import Ranks

# Makes a schedule from the initial learning rate, the epochs, and the updates in an epoch.
Decay: TypeAlias = Callable[[float, int, int], Schedule]


def constant(learning_rate: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """The same learning rate throughout."""
    return Constant(learning_rate)


def cosine(learning_rate: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """From `learning_rate` to 0 along half a cosine, changing with each update."""
    return Cosine(learning_rate, 0.0, length=epochs * steps_per_epoch)


@dataclass(frozen=True)
class ExponentialTo:
    """From the recipe's learning rate to `end`, multiplied by the same factor after each epoch."""

    end: float

    def __call__(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """The schedule, which changes once an epoch."""
        return PerEpoch(Exponential(learning_rate, self.end, length=epochs), steps_per_epoch)


def adam(model: Layer, schedule: Schedule) -> Optimizer:
    """Adam on every parameter."""
    return Adam(model.parameters(), schedule)


@dataclass(frozen=True)
class Recipe:
    """A network, and how it is trained: yours on your data, or one of `minibnn.recipes`.

    The network and the loss decide what samples and targets it takes. Those of
    `minibnn.recipes.RECIPES` take images of 28x28 pixels in 10 classes.

    Attributes:
        name: for messages and tables; the key, in `minibnn.recipes.RECIPES`.
        build: makes the network, not yet initialised.
        epochs: passes over the training samples.
        batch_size: the size of all batches; a smaller last batch is dropped.
        learning_rate: the initial one.
        decay: makes the schedule of the learning rate.
        loss: makes the loss.
        optimizer: makes the optimiser from the model and the schedule.
        held_out: the number of training samples that are held out to choose the best epoch. The
            model returns to its values after the epoch with the best accuracy on them (the last
            such epoch). 0: no samples are held out, and the model keeps its last values.

    >>> import numpy as np
    >>> from minibnn import BatchNorm, Dense, SignSTE, Thermometer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.random((200, 3), dtype=np.float32)
    >>> y = (x[:, 0] > 0.5).astype(np.int64)
    >>> recipe = Recipe(
    ...     "first-feature",
    ...     lambda: Sequential(
    ...         Thermometer(3, 8),
    ...         Dense(24, 2, bias=False, weight_quantizer=SignSTE()),
    ...         BatchNorm(2),
    ...     ),
    ...     epochs=20, batch_size=20, learning_rate=0.03,
    ... )
    >>> data = ImageDataset("random numbers", x[:150], y[:150], x[150:], y[150:])
    >>> model, history = recipe.train(data, progress=False)
    >>> bool(history.acc_test.iloc[-1] > 0.85)
    True
    """

    name: str
    build: Callable[[], Sequential]
    epochs: int
    batch_size: int
    learning_rate: float
    decay: Decay = cosine
    loss: Callable[[], Loss] = LogitCrossEntropy
    optimizer: Callable[[Layer, Schedule], Optimizer] = adam
    held_out: int = 0
    lr = renamed("learning_rate", gone_in="0.3")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "held_out"):
            object.__setattr__(self, name, integer(self.name, name, getattr(self, name)))
        rate = number(self.name, "learning_rate", self.learning_rate)
        object.__setattr__(self, "learning_rate", rate)

    def __repr__(self) -> str:
        plan = f"epochs={self.epochs}, batch_size={self.batch_size}"
        return f"Recipe({self.name!r}, {plan}, learning_rate={self.learning_rate:g})"

    @renamed_argument("lr", "learning_rate", gone_in="0.3")
    def train(
        self,
        data: ImageDataset,
        *,
        seed: int = 0,
        device: str | Backend = "cpu",
        progress: bool | None = None,
        on_epoch: Callable[[pd.DataFrame], None] | None = None,
        start: Callable[[Sequential], object] | None = None,
        callbacks: Sequence[object] = (),
        capture: bool | None = None,
        checkpoint: Checkpoint | None = None,
        comm: Ranks | Any = None,
        **changes: object,
    ) -> tuple[Sequential, pd.DataFrame]:
        """Train a new network; return it and its history.

        Args:
            data: training images, and test images for the evaluation after each epoch. With
                `held_out`, the history's test columns are of the held-out images, and the test
                images are not used.
            seed: for all random numbers: initial weights, order of the batches, dropout.
            device: see `get_backend`.
            progress: see `fit`.
            on_epoch: see `fit`.
            start: called with the initialised network, to give it other values, such as those of
                an earlier training.
            callbacks: see `fit`.
            capture: see `fit`.
            checkpoint: see `fit`; the best values so far are saved as well. To resume, call `train`
                with the same arguments again.
            comm: see `fit`; every rank returns the same model and history.
            changes: other values for attributes of the recipe, such as
                ``epochs=3, learning_rate=1e-3``.

        Raises:
            ValueError: if no training image is left after those held out; also as `fit`.
            TypeError: if a change is not an attribute of a recipe.
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
                    f"it holds out, got {images:,}; use more images, or train(..., held_out=0)"
                )
            data = data.validation_split(recipe.held_out, rng)
        model = recipe.build().initialize(rng)
        if start is not None:
            start(model)
        model.to(device)
        arrays = (data.train_images, data.train_labels)
        train = DataLoader(arrays, recipe.batch_size, shuffle=True, drop_last=True, rng=rng)
        test = DataLoader((data.test_images, data.test_labels), recipe.batch_size)
        schedule = recipe.decay(recipe.learning_rate, recipe.epochs, len(train))
        best = _Best(model, on_epoch) if recipe.held_out else None
        if checkpoint is not None:
            checkpoint = checkpoint.of(recipe=recipe.name, seed=seed)
            longer = recipe.decay(recipe.learning_rate, recipe.epochs + 1, len(train))
            if repr(longer) != repr(schedule):  # then more epochs are another training
                checkpoint = checkpoint.of(epochs=recipe.epochs)
        history = fit(
            model,
            train,
            test,
            loss=recipe.loss(),
            optimizer=recipe.optimizer(model, schedule),
            epochs=recipe.epochs,
            progress=progress,
            on_epoch=on_epoch if best is None else best,
            callbacks=callbacks,
            capture=capture,
            checkpoint=checkpoint,
            comm=comm,
        )
        if best is not None:
            best.put_back()
        return model, history


_rename_lr = renamed_argument("lr", "learning_rate", gone_in="0.3")
Recipe.__init__ = _rename_lr(Recipe.__init__)  # type: ignore[method-assign]


class _Best(Stateful):
    """A model's values at its best accuracy; `fit` calls it after each epoch."""

    def __init__(
        self, model: Layer, on_epoch: Callable[[pd.DataFrame], None] | None = None
    ) -> None:
        self.model = model
        self.on_epoch = on_epoch
        self.accuracy = -1.0
        self.values: list[Array] = []

    def __call__(self, history: pd.DataFrame) -> None:
        """Keep the model's values if the accuracy is at least as good as the best so far."""
        accuracy = float(history.acc_test.iloc[-1])
        if accuracy >= self.accuracy:
            self.accuracy = accuracy
            self.values = [a.data.copy() for a in self._arrays()]
        if self.on_epoch is not None:
            self.on_epoch(history)

    def put_back(self) -> None:
        """Give the model its best values again."""
        if self.values:  # not if the first epoch was interrupted
            for a, value in zip(self._arrays(), self.values, strict=True):
                a.data[...] = value

    def state(self) -> State:
        """The best accuracy and the values, and the state of the user's function, if it has one."""
        to_host = self.model.backend.to_host
        values = {str(i): to_host(value) for i, value in enumerate(self.values)}
        state = {"accuracy": self.accuracy, "values": values or None}
        return state | ({"on_epoch": self.on_epoch.state()} if has_state(self.on_epoch) else {})  # type: ignore[union-attr]

    def restore(self, state: State) -> None:
        """Put a state back."""
        asarray = self.model.backend.asarray
        self.accuracy = state["accuracy"]
        self.values = [asarray(value) for value in (state["values"] or {}).values()]
        if "on_epoch" in state:
            self.on_epoch.restore(state["on_epoch"])  # type: ignore[union-attr]

    def _arrays(self) -> list[Parameter | Buffer]:
        return [*self.model.parameters(), *self.model.buffers()]
