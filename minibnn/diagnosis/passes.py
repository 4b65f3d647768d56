"""What the checks look at."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array
from minibnn.inspection.recorder import Step
from minibnn.layers import Layer


@dataclass(frozen=True)
class Passes:
    """What the checks look at: one pass at a time, since both would take twice the memory.

    Attributes:
        model: the copy that ran; after training with the gradients of that pass.
        x: the batch.
        evaluation: the steps of the evaluation pass, empty after training.
        training: the steps of the training pass with their gradients, empty after evaluation.
        loss: its loss in training, on the device; None after evaluation.
        blamed: where something was not finite, as far as it is known.
    """

    model: Layer
    x: Array
    evaluation: list[Step]
    training: list[Step]
    loss: Array
    blamed: list[str]


def percent(share: float) -> str:
    """A share in words."""
    if 0 < share < 0.001:
        return f"{share:.1e}"
    return f"{100 * share:.3g}%"
