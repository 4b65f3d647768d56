"""The classes that a model's file may name: minibnn's own, and those that the caller gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, TypeAlias

from minibnn import (
    encoding,
    feedback,
    functions,
    initializers,
    layers,
    losses,
    optimizers,
    schedules,
)
from minibnn.random_stream import RandomStream

__all__ = ["PARTS", "Classes", "known_classes"]

Classes: TypeAlias = Iterable[Callable[..., Any]]

PARTS: Mapping[str, type] = {
    part.__name__: part
    for part in (
        layers.Activation,
        layers.AveragePool2D,
        layers.BatchNorm,
        layers.Concatenate,
        layers.Conv1D,
        layers.Conv2D,
        layers.Dense,
        layers.DirectFeedback,
        layers.Dropout,
        layers.Flatten,
        layers.GlobalAveragePool2D,
        layers.MaxPool2D,
        layers.PReLU,
        layers.Radial,
        layers.Rescale,
        layers.Reshape,
        layers.Residual,
        layers.Sequential,
        layers.ShiftBatchNorm,
        layers.TensorNorm,
        encoding.OneHotCode,
        encoding.Standardize,
        encoding.Thermometer,
        functions.AdaSTE,
        functions.ApproxSign,
        functions.DoReFaActivations,
        functions.DoReFaWeights,
        functions.HardTanh,
        functions.Heaviside,
        functions.Identity,
        functions.MagnitudeAwareSign,
        functions.PowerOfTwo,
        functions.ReLU,
        functions.Sigmoid,
        functions.SignSTE,
        functions.StochasticSign,
        functions.SwishSign,
        functions.Tanh,
        functions.Ternary,
        functions.TernaryWeights,
        feedback.Blocked,
        feedback.FixedFeedback,
        feedback.Transpose,
        initializers.Fill,
        initializers.GlorotUniform,
        initializers.Uniform,
        losses.BinaryCrossEntropy,
        losses.Hinge,
        losses.Huber,
        losses.LogitCrossEntropy,
        losses.MeanSquaredError,
        losses.SquaredHinge,
        schedules.Constant,
        schedules.Cosine,
        schedules.Exponential,
        schedules.PerEpoch,
        schedules.WarmUp,
        optimizers.SGD,
        optimizers.AdaMax,
        optimizers.Adam,
        optimizers.AdamW,
        optimizers.Bop,
        optimizers.OptimizerGroup,
        optimizers.ShiftAdaMax,
        RandomStream,
    )
}


def known_classes(who: str, given: Classes) -> dict[str, Any]:
    """Minibnn's classes and those that are given, by name.

    Raises:
        TypeError: for anything but classes and functions, and for two of one name.
    """
    if isinstance(given, type | FunctionType | str) or not isinstance(given, Iterable):
        name = getattr(given, "__name__", "MyLayer")
        raise TypeError(f"{who}: expected a list of classes, got {given!r}; write classes=[{name}]")
    known: dict[str, Any] = dict(PARTS)
    for thing in given:
        if not isinstance(thing, type | FunctionType):
            name = type(thing).__name__
            raise TypeError(
                f"{who}: expected classes and functions among the classes, got {thing!r}; write "
                f"the class itself, such as {name}"
            )
        if known.setdefault(thing.__name__, thing) is not thing:
            whose = "minibnn's" if thing.__name__ in PARTS else "one"
            raise TypeError(
                f"{who}: expected one class of each name, got a {thing.__name__} besides {whose}; "
                "rename yours"
            )
    return known
