"""Signs on the GPU, made in one kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.base import Backend
from minibnn.backend.cuda.kernels import Kernels, floats


class CupySigns(Backend):
    """Part of `CupyBackend`."""

    kernels: Kernels

    def binarize(self, x: Array) -> Array:
        """For floats."""
        if not floats(x):
            return super().binarize(x)
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty_like(x)
        self.kernels.each("elementwise", "binarize", x.dtype, x.size, (y, x))
        return y

    def address(self, a: Array) -> int:
        """Of its first value."""
        return int(a.data.ptr)

    def number(self, value: Any, dtype: Any) -> tuple[Array | None, np.generic]:
        """A number as a kernel takes it: where it stands on the device, or its value."""
        scalar = np.dtype(dtype).type
        return (value, scalar(0)) if isinstance(value, self.array_type) else (None, scalar(value))
