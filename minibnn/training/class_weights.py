"""Weights of samples by their class, for data in which some classes are rare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.checks import integer, number
from minibnn.losses.task import Task

# "balanced", or the weights of classes by their numbers.
Given: TypeAlias = str | Mapping[int, float]


class ClassWeights:
    """Gives each sample the weight of its class.

    Args:
        task: tells the classes of targets.
        table: (classes,), the weights, on the device.
    """

    def __init__(self, task: Task, table: Array) -> None:
        self.task = task
        self.table = table

    def __repr__(self) -> str:
        return f"ClassWeights({self.task!r}, {len(self.table)} classes)"

    def times(self, targets: Array, weights: Array | None = None) -> Array:
        """The weights of the targets' classes, times the samples' own weights.

        Shapes: targets as the loss takes them; weights (batch,) or None; the result (batch,).
        """
        of_classes = self.table.take(self.task.truth(targets))
        return of_classes if weights is None else of_classes * weights


def class_weights(
    given: Given | None,
    task: Task,
    targets: Array | None,
    backend: Backend,
    weights: Array | None = None,
) -> ClassWeights | None:
    """The weights that a user asked for.

    .. code-block:: text

        "balanced":   w[k] = N / (K n[k])      K of the classes occur, class k in n[k] of N samples

    So all classes weigh the same in total. Samples that have weights count by these. In a mapping,
    classes that are not named have 1.

    Args:
        given: ``"balanced"``, or weights by class number; None for no weights.
        task: the loss's.
        targets: those of all samples; None if they are not all in memory.
        backend: where the weights are needed.
        weights: of all samples; None for 1 each.

    Raises:
        TypeError: for a task without classes, or another `given`.
        ValueError: for a class that is not there, or a weight below 0; if all weights are 0; for
            "balanced" without all targets.
    """
    if given is None:
        return None
    if task.classes is None:
        raise TypeError(
            f"fit: expected a loss for classes with class_weight, got one for {task.kind}; give "
            "weights of samples instead: DataLoader((x, targets, weights), batch_size)"
        )
    counts = None
    if targets is not None:
        own = None if weights is None else backend.to_host(weights)
        counts = np.bincount(backend.to_host(task.truth(targets)), own, task.classes)
    if isinstance(given, Mapping):
        table = _from_mapping(given, task.classes)
        if not (table * (1 if counts is None else counts)).any():
            raise ValueError(
                "fit: expected a class_weight above 0 for some sample, got 0 for all; give the "
                "classes to learn a positive weight"
            )
    elif isinstance(given, str) and given == "balanced":
        if counts is None:
            raise ValueError(
                "fit: expected all labels in memory for class_weight='balanced', got a loader that "
                "does not have them; give the weights: class_weight={0: 1.0, 1: 5.0}"
            )
        occurs = counts > 0
        table = counts.sum() / (np.where(occurs, counts, 1) * occurs.sum())
    else:
        raise TypeError(
            f"fit: expected class_weight to be 'balanced' or weights by class, got {_got(given)}; "
            "write class_weight={0: 1.0, 1: 5.0}, or dict(enumerate(weights))"
        )
    return ClassWeights(task, backend.asarray(table))


def described(given: Given | None) -> Any:
    """What a user asked for, and `class_weights` took: the same for equal weights, for a file."""
    if isinstance(given, Mapping):
        return {str(int(k)): float(weight) for k, weight in given.items()}
    return given


def _got(given: object) -> str:
    return repr(given) if isinstance(given, str | bool | int | float) else type(given).__name__


def _from_mapping(given: Mapping[int, float], classes: int) -> np.ndarray[Any, Any]:
    table = np.ones(classes)
    for key, value in given.items():
        k = integer("fit", "a class in class_weight", key)
        weight = number("fit", f"class_weight[{k}]", value)
        if not 0 <= k < classes:
            raise ValueError(
                f"fit: expected class_weight for classes in 0..{classes - 1}, got {k}; classes are "
                "counted from 0"
            )
        if not 0 <= weight < math.inf:
            raise ValueError(
                f"fit: expected class_weight of at least 0, got {weight} for class {k}; a rare "
                "class has a large weight"
            )
        table[k] = weight
    return table
