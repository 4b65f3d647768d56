"""Run forward and backward as training does, and check the rules for layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minibnn.backend import Array
from minibnn.functions import Function
from minibnn.gradcheck.no_draws import watched_copy
from minibnn.layers import Layer
from minibnn.random_stream import RandomStream


def forward(layer: Layer, x: Array) -> Array:
    """Run forward; return a copy of the output, since it may be a view of x."""
    before = x.copy()
    y = np.array(layer.forward(x, train=True))
    if not np.array_equal(x, before, equal_nan=True):
        raise ValueError(f"check_gradients: {layer}: forward changed its input; work on a copy")
    if not np.isfinite(y).all():
        raise ValueError(
            f"check_gradients: {layer}: forward gives nan or inf for this x; choose another"
        )
    return y


def require_same_weights(layer: Layer, after: list[Array]) -> None:
    """Raise ValueError unless a copy's weights after its forward pass (`after`) are the layer's."""
    for (name, p), w in zip(layer.named_parameters(), after, strict=True):
        if not np.array_equal(p.data, w, equal_nan=True):
            raise ValueError(
                f"check_gradients: {layer}: forward changed {name}.data; work on a copy"
            )


def backward(layer: Layer, x: Array, dy: Array, need_dx: bool) -> dict[str, Array]:
    """Run backward; return the gradients by name, "x" last.

    All gradients are nan before the pass, so missing values are detected.
    """
    for p in layer.parameters():
        p.grad[...] = np.nan
    held = [(name, p, p.grad, p.data.copy()) for name, p in layer.named_parameters()]
    given = dy.copy()
    before = x.copy()
    dx = layer.backward(dy, need_dx=need_dx)
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
    if need_dx:
        if getattr(dx, "shape", None) != x.shape:
            raise ValueError(
                f"check_gradients: {layer}: expected backward to return dx of shape {x.shape}, "
                f"got {getattr(dx, 'shape', dx)}"
            )
        gradients["x"] = np.array(dx)  # a copy: the layer may use the array again
    return gradients


def after_other_batches(layer: Layer, x: Array) -> Layer:
    """Return a copy that has trained on other batches, one of another size if the layer allows it.

    If the layer keeps state from them, the gradients that are checked will be wrong.
    """
    for other in (np.concatenate([x[::-1], x[:1]]), x[::-1].copy()):
        after = watched_copy(layer)
        try:
            y = after.forward(other, train=True)
            between = [p.data.copy() for p in after.parameters()]
            after.backward(np.random.default_rng(0).standard_normal(y.shape), need_dx=False)
        except Exception:  # the check with x itself reports what is wrong
            continue
        require_same_weights(layer, between)
        if all(np.array_equal(p.data, w) for p, w in zip(after.parameters(), between, strict=True)):
            layer = after
    return layer


def streams(layer: Layer) -> Iterator[RandomStream]:
    """Yield the random streams of a layer, its functions and its children."""
    for value in vars(layer).values():
        inside = vars(value).values() if isinstance(value, Function) else [value]
        yield from (v for v in inside if isinstance(v, RandomStream))
    for child in layer.children():
        yield from streams(child)


def _without_dx(layer: Layer, x: Array, dy: Array, with_x: bool) -> dict[str, Array]:
    layer.forward(x, train=True)
    return backward(layer, x, dy, need_dx=False)


def _after_evaluation(layer: Layer, x: Array, dy: Array, with_x: bool) -> dict[str, Array]:
    counts = [stream.count for stream in streams(layer)]
    layer.forward(x, train=True)
    _set_back(layer, counts)  # a layer that draws in evaluation has to draw the same
    layer.forward(x)
    return backward(layer, x, dy, with_x)


def _after_another_forward(layer: Layer, x: Array, dy: Array, with_x: bool) -> dict[str, Array]:
    counts = [stream.count for stream in streams(layer)]
    layer.forward(x[::-1].copy(), train=True)
    _set_back(layer, counts)
    layer.forward(x, train=True)
    return backward(layer, x, dy, with_x)


def _set_back(layer: Layer, counts: list[int]) -> None:
    for stream, count in zip(streams(layer), counts, strict=True):
        stream.count = count


def _scattered(layer: Layer, x: Array, dy: Array, with_x: bool) -> dict[str, Array]:
    layer.forward(x, train=True)
    wide = np.zeros((*dy.shape, 2))
    wide[..., 0] = dy
    return backward(layer, x, wide[..., 0], with_x)


# Other ways in which training calls backward; each has to give the gradients that were checked.
_WAYS: dict[str, Callable[[Layer, Array, Array, bool], dict[str, Array]]] = {
    "with need_dx=False, as fit calls it,": _without_dx,
    "after an evaluation between forward and backward": _after_evaluation,
    "after a forward pass that no backward followed": _after_another_forward,
    "given a dy that is not contiguous": _scattered,
}


def other_ways(layer: Layer, x: Array, dy: Array, with_x: bool) -> dict[str, dict[str, Array]]:
    """Return the gradients for each other way of calling backward, each on a copy of the layer."""
    found = {}
    for way, run in _WAYS.items():
        try:
            found[way] = run(watched_copy(layer), x, dy, with_x)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"check_gradients: {layer}: {way} backward raises {type(error).__name__}: {error}"
            ) from error
    return found
