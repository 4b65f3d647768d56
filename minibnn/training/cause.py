"""Finding out where nan or inf began, after it has stopped training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.data.epochs import Loader
from minibnn.data.loader import DataLoader
from minibnn.inspection.recorder import Recorder
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers.diverged import HINT, OVERFLOW

# What became nan or inf, the value, and the cause with a hint.
Found: TypeAlias = tuple[str, float, str]

LARGE = 1e15  # from here on, the sum of many squares may overflow in float32


def in_batch(model: Layer, loss: Loss, train: Loader, batch: int, value: float) -> Found:
    """The cause in a batch of the loader's last epoch, whose loss was recorded as `value`.

    A copy of the model runs the batch again. Training has ended, so it may wait for the device.

    Args:
        model: the model before the batch; the refused update did not change it.
        loss: the loss in training.
        train: the loader. If it makes its batches itself, they cannot be repeated.
        batch: the batch's number, from 0.
        value: nan or inf.
    """
    found = "the loss, a gradient or an update", value, HINT
    if not isinstance(train, DataLoader) or not train.only_gathers():
        return found
    rows = train.order(train.epoch - 1)[batch * train.batch_size :][: train.batch_size]
    x, labels, *weights = (
        train.backend.gather(a, train.backend.asarray(rows)) for a in train.arrays
    )
    try:
        with np.errstate(all="ignore"):
            weight = weights[0] if weights else None
            found = _rerun(model, copy.copy(loss), x, labels, weight, value)
    except Exception:  # a layer that cannot be copied, say: DivergedError must be raised anyway
        pass
    what, value, cause = found
    data = _in_samples(x, rows.tolist())
    return what, value, f"train: {data}" if data else cause


def in_parameters(model: Layer) -> Found | None:
    """The first parameter that is not finite."""
    for path, p in model.named_parameters():
        value = _first(p.data)
        if value is not None:
            hint = "initialize the model anew, and use a smaller learning rate"
            return f"the parameter {path}", value, f"an update overflowed; {hint}"
    return None


def in_data(**loaders: Loader) -> str:
    """The first sample or target to blame, in data whose loss is not finite; else a hint."""
    for name, loader in loaders.items():
        if isinstance(loader, DataLoader):
            x, targets = loader.arrays[:2]
            found = _in_samples(x, range(loader.samples)) or _large_targets(targets)
            if found:
                return f"{name}: {found}"
    return HINT


def _rerun(
    model: Layer, loss: Loss, x: Array, labels: Array, weights: Array | None, value: float
) -> Found:
    """The first value that is not finite, in the forward and backward pass of a copy."""
    known = in_parameters(model)
    cause = f"{known[0]} was {known[1]} before this batch already; {known[2]}" if known else ""
    recorder = Recorder(model)
    again = loss.weighted_forward(recorder.model.forward(x, train=True), labels, weights)
    for step in recorder.steps:
        if not cause and _first(step.y) is not None and _first(step.x) is None:
            cause = (
                f"layer {step.path}, {step.layer}, made {_first(step.y)} of finite inputs; {HINT}"
            )
    if _first(again) is not None:
        return "the loss", value, cause or _large_targets(labels) or HINT
    recorder.model.backward(loss.backward(), need_dx=False)
    for step in reversed(recorder.steps):
        if not cause and _first(step.dx) is not None and _first(step.dy) is None:
            cause = f"layer {step.path}, {step.layer}, sent {_first(step.dx)} back; {HINT}"
    for path, p in recorder.model.named_parameters():
        bad = _first(p.grad)
        if bad is not None:
            return f"the gradient of {path}", bad, cause or HINT
    return OVERFLOW, value, cause or "use a smaller learning rate"


def _large_targets(targets: Array) -> str:
    """Whether targets are so large that the loss overflows, with a hint."""
    largest = abs(backend_of(targets).to_host(targets).astype(np.float64)).max()
    if largest < LARGE:
        return ""
    return (
        f"targets are as large as {largest:.3g}, too large for the loss; divide them by such a "
        "number"
    )


def _in_samples(x: Array, numbers: Sequence[int]) -> str:
    """The first value in `x` that is not finite or is too large, with its sample's number."""
    x = backend_of(x).to_host(x)
    if x.dtype.kind != "f":
        return ""
    for wrong, what, hint in (
        (~np.isfinite(x), "", "leave it out, or clean the data"),
        (abs(x) >= LARGE, ", too large to compute with", "leave it out, or scale the data"),
    ):
        if not wrong.any():
            continue
        places = np.argwhere(wrong)
        row, *position = places[0].tolist()
        more = f" (of {len(places):,} such values)" if len(places) > 1 else ""
        value = x[row][tuple(position)]
        return f"sample {numbers[row]} has {value:.6g} at {position}{more}{what}; {hint}"
    return ""


def _first(a: Array) -> float | None:
    """The first value that is not finite, or None."""
    if a is None or a.dtype.kind != "f":
        return None
    values = backend_of(a).to_host(a)
    wrong = ~np.isfinite(values)
    return float(values[wrong][0]) if wrong.any() else None
