"""Gradients that are too long are shortened, all by the same factor."""

from __future__ import annotations

import math

import numpy as np

from minibnn.backend import Array
from minibnn.checks import number
from minibnn.optimizers.base import FlatOptimizer, Optimizer
from minibnn.optimizers.group import OptimizerGroup
from minibnn.parameter import FlatStore, Parameter


def clip_gradients(optimizer: Optimizer, norm: float) -> Array:
    """Scale an optimiser's gradients so that their global norm is at most `norm`; return it.

    .. equations::

        n = sqrt(sum of g^2 over every gradient of every parameter)
        g <- g norm / max(n, norm)

    The direction stays. Call it between `backward` and `step`; `fit` does so with ``clip_norm``.
    Nothing waits for the device. If a gradient is not finite, the next step refuses the update, as
    without clipping. Parameters that the optimiser does not have do not count.

    Args:
        optimizer: whose gradients are scaled, in place. In a group, all optimisers count as one.
        norm: a positive number.

    Returns:
        The norm n before, float64, as a 0-d array on the device.

    Raises:
        ValueError: if `norm` is not positive and finite.
        RuntimeError: as from `Optimizer.step`, if the gradients are another model's.

    Reference: Pascanu et al. 2012, arXiv:1211.5063, algorithm 1.

    >>> import numpy as np
    >>> from minibnn import SGD, Fill, Parameter
    >>> w = Parameter("w", (2,), Fill(0.0))
    >>> w.initialize(np.random.default_rng(0), np.float64)
    >>> optimizer = SGD([w], learning_rate=1.0)
    >>> w.grad[...] = [3, 4]
    >>> float(clip_gradients(optimizer, 1.0)), w.grad
    (5.0, array([0.6, 0.8]))
    """
    norm = check_norm("clip_gradients", norm)
    optimizer.require_gradients()  # before the gradients are read, which counts as a use
    xp = optimizer.backend.xp
    gradients = [holder.grad for holder in gradient_holders(optimizer)]
    total = xp.zeros((), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # the next step refuses such gradients
        for g in gradients:
            wide = g.astype(np.float64).reshape(-1)  # in float32, squares beyond 1.8e19 overflow
            total = total + (wide * wide).sum()
        before = xp.sqrt(total)
        factor = xp.where(before < math.inf, norm / xp.maximum(before, norm), math.nan)
        for g in gradients:
            g *= factor.astype(g.dtype)
    return before


def gradient_holders(optimizer: Optimizer) -> list[FlatStore | Parameter]:
    """What has the gradients, as `grad`: flat stores, or an optimiser's own single parameters."""
    if isinstance(optimizer, OptimizerGroup):
        return [holder for member in optimizer.optimizers for holder in gradient_holders(member)]
    if isinstance(optimizer, FlatOptimizer):
        return [optimizer.store]
    return list(optimizer.parameters)


def check_norm(who: str, norm: float, name: str = "norm") -> float:
    """Return `norm`, or raise unless it is a positive number."""
    norm = float(number(who, name, norm))
    if not 0 < norm < math.inf:
        raise ValueError(
            f"{who}: expected {name} to be a positive number, got {norm}; without it, gradients "
            "keep their length"
        )
    return norm
