"""The frames of a film, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from minibnn.state import State, Stateful

HostArray: TypeAlias = np.ndarray[Any, Any]

MOST = 200  # frames


@dataclass(frozen=True, eq=False)
class Frame:
    """A network at one moment of its training.

    Attributes:
        tick: the number of the frame's step, or of its epoch.
        step: how many updates were made before.
        bits: of the wall.
        latents: a histogram for each layer of latent weights.
        latent_reaches: the ranges of these.
        distances: the mean of |W| for each.
        margins: a histogram for each sign of activations, of its inputs.
        margin_reaches: the ranges of these.
        blocked: the share of these inputs at which the gradient is zero.
    """

    tick: np.int64
    step: np.int64
    bits: HostArray
    latents: HostArray
    latent_reaches: HostArray
    distances: HostArray
    margins: HostArray
    margin_reaches: HostArray
    blocked: HostArray


FIELDS = [field.name for field in fields(Frame)]


class Frames(Stateful):
    """Keeps a bounded number of frames, whatever the length of the training.

    Those of the first moments, 0, 1, 2, 4, 8 and so on, are kept, and beside them those at the
    multiples of a stride. When there are too many frames, the stride is doubled.
    """

    def __init__(self) -> None:
        self._stride = 1
        self._kept: list[Frame] = []

    def wanted(self, tick: int) -> bool:
        """Whether a frame of this moment is kept now."""
        return tick % self._stride == 0 or tick & (tick - 1) == 0

    def add(self, frame: Frame) -> None:
        """Add a frame; drop others if there are too many."""
        self._kept.append(frame)
        while len(self._kept) > MOST:
            self._stride *= 2
            self._kept = [f for f in self._kept if self.wanted(int(f.tick))]

    def with_last(self, frame: Frame) -> Frames:
        """A copy that ends with this frame, wanted or not."""
        copy = Frames()
        copy._stride = self._stride
        copy._kept = [f for f in self._kept if f.tick < frame.tick] + [frame]
        return copy

    def arrays(self) -> dict[str, HostArray]:
        """All frames, each attribute as one array with the axis of frames first."""
        return {name: np.stack([getattr(f, name) for f in self._kept]) for name in FIELDS}

    def state(self) -> State:
        """The stride and the frames."""
        return {"stride": self._stride, **self.arrays()}

    def restore(self, state: State) -> None:
        """Put a state back."""
        self._stride = state["stride"]
        columns = [state[name].copy() for name in FIELDS]
        self._kept = [Frame(*parts) for parts in zip(*columns, strict=True)]
