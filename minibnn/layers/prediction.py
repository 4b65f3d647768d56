"""How a layer is used after training: `model(x)` and `model.predict(x)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minibnn.backend import Array

if TYPE_CHECKING:
    from minibnn.losses import Loss


class LayerPrediction:
    """The part of `Layer` that needs no training."""

    forward: Callable[..., Array]

    def __call__(self, x: Array) -> Array:
        """The output for a batch in evaluation mode: ``forward(x)``.

        In training write ``forward(x, train=True)``, which remembers what `backward` needs.
        """
        return self.forward(x)

    def predict(
        self, x: Array, *, batch_size: int | None = None, loss: Loss | None = None
    ) -> Array:
        """The model's outputs for any number of samples, computed in batches in evaluation mode.

        Samples that are on the host are moved to the model's device batch by batch. The result is
        where `x` is, and equals that of ``model(x)`` up to the rounding of matrix products.

        Args:
            x: samples, prepared as those for training: (samples, ...).
            batch_size: the number of samples in a batch; None for as many small samples as are
                fast.
            loss: None returns the outputs themselves, such as logits (batch, classes). With the
                loss that the model was trained with, the result is what these say: class numbers
                (samples,) for classes, also with one output; 0 or 1 for each of several labels;
                for numbers the outputs, with the shape (samples,) for one output. For
                `MeanSquaredError` outputs are numbers; for classes take the ``argmax(axis=1)``.

        Raises:
            TypeError: if `x` is not an array, or on a device that is neither the model's nor the
                host; if samples are floats and the model was trained on integers, or the reverse.
            ValueError: for no samples, or for one sample that is no batch.

        >>> import numpy as np
        >>> from minibnn import LogitCrossEntropy, Rescale
        >>> scores = np.array([[2, 1], [0, 1], [3, 0]], dtype=np.float32)
        >>> Rescale(0.5).predict(scores, batch_size=2)
        array([[1. , 0.5],
               [0. , 0.5],
               [1.5, 0. ]], dtype=float32)
        >>> Rescale(0.5).predict(scores, loss=LogitCrossEntropy())
        array([0, 1, 0])
        """
        from minibnn.training.predict import predict

        model: Any = self
        return predict(model, x, batch_size=batch_size, loss=loss)
