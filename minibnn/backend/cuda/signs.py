"""Signs on the GPU: made in one kernel, and known to products."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.base import Backend
from minibnn.backend.capture.questions import questions
from minibnn.backend.cuda.kernels import Kernels, floats


class CupySigns(Backend):
    """Part of `CupyBackend`."""

    kernels: Kernels
    # Arrays known to have signs alone, as long as they live, by id.
    _signs: WeakValueDictionary[int, Array]

    def binarize(self, x: Array) -> Array:
        """As the plain body, in one kernel; or none, if the signs lie ready."""
        asked = questions()
        kept = None if asked is None or asked.signs is None else asked.signs.of(x)
        if kept is not None:
            return kept
        if not floats(x):
            return super().binarize(x)
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty_like(x)
        self.kernels.each("elementwise", "binarize", x.dtype, x.size, (y, x))
        return y

    def mark_signs(self, a: Array) -> None:
        """Products of two such arrays then go to the tensor cores."""
        self._signs[id(a)] = a

    def known_signs(self, a: Array) -> bool:
        """Whether this very array is known to have signs alone."""
        return self._signs.get(id(a)) is a

    def address(self, a: Array) -> int:
        """Of its first value."""
        return int(a.data.ptr)

    def number(self, value: Any, dtype: Any) -> tuple[Array | None, np.generic]:
        """A number as a kernel takes it: where it stands on the device, or its value."""
        scalar = np.dtype(dtype).type
        return (value, scalar(0)) if isinstance(value, self.array_type) else (None, scalar(value))
