"""The outputs of a model for many samples, or what they say."""

from __future__ import annotations

from minibnn.backend import Array, backend_of
from minibnn.checks import integer, require
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.training.evaluate import most_at_once, require_like_training, task_of

BATCH = 32  # if a sample's memory cannot be measured


def predict(
    model: Layer, x: Array, *, batch_size: int | None = None, loss: Loss | None = None
) -> Array:
    """The outputs of a model; see `Layer.predict`."""
    if isinstance(x, DataLoader):
        raise TypeError("predict: expected an array of samples, got a DataLoader; use .arrays[0]")
    try:
        here, there = model.backend, backend_of(x)
    except TypeError as error:
        raise TypeError(f"predict: {error}") from None
    if not (there is here or there.host):
        raise TypeError(
            f"predict: expected samples on the model's device, {here.name}, or on the host, got "
            f"them on {there.name}; use model.to({there.name!r})"
        )
    if loss is not None:
        require("predict", "loss", loss, Loss)
    contract = model.input_contract
    if contract is not None and x.shape == contract.shape:
        raise ValueError(
            f"predict: expected a batch of samples of shape {contract.shape}, got one; use x[None]"
        )
    if not x.ndim or not len(x):
        raise ValueError(f"predict: expected at least 1 sample, got x of shape {x.shape}")
    require_like_training(model, x.dtype, "predict: x")
    if batch_size is None:
        batch_size = _fast_batch(model, here.asarray(x[:1]))
    batch_size = integer("predict", "batch_size", batch_size, least=1)

    result: Array = None
    for first in range(0, len(x), batch_size):
        outputs = model.forward(here.asarray(x[first : first + batch_size]))
        if loss is not None:
            outputs = task_of(loss, outputs, None, "predict").predict(outputs)
        if there is not here:
            outputs = here.to_host(outputs)
        if result is None:
            if len(outputs) == len(x):
                return outputs
            result = there.xp.empty((len(x), *outputs.shape[1:]), outputs.dtype)
        result[first : first + batch_size] = outputs
    return result


def _fast_batch(model: Layer, one: Array) -> int:
    try:
        return most_at_once(model, one)
    except Exception:  # a layer cannot be copied, or has no output for one sample
        return BATCH
