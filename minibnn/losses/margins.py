"""Losses of each output and its target: the hinges."""

from __future__ import annotations

from minibnn.backend import Array, backend_of
from minibnn.losses.elementwise import TargetLoss


class Hinge(TargetLoss):
    """The hinge loss: how much each output lacks to a margin of 1.

    .. equations::

        t = 2 p - 1                               +1 for the class, -1 for the others
        L     = 1/(N K) sum_n sum_k max(0, 1 - t[n, k] y[n, k])
        dL/dy = -t 1[t y < 1] / (N K)

    Shapes: outputs y (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities p of
    any dtype; the loss (). Loss and gradient are of the outputs' dtype.

    Raises:
        ValueError, TypeError: for labels, as in `LogitCrossEntropy`.

    Reference: for two classes, Cortes and Vapnik 1995, "Support-vector networks", Machine Learning
    20; here it is one class against the others.

    >>> import numpy as np
    >>> loss = Hinge()
    >>> float(loss.forward(np.array([[0.5, -3.0]]), np.array([0])))
    0.25
    >>> loss.backward()
    array([[-0.5,  0. ]])
    """

    def each(self, y: Array, p: Array) -> tuple[Array, Array]:
        """``max(0, 1 - t y)`` and ``-t 1[t y < 1]``."""
        t = 2 * p - 1
        gap = 1 - t * y
        return backend_of(y).xp.maximum(gap, 0), -t * (gap > 0)


class SquaredHinge(TargetLoss):
    """The squared hinge loss: the square of what each output lacks to a margin of 1.

    .. equations::

        t = 2 p - 1                               +1 for the class, -1 for the others
        L     = 1/(N K) sum_n sum_k max(0, 1 - t[n, k] y[n, k])^2
        dL/dy = -2 t max(0, 1 - t y) / (N K)

    The mean is over samples and classes, as in BinaryNet's code; a sum over the classes would be
    K times as large.

    Shapes: outputs y (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities p of
    any dtype; the loss (). Loss and gradient are of the outputs' dtype.

    Raises:
        ValueError, TypeError: for labels, as in `LogitCrossEntropy`.

    References: Tang 2013, arXiv:1306.0239, section 2 (L2-SVM); the loss of Courbariaux et al. 2016,
    arXiv:1602.02830.

    >>> import numpy as np
    >>> loss = SquaredHinge()
    >>> float(loss.forward(np.array([[0.5, -3.0]]), np.array([0])))
    0.125
    >>> loss.backward()
    array([[-0.5,  0. ]])
    """

    def each(self, y: Array, p: Array) -> tuple[Array, Array]:
        """``max(0, 1 - t y)^2`` and ``-2 t max(0, 1 - t y)``."""
        t = 2 * p - 1
        gap = backend_of(y).xp.maximum(1 - t * y, 0)
        return gap * gap, -2 * t * gap
