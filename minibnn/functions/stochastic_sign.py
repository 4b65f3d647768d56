"""A sign that is drawn at random in training, with the input as its mean."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.functions.signs import StraightThrough, sign
from minibnn.random_stream import RandomStream


@dataclass  # not frozen: each draw advances its stream
class StochasticSign(StraightThrough):
    """In training a random +1 or -1 with mean x, in evaluation the sign.

    .. equations::

        training     y = +1 with probability p = clip((x + 1) / 2, 0, 1), else -1
        evaluation   y = +1 where x >= 0, else -1
        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    Between -1 and 1 the mean of y is ``2p - 1 = x``, so that the noise has no bias.

    ``model.initialize(rng)`` seeds its random stream; outside a layer, call the function's own
    `initialize`. The same seed gives the same draws on every device, and setting ``stream.count``
    back repeats them. Give each layer its own object: two layers with one object share its draws.

    Picture: ``plot_function(StochasticSign(clip=1.0))``; the dashed line is the mean.

    Args:
        clip: where the gradient ends; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None.
        RuntimeError: from `train_forward` before `initialize`.

    References: Courbariaux et al. 2015 (BinaryConnect), arXiv:1511.00363, equations 2 and 3 for
    weights; Courbariaux et al. 2016, arXiv:1602.02830, equations 2 and 3 for activations.

    >>> import numpy as np
    >>> f = StochasticSign()
    >>> f.initialize(np.random.default_rng(0))
    >>> f.train_forward(np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    array([-1., -1.,  1., -1., -1.,  1., -1.,  1.])
    """

    clip: float | None = None
    stream: RandomStream = field(
        default_factory=RandomStream, init=False, repr=False, compare=False
    )

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the seed of the random stream."""
        self.stream.initialize(rng)

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return sign(x)

    def train_forward(self, x: Array) -> Array:
        """+1 with probability ``clip((x + 1) / 2, 0, 1)``, else -1."""
        if self.stream.seed is None:
            raise RuntimeError(
                f"{self!r}: expected a seed for its stream, but none has been drawn; call "
                "model.initialize(rng), or outside a layer the function's own initialize(rng)"
            )
        backend = backend_of(x)
        p = backend.xp.clip((x + 1) / 2, 0, 1)
        u = self.stream.uniform(backend, x.shape, x.dtype)
        # u lies in [0, 1), so u < p never happens for p = 0 and always for p = 1.
        return -sign(u - p)
