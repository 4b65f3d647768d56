"""Histograms around zero, whose range suits the values of each frame."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

HostArray: TypeAlias = np.ndarray[Any, Any]

BINS = 64  # of equal width from -reach to reach; two more hold what lies below and above
DEVIATIONS = 3.0  # root mean squares that the range covers at least


def reach_of(values: HostArray) -> float:
    """The end of the range: a power of two, so that the bins of any two frames fit together.

    It covers three times the root mean square; a few values far out do not widen it.

    >>> reach_of(np.array([-1.0, 1.0])), reach_of(np.array([-3.0, 1.0]))
    (1.0, 4.0)
    """
    finite = values[np.isfinite(values)]
    largest = float(abs(finite).max(initial=0))
    if largest == 0:
        return 1.0
    # Divided first, so that no square is infinite or zero.
    deviation = largest * math.sqrt(float(np.square(finite / largest, dtype=np.float64).mean()))
    exponent = math.ceil(math.log2(min(DEVIATIONS * deviation, largest)))
    limits = np.finfo(values.dtype)  # so that BINS / 2 / reach is such a number, too
    return 2.0 ** min(max(exponent, limits.minexp + 8), limits.maxexp - 1)


def histogram(values: HostArray, reach: float) -> HostArray:
    """Counts (BINS + 2,): below ``-reach``, in each bin, above ``reach``; nan is not counted.

    A value between two bins belongs to the upper one, so 0 counts as positive, as it does for a
    sign. Both ends of the range belong to it.
    """
    values = values.ravel()
    scaled = np.floor(values * (BINS // 2 / reach)) + BINS // 2
    scaled[values == reach] = BINS - 1
    counted = np.clip(scaled, -1, BINS)[~np.isnan(values)].astype(np.intp)
    return np.bincount(counted + 1, minlength=BINS + 2).astype(np.uint32)


def axes_of(reaches: HostArray) -> HostArray:
    """(names,), the ranges of most frames (frames, names): before training, values lie elsewhere.

    >>> axes_of(np.array([[128.0, 1.0], [4.0, 1.0], [8.0, 1.0], [8.0, 1.0]]))
    array([8., 1.])
    """
    found: HostArray = np.quantile(reaches, 0.5, axis=0, method="higher")
    return found
