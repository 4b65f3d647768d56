"""Numerical differentiation of one array, place by place, beside what backward says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibnn.backend import Array
from minibnn.gradcheck.diagnosis import likely_cause
from minibnn.gradcheck.report import GradientResult

STEP = 1e-5  # of the central differences, in units of the array's spread
FINER = 1e-2  # kinks are looked for with a step this much smaller, where curvature is gone
LOST = 1e-3  # rounding that is more than this part of a gradient leaves nothing to compare
ROUNDING = 4 * np.finfo(np.float64).eps  # of one value in a forward pass, relative


@dataclass
class Comparison:
    """Both gradients of one array; `numeric` is nan where it was not computed."""

    name: str
    analytic: Array
    numeric: Array
    left_out: Array
    errors: Array

    @property
    def error(self) -> float:
        """The worst relative error."""
        return float(self.errors.max(initial=0.0))

    def result(self, tolerance: float, dy: Array, others_ok: bool) -> GradientResult:
        """The comparison in the words of a report."""
        checked = ~np.isnan(self.numeric) & ~self.left_out
        place = int(self.errors.argmax() if self.error > 0 else checked.argmax())
        worst = np.unravel_index(place, self.errors.shape)
        ok = self.error <= tolerance and bool(checked.any())
        cause = ""
        if not checked.any():
            cause = (
                "nothing was compared: every place is on a kink or lost in rounding; "
                "choose another x, or other weights"
            )
        elif not ok:
            cause = likely_cause(self.name, self.analytic, self.numeric, dy, others_ok)
        return GradientResult(
            name=self.name,
            checked=int(checked.sum()),
            size=self.errors.size,
            index=tuple(int(i) for i in worst),
            analytic=float(self.analytic[worst]),
            numeric=float(self.numeric[worst]),
            error=self.error,
            left_out=int(self.left_out.sum()),
            ok=ok,
            cause=cause,
        )


@dataclass
class Slopes:
    """Differences of one array, for one scalar of interest.

    Attributes:
        values: the array, changed and restored in place.
        output: computes the output from `values`.
        change: how much the scalar differs between two outputs, and the size of the numbers that
            it was computed from, whose rounding is no error of backward's.
    """

    values: Array
    output: Callable[[], Array]
    change: Callable[[Array, Array], tuple[float, float]]

    def between(self, i: tuple[Array, ...], down: float, up: float) -> tuple[float, float]:
        """The slope between ``values[i] - down`` and ``values[i] + up``, and its rounding error."""
        values = self.values
        kept = values[i]
        values[i] = kept + up
        upper, plus = values[i], self.output()
        values[i] = kept - down
        lower, minus = values[i], self.output()
        values[i] = kept
        difference, size = self.change(plus, minus)
        width = upper - lower  # not up + down: kept + up is rounded
        return difference / width, ROUNDING * size / width

    def past_a_bend(
        self, i: tuple[Array, ...], h: float, analytic: float, numeric: float, size: float
    ) -> float | None:
        """A slope by a finer step that agrees with backward, if the coarse one was the culprit.

        A kink or a bend that lies within the step, not at the place itself, spoils the difference
        and not the gradient. The coarse slope is the culprit if the finer one differs from it by
        nearly all that backward does; a smooth function's mistake stays one at every step.
        """
        for part in (1e-1, 1e-2, 1e-3):
            finer, noise = self.between(i, part * h, part * h)
            moved = abs(finer - numeric) > 0.9 * abs(analytic - numeric)
            if moved and abs(analytic - finer) <= 1e-4 * size + noise:
                return finer
        return None

    def has_kink(self, i: tuple[Array, ...], h: float, analytic: float, size: float) -> bool:
        """Whether the slopes on the two sides differ, with backward's between.

        The step is so fine that mere curvature leaves no difference.
        """
        left, left_noise = self.between(i, FINER * h, 0.0)
        right, right_noise = self.between(i, 0.0, FINER * h)
        slack = 1e-3 * size + left_noise + right_noise
        between = min(left, right) - slack <= analytic <= max(left, right) + slack
        return bool(abs(left - right) > slack and between)


def compare(
    name: str, slopes: Slopes, analytic: Array, dy: Array, places: Array, tolerance: float
) -> Comparison:
    """Differentiate numerically at the given places and compare.

    Args:
        name: of the array.
        slopes: its numerical derivatives.
        analytic: its gradient by backward, in the array's shape.
        dy: the gradient that backward was given; it sets the scale of what counts as zero.
        places: flat indices.
        tolerance: relative errors above it are looked at twice: does a bend or a kink lie near?
    """
    values = slopes.values
    spread = float(values.std()) or float(abs(values).max()) or 1.0
    h = STEP * spread
    numeric, noise = np.full(values.shape, np.nan), np.zeros(values.shape)
    for place in places:
        i = np.unravel_index(place, values.shape)
        numeric[i], noise[i] = slopes.between(i, h, h)

    checked = ~np.isnan(numeric)
    scale = max(abs(numeric[checked]).max(initial=0.0), abs(analytic[checked]).max(initial=0.0))
    # Below the floor a gradient counts as zero: the bias before a batch norm has only rounding.
    gain = min(1.0, float(slopes.output().std()) / spread)  # a layer that shrinks: small gradients
    floor = max(scale / 100, 1e-4 * gain * abs(dy).max(initial=0.0))
    size = np.fmax(np.fmax(abs(analytic), abs(numeric)), floor)
    difference = abs(analytic - numeric)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: both gradients are exactly zero
        errors = difference / size
    within_rounding = difference <= tolerance * size + noise
    errors[within_rounding] = np.fmin(errors[within_rounding], tolerance)
    errors[(size == 0) | ~checked] = 0.0
    errors[~np.isfinite(analytic)] = np.inf

    left_out = checked & (noise > LOST * size)
    for i in zip(*np.nonzero(np.isfinite(errors) & (errors > tolerance) & ~left_out), strict=True):
        finer = slopes.past_a_bend(i, h, analytic[i], float(numeric[i]), size[i])
        if finer is not None:
            numeric[i], errors[i] = finer, min(abs(analytic[i] - finer) / size[i], tolerance)
        else:
            left_out[i] = slopes.has_kink(i, h, analytic[i], size[i])
    errors[left_out] = 0.0
    return Comparison(name, analytic, numeric, left_out, errors)
