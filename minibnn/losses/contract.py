"""What training asks of a loss besides forward and backward: its task, and weights of samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.losses.task import Task
from minibnn.losses.tasks import guess_task
from minibnn.state import Stateful


class LossContract(Stateful):
    """The part of `Loss` that `fit`, `evaluate`, `diagnose` and `confusion_matrix` ask."""

    forward: Callable[..., Array]

    def task(self, outputs: Array, targets: Array | None = None, who: str = "") -> Task:
        """What the targets of a data set mean.

        It is called once for a data set, before the first step, so it may wait for the device.

        Args:
            outputs: the model's, for any number of samples.
            targets: of all samples; None if they are not known, as in `Layer.predict`.
            who: error messages begin with it.

        Raises:
            ValueError, TypeError: for targets that this loss does not take.
        """
        return guess_task(outputs, targets)  # whatever a user's loss accepts is allowed

    @property
    def takes_weights(self) -> bool:
        """Whether `forward` has a parameter `weights`, for weights of samples."""
        return _takes_weights(type(self).forward)

    def weighted_forward(self, outputs: Array, targets: Array, weights: Array | None) -> Array:
        """The loss of a batch whose samples may have weights; `backward` gives its gradient.

        .. equations::

            L = sum_n w[n] l[n] / sum_n w[n]

        Shapes: weights (batch,), or None for 1 each; outputs and targets as in `forward`.

        Raises:
            TypeError: for a loss that takes no weights.
        """
        if weights is None:
            return _array(self.forward(outputs, targets), outputs)
        if not self.takes_weights:
            raise TypeError(
                f"{type(self).__name__}: expected a loss that takes weights of samples, got one "
                "whose forward has no such argument; write forward(self, outputs, targets, "
                "weights=None), and divide the weighted sum by the sum of the weights"
            )
        return _array(self.forward(outputs, targets, weights=weights), outputs)


def _array(value: Any, outputs: Array) -> Array:
    """The value of a user's loss as an array, if it is a Python number."""
    return value if hasattr(value, "dtype") else backend_of(outputs).asarray(value)


@cache
def _takes_weights(forward: Any) -> bool:
    """Whether a class's `forward` has this parameter; finding out takes some 50 us."""
    return "weights" in inspect.signature(forward).parameters
