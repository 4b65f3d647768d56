"""Layers whose branches all get the same input: `Residual` adds them, `Concatenate` joins them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from minibnn.backend import Array
from minibnn.input_contract import InputContract
from minibnn.layers.base import Layer
from minibnn.layers.input_errors import dtype_hint, require_device
from minibnn.layers.sequential import layer_hint, require_once

Shape = tuple[int, ...]


class Branches(Layer):
    """A layer whose children, the branches, all get its input."""

    def set_input_contract(self, contract: InputContract) -> None:
        """Remember the training input, which is also that of each branch."""
        super().set_input_contract(contract)
        for branch in self.children():
            branch.set_input_contract(contract)

    def outputs(self, x: Array, train: bool) -> list[Array]:
        """What the branches return, in order; errors name the branch."""
        if type(x) is not self.backend.array_type:
            require_device(self, self.backend, x, "x")
        found = []
        for name, branch in self.named_children():
            with self._named(name, branch):
                y = branch.forward(x, train=train)
                if y.dtype != self.dtype:
                    raise TypeError(
                        f"{branch}: expected an output of dtype {self.dtype}, got {y.dtype}"
                        f"{dtype_hint(y.dtype, self.dtype)}"
                    )
            found.append(y)
        if train:
            self.note_input(x)
        return found

    def gradient(self, dys: Sequence[Array], need_dx: bool) -> Array | None:
        """Run the branches' backwards, each on its dy; return the sum of their dx."""
        dx = None
        for (name, branch), dy in zip(self.named_children(), dys, strict=True):
            with self._named(name, branch):
                part = branch.backward(dy, need_dx=need_dx)
                if need_dx and part is None:
                    raise TypeError(f"{branch}: expected backward to return dx, got None")
            if need_dx:  # not in place: a branch may return its dy
                dx = part if dx is None else dx + part
        return dx

    @contextmanager
    def _named(self, name: str, branch: Layer) -> Iterator[None]:
        try:
            yield
        except (TypeError, ValueError, RuntimeError) as error:
            error.add_note(f"in branch {name} of {type(self).__name__}: {branch!r}")
            raise


class Residual(Branches):
    """A block of layers, and a shortcut around it.

    .. equations::

        forward    y  = block(x) + shortcut(x)        shortcut(x) = x if there is none
        backward   dx = block's dx + shortcut's dx    each for dy; the latter is dy if there is none

    In a binary network the sum is the place where real numbers survive: a block of sign,
    convolution and batch norm takes their signs, and the shortcut carries the numbers past it. So
    give each convolution a shortcut of its own.

    Packed, the sums are fixed-point numbers of 16 bits.

    Shapes: x (batch, ...); y and what block and shortcut return have one shape. Nothing is
    broadcast.

    Args:
        block: a layer, usually a `Sequential`.
        shortcut: a layer, if the block changes the shape: ``AveragePool2D(2)``, say, or
            ``Conv2D(16, 32, 1)``. None for the input itself.

    Raises:
        TypeError: for anything but layers; from `forward`, for a branch that returns another dtype.
        ValueError: for a layer, parameter or feedback object in both; from `forward`, if block and
            shortcut return other shapes.

    References: He et al. 2015, arXiv:1512.03385, equations 1 and 2; a shortcut around each binary
    convolution: Liu et al. 2018 (Bi-Real Net), arXiv:1808.00278, section 3.2.

    >>> import numpy as np
    >>> from minibnn import BatchNorm, Conv2D, Sequential, SignSTE, Activation
    >>> layer = Residual(
    ...     Sequential(
    ...         Activation(SignSTE(clip=1.0)),
    ...         Conv2D(8, 8, 3, padding=1, padding_value=1, weight_quantizer=SignSTE()),
    ...         BatchNorm(8),
    ...     )
    ... ).initialize(0)
    >>> layer.forward(np.ones((2, 7, 7, 8), dtype=np.float32)).shape
    (2, 7, 7, 8)
    """

    def __init__(self, block: Layer, shortcut: Layer | None = None) -> None:
        branches = {"block": block} if shortcut is None else {"block": block, "shortcut": shortcut}
        for name, branch in branches.items():
            if not isinstance(branch, Layer):
                raise TypeError(
                    f"Residual: expected {name} to be a layer, got {branch!r}{layer_hint(branch)}"
                )
        require_once("Residual", list(branches.values()))
        self.block = block
        self.shortcut = shortcut

    def __repr__(self) -> str:
        shortcut = "" if self.shortcut is None else f", {self.shortcut!r}"
        return f"Residual({self.block!r}{shortcut})"

    def __str__(self) -> str:
        return f"Residual({self.block}" + (")" if self.shortcut is None else f", {self.shortcut})")

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``block(x) + shortcut(x)``."""
        if self.shortcut is None:
            self.check_input(x)
        y, *others = self.outputs(x, train)
        other = others[0] if others else x
        if y.shape != other.shape:
            raise ValueError(
                f"{self}: expected block and shortcut to return one shape, got {y.shape} and "
                f"{other.shape}{_shortcut_hint(x.shape, y.shape)}"
            )
        y = y + other  # not in place: the block may have saved its output
        if train:
            self.saved = (y.shape,)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Run the backwards of block and shortcut; return the sum of their dx."""
        self.take_saved(dy)
        if self.shortcut is not None:
            return self.gradient([dy, dy], need_dx)
        dx = self.gradient([dy], need_dx)
        return dx + dy if need_dx else None


class Concatenate(Branches):
    """Several layers on the same input, with their outputs side by side along the last axis.

    .. equations::

        forward    y  = [branch_1(x), ..., branch_n(x)]
        backward   dx = sum over i of branch_i's dx, for its part of dy

    The last axis counts features or channels. A ``Sequential()`` without layers is a branch that
    returns its input.

    Packed, branches that all end in signs stay bits; others become fixed-point numbers of 16 bits.

    Shapes: x (batch, ...), branch_i(x) (batch, ..., n_i), y (batch, ..., sum of the n_i).

    Args:
        branches: layers, at least one.

    Raises:
        TypeError: for anything but layers; from `forward`, for a branch that returns another dtype.
        ValueError: without branches; for a layer, parameter or feedback object that appears twice;
            from `forward`, if the branches' outputs differ in another axis than the last.

    References: Szegedy et al. 2014, arXiv:1409.4842, section 4; in binary networks, where two
    blocks double the channels: Liu et al. 2020 (ReActNet), arXiv:2003.03488, section 4.1.

    >>> import numpy as np
    >>> from minibnn import Dense, Sequential
    >>> layer = Concatenate(Sequential(), Dense(4, 3)).initialize(0)
    >>> layer.forward(np.ones((2, 4), dtype=np.float32)).shape
    (2, 7)
    """

    def __init__(self, *branches: Layer) -> None:
        if not branches:
            raise ValueError("Concatenate: expected at least one branch, got none")
        for i, branch in enumerate(branches):
            if not isinstance(branch, Layer):
                several = isinstance(branch, list | tuple)
                hint = "; write Concatenate(*branches)" if several else layer_hint(branch)
                raise TypeError(
                    f"Concatenate: expected layers, got {branch!r} at position {i}{hint}"
                )
        require_once("Concatenate", branches)
        self._branches = branches

    @property
    def branches(self) -> tuple[Layer, ...]:
        """The branches, in order; they are fixed."""
        return self._branches

    def __repr__(self) -> str:
        return "Concatenate(\n" + "".join(f"    {layer!r},\n" for layer in self.branches) + ")"

    def __str__(self) -> str:
        return f"Concatenate({len(self.branches)} branches)"

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        """The branches in order, each with its position as its name."""
        return ((str(i), branch) for i, branch in enumerate(self.branches))

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The branches' outputs side by side."""
        ys = self.outputs(x, train)
        if min(y.ndim for y in ys) < 2 or len({y.shape[:-1] for y in ys}) > 1:
            shapes = ", ".join(str(y.shape) for y in ys)
            raise ValueError(
                f"{self}: expected branches whose outputs differ in the last axis only, got "
                f"{shapes}; give them the same strides and padding, or end each with Flatten()"
            )
        y = self.backend.xp.concatenate(ys, axis=-1)
        if train:
            self.saved = (y.shape, [y.shape[-1] for y in ys])
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Run each branch's backward on its part of dy; return the sum of their dx."""
        (widths,) = self.take_saved(dy)
        parts, start = [], 0
        for width in widths:
            part = dy[..., start : start + width]
            parts.append(self.backend.xp.ascontiguousarray(part))
            start += width
        return self.gradient(parts, need_dx)


def _shortcut_hint(x: Shape, y: Shape) -> str:
    """A shortcut that takes the shape `x` to the block's `y`, as a hint."""
    if len(x) != len(y):
        return "; end the block with a layer that keeps the number of axes"
    if len(x) > 4:
        return ""
    if len(x) == 2:
        return f"; pass shortcut=Dense({x[1]}, {y[1]})"
    strides = [_stride(n, m) for n, m in zip(x[1:-1], y[1:-1], strict=True)]
    if None in strides and len(x) == 3:
        return '; use padding="same" in the block'
    if None in strides:
        return '; use padding="same" in the block, or an AveragePool2D as the shortcut'
    name, stride = ("Conv1D", strides[0]) if len(x) == 3 else ("Conv2D", tuple(strides))
    steps = "" if set(strides) == {1} else f", stride={stride}"
    return f"; pass shortcut={name}({x[-1]}, {y[-1]}, 1{steps})"


def _stride(before: int, after: int) -> int | None:
    """The stride with which windows of one pixel reduce `before` pixels to `after`, or None."""
    strides = (s for s in range(1, before + 1) if (before - 1) // s + 1 == after)
    return next(strides, None)
