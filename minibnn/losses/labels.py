"""Checks of labels, with hints."""

from __future__ import annotations

import numpy as np

from minibnn.backend import Array, backend_of


def require_fitting(who: str, logits: Array, labels: Array) -> None:
    """Raise unless `labels` fit `logits`; their values are checked on the host only."""
    require_one_device(who, logits, labels, "logits")
    if logits.ndim != 2 or logits.shape[0] == 0:
        raise ValueError(f"{who}: expected logits of shape (batch, classes), got {logits.shape}")
    require_labels(who, labels, *logits.shape, look=backend_of(logits).host)


def require_one_device(who: str, outputs: Array, targets: Array, name: str) -> None:
    """Raise TypeError unless targets are where the outputs are, which the loss calls `name`."""
    backend, there = backend_of(outputs), backend_of(targets)
    if there is not backend:
        raise TypeError(
            f"{who}: expected labels on the {name}' device, {backend.name}, got an array on "
            f"{there.name}; move the loader with to()"
        )


def require_labels(who: str, labels: Array, samples: int, classes: int, *, look: bool) -> None:
    """Raise unless `labels` are class numbers or probabilities in the right shape.

    Args:
        who: the message begins with it.
        labels: (samples,) or (samples, classes).
        samples: their number.
        classes: their number, which is that of the model's outputs.
        look: whether to check the values too, which waits for the device.
    """
    require_outputs(who, classes)
    if labels.ndim == 2 and labels.shape[1] == 1:
        raise ValueError(
            f"{who}: expected labels of shape (batch,), got {labels.shape}; use labels.ravel()"
        )
    if labels.shape not in ((samples,), (samples, classes)):
        raise ValueError(
            f"{who}: expected labels of shape ({samples},) or ({samples}, {classes}), "
            f"got {labels.shape}"
        )
    if labels.ndim == 1:
        require_integers(who, labels)
        if look:
            check_class_labels(labels, classes, who)
        return
    if labels.dtype.kind not in "fiub":
        raise TypeError(
            f"{who}: expected numbers as labels for two axes, got {labels.dtype}; if they are "
            "numbers, use labels.astype('float32')"
        )
    if look:
        check_probabilities(labels, who)


def require_outputs(who: str, classes: int) -> None:
    """Raise ValueError for a model with fewer outputs than two classes have."""
    if classes < 2:
        raise ValueError(
            f"{who}: expected at least 2 outputs, one for each class, got {classes}, which always "
            "says class 0; for two classes end the model in a layer with 2 outputs, or use "
            "BinaryCrossEntropy() with one; to predict numbers use MeanSquaredError()"
        )


def require_integers(who: str, labels: Array) -> None:
    """Raise TypeError unless the labels have an integer dtype, with a hint how to convert them."""
    if labels.dtype.kind in "iu":
        return
    if backend_of(labels).host:
        check_finite(who, labels)
    hint = "names, labels = numpy.unique(labels, return_inverse=True) numbers them"
    if labels.dtype.kind == "f":
        hint += "; to predict numbers use MeanSquaredError() and one output"
    if _are_whole(labels):
        hint = "use labels.astype('int64')"
    raise TypeError(
        f"{who}: expected integer labels for shape (batch,), got {labels.dtype}; {hint}"
    )


def check_finite(who: str, targets: Array) -> None:
    """Raise ValueError if a target is nan or infinite; this waits for the device."""
    if targets.dtype.kind != "f":
        return
    xp = backend_of(targets).xp
    wrong = ~xp.isfinite(targets).reshape(len(targets), -1).all(axis=1)
    if bool(wrong.any()):
        raise ValueError(
            f"{who}: expected finite targets, got nan or infinity in {int(wrong.sum()):,} samples, "
            f"first in number {int(wrong.argmax())}; leave these samples out"
        )


def check_class_labels(labels: Array, classes: int, who: str) -> None:
    """Raise ValueError unless every label is in ``0..classes-1``."""
    low = 0 if labels.dtype.kind == "u" else int(labels.min())
    high = int(labels.max())
    if low < 0 or high >= classes:
        hint = "classes are counted from 0, and the last layer has one output for each"
        if (low, high) == (-1, 1) and bool((labels != 0).all()):
            hint = "for labels -1 and +1 use (labels + 1) // 2"
        raise ValueError(
            f"{who}: expected labels in 0..{classes - 1}, got {low if low < 0 else high}; {hint}"
        )


def check_probabilities(labels: Array, who: str) -> None:
    """Raise ValueError unless every row is non-negative and sums to 1 (within 1e-3)."""
    if are_probabilities(labels):
        return
    check_finite(who, labels)
    sums, positive = labels.sum(axis=1), bool((labels >= 0).all())
    hint = "divide each row by its sum; to predict numbers use MeanSquaredError()"
    if not positive:
        hint = (
            "for one class a row use labels.argmax(axis=1); to predict numbers use "
            "MeanSquaredError()"
        )
    elif bool(((labels == 0) | (labels == 1)).all()) and bool((sums > 1).any()):
        hint = "for several labels a row use BinaryCrossEntropy()"
    elif not bool(sums.all()):
        hint = "leave out the rows that sum to 0"
    raise ValueError(f"{who}: expected rows of probabilities (non-negative, sum 1); {hint}")


def are_probabilities(labels: Array) -> bool:
    """Whether every row is non-negative and sums to 1 (within 1e-3); this waits for the device."""
    with np.errstate(over="ignore", invalid="ignore"):  # of values that are none
        close = abs(labels.sum(axis=1) - 1) <= 1e-3
    return bool((labels >= 0).all()) and bool(close.all())


def _are_whole(labels: Array) -> bool:
    """Whether all labels are whole numbers; on a device, whether their dtype allows that."""
    if labels.dtype.kind == "f" and backend_of(labels).host:
        xp = backend_of(labels).xp
        return bool((xp.isfinite(labels) & (labels == labels.round())).all())
    return labels.dtype.kind in "bf"
