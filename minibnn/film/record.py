"""The callback that takes a film of a training."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minibnn.atomic_file import require_writable
from minibnn.backend import Array, backend_of
from minibnn.checks import boolean
from minibnn.film.data import Distributions, Film
from minibnn.film.file import save_film
from minibnn.film.frames import Frame, Frames
from minibnn.film.histogram import BINS, axes_of, histogram, reach_of
from minibnn.film.loss_curve import LossCurve
from minibnn.film.wall import find_bits, layout, wall_bits
from minibnn.functions import activation_bits
from minibnn.inspection.recorder import Recorder
from minibnn.layers import Activation, Layer
from minibnn.state import State, Stateful

if TYPE_CHECKING:
    import pandas as pd

HostArray: TypeAlias = np.ndarray[Any, Any]

SAMPLES = 128  # most of them, for the margins
MOST_LAYERS = 6  # of latent weights, and of signs
MOST_EPOCHS = 512  # of the history
EMPTY = np.zeros((0, BINS + 2), np.uint32)


class TrainingFilm(Stateful):
    """Takes a film of a training: a callback, ``fit(..., callbacks=[film])``.

    A frame has the bits of the first layer with weights of two values, histograms of the latent
    weights, and, for some samples, histograms of what enters each sign: the margins to its
    threshold, which is 0. `export_training_page` makes a page of the film that replays it.

    However long the training is, a film has at most 200 frames of at most 2^17 bits, and about six
    layers of each kind: a few megabytes, in memory and in its file. Early frames are closer
    together. Frames are taken from the values that the training has anyway; the samples pass
    through a copy of the model, in evaluation mode. So nothing in the training changes. A film
    belongs to one call of `fit`; another call begins it anew. With a checkpoint, a training that is
    resumed goes on with its film. On several ranks, give a path to one of them only.

    Args:
        path: where the film is written when the training ends; None keeps it in memory.
        samples: some of the training samples, as the loader has them; at most 128 of them are
            used. None leaves the margins out.
        within_epochs: whether frames are taken after steps. False takes one after each epoch only,
            so that steps stay captured on a GPU.

    Attributes:
        film: the film so far, a `Film`.

    Raises:
        TypeError: for arguments of other types.
        ValueError: for no samples at all; from `fit`, before the first step, for a model without
            weights of two values.
        OSError: from `fit`, before the first step, if the file cannot be written.

    >>> import numpy as np
    >>> TrainingFilm("run.film", np.zeros((300, 28, 28), np.uint8))
    TrainingFilm('run.film', 100 samples)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        samples: Array | None = None,
        *,
        within_epochs: bool = True,
    ) -> None:
        if path is not None and not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"TrainingFilm: expected a path to write the film to, got {type(path).__name__}; "
                "write TrainingFilm('run.film', samples)"
            )
        if samples is not None and not hasattr(samples, "shape"):
            raise TypeError(
                f"TrainingFilm: expected an array of samples, got {type(samples).__name__}; pass "
                "some training samples, such as x[:100]"
            )
        if samples is not None and 0 in samples.shape[:1]:
            raise ValueError(
                "TrainingFilm: expected at least one sample, got none; pass some training samples, "
                "such as x[:100]"
            )
        self.path = path
        if samples is not None:
            samples = samples[:: max(1, -(-len(samples) // SAMPLES))]
            samples = backend_of(samples).to_host(samples).copy()
        self.samples = samples
        self.within_epochs = boolean("TrainingFilm", "within_epochs", within_epochs)
        if self.within_epochs:  # an `on_step` alone would keep a GPU from capturing its steps
            self.on_step = self._on_step
        self._model: Layer | None = None
        self._begin_anew()

    def __repr__(self) -> str:
        path = [] if self.path is None else [repr(os.fspath(self.path))]
        n = 0 if self.samples is None else len(self.samples)
        return f"TrainingFilm({', '.join([*path, f'{n} samples'])})"

    def arguments(self) -> dict[str, Any]:
        """No path: where the film goes does not change the training."""
        return {"path": None}

    def _begin_anew(self) -> None:
        self._frames = Frames()
        self._last: Frame | None = None
        self._losses = LossCurve()
        self._step = self._epoch = self._epoch_steps = 0
        self._history: pd.DataFrame | None = None

    def on_begin(self, model: Layer, history: pd.DataFrame) -> None:
        """Find what is shown, and take the first frame."""
        found = find_bits(model)
        if found is None:
            raise ValueError(
                "TrainingFilm: expected a layer with weights of two values, whose bits are shown, "
                f"found none in {model}; give one weight_quantizer=SignSTE()"
            )
        if self.path is not None:
            require_writable(self.path)
        self._begin_anew()
        self._model, self._history = model, history
        self._bits = found
        sample = None if self.samples is None else self.samples.shape[1:]
        self._wall, self._order = layout(found, sample)
        self._latents = _first(list(model.named_quantized()))
        self._x = None if self.samples is None else model.backend.asarray(self.samples)
        self._signs = self._find_signs()
        self._take()

    def _on_step(self, epoch: int, step: int) -> None:
        self._step += 1
        self._take()

    def on_losses(self, losses: HostArray) -> None:
        """Keep the losses of an epoch's steps."""
        self._losses.add(losses)
        self._epoch_steps = len(losses)
        self._step = self._losses.steps

    def on_epoch(self, history: pd.DataFrame) -> None:
        """Take a frame, if those after steps are not taken."""
        self._epoch += 1
        self._history = history
        self._last = self._frame(self._tick)  # before another callback changes the model
        if not self.within_epochs and self._frames.wanted(self._tick):
            self._frames.add(self._last)

    def on_end(self, history: pd.DataFrame) -> None:
        """Write the film."""
        self._history = history
        if self.path is not None:
            self.save()

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the film so far, as after a training that ended with an error.

        Args:
            path: None writes it where the constructor says.

        Raises:
            ValueError: without any path; before `fit` has begun.
            OSError: if the file cannot be written.
        """
        path = self.path if path is None else path
        if path is None:
            raise ValueError(
                "TrainingFilm: expected a path to write the film to, got none; write "
                "film.save('run.film')"
            )
        save_film(self.film, path)

    @property
    def film(self) -> Film:
        """The film so far, which ends with the last step or, after an epoch, with its end."""
        if self._model is None or self._history is None:
            raise ValueError(
                "TrainingFilm: expected a training to film, got none yet; pass the film to fit: "
                "callbacks=[film]"
            )
        last = self._last
        if last is None or last.step < self._step:
            last = self._frame(self._tick)
        arrays = self._frames.with_last(last).arrays()
        latents = Distributions(
            tuple(path for path, _, _ in self._latents),
            tuple(self._layer_of(path) for path, _, _ in self._latents),
            arrays["latents"], arrays["latent_reaches"], axes_of(arrays["latent_reaches"]),
            arrays["distances"],
        )  # fmt: skip
        margins = Distributions(
            tuple(self._signs), tuple(str(layer) for layer in self._signs.values()),
            arrays["margins"], arrays["margin_reaches"], axes_of(arrays["margin_reaches"]),
            arrays["blocked"],
        )  # fmt: skip
        rows = np.unique(
            np.linspace(0, len(self._history) - 1, min(len(self._history), MOST_EPOCHS)).round()
        ).astype(np.int64)
        table = self._history.iloc[rows]
        return Film(
            title=str(self._model),
            wall=self._wall,
            steps=arrays["step"],
            bits=arrays["bits"],
            latents=latents,
            margins=margins,
            slopes=self._slopes(margins.axes),
            samples=0 if self.samples is None else len(self.samples),
            losses=self._losses.means(),
            span=self._losses.span,
            epoch_steps=self._epoch_steps,
            epochs=table.index.to_numpy(np.int64),
            columns=tuple(map(str, table.columns)),
            history=table.to_numpy(np.float64),
        )

    def state(self) -> State:
        """The frames, the losses, and how far the training is."""
        return {
            "frames": self._frames.state(),
            "losses": self._losses.state(),
            "step": self._step,
            "epoch": self._epoch,
            "epoch_steps": self._epoch_steps,
        }

    def restore(self, state: State) -> None:
        """Put a state back; `on_begin` comes first."""
        self._frames.restore(state["frames"])
        self._losses.restore(state["losses"])
        self._step, self._epoch = state["step"], state["epoch"]
        self._epoch_steps = state["epoch_steps"]
        self._last = self._frame(self._tick)  # the model has its values again

    @property
    def _tick(self) -> int:
        return self._step if self.within_epochs else self._epoch

    def _take(self) -> None:
        if self._frames.wanted(self._tick):
            self._frames.add(self._frame(self._tick))

    def _frame(self, tick: int) -> Frame:
        """The model as it is now."""
        model: Any = self._model
        to_host = model.backend.to_host
        positive = to_host(self._bits.quantizer.forward(self._bits.weight.data) > 0)
        weights = [to_host(p.data) for _, p, _ in self._latents]
        bounds = [p.bound for _, p, _ in self._latents]
        with np.errstate(over="ignore", invalid="ignore"):  # a training that is about to diverge
            inputs = self._inputs_of_signs(model)
        signs = [to_host(x) for x in inputs.values()]
        reaches = [
            reach_of(W) if bound is None else float(bound)
            for W, bound in zip(weights, bounds, strict=True)
        ]
        margin_reaches = [reach_of(x) for x in signs]
        return Frame(
            tick=np.int64(tick),
            step=np.int64(self._step),
            bits=wall_bits(positive, self._wall, self._order),
            latents=_histograms(weights, reaches),
            latent_reaches=np.array(reaches),
            distances=np.array([abs(W).mean(dtype=np.float64) for W in weights]),
            margins=_histograms(signs, margin_reaches),
            margin_reaches=np.array(margin_reaches),
            blocked=np.array([_blocked(self._signs[path], x) for path, x in inputs.items()]),
        )

    def _inputs_of_signs(self, model: Layer) -> dict[str, Array]:
        """What enters each sign when the samples pass through a copy of the model."""
        if self._x is None or not self._signs:
            return {}
        recorder = Recorder(model, share=True)
        recorder.model.forward(self._x)
        found = {step.path: step.x for step in reversed(recorder.steps)}  # the first of each
        return {path: found[path] for path in self._signs}

    def _find_signs(self) -> dict[str, Activation]:
        """The activations of one bit that the samples pass, by path."""
        if self._x is None:
            return {}
        recorder = Recorder(self._model, share=True)  # type: ignore[arg-type]
        recorder.model.forward(self._x[:1])
        passed = {step.path: step.layer for step in recorder.steps}
        signs = {
            path: layer
            for path, layer in passed.items()
            if isinstance(layer, Activation) and activation_bits(layer.function) == 1
        }
        return dict(_first(list(signs.items())))

    def _slopes(self, axes: HostArray) -> HostArray:
        """(signs, BINS), the gradient at the middle of each bin of an axis."""
        backend = self._model.backend  # type: ignore[union-attr]
        found = np.zeros((len(self._signs), BINS))
        for row, layer, reach in zip(found, self._signs.values(), axes, strict=True):
            middles = (np.arange(BINS) + 0.5) * (2 / BINS) - 1
            x = backend.asarray((middles * reach).astype(layer.dtype)[:, None])
            row[:] = backend.to_host(layer.function.backward(backend.xp.ones_like(x), x))[:, 0]
        return found

    def _layer_of(self, path: str) -> str:
        layers = dict(Recorder(self._model, share=True).layers)  # type: ignore[arg-type]
        return str(layers.get(path.rpartition(".")[0], ""))


def _first(things: list[Any]) -> list[Any]:
    return things[:MOST_LAYERS]


def _histograms(arrays: list[HostArray], reaches: list[float]) -> HostArray:
    rows = [histogram(a, reach) for a, reach in zip(arrays, reaches, strict=True)]
    return np.array(rows, np.uint32) if rows else EMPTY


def _blocked(layer: Activation, x: Array) -> float:
    """The share of values at which the sign lets no gradient through."""
    dx = layer.function.backward(backend_of(x).xp.ones_like(x), x)
    return float((dx == 0).mean())
