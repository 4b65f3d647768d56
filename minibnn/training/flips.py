"""The share of each quantized weight's values that an epoch changes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from minibnn.backend import Array
from minibnn.functions import Function, weight_levels
from minibnn.layers import Layer
from minibnn.parameter import Parameter
from minibnn.state import State, Stateful, require_form

# A weight, its quantizer, and whether the quantizer has two values, only one of them above zero.
_Quantized: TypeAlias = tuple[Parameter, Function, bool]


class Flips(Stateful):
    """Compares the quantized weights at the end of an epoch with those at its beginning.

    Finding out a function's values takes too long to do it in each epoch, so it is done once.

    Args:
        model: whose weights are compared.

    Attributes:
        columns: the names for the history, such as ``flips_2.weight``.
    """

    def __init__(self, model: Layer) -> None:
        self._backend = model.backend
        self._quantized: dict[str, _Quantized] = {}
        for path, parameter, function in model.named_quantized():
            levels = weight_levels(function, len(parameter.shape), parameter.shape[-1])
            if levels is not None:
                two_sided = len(levels) == 2 and levels[0] <= 0 < levels[1]
                self._quantized[path] = parameter, function, bool(two_sided)
        self.columns = [f"flips_{path}" for path in self._quantized]
        self._at_begin: list[Array] = []

    def begin(self) -> None:
        """Note the values at the beginning of an epoch."""
        self._at_begin = self._codes()

    def end(self) -> list[Array]:
        """The shares as one array on the device, in a list; an empty list if there are none."""
        before, self._at_begin = self._at_begin, []
        if not before:
            return []
        pairs = zip(before, self._codes(), strict=True)
        shares = [(old != new).mean(dtype=np.float64) for old, new in pairs]
        return [self._backend.xp.stack(shares)]

    def _codes(self) -> list[Array]:
        """The quantized weights, on the device; for quantizers with two values, their bits.

        Some quantizers scale their two values by a mean that changes in each step. The bit, whether
        the value is above zero, does not depend on it, and takes a quarter of the memory.
        """
        codes = []
        for parameter, function, two_sided in self._quantized.values():
            values = function.forward(parameter.data)
            codes.append(values > 0 if two_sided else values)
        return codes

    def state(self) -> State:
        """The values at the beginning of the running epoch, bits packed into bytes; else None."""
        codes = self._at_begin or [None] * len(self._quantized)
        return {path: self._packed(c) for path, c in zip(self._quantized, codes, strict=True)}

    def restore(self, state: State) -> None:
        """Put a state back.

        Raises:
            ValueError: before anything changes, if `state` is of another model.
        """
        require_form("Flips", self.state(), state)
        self._at_begin = []
        for path, (parameter, _, two_sided) in self._quantized.items():
            values = state[path]
            if values is not None and two_sided:
                bits = np.unpackbits(values, count=parameter.size).astype(bool)
                values = bits.reshape(parameter.shape)
            if values is not None:
                self._at_begin.append(self._backend.asarray(values.copy()))

    def _packed(self, codes: Array | None) -> Any:
        if codes is None:
            return None
        host = self._backend.to_host(codes)
        return np.packbits(host) if host.dtype == bool else host.copy()
