"""The base class of losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from minibnn.backend import Array, Backend, backend_of
from minibnn.gradient_clock import Backwards
from minibnn.losses.labels import require_fitting
from minibnn.state import Stateful


class Loss(Stateful, ABC):
    """A mean over samples, and its gradient with respect to the network's output."""

    saved: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def forward(self, logits: Array, labels: Array) -> Array:
        """The loss of a batch, averaged over its samples: a 0-d array on the device."""

    @abstractmethod
    def backward(self) -> Array:
        """The gradient of that loss with respect to `logits`, in their shape.

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
