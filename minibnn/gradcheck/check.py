"""Gradient checks, also for layers whose backward is not a derivative.

A straight-through backward is no derivative of the sign; it is the derivative of a surrogate.
So each function is *anchored* at the point x0 where the check takes place: while the check
perturbs inputs and weights, it computes ``surrogate(x) + (forward(x0) - surrogate(x0))``. At x0
that has the true, binary value, and around it the surrogate's slope, so that central differences
in float64 apply to a whole binarised network. A layer whose feedback is not the transpose is
anchored alike: its product becomes ``x0 W + (x - x0) B``, which has the same value at x0 and
whose derivative with respect to x runs through the feedback weights B.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import CPU, Array, backend_of
from minibnn.feedback import Transpose
from minibnn.functions import Function
from minibnn.gradcheck.diagnosis import likely_cause
from minibnn.gradcheck.report import GradientReport, GradientResult
from minibnn.layers import Layer
from minibnn.losses import Loss

STEP = 1e-5  # of the central differences; truncation and rounding are both near 1e-10 there


def check_gradients(
    layer: Layer,
    x: Array,
    *,
    loss: Loss | None = None,
    labels: Array | None = None,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    max_elements: int = 1000,
) -> GradientReport:
    """Compare a layer's backward with central differences, element by element, in float64.

    The layer may be a whole network. A copy of it is checked, on the CPU in float64 and in
    training mode; the layer itself is not touched. A layer without values gets random ones.

    Args:
        layer: what to check.
        x: a batch of inputs; integers (pixels) are not differentiated, only the parameters are.
        loss: check the gradient of this loss of the output. Without it the output meets a
            random cotangent (never all ones, which hides many mistakes).
        labels: for the loss.
        rng: draws the cotangent, missing values, and which elements to check.
        tolerance: the largest relative error that passes; see `GradientResult.error`.
        max_elements: arrays larger than this are checked at so many random places.

    Returns:
        A report that is true if all is well and prints as a table. For a wrong gradient it
        names the array, the worst place, both values and, where it recognises it, the mistake.

    >>> import numpy as np
    >>> from minibnn import Dense, SignSTE
    >>> x = np.random.default_rng(0).standard_normal((5, 4))
    >>> bool(check_gradients(Dense(4, 3, weight_quantizer=SignSTE(clip=1.0)), x))
    True
    """
    if (loss is None) != (labels is None):
        raise TypeError("check_gradients: expected loss and labels together, got one of them")
    rng = np.random.default_rng(rng)
    title = repr(layer) if "\n" not in repr(layer) else type(layer).__name__
    layer = copy.deepcopy(layer)
    layer.forget()
    if any(p.data is None for p in layer.parameters()):
        layer.initialize(rng, np.float64)
    layer.to(CPU, np.float64)
    _anchor(layer)
    x = np.array(backend_of(x).to_host(x))
    with_x = x.dtype.kind == "f"
    if with_x:
        x = x.astype(np.float64)

    y = layer.forward(x, train=True)
    if loss is None:
        dy = rng.standard_normal(y.shape)

        def change(plus: Array, minus: Array) -> float:
            # Elementwise before summing: what did not change cancels exactly.
            return float(((plus - minus) * dy).sum())
    else:
        loss = copy.copy(loss)
        loss.forward(y, labels)
        dy = loss.backward()

        def change(plus: Array, minus: Array) -> float:
            return float(loss.forward(plus, labels) - loss.forward(minus, labels))

    dx = layer.backward(dy, need_dx=with_x)
    arrays = [(name, p.data, p.grad.copy()) for name, p in layer.named_parameters()]
    if with_x:
        arrays.append(("x", x, dx))

    def output() -> Array:
        return np.array(layer.forward(x, train=True))  # a copy: it may be a view of x

    def chosen(size: int) -> Array:
        return rng.permutation(size)[:max_elements]

    comparisons = [
        _compare(name, values, analytic, dy, output, change, chosen(values.size))
        for name, values, analytic in arrays
    ]
    results = []
    for c in comparisons:
        others_ok = all(o.error <= tolerance for o in comparisons if o is not c)
        results.append(_result(c, tolerance, dy, others_ok))
    return GradientReport(title, tuple(results))


class _Anchored(Function):
    """A function that remembers the first point it meets, and is smooth around it from then on."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.shift: Array = None

    def forward(self, x: Array) -> Array:
        if self.shift is None:
            self.shift = self.function.forward(x) - self.function.surrogate(x)
        return self.function.surrogate(x) + self.shift

    def backward(self, dy: Array, x: Array) -> Array:
        return self.function.backward(dy, x)


def _anchor(layer: Layer) -> None:
    """Replace every function of a layer and its children, and every product with feedback."""
    for name, value in vars(layer).items():
        if isinstance(value, Function):
            setattr(layer, name, _Anchored(value))
    if not isinstance(getattr(layer, "feedback", Transpose()), Transpose):
        layer.product = _anchored_product(layer)  # type: ignore[attr-defined]
    for child in layer.children():
        _anchor(child)


def _anchored_product(layer: Any) -> Callable[[Array, Array], Array]:
    product = layer.product
    x0: Array = None
    B: Array = None

    def anchored(x: Array, W: Array) -> Array:
        nonlocal x0, B
        if x0 is None:
            x0, B = x.copy(), layer.feedback.backward_weights(W)
        z = product(x0, W)
        return z if B is None else z + product(x - x0, B)

    return anchored


@dataclass
class _Comparison:
    """Both gradients of one array; `numeric` is nan where it was not computed."""

    name: str
    analytic: Array
    numeric: Array
    kinks: Array
    errors: Array

    @property
    def error(self) -> float:
        return float(self.errors.max(initial=0.0))


def _compare(
    name: str,
    values: Array,
    analytic: Array,
    dy: Array,
    output: Callable[[], Array],
    change: Callable[[Array, Array], float],
    places: Array,
) -> _Comparison:
    """Differentiate numerically at the given places (flat indices), on both sides of each."""
    if getattr(analytic, "shape", None) != values.shape:
        raise ValueError(
            f"check_gradients: expected a gradient of shape {values.shape} for {name}, "
            f"got {getattr(analytic, 'shape', None)}"
        )
    numeric, left, right = (np.full(values.shape, np.nan) for _ in range(3))
    base = output()
    for place in places:
        i = np.unravel_index(place, values.shape)
        kept = values[i]
        h = STEP * max(1.0, abs(kept))
        values[i] = kept + h
        plus = output()
        values[i] = kept - h
        minus = output()
        values[i] = kept
        numeric[i] = change(plus, minus) / (2 * h)
        left[i] = change(base, minus) / h
        right[i] = change(plus, base) / h

    scale = max(np.nanmax(abs(numeric), initial=0.0), np.nanmax(abs(analytic), initial=0.0))
    # Below the floor a gradient counts as zero: the bias before a batch norm has only rounding.
    floor = max(scale / 100, 1e-4 * abs(dy).max(initial=0.0))
    size = np.maximum(np.maximum(abs(analytic), abs(numeric)), floor)
    with np.errstate(invalid="ignore"):  # 0 / 0 where both gradients vanish
        errors = abs(analytic - numeric) / size
    errors[~np.isfinite(analytic)] = np.inf
    slack = 1e-3 * size  # one-sided differences are this much coarser
    kinks = (
        (abs(left - right) > slack)
        & (analytic >= np.minimum(left, right) - slack)
        & (analytic <= np.maximum(left, right) + slack)
    )
    errors[kinks | np.isnan(errors)] = 0.0
    return _Comparison(name, analytic, numeric, kinks, errors)


def _result(c: _Comparison, tolerance: float, dy: Array, others_ok: bool) -> GradientResult:
    checked = ~np.isnan(c.numeric)
    worst = np.unravel_index(int(c.errors.argmax()), c.errors.shape)
    if not c.error > 0:  # all alike: show a place that was compared
        worst = np.unravel_index(int((checked & ~c.kinks).argmax()), c.errors.shape)
    ok = c.error <= tolerance
    return GradientResult(
        name=c.name,
        checked=int(checked.sum()),
        size=c.errors.size,
        index=tuple(int(i) for i in worst),
        analytic=float(c.analytic[worst]),
        numeric=float(c.numeric[worst]),
        error=c.error,
        kinks=int(c.kinks.sum()),
        ok=ok,
        cause="" if ok else likely_cause(c.name, c.analytic, c.numeric, dy, others_ok),
    )
