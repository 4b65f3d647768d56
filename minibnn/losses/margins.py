"""Losses of each output and its target: hinges and the squared error."""

from __future__ import annotations

from abc import abstractmethod

from minibnn.backend import Array, backend_of, batch_total
from minibnn.losses.base import Loss, check_labels


class TargetLoss(Loss):
    """A mean over samples and classes of a function of each output and its target.

    .. code-block:: text

        L     = 1/(N K) sum_n sum_k l(y[n, k], p[n, k])
        dL/dy = l'(y, p) / (N K)

    Here p is the class's probability, which is 1 or 0 for integer labels. A subclass defines
    `each`.

    Shapes: outputs y (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities p of
    any dtype; the loss (). Loss and gradient are of the outputs' dtype.
    """

    def forward(self, logits: Array, labels: Array) -> Array:
        """The loss of a batch, averaged over its samples and the classes."""
        backend = backend_of(logits)
        check_labels(self, logits, labels, backend)
        xp, dtype = backend.xp, logits.dtype
        if labels.ndim == 1:
            labels = labels[:, None] == xp.arange(logits.shape[1])
        losses, slopes = self.each(logits, labels.astype(dtype, copy=False))
        self.saved = (slopes,)
        return batch_total(losses) / logits.size

    def backward(self) -> Array:
        """The gradient of that loss with respect to the outputs, in their shape."""
        (slopes,) = self.take_saved()
        return slopes / slopes.size

    @abstractmethod
    def each(self, y: Array, p: Array) -> tuple[Array, Array]:
        """``l(y, p)``, each output's loss, and ``l'(y, p)``, its derivative by that output."""


class Hinge(TargetLoss):
    """The hinge loss: how much each output lacks to a margin of 1.

    .. code-block:: text

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

    .. code-block:: text

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


class MeanSquaredError(TargetLoss):
    """The mean squared difference between each output and the class's probability.

    .. code-block:: text

        L     = 1/(N K) sum_n sum_k (y[n, k] - p[n, k])^2
        dL/dy = 2 (y - p) / (N K)

    Shapes: outputs y (N, K) float; labels (N,) integers in 0..K-1, which stand for one-hot rows,
    or (N, K) probabilities p of any dtype; the loss (). Loss and gradient are of the outputs'
    dtype.

    Raises:
        ValueError, TypeError: for labels, as in `LogitCrossEntropy`.

    >>> import numpy as np
    >>> loss = MeanSquaredError()
    >>> float(loss.forward(np.array([[0.5, -3.0]]), np.array([0])))
    4.625
    >>> loss.backward()
    array([[-0.5, -3. ]])
    """

    def each(self, y: Array, p: Array) -> tuple[Array, Array]:
        """``(y - p)^2`` and ``2 (y - p)``."""
        error = y - p
        return error * error, 2 * error
