"""Dropout."""

from __future__ import annotations

from minibnn.backend import Array
from minibnn.checks import number
from minibnn.layers.base import Layer
from minibnn.random_stream import RandomStream


def drop(x: Array, mask: Array, scale: float) -> Array:
    """``s m x``, where m is true for kept values; the gradient is ``s m dy``.

    Shapes: x, mask and result have the same shape.
    """
    y = x * mask
    if scale != 1:
        y *= scale
    return y


class Dropout(Layer):
    """Set each element to 0 with probability `rate`, in training only.

    .. equations::

        training     m  = 1 with probability 1 - rate, else 0        for each element
                     y  = s m x                      s = 1 / (1 - rate), or 1 without rescaling
        backward     dx = s m dy
        evaluation   y  = x,                         or (1 - rate) x without rescaling

    In both cases, the mean of y in training equals y in evaluation. In training, rescaled signs are
    no longer signs: +1 and -1 become 0, +s and -s. A dropped NaN or infinity gives NaN, so that no
    mask hides a fault. With rate 0 the layer draws nothing and changes nothing.

    Shapes: any; y as x.

    Args:
        rate: the probability of dropping an element, in [0, 1).
        rescale: scale up in training (True), or down in evaluation (False).

    Raises:
        ValueError: for a rate outside of that range.
        RuntimeError: from `forward` in training, before `initialize`.

    Reference: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", Journal of Machine Learning Research 15; without rescaling as in its section 4,
    with it as in section 10.

    >>> import numpy as np
    >>> layer = Dropout(0.5).initialize(np.random.default_rng(1))
    >>> layer.forward(np.ones((2, 4), dtype=np.float32), train=True)
    array([[2., 2., 2., 0.],
           [0., 0., 2., 0.]], dtype=float32)
    """

    def __init__(self, rate: float, *, rescale: bool = True) -> None:
        self.rate = float(number("Dropout", "rate", rate))
        if not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: expected a rate in [0, 1), got {rate!r}")
        self.rescale = rescale
        self.stream = RandomStream()

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g}" + (")" if self.rescale else ", rescale=False)")

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``s m x`` in training, `x` or ``(1 - rate) x`` in evaluation."""
        self.check_input(x)
        if not train:
            return x if self.rescale else x * (1 - self.rate)
        if self.rate == 0:
            self.saved = (x.shape, None)
            return x
        mask = self.stream.uniform(self.backend, x.shape, x.dtype) >= self.rate
        self.saved = (x.shape, mask)
        return drop(x, mask, self.scale)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """``s m dy``."""
        (mask,) = self.take_saved(dy)
        if not need_dx:
            return None
        return dy if mask is None else drop(dy, mask, self.scale)

    @property
    def scale(self) -> float:
        """``s``."""
        return 1 / (1 - self.rate) if self.rescale else 1
