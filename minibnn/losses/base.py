"""The base class of losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from minibnn.backend import Array, Backend, backend_of
from minibnn.gradient_clock import Backwards
from minibnn.losses.contract import LossContract
from minibnn.losses.labels import require_fitting


class Loss(LossContract, ABC):
    """A mean over samples, and its gradient with respect to the network's output.

    The loss owns the task. `fit`, `evaluate`, `diagnose` and `confusion_matrix` ask its method
    `task` which targets are allowed, what a prediction is, and what is reported.

    A loss of your own overrides `forward` and `backward`. Then it gets the targets as the loader
    has them, and all of them are allowed; the loss is reported, and the accuracy if the targets
    look like classes. Override `task` to check the targets, or to report something else. A third
    argument of `forward`, ``weights=None``, allows weights of samples:

    >>> import numpy as np
    >>> from minibnn.losses.tasks import Regression
    >>> class Distance(Loss):
    ...     '''L = 1/N sum_n |y[n] - t[n]|; dL/dy = sign(y - t) / N.'''
    ...
    ...     def forward(self, y, t):
    ...         self.saved = y - t
    ...         return abs(self.saved).mean()
    ...
    ...     def backward(self):
    ...         error = self.take_saved()
    ...         return np.where(error < 0, -1, 1) / error.size
    ...
    ...     def task(self, outputs, targets=None, who=""):
    ...         return Regression()
    >>> float(Distance().forward(np.array([1.0, 2.0]), np.array([1.5, 4.0])))
    1.25
    """

    saved: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def forward(self, outputs: Array, targets: Array, /) -> Array:
        """The loss of a batch, averaged over its samples: a 0-d array on the device."""

    @abstractmethod
    def backward(self) -> Array:
        """The gradient of that loss with respect to the outputs, in their shape.

        Raises:
            RuntimeError: if no `forward` came before.
        """

    def take_saved(self) -> Any:
        """Return and release what `forward` saved.

        Raises:
            RuntimeError: if no `forward` came before.
        """
        if self.saved is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward before it")
        saved, self.saved = self.saved, None
        # The last layer may be a user's own, which does not call `take_saved`.
        Backwards.last = next(Backwards.clock)
        return saved


def check_labels(loss: Loss, logits: Array, labels: Array, backend: Backend) -> None:
    """Raise unless `labels` fit `logits`; their values are checked on the host only."""
    samples, classes = logits.shape if logits.ndim == 2 else (0, 0)
    here = backend_of(labels) is backend
    integers = labels.dtype.kind in "iu" and labels.shape == (samples,)
    if not (here and integers and samples and classes > 1) or (
        backend.host
        and (labels.max() >= classes or (labels.dtype.kind == "i" and labels.min() < 0))
    ):
        require_fitting(type(loss).__name__, logits, labels)  # says what is wrong, if it is
