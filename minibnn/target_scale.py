"""Targets that are numbers: a network learns them with mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from minibnn.layers import Dense

HostArray: TypeAlias = "np.ndarray[Any, Any]"


class TargetScale:
    """The scale of targets in training, and the way back.

    .. equations::

        inside(y) = (y - mean) / std          what the network learns
        outside(z) = std z + mean             what it then says

    A column that is constant has std 1.

    Args:
        y: the targets of the training samples, (samples,) or (samples, outputs).

    >>> scale = TargetScale([10.0, 20.0, 30.0])
    >>> scale.outside(scale.inside([20.0, 30.0])).round(3).tolist()
    [20.0, 30.0]
    """

    def __init__(self, y: Any) -> None:
        rows = np.asarray(y, np.float64)
        std = rows.std(axis=0)
        self.mean = rows.mean(axis=0)
        self.std = np.where(std > 0, std, 1.0)

    def inside(self, y: Any) -> HostArray:
        """Targets as the network learns them, in float32."""
        scaled: HostArray = (np.asarray(y, np.float64) - self.mean) / self.std
        return scaled.astype(np.float32)

    def outside(self, z: Any) -> HostArray:
        """The network's outputs in the unit of the targets, in float64."""
        numbers: HostArray = np.asarray(z, np.float64) * self.std + self.mean
        return numbers

    def put_into(self, last: Dense) -> None:
        """Change a network's last layer so that its outputs are in the unit of the targets.

        .. equations::

            std (x W + b) + mean = x (W std) + (b std + mean)

        Args:
            last: with real weights and a bias.
        """
        to_host, asarray = last.backend.to_host, last.backend.asarray
        weight, bias = last.weight.data, last.bias.data  # type: ignore[union-attr]
        W, b = np.float64(to_host(weight)), np.float64(to_host(bias))
        weight[...] = asarray((W * self.std).astype(weight.dtype))
        bias[...] = asarray((b * self.std + self.mean).astype(bias.dtype))
