"""How good a model is on a data set."""

from __future__ import annotations

import copy
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

# Large enough that the cost of a call disappears in the work. On a device calls cost more and there
# is more to do at once.
EVALUATION_BATCH, DEVICE_EVALUATION_BATCH = 1000, 5000
# What more than the user's own batch may take; and never less than the parameters do, whose
# quantized copies a call makes.
EVALUATION_BYTES = 2**22


class Metrics(NamedTuple):
    """Means over all samples of a data set."""

    loss: float
    accuracy: float


def evaluate(model: Layer, data: DataLoader, loss: Loss) -> Metrics:
    """Mean loss and accuracy of a model over every sample of a data set.

    A sample is right if its greatest logit, the first of equals, is its label's. A logit that is
    nan counts as the greatest, and one that is nan or infinite is never right.

    Every sample counts once and equally, whatever the loader's batches: shuffling and
    `drop_last` are for training. The model runs in evaluation mode and is not changed. Memory
    follows the loader's batch size: only small samples go in larger batches.

    Args:
        model: on the loader's device.
        data: batches ``(x, labels)``; labels (batch,) integers or (batch, classes)
            probabilities, whose highest entry then counts as the class.
        loss: for instance ``LogitCrossEntropy()``.

    Raises:
        ValueError: for labels that the model has no output for, or of another shape; for a model
            that does not give (batch, classes), with at least 2 classes.
        TypeError: for something else than a DataLoader, or one on another device; for labels that
            are not integers; for floats if the model was trained on integers, or the reverse.

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


def device_metrics(model: Layer, data: DataLoader, loss: Loss, at_once: int | None = None) -> Array:
    """``[mean loss, accuracy]`` as an array of the data's backend, without waiting for it.

    `at_once` is what `samples_at_once` gives, for whoever asks often.
    """
    xp = data.backend.xp
    loss = copy.copy(loss)  # the caller's may be between its forward and its backward
    total = xp.zeros(2, dtype=np.float64)
    if at_once is None:
        at_once = samples_at_once(model, data)
    for x, labels in data.in_order(at_once):
        logits = model.forward(x)
        total[0] += loss.forward(logits, labels).astype(np.float64) * len(x)
        classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
        total[1] += data.backend.run(count_correct, logits, classes)
    return total / data.samples


def require_prepared(model: Layer, data: DataLoader, who: str) -> None:
    """Raise TypeError for samples of floats where training had integers, and the reverse.

    A model trained on bytes takes pixels that were divided by 255 for paper, whatever they show.
    """
    contract, dtype = model.input_contract, data.arrays[0].dtype
    if contract is None or not data.only_gathers():  # a loader may make other batches of its arrays
        return
    if (contract.dtype.kind == "f") != (dtype.kind == "f"):
        raise TypeError(
            f"{who}: expected samples of {contract.dtype}, since the model was trained on "
            f"{contract}, got {dtype}; prepare them as those for training"
        )


def samples_at_once(model: Layer, data: DataLoader, most: int | None = None) -> int:
    """How many samples to evaluate at once: the loader's batch, or more where these are small.

    Memory follows the batch size. A larger batch of small samples is faster, and takes at most
    EVALUATION_BYTES for the input and the output of a layer, or as much as the parameters.

    Args:
        model: that evaluates.
        data: the samples.
        most: where the loader's batches are smaller; None for the device's own limit.
    """
    if most is None:
        most = EVALUATION_BATCH if data.backend.host else DEVICE_EVALUATION_BATCH
    if data.batch_size >= min(most, data.samples):
        return data.batch_size
    try:
        largest, _ = bytes_a_sample(model, data.arrays[0][:1])
    except Exception:  # of a layer that cannot be copied: take what training takes
        return data.batch_size
    parameters: int = sum(p.data.nbytes for p in model.parameters())
    budget = max(EVALUATION_BYTES, parameters)
    return max(data.batch_size, min(most, budget // max(1, largest)))


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
    if outputs.ndim != 2:
        raise ValueError(
            f"{who}: expected the model to give (batch, classes), got {outputs.shape} for a batch "
            "of one; end it with Flatten() and a layer that has an output for each class"
        )
    require_labels(f"{who}, labels", labels, data.samples, outputs.shape[1], look=True)
