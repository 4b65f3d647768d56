"""What the checks look at."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array
from minibnn.layers import Layer
from minibnn.layers.record import Step


@dataclass(frozen=True)
class Passes:
    """What the checks look at.

    Attributes:
        model: the copy that ran, with the gradients of the training pass.
        x: the batch.
        loss: its loss in training, on the device.
        evaluation: the steps of the evaluation pass.
        training: the steps of the training pass, with their gradients.
    """

    model: Layer
    x: Array
    loss: Array
    evaluation: list[Step]
    training: list[Step]


def percent(share: float) -> str:
    """A share in words."""
    if 0 < share < 0.001:
        return f"{share:.1e}"
    return f"{100 * share:.3g}%"
