"""Numerical derivatives by one array, element by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import Array

FINER = 1e-2  # kinks are sought with a step smaller by this factor, where curvature vanishes
LOST = 1e-3  # if rounding exceeds this share of a gradient, nothing can be compared
ROUNDING = 4 * np.finfo(np.float64).eps  # relative rounding error of one value in a forward pass
# Irrational ratios: otherwise differences of a few units in the last place agree by chance.
PARTS = (1.0, 2 ** (-1 / 6), 2 ** (-1 / 3))
MOVES = 48  # random moves of all other elements, to find the other slopes of a kink
GROWTH = 8.0  # factor between steps, where rounding hides the difference

Place = tuple[Any, ...] | Array  # index of one element, or a mask of several


@dataclass
class Slopes:
    """Differences of a scalar, which is a sum over outputs, by the elements of one array.

    Attributes:
        values: the array, changed and restored in place.
        output: computes the output from `values`.
        change: takes two outputs; returns the change of each element's part of the scalar, and the
            size of the numbers behind it, whose rounding is not an error of backward.
        farthest: the largest distance that a value is moved.
    """

    values: Array
    output: Callable[[], Array]
    change: Callable[[Array, Array], tuple[Array, float]]
    farthest: float = 1.0

    def parts(self, i: Place, down: float, up: float) -> tuple[Array, float]:
        """The slope between ``values[i] - down`` and ``values[i] + up``, for each output.

        Also return the error of their sum that comes from the rounding of the outputs.
        """
        values = self.values
        kept = values[i].copy()
        least = 4 * np.spacing(abs(kept).max())  # smaller steps would be rounded away
        values[i] = kept + (up and max(up, least))
        upper, plus = values[i], self.output()
        values[i] = kept - (down and max(down, least))
        lower, minus = values[i], self.output()
        values[i] = kept
        difference, size = self.change(plus, minus)
        width = float(np.mean(upper - lower))  # not up + down: kept + up is rounded
        return difference / width, ROUNDING * size / width

    def between(self, i: Place, down: float, up: float) -> tuple[float, float]:
        """Return the sum of `parts` and its rounding error."""
        parts, noise = self.parts(i, down, up)
        return float(parts.sum()), noise

    def measured(self, i: Place, h: float) -> tuple[float, float]:
        """Return the slope for steps near `h` and its error, estimated from how the slopes differ.

        A network can magnify rounding inside it, so the rounding of the outputs is not enough.
        """
        found = [self.between(i, part * h, part * h) for part in PARTS]
        slopes, noises = zip(*found, strict=True)
        # A term that is quadratic in the step changes by 37%.
        return slopes[0], 3 * (max(slopes) - min(slopes)) + max(noises)

    def grown(
        self, i: Place, h: float, enough: float, farthest: float | None = None
    ) -> tuple[float, float, float]:
        """Return the best slope of ever larger steps, its error and its step.

        This is for elements where rounding hides the difference. Twice the step halves the rounding
        error, until curvature matters. The steps end when the error is at most `enough`, when it
        grows, or at `farthest`.
        """
        best, step, error = (np.nan, np.inf, h), h, 0.0
        farthest = self.farthest if farthest is None else farthest
        with np.errstate(all="ignore"):
            while step <= farthest:
                try:
                    slope, seen = self.measured(i, step)
                except ValueError:  # nan or inf at this distance
                    break
                error = max(error / GROWTH, seen)  # do not trust slopes that agree by chance
                if error < best[1]:
                    best = slope, error, step
                if error <= enough or not error <= 100 * best[1]:
                    break
                step *= GROWTH
        return best

    def past_a_bend(
        self, i: Place, h: float, analytic: float, numeric: float, size: float
    ) -> float | None:
        """Return a slope by a finer step that agrees with backward, or None.

        A kink or bend inside the step, but not at the element's value, spoils the difference and
        not the gradient. Then the finer slope differs from the coarse one by nearly as much as
        backward does. With a wrong backward of a smooth function, no step agrees.
        """
        for part in (0.1**k for k in range(1, 10)):
            finer, noise = self.measured(i, part * h)
            moved = abs(finer - numeric) > 0.9 * abs(analytic - numeric)
            by_chance = noise > 0.1 * abs(analytic - numeric)
            if moved and not by_chance and abs(analytic - finer) <= 1e-4 * size + noise:
                return finer
        return None

    def kink(self, i: Place, h: float, analytic: float, size: float) -> tuple[bool, bool]:
        """Whether the slopes on both sides of an element differ; whether backward's is possible.

        Each output may have its own kink there, and backward may take either side of it. So the
        slopes are compared for each output, not for their sum. A kink can have more than two sides.
        (Take the median of three equal values: moving only one of them changes nothing.) So all
        values are moved a little at random until a slope like backward's is found.
        """
        (left, left_noise), (right, right_noise) = self.parts(i, h, 0.0), self.parts(i, 0.0, h)
        slack = 1e-3 * size + left_noise + right_noise
        low, high = np.minimum(left, right), np.maximum(left, right)
        rng = np.random.default_rng(0)
        for tried in range(MOVES):
            differ = bool((high - low).sum() > slack)
            plausible = bool(low.sum() - slack <= analytic <= high.sum() + slack)
            if plausible or (tried >= MOVES // 4 and not differ):
                break
            kept = self.values.copy()
            self.values += 0.1 * h * rng.standard_normal(self.values.shape)
            beside, noise = self.parts(i, 0.01 * h, 0.01 * h)
            self.values[...] = kept
            slack = max(slack, 1e-3 * size + 2 * noise)
            low, high = np.minimum(low, beside), np.maximum(high, beside)
        return differ, plausible
