"""The evaluation or training pass that the checks examine."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array
from minibnn.inspection.recorder import Step
from minibnn.layers import Layer


@dataclass(frozen=True)
class Passes:
    """An evaluation pass or a training pass, one at a time: both would take twice the memory.

    Attributes:
        model: the copy that ran; with the gradients, if this is the training pass.
        x: the batch.
        evaluation: the steps of the evaluation pass; empty if this is the training pass.
        training: the steps of the training pass with their gradients, empty after evaluation.
        loss: the training loss, on the device; None after evaluation.
        blamed: the paths where values that are not finite were found so far.
    """

    model: Layer
    x: Array
    evaluation: list[Step]
    training: list[Step]
    loss: Array
    blamed: list[str]


def percent(share: float) -> str:
    """A share as a percentage, for a message."""
    if 0 < share < 0.001:
        return f"{share:.1e}"
    return f"{100 * share:.3g}%"
