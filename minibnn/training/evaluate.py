"""How good a model is on a data set."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from minibnn.backend import Array
from minibnn.checks import require
from minibnn.data.labels import one_cold
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss, check_class_labels, check_probabilities

# Large enough that the cost of a call disappears in the work, small enough to stay in memory. On a
# device calls cost more and there is more to do at once.
EVALUATION_BATCH, DEVICE_EVALUATION_BATCH = 1000, 5000


class Metrics(NamedTuple):
    """Means over all samples of a data set."""

    loss: float
    accuracy: float


def evaluate(model: Layer, data: DataLoader, loss: Loss) -> Metrics:
    """Mean loss and accuracy of a model over every sample of a data set.

    Every sample counts once and equally, whatever the loader's batches: shuffling and
    `drop_last` are for training. The model runs in evaluation mode and is not changed.

    Args:
        model: on the loader's device.
        data: batches ``(x, labels)``; labels (batch,) integers or (batch, classes)
            probabilities, whose highest entry then counts as the class.
        loss: for instance ``LogitCrossEntropy()``.

    Raises:
        ValueError: for labels that the model has no output for.
        TypeError: for something else than a DataLoader, or one on another device.

    >>> import numpy as np
    >>> from minibnn import DataLoader, Dense, LogitCrossEntropy
    >>> model = Dense(4, 3).initialize(np.random.default_rng(0))
    >>> data = DataLoader((np.zeros((5, 4), np.float32), np.zeros(5, np.int64)), batch_size=2)
    >>> evaluate(model, data, LogitCrossEntropy()).accuracy
    1.0
    """
    check_data(model, data, "evaluate: data")
    require("evaluate", "loss", loss, Loss)
    mean_loss, accuracy = data.backend.to_host(device_metrics(model, data, loss)).tolist()
    return Metrics(mean_loss, accuracy)


def device_metrics(model: Layer, data: DataLoader, loss: Loss) -> Array:
    """``[mean loss, accuracy]`` as an array of the data's backend, without waiting for it."""
    xp = data.backend.xp
    loss = copy.copy(loss)  # the caller's may be between its forward and its backward
    total = xp.zeros(2, dtype=np.float64)
    least = EVALUATION_BATCH if data.backend.host else DEVICE_EVALUATION_BATCH
    for x, labels in data.in_order(max(data.batch_size, least)):
        logits = model.forward(x)
        total[0] += loss.forward(logits, labels).astype(np.float64) * len(x)
        classes = labels if labels.ndim == 1 else one_cold(labels)
        total[1] += data.backend.count_correct(logits, classes)
    return total / data.samples


def check_data(model: Layer, data: DataLoader, who: str) -> None:
    """Raise unless the loader gives ``(x, labels)`` that the model can take, labels and all.

    It looks at every label once, so that training steps need not.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"{who}: expected the model, a Layer, first, got {type(model).__name__}")
    if not isinstance(data, DataLoader):
        raise TypeError(
            f"{who}: expected a DataLoader, got {type(data).__name__}; "
            "make one: DataLoader((x, labels), batch_size)"
        )
    if len(data.arrays) != 2:
        raise ValueError(f"{who}: expected a loader of (x, labels), got {len(data.arrays)} arrays")
    if data.backend is not model.backend:
        raise TypeError(
            f"{who}: expected model and data on one device, got {model.backend.name} and "
            f"{data.backend.name}; use data.to({model.backend.name!r})"
        )
    x, labels = data.arrays
    outputs = model.forward(x[:1])
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        check_class_labels(labels, outputs.shape[-1], f"{who}, labels")
    elif labels.ndim == 2:
        check_probabilities(labels, f"{who}, labels")
