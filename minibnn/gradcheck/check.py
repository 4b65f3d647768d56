"""Gradient checks, also for layers whose backward is not a derivative.

A straight-through backward is no derivative of the sign; it is the derivative of a surrogate.
So each function is *anchored* at the point x0 where the check takes place: while the check
perturbs inputs and weights, it computes ``surrogate(x) + (forward(x0) - surrogate(x0))``. At x0
that has the true, binary value, and around it the surrogate's slope, so that central differences
in float64 apply to a whole binarised network. A layer whose feedback is not the transpose is
anchored alike: ``x W`` becomes ``x0 W + x B - x0 B``, which has the same value at x0 and
whose derivative with respect to x runs through the feedback weights B. So is direct feedback:
each block stays at the input h0 it met, and its output h adds ``(h - h0) B`` to the network's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np

from minibnn.backend import CPU, Array, backend_of
from minibnn.checks import generator, integer, number, require
from minibnn.draws import Draws
from minibnn.functions import Function
from minibnn.gradcheck.anchors import Anchor, anchor
from minibnn.gradcheck.compare import Comparison, Slopes, compare
from minibnn.gradcheck.report import GradientReport, GradientResult
from minibnn.layers import Activation, Layer
from minibnn.losses import Loss


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
    at them. If not, each parameter gets standard normal values, which reach beyond the usual
    clips, so that is the sharper check of code. So is a batch of several samples, with batch norm
    at least four: with one, a sum and a mean are the same.

    Args:
        layer: what to check; a `Function` is wrapped in an `Activation`.
        x: a batch of inputs; integers (pixels) are not differentiated, only the parameters are.
        loss: check the gradient of this loss of the output: of the loss by the output
            (``"logits"`` in the report), and of the network given that. Without it the output
            meets a random cotangent (never all ones, which hides many mistakes).
        labels: for the loss.
        rng: draws the cotangent, missing values, and which elements to check.
        tolerance: the largest relative error that passes; see `GradientResult.error`.
        max_elements: arrays larger than this are checked at so many random places.

    Returns:
        A report that is true if all is well and prints as a table. For a wrong gradient it
        names the array, the worst place, both values and, where it recognises it, the mistake.
        In a test write ``assert report, str(report)``.

    Raises:
        ValueError: for a forward or backward that breaks a layer's rules so that there is nothing
            to compare: it changes its arguments or the weights, replaces a ``grad``, returns
            another shape than x's, gives nan.

    >>> import numpy as np
    >>> from minibnn import Dense, SignSTE
    >>> x = np.random.default_rng(0).standard_normal((5, 4))
    >>> bool(check_gradients(Dense(4, 3, weight_quantizer=SignSTE(clip=1.0)), x))
    True
    """
    if (loss is None) != (labels is None):
        raise TypeError("check_gradients: expected loss and labels together, got one of them")
    max_elements = integer("check_gradients", "max_elements", max_elements, least=1)
    tolerance = number("check_gradients", "tolerance", tolerance)
    # A stream of its own, not the one that x may have been drawn from.
    rng = generator("check_gradients", rng).spawn(1)[0]
    if isinstance(layer, Function):
        layer = Activation(layer)
    if isinstance(layer, type) and issubclass(layer, Function):
        require("check_gradients", "layer", layer, Function)  # it says how to make an object
    layer = require("check_gradients", "layer", layer, Layer)
    x = np.array(backend_of(x).to_host(x))
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"check_gradients: expected a batch x, got an array of shape {x.shape}")
    with_x = x.dtype.kind == "f"
    if with_x:
        x = x.astype(np.float64)
    title = str(layer)
    layer, anchors = _ready(layer, rng)

    def output() -> Array:
        for held in anchors:
            held.restart()
        return _forward(layer, x)

    y = output()
    for held in anchors:
        held.freeze()
    if loss is None:
        dy = rng.standard_normal(y.shape)
        comparisons = []
    else:
        labels = backend_of(labels).to_host(labels)
        dy, comparison = _compare_loss(loss, y, labels, rng, tolerance, max_elements)
        comparisons = [comparison]
    gradients = _backward(layer, x, dy, with_x)
    if not np.allclose(output(), y, rtol=1e-9, atol=1e-9 * abs(y).max()):
        raise ValueError(
            f"check_gradients: {layer}: two forward passes differ; if it draws random numbers, "
            "draw them from an attribute that is a minibnn.Draws, which the check can hold still"
        )

    def change(plus: Array, minus: Array) -> tuple[float, float]:
        # The scalar is sum(y dy): with a loss, the chain rule's second half, dy being checked
        # above. Elementwise before summing, so that what did not change cancels exactly.
        changed = plus != minus
        if not changed.any():  # flat, or too small a change to show: then all of it is rounding
            changed[...] = True
        size = (abs(plus) + abs(minus)) * abs(dy)
        return float(((plus - minus) * dy).sum()), float(size[changed].sum())

    values = {name: p.data for name, p in layer.named_parameters()} | {"x": x}
    for name, gradient in gradients.items():
        slopes = Slopes(values[name], output, change)
        places = rng.permutation(gradient.size)[:max_elements]
        comparisons.append(compare(name, slopes, gradient, dy, places, tolerance))
    return GradientReport(title, tuple(_results(comparisons, tolerance, dy)))


def _ready(layer: Layer, rng: np.random.Generator) -> tuple[Layer, list[Anchor]]:
    """Return a copy of the layer that can be differentiated numerically: float64, anchored."""
    layer = copy.deepcopy(layer)
    layer.forget()
    if any(p.data is None for p in layer.parameters()):
        layer.initialize(rng, np.float64)
        for p in layer.parameters():
            p.data[...] = rng.standard_normal(p.shape)
    for draws in _streams(layer):
        if draws.seed is None:  # no parameters, so nothing above called initialize
            draws.initialize(rng)
    layer.to(CPU, np.float64)
    return layer, list(anchor(layer))


def _streams(layer: Layer) -> Iterator[Draws]:
    """What a layer, its functions and its children draw from."""
    for value in vars(layer).values():
        inside = vars(value).values() if isinstance(value, Function) else [value]
        yield from (v for v in inside if isinstance(v, Draws))
    for child in layer.children():
        yield from _streams(child)


def _forward(layer: Layer, x: Array) -> Array:
    """Run forward; a copy of the output, since it may be a view of x."""
    before = x.copy()
    y = np.array(layer.forward(x, train=True))
    if not np.array_equal(x, before, equal_nan=True):
        raise ValueError(f"check_gradients: {layer}: forward changed its input; work on a copy")
    if not np.isfinite(y).all():
        raise ValueError(
            f"check_gradients: {layer}: forward gives nan or inf for this x; choose another"
        )
    return y


def _backward(layer: Layer, x: Array, dy: Array, with_x: bool) -> dict[str, Array]:
    """Run backward; the gradients by name, "x" last.

    It starts from gradients full of nan, so that what it does not overwrite shows.
    """
    for p in layer.parameters():
        p.grad[...] = np.nan
    held = [(name, p, p.grad, p.data.copy()) for name, p in layer.named_parameters()]
    if {"x", "logits"} & {name for name, *_ in held}:
        raise ValueError(f"check_gradients: {layer}: rename the parameter; x and logits are taken")
    given = dy.copy()
    before = x.copy()
    dx = layer.backward(given, need_dx=with_x)
    gradients = {}
    for name, p, grad, value in held:
        if p.grad is not grad:
            raise ValueError(
                f"check_gradients: {layer}: backward replaced the array {name}.grad; write into "
                "it, since the optimiser holds it: parameter.grad[...] = gradient"
            )
        if not np.array_equal(p.data, value):
            raise ValueError(f"check_gradients: {layer}: backward changed {name}.data")
        gradients[name] = grad.copy()
    if not np.array_equal(given, dy) or not np.array_equal(x, before):
        raise ValueError(f"check_gradients: {layer}: backward changed dy or x; work on a copy")
    if with_x:
        if getattr(dx, "shape", None) != x.shape:
            raise ValueError(
                f"check_gradients: {layer}: expected backward to return dx of shape {x.shape}, "
                f"got {getattr(dx, 'shape', dx)}"
            )
        gradients["x"] = dx
    return gradients


def _compare_loss(
    loss: Loss, y: Array, labels: Array, rng: np.random.Generator, tolerance: float, most: int
) -> tuple[Array, Comparison]:
    """Check the loss's own gradient, of the network's output; return it and the comparison."""
    loss = copy.copy(loss)
    before = y.copy()
    loss.forward(y, labels)
    dy = np.array(loss.backward())  # a copy: the loss may write the next one into the same array
    if dy.shape != y.shape:
        raise ValueError(
            f"check_gradients: {loss}: expected backward to return the outputs' shape {y.shape}, "
            f"got {dy.shape}"
        )
    if not np.array_equal(y, before):
        raise ValueError(f"check_gradients: {loss}: the loss changed the outputs; work on a copy")

    def change(plus: Array, minus: Array) -> tuple[float, float]:
        return float(plus - minus), float(abs(plus) + abs(minus))

    y = y.copy()
    slopes = Slopes(y, lambda: loss.forward(y, labels), change)
    return dy, compare("logits", slopes, dy, dy, rng.permutation(y.size)[:most], tolerance)


def _results(
    comparisons: list[Comparison], tolerance: float, dy: Array
) -> Iterator[GradientResult]:
    for c in comparisons:
        others = [o for o in comparisons if o is not c and o.name != "logits"]
        others_ok = bool(others) and all(o.error <= tolerance for o in others)
        yield c.result(tolerance, dy, others_ok)
