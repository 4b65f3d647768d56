"""Errors for arrays that a layer refuses, with hints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend, backend_of


def require_device(who: object, backend: Backend, a: Array, name: str) -> None:
    """Raise TypeError if the array is not on the layer's device."""
    if backend_of(a) is not backend:
        here, there = backend.name, backend_of(a).name
        raise TypeError(
            f"{who}: expected {name} on its own device, {here}, got an array on {there}; "
            f"move one of them: model.to({there!r}) or the loader's to()"
        )


def wrong_dtype(who: object, x: Array, wanted: np.dtype[Any]) -> TypeError:
    """The error for an `x` that does not have the model's dtype."""
    hint = dtype_hint(x.dtype, wanted)
    return TypeError(f"{who}: expected x of dtype {wanted}, got {x.dtype}{hint}")


def dtype_hint(got: np.dtype[Any], wanted: np.dtype[Any]) -> str:
    """How to get from one dtype to the other."""
    if got.kind == "c":
        return ""
    hint = f"use x.astype({str(wanted)!r})"
    if got.kind in "iub":
        return f"; put Rescale(1 / 255) first if these are pixels, else {hint}"
    if got in (np.float32, np.float64):  # what a model can have
        hint += f" or model.to(dtype={str(got)!r})"
    return f"; {hint}"


def wrong_features(who: object, x: Array, features: int) -> ValueError:
    """The error for an `x` whose last axis has another size, or is its only one."""
    flat = x.ndim > 2 and math.prod(x.shape[1:]) == features
    hint = "; put Flatten() first" if flat else ""
    if x.ndim == 1 and features == 1:
        hint = "; for one number a sample use x[:, None]"
    elif x.shape == (features,):
        hint = "; for a single sample use x[None]"
    return ValueError(f"{who}: expected x of shape (batch, {features}), got {x.shape}{hint}")


def wrong_axes(who: object, x: Array) -> ValueError:
    """The error for an `x` that is no table, though its last axis fits."""
    features = math.prod(x.shape[1:])
    return ValueError(
        f"{who}: expected x of shape (batch, {x.shape[-1]}), got {x.shape}; put Flatten() first, "
        f"and give the layer {features} inputs"
    )


def wrong_batch(who: object, x: Array, channels: int) -> ValueError:
    """The error for an `x` with other channels or, in training, too few values for a variance."""
    if x.ndim < 2 or x.shape[-1] != channels:
        return ValueError(f"{who}: expected x of shape (batch, ..., {channels}), got {x.shape}")
    return ValueError(
        f"{who}: expected at least 2 values a channel in a training batch, got "
        f"{x.size // channels}; use another batch size, or drop_last=True"
    )


def wrong_saved(who: object, saved: object) -> TypeError:
    """The error for a `saved` that is not the tuple that `Layer.take_saved` expects."""
    got = type(saved).__name__
    if isinstance(saved, tuple | list):
        got += f" of {', '.join(type(item).__name__ for item in saved) or 'nothing'}"
    return TypeError(
        f"{who}: expected forward to leave a tuple in self.saved, the output's shape and then "
        f"what backward needs, got {got}; write self.saved = (y.shape, x)"
    )
