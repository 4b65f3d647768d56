"""Compare the gradient of one array by backward with numerical differentiation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minibnn.backend import Array
from minibnn.gradcheck.diagnosis import likely_cause
from minibnn.gradcheck.report import GradientResult
from minibnn.gradcheck.slopes import FINER, LOST, Slopes

STEP = 1e-5  # of the central differences, in units of the array's standard deviation
FAR = 1e100  # the largest distance for a value that nothing seems to depend on
LOOKED_AT = 16  # how many small gradients are compared again


@dataclass
class Comparison:
    """The gradients of one array by backward and by differences.

    Attributes:
        name: the array's name.
        analytic: the gradient by backward.
        numeric: the gradient by central differences; nan where it was not computed.
        left_out: a mask of the elements for which the differences are unusable.
        kinks: a mask of the elements for which the slopes on the two sides differ.
        errors: relative errors; 0 where nothing was compared.
        noise: the error of each slope that comes from the rounding of the outputs.
        floor: a gradient below it counts as zero.
        cause: the cause of wrong gradients, if the comparison knows it.
    """

    name: str
    analytic: Array
    numeric: Array
    left_out: Array
    kinks: Array
    errors: Array
    noise: Array
    floor: float
    cause: str = ""

    @property
    def error(self) -> float:
        """The worst relative error."""
        return float(self.errors.max(initial=0.0))

    def result(self, tolerance: float, dy: Array, others_ok: bool) -> GradientResult:
        """Return the comparison as a line of the report."""
        checked = ~np.isnan(self.numeric) & ~self.left_out
        place = int(self.errors.argmax() if self.error > 0 else checked.argmax())
        worst = np.unravel_index(place, self.errors.shape)
        ok = self.error <= tolerance and bool(checked.any())
        cause = self.cause
        if not checked.any():
            cause = (
                "nothing was compared: every element is on a kink or lost in rounding; "
                "choose another x, or other weights"
            )
        elif not ok and not cause:
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

    def unclear(self, tolerance: float) -> Array:
        """Return the flat indices of the elements that are on a kink or wrong."""
        return np.flatnonzero(self.kinks | (self.errors > tolerance))

    def take(self, other: Comparison, places: Array) -> None:
        """Take over the results that another comparison has at these positions."""
        found = np.zeros(self.errors.size, bool)
        found[places] = True
        found = found.reshape(self.errors.shape) & ~np.isnan(other.numeric) & ~other.left_out
        self.analytic = np.where(found, other.analytic, self.analytic)
        self.numeric = np.where(found, other.numeric, self.numeric)
        self.errors = np.where(found, other.errors, self.errors)
        self.left_out = self.left_out & ~found

    def forgive(self, rounding: float, tolerance: float) -> None:
        """Accept differences that rounding explains, up to a thousandth of the gradient."""
        size = np.fmax(np.fmax(abs(self.analytic), abs(self.numeric)), self.floor)
        with np.errstate(invalid="ignore"):
            within = abs(self.analytic - self.numeric) <= np.minimum(32 * rounding, LOST * size)
        self.errors[within] = np.fmin(self.errors[within], tolerance)

    def strays(self, checked: Array, gradient: Array, way: str, tolerance: float) -> None:
        """Record where a gradient differs from the one that was checked."""
        size = np.fmax(np.fmax(abs(checked), abs(gradient)), self.floor)
        difference = abs(gradient - checked)
        astray = ~(difference <= tolerance * size + self.noise.max())
        if not astray.any():
            return
        errors = np.where(np.isfinite(difference), difference, np.inf)
        errors = np.divide(errors, size, out=np.full(size.shape, np.inf), where=size > 0)
        missing = np.isnan(gradient[astray]).any()
        self.cause = f"{way} backward " + (
            "does not set this gradient, or adds to it: it has to overwrite it"
            if missing
            else "gives another gradient"
        )
        self.numeric = np.where(astray, checked, self.numeric)
        self.analytic, self.left_out = gradient, self.left_out & ~astray
        self.errors = np.where(astray, errors, self.errors)


def compare(
    name: str,
    slopes: Slopes,
    analytic: Array,
    dy: Array,
    places: Array,
    tolerance: float,
    *,
    ties: bool = False,
) -> Comparison:
    """Compare backward's gradient with numerical derivatives at the given positions.

    Args:
        name: the array's name.
        slopes: computes the numerical derivatives.
        analytic: its gradient by backward, in the array's shape.
        dy: the gradient that backward was given; it sets the scale of what counts as zero.
        places: flat indices.
        tolerance: the largest relative error that passes. A larger one passes only if the slope
            jumps (a kink) or changes fast nearby.
        ties: whether values that are equal, as under a maximum, are checked together as well.
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
    # Below the floor, a gradient counts as zero: before batch norm, a bias has only rounding.
    gain = min(1.0, float(slopes.output().std()) / spread)  # small if it scales down
    floor = max(scale / 100, 1e-4 * gain * abs(dy).max(initial=0.0))
    size = np.fmax(np.fmax(abs(analytic), abs(numeric)), floor)
    difference = abs(analytic - numeric)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: both gradients are exactly zero
        errors = difference / size
    within_rounding = difference <= tolerance * size + noise
    errors[within_rounding] = np.fmin(errors[within_rounding], tolerance)
    errors[(size == 0) | ~checked] = 0.0
    errors[~np.isfinite(analytic)] = np.inf

    c = Comparison(
        name, analytic, numeric, np.zeros(values.shape, bool), np.zeros(values.shape, bool),
        errors, noise, floor,
    )  # fmt: skip
    again = ((noise > LOST * size) | (errors > tolerance)) & checked & np.isfinite(errors)
    again &= size > 0  # else the output is constant, and so far both gradients are zero
    for i in zip(*np.nonzero(again), strict=True):
        _look_again(c, slopes, i, h, size[i], tolerance)
    _look_at_small_ones(c, slopes, h, np.where(again, 0.0, difference), tolerance)
    if ties:
        _check_ties(c, slopes, FINER * h)
    errors[c.left_out] = 0.0
    return c


def _look_again(
    c: Comparison, slopes: Slopes, i: tuple[Array, ...], h: float, size: float, tolerance: float
) -> None:
    """Find out whether rounding, a bend or a kink explains a difference."""
    a = float(c.analytic[i])
    with np.errstate(all="ignore"):
        error, finer_error = (slopes.measured(i, part * h)[1] for part in (1.0, FINER))
    step = FINER * h
    if finer_error >= error > 0.01 * tolerance * size:  # a finer step is worse: rounding
        start, enough = h * max(1.0, float(c.noise[i]) / (LOST * size)), 0.1 * tolerance * size
        # If nothing depends on it, as with Blocked feedback, try any distance.
        slope, error, step = slopes.grown(i, start, enough, None if a else FAR)
        if not error <= LOST * size:
            c.left_out[i] = True
            return
        c.numeric[i] = slope
        c.errors[i] = abs(a - slope) / max(abs(a), abs(slope), c.floor)
        if abs(a - slope) <= tolerance * size + error:
            c.errors[i] = min(c.errors[i], tolerance)
            return
    finer = slopes.past_a_bend(i, h, a, float(c.numeric[i]), size)
    if finer is not None:
        c.numeric[i], c.errors[i] = finer, min(abs(a - finer) / size, tolerance)
        return
    own = max(abs(a), abs(float(c.numeric[i])))  # a small gradient has a small kink
    for each in (step, h):  # rounding may hide the kink of a small gradient from the finer one
        c.kinks[i], plausible = slopes.kink(i, each, a, own)
        if c.kinks[i] or not plausible:
            break
    c.left_out[i] = c.kinks[i] and plausible


def _look_at_small_ones(
    c: Comparison, slopes: Slopes, h: float, difference: Array, tolerance: float
) -> None:
    """Compare gradients that are tiny relative to rounding, or to the incoming gradient.

    With inputs of 1e-8, all gradients of a weight are that small, including wrong ones. Larger
    steps reveal them, unless they are only rounding.
    """
    own = np.fmax(abs(c.analytic), abs(c.numeric))
    unsure = (difference > tolerance * own) & (c.errors <= tolerance) & ~c.left_out
    places = np.flatnonzero(unsure & (c.analytic != 0))
    for place in places[np.argsort(-abs(c.analytic.ravel()[places]))][:LOOKED_AT]:
        i = np.unravel_index(place, own.shape)
        a = float(c.analytic[i])
        slope, error, step = slopes.grown(
            i, h * max(1.0, float(c.noise[i]) / (LOST * abs(a))), 0.1 * LOST * abs(a)
        )
        size = max(abs(a), abs(slope))
        if error <= LOST * abs(slope) and abs(a - slope) > LOST * size:
            kink, plausible = slopes.kink(i, step, a, size)
            c.numeric[i], c.kinks[i], c.left_out[i] = slope, kink, plausible
            c.errors[i] = abs(a - slope) / size


def _check_ties(c: Comparison, slopes: Slopes, h: float) -> None:
    """Move all elements on a kink together: equal values stay equal, so a maximum has no kink.

    This catches a backward that gives the whole gradient to each of several equal maxima. For each
    of them alone, that gradient is one that the kink may have.
    """
    at = c.kinks & c.left_out
    if not at.any():
        return
    together, size = float(c.analytic[at].sum()), float(abs(c.analytic[at]).sum())
    kink, plausible = slopes.kink(at, h, together, size)
    slope, _ = slopes.between(at, h, h)
    if not kink and not plausible:
        c.left_out &= ~at
        c.errors[at] = abs(together - slope) / max(size, abs(slope))
        c.cause = "equal values get the gradient of one each; together they are to get it once"
