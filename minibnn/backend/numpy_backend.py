"""The CPU: NumPy, with fast bodies where the profile of a training step asked for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.base import AdamStep, Array, Backend

# Floats per block of the optimiser step: the four streams and two scratch rows take 768 KiB in
# float32 and stay in a core's second-level cache (1 MiB here) between the twelve passes over them.
# Smaller blocks pay NumPy's cost of a call (0.6 us) more often than they gain: on two cores
# with AVX2 the seed's 109,386 parameters took 187 us with 8,192, 124 us with 32,768, and with
# one block for everything 115 us, which larger networks would pay for with memory traffic.
ADAM_BLOCK = 32768


class NumpyBackend(Backend):
    """Arrays in main memory."""

    name = "cpu"
    xp = np
    array_type = np.ndarray
    host = True

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` as a NumPy array; an array of a device is refused, since that is a transfer."""
        if not isinstance(a, np.ndarray) and hasattr(a, "__cuda_array_interface__"):
            raise TypeError(
                "asarray on the CPU: expected a host array, got one on the GPU; "
                "transfer it on purpose with backend_of(a).to_host(a)"
            )
        return np.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` itself."""
        return np.asarray(a)

    def binarize(self, x: Array) -> Array:
        """As the plain body; float32 by its sign bit, several times faster."""
        if x.dtype != np.float32 or x.ndim == 0:
            return super().binarize(x)
        # x + 0.0 turns -0.0 into +0.0, after which the sign bit alone decides.
        y = np.add(x, np.float32(0))
        bits = y.view(np.uint32)
        bits &= np.uint32(0x80000000)
        bits |= np.uint32(0x3F800000)  # the bits of 1.0
        if x.size and np.isnan(x.min()):  # one cheap pass, instead of two over a mask
            y[np.isnan(x)] = np.nan
        return y

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """As the plain body, block by block while a block is in cache, without temporaries."""
        if only_if is not None and not only_if:
            return
        beta1, beta2, bound = numbers.beta1, numbers.beta2, numbers.bound
        rate, epsilon = numbers.folded()
        a = np.empty(min(ADAM_BLOCK, w.size), w.dtype)
        b = np.empty_like(a)
        for start in range(0, w.size, ADAM_BLOCK):
            block = slice(start, start + ADAM_BLOCK)
            wb, gb, mb, vb = w[block], g[block], m[block], v[block]
            update, scratch = a[: wb.size], b[: wb.size]
            mb *= beta1
            np.multiply(gb, 1 - beta1, out=scratch)
            mb += scratch
            vb *= beta2
            np.multiply(gb, gb, out=scratch)
            scratch *= 1 - beta2
            vb += scratch
            np.sqrt(vb, out=scratch)
            scratch += epsilon
            np.divide(mb, scratch, out=update)
            update *= rate
            wb -= update
            if bound is not None:
                np.clip(wb, -bound, bound, out=wb)
