"""A film as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from minibnn.film.wall import Wall

HostArray: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Distributions:
    """Histograms of some layers, in each frame.

    Attributes:
        names: the paths of the parameters or layers.
        layers: the short names of the layers.
        counts: (frames, names, BINS + 2), see `minibnn.film.histogram`.
        reaches: (frames, names), the ranges.
        axes: (names,), a range that suits most frames.
        figures: (frames, names), a number about each: the mean of |W| for latent weights, the share
            of values whose gradient is zero for margins.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    counts: HostArray
    reaches: HostArray
    axes: HostArray
    figures: HostArray


@dataclass(frozen=True, eq=False)
class Film:
    """A training, frame by frame.

    Attributes:
        title: the network's short name.
        wall: what `bits` are of.
        steps: (frames,), the updates before each frame.
        bits: (frames, bytes), the wall's bits, packed.
        latents: of the latent weights.
        margins: of the inputs of signs, for some samples; without names if there were no samples.
        slopes: (margins, BINS), the gradient that each sign lets through, in the middle of each bin
            of its axis.
        samples: how many samples the margins are of.
        losses: the means of the losses over spans of steps.
        span: how many steps each of them has.
        epoch_steps: the steps of an epoch; 0 if none is complete.
        epochs: the numbers of the epochs that `history` has.
        columns: names of the history's columns.
        history: (epochs, columns).
    """

    title: str
    wall: Wall
    steps: HostArray
    bits: HostArray
    latents: Distributions
    margins: Distributions
    slopes: HostArray
    samples: int
    losses: HostArray
    span: int
    epoch_steps: int
    epochs: HostArray
    columns: tuple[str, ...]
    history: HostArray

    def __repr__(self) -> str:
        return f"Film({self.title!r}, {len(self.steps)} frames, {int(self.steps[-1]):,} updates)"

    def part(self, frames: HostArray) -> Film:
        """The film with some of its frames only, given by their positions."""
        from dataclasses import replace

        def of(d: Distributions) -> Distributions:
            return replace(
                d, counts=d.counts[frames], reaches=d.reaches[frames], figures=d.figures[frames]
            )

        return replace(
            self,
            steps=self.steps[frames],
            bits=self.bits[frames],
            latents=of(self.latents),
            margins=of(self.margins),
        )

    def flips(self) -> HostArray:
        """(frames,), how many bits of the wall differ from the frame before; 0 for the first."""
        changed = self.bits[1:] ^ self.bits[:-1]
        counts = np.bitwise_count(changed).sum(axis=1, dtype=np.int64)
        return np.concatenate([[0], counts])
