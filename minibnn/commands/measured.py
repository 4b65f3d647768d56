"""How good a packed model is on samples: the accuracy, or R2 and the mean absolute error."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Backend
from minibnn.data.samples import Samples
from minibnn.packed import PackedModel


def measures(packed: PackedModel, samples: Samples, x: Any, backend: Backend) -> dict[str, float]:
    """The figures by name: ``accuracy`` for classes, ``r2`` and ``mae`` for numbers.

    Args:
        packed: the model.
        samples: with the targets.
        x: their samples, on the device.
        backend: of the device.
    """
    if samples.class_names is not None:
        labels = backend.to_host(packed.predict(x))
        return {"accuracy": float((labels == samples.y).mean())}
    y = np.asarray(samples.y, np.float64).reshape(len(samples.y), -1)
    error = np.float64(backend.to_host(packed.logits(x))) - y
    total = float(((y - y.mean(axis=0)) ** 2).sum())
    r2 = 1 - float((error**2).sum()) / total if total else float("-inf")
    return {"r2": r2 if np.isfinite(r2) else 0.0, "mae": float(abs(error).mean())}


def measured_line(figures: dict[str, float]) -> str:
    """The figures as text.

    >>> measured_line({"accuracy": 0.9})
    'accuracy 0.9000'
    >>> measured_line({"r2": 0.5, "mae": 41.25})
    'R2 0.5000, MAE 41.25'
    """
    if "accuracy" in figures:
        return f"accuracy {figures['accuracy']:.4f}"
    return f"R2 {figures['r2']:.4f}, MAE {figures['mae']:.4g}"
