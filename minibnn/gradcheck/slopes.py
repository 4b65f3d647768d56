"""Numerical derivatives of one array, place by place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import Array

FINER = 1e-2  # kinks are looked for with a step this much smaller, where curvature is gone
LOST = 1e-3  # rounding that is more than this part of a gradient leaves nothing to compare
ROUNDING = 4 * np.finfo(np.float64).eps  # of one value in a forward pass, relative
# No ratios of whole numbers: else differences of a few units in the last place agree by chance.
PARTS = (1.0, 2 ** (-1 / 6), 2 ** (-1 / 3))
MOVES = 48  # of everything else, to see what other slopes a kink has
GROWTH = 8.0  # from one step to the next, where rounding drowns the difference

Place = tuple[Any, ...] | Array  # of one element, or a mask of several


@dataclass
class Slopes:
    """Differences of one array, for one scalar of interest, which is a sum over outputs.

    Attributes:
        values: the array, changed and restored in place.
        output: computes the output from `values`.
        change: how much each output's part of the scalar differs between two outputs, and the size
            of the numbers that it was computed from, whose rounding is no error of backward's.
        farthest: how far a value is moved.
    """

    values: Array
    output: Callable[[], Array]
    change: Callable[[Array, Array], tuple[Array, float]]
    farthest: float = 1.0

    def parts(self, i: Place, down: float, up: float) -> tuple[Array, float]:
        """The slope between ``values[i] - down`` and ``values[i] + up``, for each output.

        With it the rounding error that the outputs' own rounding makes in their sum.
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
        """The sum of `parts`, and its rounding error."""
        parts, noise = self.parts(i, down, up)
        return float(parts.sum()), noise

    def measured(self, i: Place, h: float) -> tuple[float, float]:
        """The slope by steps near `h`, and its error, which is seen in how it depends on them.

        Rounding inside a network can be magnified, so that the outputs' own says too little.
        """
        found = [self.between(i, part * h, part * h) for part in PARTS]
        slopes, noises = zip(*found, strict=True)
        # What is quadratic in the step changes by 0.37 of itself.
        return slopes[0], 3 * (max(slopes) - min(slopes)) + max(noises)

    def grown(
        self, i: Place, h: float, enough: float, farthest: float | None = None
    ) -> tuple[float, float, float]:
        """The best slope by ever larger steps, its error, and its step.

        For where rounding drowns the difference: a step twice as large halves that error, until
        curvature shows. It ends when the error is small `enough`, or grows, or at `farthest`.
        """
        best, step, error = (np.nan, np.inf, h), h, 0.0
        farthest = self.farthest if farthest is None else farthest
        with np.errstate(all="ignore"):
            while step <= farthest:
                try:
                    slope, seen = self.measured(i, step)
                except ValueError:  # nan or inf, so far away
                    break
                error = max(error / GROWTH, seen)  # slopes that agree by chance do not count
                if error < best[1]:
                    best = slope, error, step
                if error <= enough or not error <= 100 * best[1]:
                    break
                step *= GROWTH
        return best

    def past_a_bend(
        self, i: Place, h: float, analytic: float, numeric: float, size: float
    ) -> float | None:
        """A slope by a finer step that agrees with backward, if the coarse one was the culprit.

        A kink or a bend that lies within the step, not at the place itself, spoils the difference
        and not the gradient. The coarse slope is the culprit if the finer one differs from it by
        nearly all that backward does; a smooth function's mistake stays one at every step.
        """
        for part in (0.1**k for k in range(1, 10)):
            finer, noise = self.measured(i, part * h)
            moved = abs(finer - numeric) > 0.9 * abs(analytic - numeric)
            by_chance = noise > 0.1 * abs(analytic - numeric)
            if moved and not by_chance and abs(analytic - finer) <= 1e-4 * size + noise:
                return finer
        return None

    def kink(self, i: Place, h: float, analytic: float, size: float) -> tuple[bool, bool]:
        """Whether the slopes around a place differ, and whether backward's can be one of a kink's.

        Each output may have a kink of its own there, at which backward may take any side. So the
        slopes are compared output by output, not in their sum. The two sides of the place are not
        all sides of a kink: of three equal values, moving one moves no median. So the others are
        moved a little as well, until a slope such as backward's is found.
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
