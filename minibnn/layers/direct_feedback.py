"""Direct feedback alignment: the output's error goes directly to every block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import CPU, Array
from minibnn.checks import integer
from minibnn.initializers import GlorotUniform, Initializer
from minibnn.layers.base import Layer
from minibnn.layers.sequential import Sequential
from minibnn.parameter import Buffer
from minibnn.state import State


class DirectFeedback(Sequential):
    """A `Sequential` whose blocks all receive the output's error, through fixed random matrices.

    .. equations::

        forward    h_1 = block_1(x),  h_i = block_i(h_(i-1)),  y = h_n
        backward   dh_n = dy
                   dh_i = dy B_i.T             for the others, in the shape of h_i
                   dx   = block_1's backward of dh_1

    No error passes from block to block. Inside a block, the block's own backward applies. So a
    block is usually a ``Sequential`` of a weighted layer and its activation: the error from B_i
    then reaches the weights through the activation's derivative. The last block is trained by its
    true gradient.

    The B_i are drawn in the first training forward, when the shapes are known, from a seed that
    `initialize` draws: here too, a seed gives the same network. They never learn. They are buffers
    whose data is None before that forward; a copy that is made earlier draws the same B_i.

    Shapes: B_i (features of h_i, features of y), each sample flattened to a vector.

    Args:
        blocks: in order; at least one.
        initializer: draws each B_i; None for `GlorotUniform`.

    Raises:
        ValueError: without blocks; as from `Sequential`; from `forward` in training, if the samples
            do not have the size that the B_i were drawn for.
        RuntimeError: from `forward` in training, before `initialize`.

    Reference: direct feedback alignment, Nokland 2016, "Direct feedback alignment provides
    learning in deep neural networks", arXiv:1609.01596.

    >>> import numpy as np
    >>> from minibnn import Activation, Dense, Tanh
    >>> model = DirectFeedback(
    ...     Sequential(Dense(4, 5), Activation(Tanh())),
    ...     Sequential(Dense(5, 6), Activation(Tanh())),
    ...     Dense(6, 3),
    ... ).initialize(0)
    >>> model.forward(np.ones((2, 4), dtype=np.float32), train=True).shape
    (2, 3)
    >>> [b.data.shape for b in model.buffers()]
    [(5, 3), (6, 3)]
    """

    def __init__(self, *blocks: Layer, initializer: Initializer | None = None) -> None:
        if not blocks:
            raise ValueError("DirectFeedback: expected at least one block, got none")
        self.initializer = GlorotUniform() if initializer is None else initializer
        self.seed: int | None = None
        self.feedback_weights = [
            Buffer(f"feedback_{i}", ships=False) for i in range(len(blocks) - 1)
        ]
        super().__init__(*blocks)

    def arguments(self) -> dict[str, Any]:
        """The constructor's argument that has another name here; see `minibnn.description`."""
        return {"blocks": self.layers}

    def __repr__(self) -> str:
        return "DirectFeedback" + super().__repr__().removeprefix("Sequential")

    def __str__(self) -> str:
        return f"DirectFeedback({len(self)} blocks)"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The output of the last block."""
        *hidden, y = self.outputs(x, train)
        if train:
            self.note_input(x)
            self._draw([h.shape for h in hidden], y.shape)
            self.saved = (y.shape, [h.shape for h in hidden])
        return y

    def outputs(self, x: Array, train: bool) -> list[Array]:
        """The outputs of all blocks, in order."""
        outputs = []
        for i in range(len(self)):
            x = self._layer_forward(i, x, train)
            outputs.append(x)
        return outputs

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Run every block's backward on its own error; return the dx of the first block."""
        (shapes,) = self.take_saved(dy)
        error = dy.reshape(len(dy), -1)
        last = len(self) - 1
        dx = self._layer_backward(last, dy, need_dx and last == 0)
        for i in reversed(range(last)):
            dh = self.backend.matmul(error, self.feedback_weights[i].data.T)
            dx = self._layer_backward(i, dh.reshape(shapes[i]), need_dx and i == 0)
        return dx

    def buffers(self) -> Iterator[Buffer]:
        """The blocks' buffers, then the B_i."""
        yield from super().buffers()
        yield from self.feedback_weights

    def state(self) -> State:
        """The blocks' states, the B_i, and the seed that draws them."""
        return {**super().state(), "seed": self.seed}

    def restore(self, state: State) -> None:
        """Put a state back; see `Layer.restore`."""
        seed = state.get("seed")
        seed = None if seed is None else integer("DirectFeedback", "seed", seed, least=0)
        super().restore(state)
        self.seed = seed

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        super()._initialize(rng, dtype)
        self.seed = int(rng.integers(2**63))
        for buffer in self.feedback_weights:
            buffer.data = None

    def _draw(self, shapes: list[tuple[int, ...]], output: tuple[int, ...]) -> None:
        """Draw the missing B_i, and raise if the others do not fit this batch."""
        if self.seed is None:
            raise RuntimeError(
                f"{self}: expected a seed, but none has been drawn; "
                "call model.initialize(rng) first"
            )
        for i, (buffer, shape) in enumerate(zip(self.feedback_weights, shapes, strict=True)):
            wanted = (math.prod(shape[1:]), math.prod(output[1:]))
            if buffer.data is None:
                B = self.initializer(wanted, np.random.default_rng([self.seed, i]))
                buffer.data = self.backend.asarray(CPU.asarray(B, self.dtype))
            if buffer.data.shape != wanted:
                raise ValueError(
                    f"{self}: expected outputs that fit its feedback matrix {i}, of shape "
                    f"{buffer.data.shape}, got a matrix of shape {wanted} to fit; feed samples "
                    "of one size, or call initialize(rng) again"
                )
