"""benchmarks/harness/contestant.py: products that are rounded to TF32."""

from __future__ import annotations

import numpy as np
import pytest

from harness.contestant import Job, require_exact


def test_rounded_products_are_refused():
    def in_ten_bits(a, b):
        mantissa, exponent = np.frexp(a)
        return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent) @ b

    exact = Job("train", (784, 10))
    require_exact(exact, np.matmul)
    require_exact(Job("train", (784, 10), tf32=True), in_ten_bits)
    with pytest.raises(RuntimeError, match="rounded to TF32"):
        require_exact(exact, in_ten_bits)
