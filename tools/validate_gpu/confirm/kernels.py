"""The part `kernels` of `confirm_gpu.py`: each kernel's result against the CPU's."""

from __future__ import annotations

import numpy as np

from confirm.setting import Outcome, Setting, verdict
from every_kernel import ODD, results
from launches import FLOATS
from minibnn import get_backend
from minibnn.backend import Array

# Relative to an array's greatest value: sums of up to 6,500 values have another order. On the host,
# the errors of the same kernels are below 4e-7 and 2e-15.
TOLERANCES = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def kernels(setting: Setting) -> Outcome:
    """Compare each result with that of the same operation on the CPU."""
    problems, worst = [], {}
    for dtype in FLOATS:
        pairs = zip(results(setting.backend, dtype, ODD),
                    results(get_backend("cpu"), dtype, ODD), strict=True)  # fmt: skip
        errors = {}
        for (name, a), (_, b) in pairs:
            errors[name] = error_of(setting.backend.to_host(a), b)
        too_large = [f"{dtype} {name}: {error:.2g} away from the CPU's result"
                 for name, error in errors.items() if not error <= TOLERANCES[dtype]]  # fmt: skip
        problems += too_large
        worst[str(dtype)] = max(errors.values())
        setting.keep(worst=worst, problems=problems)
        print(f"  {dtype}: {len(errors)} results, largest error {worst[str(dtype)]:.2g}")
    return verdict(problems, "all results agree with the CPU", {"worst": worst})


def error_of(a: Array, b: Array) -> float:
    """The greatest difference, relative to the greatest value (at least 1).

    It is inf for nan, and for integers or booleans that differ.
    """
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    error = float(abs(a - b).max() / max(1.0, abs(b).max()))
    return error if np.isfinite(error) else float("inf")
