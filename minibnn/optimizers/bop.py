"""Bop: it flips binary weights, without latent weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.functions import sign, weight_bits
from minibnn.optimizers.base import FlatOptimizer
from minibnn.parameter import Parameter, Segment
from minibnn.schedules import Schedule


def bop(w: Array, g: Array, m: Array, gamma: Any, keep: Any, threshold: float) -> None:
    """One step of Bop, written into `w` and `m`.

    .. equations::

        m <- keep m + gamma g                    keep = 1 - gamma
        w <- -w    where |m| > threshold and m has the sign of w, that is w m > threshold

    Shapes: w, g, m (n,), of one dtype, w of +1 and -1; `gamma` and `keep` numbers or 0-d arrays.
    """
    new_m = keep * m + gamma * g
    # The sign of a difference keeps a nan, which a comparison would hide.
    new_w = w * sign(threshold - w * new_m)
    backend_of(w).masked_write((m, new_m), (w, new_w))


class Bop(FlatOptimizer):
    """The binary optimiser: a weight flips if the mean of its gradients is large enough.

    .. equations::

        m <- (1 - gamma) m + gamma g
        w <- -w    where |m| > threshold and m has the sign of w, that is w m > threshold

    The weights are always +1 or -1: making the optimiser replaces each by its sign. There are no
    latent weights and no learning rate, so real-valued parameters are refused. A large gamma
    forgets old gradients fast; with a small threshold, weights flip easily. `lr_scale` and `bound`
    have no effect.

    The weights' quantizer must pass the gradient at -1 and +1, in both directions, as
    ``SignSTE()`` and ``SignSTE(clip=1.0)`` do. A smaller clip and ``ApproxSign()`` block the
    gradient, and nothing trains; ``SwishSign()`` reverses it; ``AdaSTE()`` passes only gradients
    that ask for a flip.

    Everything that is not binary (biases, batch norm) needs a second optimiser: see
    `OptimizerGroup`.

    Args:
        parameters: the weights of layers with binary weights; see `split_parameters`.
        threshold: at least 0.
        gamma: in (0, 1], or a schedule: a function from the number of updates so far.

    Raises:
        ValueError, TypeError, RuntimeError: as from `Descent`; ValueError also for a parameter
            that is not known to be quantized to two values.

    Reference: Helwegen et al. 2019, arXiv:1906.02107, algorithm 1.

    >>> import numpy as np
    >>> from minibnn import Dense, SignSTE
    >>> layer = Dense(2, 2, weight_quantizer=SignSTE(), bias=False).initialize(0)
    >>> optimizer = Bop(layer.parameters(), threshold=0.1, gamma=0.5)
    >>> layer.weight.data
    array([[ 1., -1.],
           [-1., -1.]], dtype=float32)
    >>> layer.weight.grad[...] = [[1, 1], [-1, -0.1]]
    >>> optimizer.step()
    >>> layer.weight.data
    array([[-1., -1.],
           [ 1., -1.]], dtype=float32)
    """

    _rate_name: ClassVar[str] = "gamma"
    _most: ClassVar[float] = 1.0

    def __init__(
        self,
        parameters: Iterable[Parameter],
        threshold: float = 1e-8,
        gamma: float | Schedule = 1e-4,
    ) -> None:
        self.threshold = number("Bop", "threshold", threshold)
        if not self.threshold >= 0:
            raise ValueError(f"Bop: expected a threshold of at least 0, got {threshold}")
        if isinstance(parameters, Iterable):  # otherwise `FlatStore` raises
            parameters = list(parameters)
            for p in parameters:
                _require_binary(p)
        super().__init__(parameters, gamma)
        for p in self.parameters:
            p.data[...] = sign(p.data)
        self._m = self.backend.xp.zeros_like(self.store.data)

    @property
    def gamma(self) -> float:
        """The gamma of the next update; set it to a number or a schedule."""
        return self._rate()

    @gamma.setter
    def gamma(self, gamma: float | Schedule) -> None:
        self._set_rate(gamma)

    def _set_rate(self, rate: float | Schedule) -> None:
        if not callable(rate) and not 0 < number("Bop", "gamma", rate) <= 1:
            raise ValueError(f"Bop: expected gamma in (0, 1], got {rate}")
        super()._set_rate(rate)

    def scalars(self, gamma: float, step: int) -> tuple[float, ...]:
        """``gamma`` and ``keep = 1 - gamma``."""
        return gamma, 1 - gamma

    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """See `bop`."""
        part, (gamma, keep) = segment.where, scalars
        w, g, m = self.store.data[part], self.store.grad[part], self._m[part]
        self.backend.run(bop, w, g, m, gamma, keep, self.threshold)


def _require_binary(p: Parameter) -> None:
    """Raise ValueError if the parameter is not a binary weight.

    Its quantizer decides. A parameter without one is accepted if its values are signs already.
    """
    if not isinstance(p, Parameter) or p.data is None:
        return  # `FlatStore` raises
    if p.quantizer is not None:
        binary, seen = (
            weight_bits(p.quantizer, len(p.shape), p.shape[-1]) == 1,
            f"seen through {p.quantizer!r}",
        )
    else:
        binary, seen = bool((abs(p.data) == 1).all()), "which no layer calls binary"
        binary = binary and p.name not in ("bias", "gamma", "beta")
    if not binary:
        raise ValueError(
            f"Bop: expected binary weights, got {p!r}, {seen}; write binary, rest = "
            "split_parameters(model), then OptimizerGroup(Bop(binary), Adam(rest))"
        )
