"""A layer at the point where its gradients are checked."""

from __future__ import annotations

import numpy as np

from minibnn.backend import Array
from minibnn.gradcheck.anchors import anchor
from minibnn.gradcheck.compare import FAR, Comparison, compare
from minibnn.gradcheck.no_draws import watched_copy
from minibnn.gradcheck.passes import backward, forward, require_same_weights
from minibnn.gradcheck.slopes import Slopes
from minibnn.layers import Layer


class Point:
    """A copy of a layer at x; `anchor` fixes its functions and random numbers at this point.

    Attributes:
        layer: a copy of the given one, anchored.
        y: its output.
        dy: the gradient given to backward.
        gradients: the gradients by backward, by name.
    """

    def __init__(self, layer: Layer, x: Array, nudge: np.random.Generator | None = None) -> None:
        self.layer, self.x = watched_copy(layer), x
        self.anchors = list(anchor(self.layer, nudge))
        self.y = self.output()
        for held in self.anchors:
            held.freeze()
        require_same_weights(layer, [p.data for p in self.layer.parameters()])

    def output(self) -> Array:
        """Compute the output again."""
        for held in self.anchors:
            held.restart()
        return forward(self.layer, self.x)

    def backward(self, dy: Array, with_x: bool) -> dict[str, Array]:
        """Run backward; return the gradients by name, "x" last."""
        for held in self.anchors:
            held.backward_time = True
        self.dy = dy
        self.gradients = backward(self.layer, self.x, dy.copy(), with_x)
        return self.gradients

    def rounding(self, with_x: bool) -> dict[str, float]:
        """Return how much each gradient changes if x changes in its last bits.

        If features vary little relative to their mean, batch norm magnifies rounding.
        """
        kept, gradients = self.x.copy(), self.gradients
        ulps = np.random.default_rng(0).choice([-1.0, 1.0], kept.shape) * np.finfo(np.float64).eps
        self.x *= 1 + ulps
        self.output()
        moved = self.backward(self.dy, with_x)
        self.x[...], self.gradients = kept, gradients
        with np.errstate(invalid="ignore"):  # a gradient that is not finite stays wrong
            return {name: float(abs(moved[name] - g).max()) for name, g in gradients.items()}

    def require_repeatable(self) -> None:
        """Raise ValueError if another forward pass gives another output."""
        if not np.allclose(self.output(), self.y, rtol=1e-9, atol=1e-9 * abs(self.y).max()):
            raise ValueError(
                f"check_gradients: {self.layer}: two forward passes differ; if it draws random "
                "numbers, draw them from an attribute that is a minibnn.RandomStream, which the "
                "check can hold still"
            )

    def compare(
        self, places: dict[str, Array], tolerance: float, *, ties: bool = False
    ) -> dict[str, Comparison]:
        """Compare the gradients at the given positions of each array."""
        values = {name: p.data for name, p in self.layer.named_parameters()} | {"x": self.x}
        found = {}
        for name in places:
            # If inputs are huge, a bias of 1 has a visible effect only if it is huge, too.
            farthest = max(1.0, float(abs(self.x).max())) if name == "x" else FAR
            change = self._change_by_x if name == "x" else self._change
            slopes = Slopes(values[name], self.output, change, farthest)
            found[name] = compare(
                name, slopes, self.gradients[name], self.dy, places[name], tolerance, ties=ties
            )
        return found

    def _change_by_x(self, plus: Array, minus: Array) -> tuple[Array, float]:
        # An output that stays beside one that moves may be too large to show the change.
        changed = plus != minus
        changed[changed.reshape(len(changed), -1).any(axis=1)] = True
        return self._change(plus, minus, changed)

    def _change(
        self, plus: Array, minus: Array, changed: Array | None = None
    ) -> tuple[Array, float]:
        # The scalar is sum(y dy): with a loss, the chain rule's second half, dy being checked
        # before. Output by output, so that what did not change cancels exactly.
        changed = plus != minus if changed is None else changed
        if not changed.any():  # flat, or the change is too small: all of it is rounding
            changed[...] = True
        size = (abs(plus) + abs(minus)) * abs(self.dy)
        return (plus - minus) * self.dy, float(size[changed].sum())
