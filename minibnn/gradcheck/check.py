"""Gradient checks, also for layers whose backward is not a derivative.

A straight-through backward is not the derivative of the sign, but of a surrogate.
So each function is *anchored* at the point x0 where the check takes place: while the check
perturbs inputs and weights, it computes ``surrogate(x) + (forward(x0) - surrogate(x0))``. At x0
this has the true, binary value, and around x0 it has the surrogate's slope. So central differences
in float64 apply to a whole binarised network. A layer with another feedback than the transpose is
anchored likewise: ``x W`` becomes ``x0 W + x B - x0 B``. This has the same value at x0, and its
derivative with respect to x runs through the feedback weights B. Direct feedback is anchored too:
each block keeps the input that it had when the check began, and its output h, which was h0 then,
adds ``(h - h0) B`` to the network's output.

Sums of signs are often equal. A maximum of equal sums has a kink (its slope jumps there), and
numerical slopes say little. Then two checks take the place of one: each layer by itself with the
input it gets (`leaves`), and the network with all function values moved a little, so that none are
equal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np

from minibnn.backend import CPU, Array, backend_of
from minibnn.checks import generator, integer, number, require
from minibnn.functions import Function
from minibnn.gradcheck.compare import Comparison, compare
from minibnn.gradcheck.leaves import wrong_leaves
from minibnn.gradcheck.no_draws import no_draws, watched_copy
from minibnn.gradcheck.passes import after_other_batches, other_ways, streams
from minibnn.gradcheck.point import Point
from minibnn.gradcheck.report import GradientReport, GradientResult
from minibnn.gradcheck.slopes import Slopes
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
    training mode, after two other batches; the layer itself does not change. The gradients have to
    be the same in three other cases: with ``need_dx=False`` (as `fit` calls the first layer), after
    an evaluation between forward and backward, and for a dy that is not contiguous.

    An initialised layer is checked at its own values. Otherwise each parameter gets standard normal
    values. These reach beyond the usual clips, so the check is stricter. It is also stricter with
    several samples (with batch norm, at least four): for one sample, a sum and a mean are the same.

    Args:
        layer: what to check; a `Function` is wrapped in an `Activation`.
        x: a batch of inputs; integers (pixels) are not differentiated, only the parameters are.
        loss: a loss of the output. Then the check covers its gradient with respect to the output
            (``"logits"`` in the report), and the network's backward from there. Without a loss,
            backward starts from a random dy (never all ones, which hides many mistakes).
        labels: for the loss.
        rng: draws this dy, missing values, and which elements to check.
        tolerance: the largest relative error that passes; see `GradientResult.error`.
        max_elements: in larger arrays, this many random elements are checked.

    Returns:
        A report that is true if all is well and prints as a table. For a wrong gradient it
        names the array, the worst element, both values and, if it recognises it, the mistake.
        In a test write ``assert report, str(report)``.

    Raises:
        ValueError: for a forward or backward that breaks a layer's rules: it changes its arguments
            or the weights, replaces a ``grad``, returns another shape than x's, gives nan; for a
            backward that draws random numbers, from whatever generator; for a function that has two
            values everywhere but at 0 (see `Function`).

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
    # Not the same stream that x may have been drawn from.
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
    layer = after_other_batches(_ready(layer, rng), x)
    point = Point(layer, x)
    if loss is None:
        dy, comparisons = rng.standard_normal(point.y.shape), []
    else:
        labels = backend_of(labels).to_host(labels)
        dy, comparison = _compare_loss(loss, point.y, labels, rng, tolerance, max_elements)
        comparisons = [comparison]
    gradients = point.backward(dy, with_x)
    point.require_repeatable()
    leaf = next(layer.children(), None) is None
    places = {name: rng.permutation(g.size)[:max_elements] for name, g in gradients.items()}
    found = point.compare(places, tolerance, ties=leaf)
    if with_x and any(c.error > tolerance for c in found.values()):
        for name, rounding in point.rounding(with_x).items():
            found[name].forgive(rounding, tolerance)
    unclear = {n: c.unclear(tolerance) for n, c in found.items() if c.unclear(tolerance).size}
    if unclear:
        wrong = [] if leaf else wrong_leaves(layer, x, dy, with_x, tolerance, max_elements, rng)
        if all(c.error <= tolerance for c in found.values()):
            comparisons += wrong
        if not wrong:
            _look_beside(found, unclear, layer, x, dy, with_x, tolerance, rng, leaf=leaf)
    if all(c.error <= tolerance for c in found.values()):
        _compare_ways(found, gradients, other_ways(layer, x, dy, with_x), tolerance)
    results = _results([*comparisons, *found.values()], tolerance, dy)
    return GradientReport(title, tuple(results))


def _look_beside(
    found: dict[str, Comparison],
    unclear: dict[str, Array],
    layer: Layer,
    x: Array,
    dy: Array,
    with_x: bool,
    tolerance: float,
    rng: np.random.Generator,
    *,
    leaf: bool,
) -> None:
    """Compare again what is on a kink, with the values of all functions moved a little.

    Sums of signs are whole numbers, and equal ones are common: at a maximum of them, or at a clip,
    nearly every weight is on several kinks at once, of which backward may take any side. Next to
    that point there are none. A layer without others in it is not excused by what is right there.
    """
    try:
        with np.errstate(all="ignore"):
            beside = Point(layer, x, rng)
            beside.backward(dy, with_x)
            there = beside.compare(unclear, tolerance)
    except Exception:  # nan, or whatever a layer does with values that are no signs
        return
    for name, places in unclear.items():
        c = found[name]
        c.take(there[name], places[c.left_out.ravel()[places]] if leaf else places)


def _compare_ways(
    found: dict[str, Comparison],
    gradients: dict[str, Array],
    ways: dict[str, dict[str, Array]],
    tolerance: float,
) -> None:
    """Compare the gradients of other ways to call backward with those already checked."""
    for way, others in ways.items():
        for name, gradient in others.items():
            if found[name].error <= tolerance:
                found[name].strays(gradients[name], gradient, way, tolerance)


def _ready(layer: Layer, rng: np.random.Generator) -> Layer:
    """Return a copy of the layer that can be differentiated numerically: on the CPU, in float64."""
    layer = watched_copy(layer)
    layer.forget()
    if {"x", "logits"} & {name for name, _ in layer.named_parameters()}:
        raise ValueError(f"check_gradients: {layer}: rename the parameter; x and logits are taken")
    if any(p.data is None for p in layer.parameters()):
        layer.initialize(rng, np.float64)
        for p in layer.parameters():
            p.data[...] = rng.standard_normal(p.shape)
    for stream in streams(layer):
        if stream.seed is None:  # no parameters, so nothing above called initialize
            stream.initialize(rng)
    return layer.to(CPU, np.float64)


def _compare_loss(
    loss: Loss, y: Array, labels: Array, rng: np.random.Generator, tolerance: float, most: int
) -> tuple[Array, Comparison]:
    """Check the gradient of the loss by the network's output; return it and the comparison."""
    loss = copy.copy(loss)
    before = y.copy()
    loss.forward(y, labels)
    with no_draws(loss):
        dy = np.array(loss.backward())  # a copy: the loss may use the array again
    if dy.shape != y.shape:
        raise ValueError(
            f"check_gradients: {loss}: expected backward to return the outputs' shape {y.shape}, "
            f"got {dy.shape}"
        )
    if not np.array_equal(y, before):
        raise ValueError(f"check_gradients: {loss}: the loss changed the outputs; work on a copy")

    def change(plus: Array, minus: Array) -> tuple[Array, float]:
        return plus - minus, float(abs(plus) + abs(minus))

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
