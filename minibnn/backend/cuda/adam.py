"""Adam on the GPU, in one kernel."""

from __future__ import annotations

import math
from typing import Any

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import floats, is_number, number
from minibnn.backend.implementations import CUDA


@CUDA.implements("adam")
def adam(
    backend: Any,
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    alpha_t: Any,
    epsilon_hat: Any,
    beta1: float,
    beta2: float,
    bound: float | None,
) -> Any:
    """Adam for contiguous arrays of one shape. It does not detect an overflow of v."""
    arrays = w, g, m, v
    alike = floats(*arrays) and all(a.shape == w.shape and a.flags.c_contiguous for a in arrays)
    if not alike or not all(is_number(n, w.dtype) for n in (alpha_t, epsilon_hat)):
        return NotImplemented
    kind = w.dtype.type
    decays = (kind(value) for value in (beta1, 1 - beta1, beta2, 1 - beta2))
    arguments = (
        *arrays, *number(alpha_t, w.dtype), *number(epsilon_hat, w.dtype),
        *decays, kind(math.inf if bound is None else bound), backend.allowed,
    )  # fmt: skip
    backend.kernels.each("adam", "adam", w.dtype, w.size, arguments)
    return None
