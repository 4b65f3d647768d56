"""Check each layer of a network by itself, with the input and gradient that it gets there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minibnn.backend import Array
from minibnn.gradcheck.compare import Comparison
from minibnn.gradcheck.no_draws import watched_copy
from minibnn.gradcheck.point import Point
from minibnn.layers import Layer


@dataclass
class _Met:
    """The input and gradient that a layer was given."""

    x: Array = None
    dy: Array = None
    need_dx: bool = False


def wrong_leaves(
    layer: Layer,
    x: Array,
    dy: Array,
    with_x: bool,
    tolerance: float,
    max_elements: int,
    rng: np.random.Generator,
) -> list[Comparison]:
    """Check the layers without children; return the comparisons that failed.

    At a kink (a point where a slope jumps), the slopes of a whole network say little. The slopes of
    one layer show which gradients this layer may have there.
    """
    noted = watched_copy(layer)
    met = [_note(leaf) for _, leaf in _leaves("", noted)]
    noted.forward(x, train=True)
    noted.backward(dy.copy(), need_dx=with_x)
    wrong = []
    for (path, leaf), given in zip(_leaves("", layer), met, strict=True):
        if given.dy is None:
            continue
        point = Point(leaf, given.x)
        gradients = point.backward(given.dy, given.need_dx and given.x.dtype.kind == "f")
        places = {name: rng.permutation(g.size)[:max_elements] for name, g in gradients.items()}
        for name, c in point.compare(places, tolerance, ties=True).items():
            if c.error > tolerance:
                c.name = f"{path}.{name}"
                wrong.append(c)
    return wrong


def _leaves(path: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    children = list(layer.named_children())
    for name, child in children:
        yield from _leaves(f"{path}.{name}" if path else name, child)
    if not children:
        yield path, layer


def _note(layer: Layer) -> _Met:
    met, forward, backward = _Met(), layer.forward, layer.backward

    def noting_forward(x: Array, train: bool = False) -> Array:
        met.x = x.copy()
        return forward(x, train=train)

    def noting_backward(dy: Array, need_dx: bool = True) -> Array | None:
        met.dy, met.need_dx = dy.copy(), need_dx
        return backward(dy, need_dx=need_dx)

    layer.forward = noting_forward  # type: ignore[method-assign]
    layer.backward = noting_backward  # type: ignore[method-assign]
    return met
