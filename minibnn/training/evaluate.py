"""The mean loss and the accuracy of a model on a data set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minibnn.backend import Array
from minibnn.checks import require
from minibnn.data.loader import DataLoader
from minibnn.inspection.recorder import bytes_a_sample
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.losses.labels import require_labels
from minibnn.training.accuracy import count_correct

# Large enough to hide the cost of calls. A device computes more at once, and calls cost more there.
EVALUATION_BATCH, DEVICE_EVALUATION_BATCH = 1000, 5000
# The most memory for a batch larger than the user's own. It may also take as much as the
# parameters, since a call makes quantized copies of these.
EVALUATION_BYTES = 2**22


class Metrics(NamedTuple):
    """Means over all samples of a data set."""

    loss: float
    accuracy: float


def evaluate(model: Layer, data: DataLoader, loss: Loss) -> Metrics:
    """Mean loss and accuracy of a model over every sample of a data set.

    A sample counts as right if the label has the greatest logit. Of several equal logits, the first
    counts. A nan counts as the greatest. If the greatest logit is nan or infinite, the sample is
    not right.

    Every sample counts once, with equal weight, whatever the loader's batches are: `shuffle` and
    `drop_last` are for training only. The model runs in evaluation mode and does not change. Memory
    follows the loader's batch size: only small samples are evaluated in larger batches.

    Args:
        model: on the loader's device.
        data: batches ``(x, labels)``; labels are (batch,) integers, or (batch, classes)
            probabilities, whose greatest entry is the class.
        loss: for instance ``LogitCrossEntropy()``.

    Raises:
        ValueError: if the model has no output for a label, or labels have another shape; if the
            model does not return (batch, classes) with at least 2 classes.
        TypeError: if `data` is not a DataLoader, or on another device; if labels are not integers;
            if samples are floats and the model was trained on integers, or the reverse.

    >>> import numpy as np
    >>> from minibnn import DataLoader, Dense, LogitCrossEntropy
    >>> model = Dense(4, 3).initialize(np.random.default_rng(0))
    >>> data = DataLoader((np.zeros((5, 4), np.float32), np.zeros(5, np.int64)), batch_size=2)
    >>> evaluate(model, data, LogitCrossEntropy()).accuracy
    1.0
    """
    check_data(model, data, "evaluate: data")
    require_prepared(model, data, "evaluate: data")
    require("evaluate", "loss", loss, Loss)
    mean_loss, accuracy = data.backend.to_host(device_metrics(model, data, loss)).tolist()
    return Metrics(mean_loss, accuracy)


class StoppedError(Exception):
    """An evaluation was stopped before its end."""


def device_metrics(
    model: Layer,
    data: DataLoader,
    loss: Loss,
    at_once: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> Array:
    """``[mean loss, accuracy]`` as an array of the data's backend, without waiting for it.

    Args:
        model: see `evaluate`.
        data: see `evaluate`.
        loss: see `evaluate`.
        at_once: the result of `samples_at_once`, for repeated calls.
        stop: called before each batch; the evaluation ends if it returns True.

    Raises:
        StoppedError: if it was ended.
    """
    xp = data.backend.xp
    loss = copy.copy(loss)  # the caller may be between its forward and its backward
    total = xp.zeros(2, dtype=np.float64)
    if at_once is None:
        at_once = samples_at_once(model, data)
    for x, labels in data.in_order(at_once):
        if stop is not None and stop():
            raise StoppedError
        logits = model.forward(x)
        total[0] += loss.forward(logits, labels).astype(np.float64) * len(x)
        classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
        total[1] += data.backend.run(count_correct, logits, classes)
    return total / data.samples


def require_prepared(model: Layer, data: DataLoader, who: str) -> None:
    """Raise TypeError if samples are floats and the model was trained on integers, or the reverse.

    To a model trained on bytes, pixels divided by 255 all look black.
    """
    contract, dtype = model.input_contract, data.arrays[0].dtype
    if contract is None or not data.only_gathers():  # batches may differ from the arrays
        return
    if (contract.dtype.kind == "f") != (dtype.kind == "f"):
        raise TypeError(
            f"{who}: expected samples of {contract.dtype}, since the model was trained on "
            f"{contract}, got {dtype}; prepare them as those for training"
        )


def samples_at_once(model: Layer, data: DataLoader, most: int | None = None) -> int:
    """How many samples to evaluate at once: the loader's batch size, or more small samples.

    A larger batch of small samples is faster. The input and the output of a layer then take at most
    EVALUATION_BYTES, or as much as the parameters.

    Args:
        model: the model to evaluate.
        data: the samples.
        most: the limit, if the loader's batches are smaller; None for the device's own limit.
    """
    if most is None:
        most = EVALUATION_BATCH if data.backend.host else DEVICE_EVALUATION_BATCH
    if data.batch_size >= min(most, data.samples):
        return data.batch_size
    try:
        largest, _ = bytes_a_sample(model, data.arrays[0][:1])
    except Exception:  # a layer cannot be copied: use training's batch size
        return data.batch_size
    parameters: int = sum(p.data.nbytes for p in model.parameters())
    budget = max(EVALUATION_BYTES, parameters)
    return max(data.batch_size, min(most, budget // max(1, largest)))


def check_data(model: Layer, data: DataLoader, who: str) -> None:
    """Raise unless the loader's ``(x, labels)`` fit the model.

    Every label is checked once here, so that training steps need not check them.
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
    if outputs.ndim != 2:
        raise ValueError(
            f"{who}: expected the model to give (batch, classes), got {outputs.shape} for a batch "
            "of one; end it with Flatten() and a layer that has an output for each class"
        )
    require_labels(f"{who}, labels", labels, data.samples, outputs.shape[1], look=True)
