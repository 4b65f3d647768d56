"""Checks of targets that are numbers, one for each output, with hints."""

from __future__ import annotations

from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.losses.labels import check_finite, require_one_device


def is_one(a: Array) -> bool:
    """Whether there is one value a sample: the shape is (batch,) or (batch, 1)."""
    return a.shape[1:] in ((), (1,))


def require_values(who: str, outputs: Array, targets: Array) -> Array:
    """The targets in the outputs' shape and dtype; their values are not checked.

    Raises:
        TypeError: for targets on another device, or that are not numbers.
        ValueError: for another shape, or an empty batch.
    """
    if (
        targets.shape != outputs.shape
        or targets.dtype.kind not in "fiub"
        or backend_of(targets) is not backend_of(outputs)
        or not outputs.size
    ):
        require_one_device(who, outputs, targets, "outputs")
        if not outputs.size:
            raise ValueError(f"{who}: expected at least 1 sample, got outputs of {outputs.shape}")
        check_form(who, outputs, targets, len(outputs))
        targets = targets.reshape(outputs.shape)  # (N,) and (N, 1) mean the same
    return targets.astype(outputs.dtype, copy=False)


def check_form(who: str, outputs: Array, targets: Array, samples: int) -> None:
    """Raise unless targets are numbers, and as many as the outputs.

    Args:
        who: the message begins with it.
        outputs: of any number of samples.
        targets: those of `samples` samples.
        samples: their number.
    """
    shape, targets_shape = outputs.shape[1:], targets.shape[1:]
    one = ((), (1,))
    if not (
        len(targets) == samples and (shape == targets_shape or {shape, targets_shape} <= {*one})
    ):
        right: Any = f"({samples},) or ({samples}, 1)" if shape in one else (samples, *shape)
        hint = ""
        if len(targets) == samples:
            hint = "; the last layer has one output for each number of a target"
        raise ValueError(f"{who}: expected targets of shape {right}, got {targets.shape}{hint}")
    if targets.dtype.kind in "fiub":
        return
    hint = "; if they are numbers, use targets.astype('float32')"
    if targets.dtype.kind in "OSU":
        hint += (
            "; if they are names, names, labels = numpy.unique(targets, return_inverse=True) "
            "numbers them, for LogitCrossEntropy() and one output for each name"
        )
    raise TypeError(f"{who}: expected numbers as targets, got {targets.dtype}{hint}")


def check_binary(who: str, outputs: Array, targets: Array, samples: int, *, look: bool) -> None:
    """Raise unless targets are probabilities, one for each output, such as labels 0 and 1.

    Args:
        who: the message begins with it.
        outputs: of any number of samples.
        targets: those of `samples` samples.
        samples: their number.
        look: whether to check the values too, which waits for the device.
    """
    if targets.dtype.kind not in "fiub":
        raise TypeError(
            f"{who}: expected numbers in [0, 1] as labels, got {targets.dtype}; names, labels = "
            "numpy.unique(labels, return_inverse=True) numbers two names"
        )
    one = is_one(outputs)
    if one and targets.ndim == 2 and targets.shape[1] == 2:
        raise ValueError(
            f"{who}: expected labels of shape ({samples},) or ({samples}, 1) for one output, got "
            f"{targets.shape}; if these are one-hot rows, use labels.argmax(axis=1)"
        )
    if not one and is_one(targets):
        raise ValueError(
            f"{who}: expected labels of shape {(samples, *outputs.shape[1:])}, 0 or 1 for each "
            f"output, got {targets.shape}; for one class a sample use LogitCrossEntropy() and "
            "labels.ravel()"
        )
    check_form(who, outputs, targets, samples)
    if not look:
        return
    check_finite(who, targets)
    low, high = targets.min(), targets.max()
    if low >= 0 and high <= 1:
        return
    hint = "for numbers that are no probabilities use MeanSquaredError()"
    whole = bool((targets == targets.round()).all())
    if whole and (low, high) == (-1, 1):
        hint = "for labels -1 and +1 use (labels + 1) / 2"
    elif whole and (low, high) == (1, 2):
        hint = "classes are counted from 0: use labels - 1"
    elif whole and bool(((targets == low) | (targets == high)).all()):
        hint = f"for labels {low} and {high} use labels == {high}"
    elif whole and low >= 0 and one:
        hint = (
            f"for {int(high) + 1} classes use LogitCrossEntropy() and a layer with {int(high) + 1} "
            "outputs"
        )
    raise ValueError(f"{who}: expected labels in [0, 1], got {low} to {high}; {hint}")
