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
from minibnn.layers import Activation, Layer
from minibnn.losses import Loss

STEP = 1e-5  # of the central differences; truncation and rounding are both near 1e-10 there


def check_gradients(
    layer: Layer | Function,
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
    training mode; the layer itself is not touched. If its values have been drawn, it is checked
    at them. If not, each parameter gets standard normal values, which reach beyond every clip, so
    that is the sharper check of code.

    Args:
        layer: what to check; a `Function` is wrapped in an `Activation`.
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
        In a test write ``assert report, str(report)``.

    Raises:
        ValueError: for a backward that returns another shape than x's, or a forward that
            changes its input.

    >>> import numpy as np
    >>> from minibnn import Dense, SignSTE
    >>> x = np.random.default_rng(0).standard_normal((5, 4))
    >>> bool(check_gradients(Dense(4, 3, weight_quantizer=SignSTE(clip=1.0)), x))
    True
    """
    if (loss is None) != (labels is None):
        raise TypeError("check_gradients: expected loss and labels together, got one of them")
    rng = np.random.default_rng(rng)
    if isinstance(layer, Function):
        layer = Activation(layer)
    title = str(layer)
    layer = _ready(layer, rng)
    x = np.array(backend_of(x).to_host(x))
    with_x = x.dtype.kind == "f"
    if with_x:
        x = x.astype(np.float64)
    before = x.copy()

    y = np.array(layer.forward(x, train=True))
    if not np.array_equal(x, before, equal_nan=True):
        raise ValueError(f"check_gradients: {title}: forward changed its input; work on a copy")
    dy, change = _cotangent(y, loss, labels, rng)
    dx = _backward(layer, dy, with_x)
    arrays = [(name, p.data, p.grad.copy()) for name, p in layer.named_parameters()]
    if with_x:
        arrays.append(("x", x, dx))

    def output() -> Array:
        return np.array(layer.forward(x, train=True))  # a copy: it may be a view of x

    comparisons = []
    for name, values, analytic in arrays:
        places = rng.permutation(values.size)[:max_elements]
        comparisons.append(_compare(name, values, analytic, dy, output, change, places))
    wrong = {c.name for c in comparisons if c.error > tolerance}
    with_parameters = len(comparisons) > with_x
    results = [
        _result(c, tolerance, dy, with_parameters and not wrong - {c.name}) for c in comparisons
    ]
    return GradientReport(title, tuple(results))


def _ready(layer: Layer, rng: np.random.Generator) -> Layer:
    """Return a copy of the layer that can be differentiated numerically: float64, anchored."""
    layer = copy.deepcopy(layer)
    layer.forget()
    if any(p.data is None for p in layer.parameters()):
        layer.initialize(rng, np.float64)
        for p in layer.parameters():
            p.data[...] = rng.standard_normal(p.shape)
    layer.to(CPU, np.float64)
    _anchor(layer)
    return layer


def _cotangent(
    y: Array, loss: Loss | None, labels: Array | None, rng: np.random.Generator
) -> tuple[Array, Callable[[Array, Array], float]]:
    """Return dy, and the function that says how much the scalar it belongs to changes."""
    if loss is None:
        dy = rng.standard_normal(y.shape)
        # Elementwise before summing: what did not change cancels exactly.
        return dy, lambda plus, minus: float(((plus - minus) * dy).sum())
    loss = copy.copy(loss)
    loss.forward(y, labels)
    dy = loss.backward()
    return dy, lambda plus, minus: float(loss.forward(plus, labels) - loss.forward(minus, labels))


def _backward(layer: Layer, dy: Array, with_x: bool) -> Array | None:
    """Run backward on gradients full of nan: what it does not overwrite, shows."""
    for p in layer.parameters():
        p.grad[...] = np.nan
    held = [(name, p, p.grad) for name, p in layer.named_parameters()]
    dx = layer.backward(dy, need_dx=with_x)
    for name, p, grad in held:
        if p.grad is not grad:
            raise ValueError(
                f"check_gradients: {layer}: backward replaced the array {name}.grad; write into "
                "it, since the optimiser holds it: parameter.grad[...] = gradient"
            )
    return dx


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
    checked = ~np.isnan(c.numeric) & ~c.kinks
    worst = np.unravel_index(int(c.errors.argmax()), c.errors.shape)
    if not c.error > 0:  # all alike: show a place that was compared
        worst = np.unravel_index(int(checked.argmax()), c.errors.shape)
    ok = c.error <= tolerance and bool(checked.any() or not c.errors.size)
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
