"""The convolutional layer."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

from minibnn.backend import Array, backend_of, batch_sum, matmul
from minibnn.checks import integer, number
from minibnn.feedback import Feedback
from minibnn.functions import Function
from minibnn.initializers import Initializer
from minibnn.layers.image_checks import check_fit, check_images, pair
from minibnn.layers.weighted import Weighted
from minibnn.windows import Windows


def convolve(x: Array, W: Array, windows: Windows) -> Array:
    """``z = sum over i, j of x_ij W[i, j]``.

    ``x_ij[n, p, q] = x[n, p stride + i dilation, q stride + j dilation]`` is the pixel that window
    (p, q) sees at its position (i, j). So a convolution and its two gradients are
    sums of matrix products, one for each position.

    An implementation may add the n products of a result in any order. It then differs by at most
    2 n roundings of the sum of their magnitudes, and not at all for small whole numbers.

    Shapes: x (batch, height, width, channels), W (kernel height, kernel width, channels / groups,
    outputs), z (batch, H', W', outputs).
    """
    counts, groups = windows.counts(x.shape), windows.groups
    batch, outputs = len(x), W.shape[-1]
    shape = groups, batch * math.prod(counts), outputs // groups
    z = backend_of(x).xp.zeros(shape, dtype=x.dtype)
    for i, j, rows, columns in windows.positions(counts):
        x_ij = _by_group(x[:, rows, columns], groups)
        z += matmul(x_ij, _by_group(W[i, j], groups))
    return z.transpose(1, 0, 2).reshape(batch, *counts, outputs)


def convolve_dW(x: Array, dz: Array, windows: Windows) -> Array:
    """``dW[i, j] = x_ij.T dz``, the gradient of `convolve` with respect to W."""
    counts, groups = dz.shape[1:3], windows.groups
    shape = x.shape[-1] // groups, dz.shape[-1]
    dW = backend_of(x).xp.empty((*windows.size, *shape), dtype=x.dtype)
    dz = _by_group(dz, groups)
    for i, j, rows, columns in windows.positions(counts):
        x_ij = _by_group(x[:, rows, columns], groups)
        dW[i, j] = matmul(x_ij.transpose(0, 2, 1), dz).transpose(1, 0, 2).reshape(shape)
    return dW


def convolve_dx(dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]) -> Array:
    """``dx_ij += dz W[i, j].T``, the gradient of `convolve` with respect to an x of this shape."""
    counts, groups = dz.shape[1:3], windows.groups
    dx = backend_of(dz).xp.zeros(shape, dtype=dz.dtype)
    dz = _by_group(dz, groups)
    for i, j, rows, columns in windows.positions(counts):
        dx_ij = matmul(dz, _by_group(W[i, j], groups).transpose(0, 2, 1))
        dx[:, rows, columns] += dx_ij.transpose(1, 0, 2).reshape(shape[0], *counts, shape[-1])
    return dx


def _by_group(a: Array, groups: int) -> Array:
    """(..., channels) as (groups, product of the rest, channels / groups)."""
    return a.reshape(-1, groups, a.shape[-1] // groups).transpose(1, 0, 2)


class Convolution(Weighted):
    """What convolutions of images and of signals have in common; `Conv2D` has the equations.

    Attributes:
        in_channels: channels of the input.
        out_channels: channels of the output.
        windows: on images; for a `Conv1D`, on images of one row.
        padding: for each axis with windows, the numbers of values added before and after.
        padding_value: fills the padding.
    """

    windows: Windows
    padding: tuple[tuple[int, int], ...]

    def set_channels(
        self, in_channels: int, out_channels: int, groups: int, padding_value: float
    ) -> int:
        """Check and keep the channels and the padding's value; return the checked groups."""
        who = type(self).__name__
        self.in_channels = integer(who, "in_channels", in_channels)
        self.out_channels = integer(who, "out_channels", out_channels)
        groups = integer(who, "groups", groups)
        if groups < 1 or self.in_channels % groups or self.out_channels % groups:
            raise ValueError(
                f"{who}: expected groups to divide in_channels and out_channels, got {groups} "
                f"groups of {self.in_channels} and {self.out_channels}"
            )
        if number(who, "padding_value", padding_value) not in (-1, 0, 1):
            raise ValueError(f"{who}: expected padding_value 0, -1 or +1, got {padding_value!r}")
        self.padding_value = float(padding_value)
        return groups

    @abstractmethod
    def check_samples(self, x: Array) -> None:
        """Raise ValueError unless `x` has the right axes and channels."""

    @abstractmethod
    def check_windows(self, X: Array) -> None:
        """Raise ValueError unless a window fits on the padded samples."""

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``z = b + sum over i, j of X_ij Wq[i, j]``."""
        self.check_input(x)
        self.check_samples(x)
        X = self.pad(x)
        self.check_windows(X)
        Wq = self.quantized_weight(train)
        z = self.product(X, Wq)
        if self.bias is not None:
            z += self.bias.data
        if train:
            self.note_input(x)
            self.saved = (z.shape, X, Wq)
        return z

    def backward(self, dz: Array, *, need_dx: bool = True) -> Array | None:
        """Set dW and db; return dx, through B."""
        X, Wq = self.take_saved(dz)
        dWq = self.product_dW(X, dz)
        self.weight.grad[...] = self._quantizer.backward(dWq, self.weight.data)
        if self.bias is not None:
            batch_sum(dz, out=self.bias.grad)
        if not need_dx:
            return None
        B = self.backward_weights(Wq)
        if B is None:
            return self.crop(self.backend.xp.zeros_like(X))
        return self.crop(self.product_dX(dz, B, X.shape))

    @property
    def is_padded(self) -> bool:
        """Whether there is any padding."""
        return any(map(any, self.padding))

    def product(self, X: Array, W: Array) -> Array:
        """The bilinear part of the layer: the windows of the padded samples times the kernel."""
        return self.backend.run(convolve, X, W, self.windows)

    def product_dW(self, X: Array, dz: Array) -> Array:
        """The gradient of `product` with respect to W."""
        return self.backend.run(convolve_dW, X, dz, self.windows)

    def product_dX(self, dz: Array, W: Array, shape: tuple[int, ...]) -> Array:
        """The gradient of `product` with respect to an X of this shape."""
        return self.backend.run(convolve_dx, dz, W, self.windows, shape)

    def pad(self, x: Array) -> Array:
        """`x` with the padding around it."""
        if not self.is_padded:
            return x
        sizes = x.shape[1:-1]
        padded = (a + n + b for (a, b), n in zip(self.padding, sizes, strict=True))
        shape = (len(x), *padded, x.shape[-1])
        X = self.backend.xp.full(shape, self.padding_value, dtype=x.dtype)
        self.crop(X)[...] = x
        return X

    def crop(self, X: Array) -> Array:
        """`X` without the padding, as a view."""
        sizes = X.shape[1:-1]
        inside = (slice(a, n - b) for (a, b), n in zip(self.padding, sizes, strict=True))
        return X[(slice(None), *inside)]


class Conv2D(Convolution):
    """The same small `Dense` layer on every window of an image.

    .. equations::

        forward    Wq = quantizer(W)                         the weights that the windows meet
                   X  = x, padded with padding_value
                   z[n, p, q] = b + sum over i, j of X_ij[n, p, q] Wq[i, j]
        backward   dWq[i, j] = X_ij.T dz
                   dW  = quantizer.backward(dWq, W)
                   db  = sum of dz over the batch and all windows
                   dX_ij += dz B[i, j].T                     B = feedback.backward_weights(Wq)
                   dx  = dX without the padding

    ``X_ij[n, p, q] = X[n, p stride + i dilation, q stride + j dilation]`` is the pixel, a vector
    of channels, that window (p, q) sees at its position (i, j). The kernel is not flipped. Rows
    and columns where no further window fits are ignored.

    In a binary network a padding of zeros is a third value beside -1 and +1. Packed, such a
    convolution takes integers; padded with -1 or +1 it takes bits.

    Shapes: x (batch, height, width, in_channels), W and B (kernel height, kernel width,
    in_channels / groups, out_channels), b (out_channels,), z (batch, H', W', out_channels) with
    ``H' = (height + padding above and below - dilation (kernel height - 1) - 1) // stride + 1``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: rows and columns of a window, or one number for both. The same holds for
            `stride`, `padding` and `dilation`.
        stride: steps from one window to the next.
        padding: rows added above and below each, columns added left and right each; or
            ``"same"``, for an output as large as the input. ``"same"`` needs a stride of 1; an odd
            padding is larger below and on the right.
        padding_value: fills the padding: 0.0, -1.0 or +1.0.
        dilation: steps from one position in a window to the next.
        groups: divides the channels: each group of outputs sees one group of inputs.
        weight_quantizer: the function between the latent weights W and the windows;
            ``SignSTE()`` makes the weights binary. None for real weights.
        feedback: which weights the error travels back through; None for `Transpose`, which is
            backpropagation.
        bias: whether there is a b.
        weight_init: draws W. b starts at 0.
        weight_bound: the optimiser keeps W in [-weight_bound, weight_bound]; None for no bound.
        lr_scale: multiplies the learning rate of W; see `glorot_lr_scale`.

    Raises:
        TypeError: for sizes that are not integers, a quantizer that is not a `Function`, or a
            feedback that is not a `Feedback`; from `forward` for an x of another dtype or on
            another device.
        ValueError: for sizes that do not fit together; from `forward`, for an x of another shape
            or smaller than a window.
        RuntimeError: from `forward` before `initialize`, from `backward` before ``forward``.

    References: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition";
    binary: Courbariaux et al. 2016, arXiv:1602.02830, section 1.

    >>> import numpy as np
    >>> layer = Conv2D(1, 8, 3, padding="same").initialize(np.random.default_rng(0))
    >>> layer.forward(np.ones((2, 28, 28, 1), dtype=np.float32)).shape
    (2, 28, 28, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        padding_value: float = 0.0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        weight_quantizer: Function | None = None,
        feedback: Feedback | None = None,
        bias: bool = True,
        weight_init: Initializer | None = None,
        weight_bound: float | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        groups = self.set_channels(in_channels, out_channels, groups, padding_value)
        self.windows = Windows(
            pair("Conv2D", "kernel_size", kernel_size, least=1),
            pair("Conv2D", "stride", stride, least=1),
            pair("Conv2D", "dilation", dilation, least=1),
            groups,
        )
        self.padding = _padding(padding, self.windows)
        self.set_weights(
            (*self.windows.size, self.in_channels // groups, self.out_channels),
            quantizer=weight_quantizer,
            feedback=feedback,
            bias=bias,
            init=weight_init,
            bound=weight_bound,
            lr_scale=lr_scale,
        )

    def arguments(self) -> dict[str, Any]:
        """See `Weighted.arguments`."""
        size, stride, dilation, groups = self.windows
        padding: Any = self.padding
        (above, below), (left, right) = padding
        if above == below and left == right:
            padding = above, left
        elif stride == (1, 1) and padding == _padding("same", self.windows):
            padding = "same"
        return {
            **super().arguments(),
            "kernel_size": size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }

    def __str__(self) -> str:
        (height, width), stride, dilation, groups = self.windows
        (above, below), (left, right) = self.padding
        even = above == below and left == right
        options = [
            f", {name}={value}"
            for name, value, default in (
                ("stride", stride, (1, 1)),
                ("padding", (above, left) if even else '"same"', (0, 0)),
                ("padding_value", self.padding_value, 0.0),
                ("dilation", dilation, (1, 1)),
                ("groups", groups, 1),
            )
            if value != default
        ]
        start = f"Conv2D({self.in_channels} -> {self.out_channels}, {height}x{width}"
        return start + "".join(options) + ")"

    def check_samples(self, x: Array) -> None:
        """Raise ValueError unless `x` is a batch of images with these channels."""
        check_images(self, x, self.in_channels)

    def check_windows(self, X: Array) -> None:
        """Raise ValueError unless a window fits on the padded images."""
        check_fit(self, self.windows, X.shape, "use smaller windows or padding")


def _padding(
    padding: int | tuple[int, int] | str, windows: Windows
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows added (above, below) and columns added (left, right)."""
    if isinstance(padding, str) and padding == "same":
        if windows.stride != (1, 1):
            raise ValueError(
                'Conv2D: expected a stride of 1 with padding="same", '
                f"got {windows.stride}; give the padding as a number"
            )
        rows, columns = same_padding(windows)
        return rows, columns
    if not isinstance(padding, tuple | list | str) and padding == -1:
        raise ValueError(
            "Conv2D: expected padding of at least 0, got -1; for a padding of -1 write "
            "padding=1, padding_value=-1"
        )
    height, width = pair("Conv2D", "padding", padding, least=0, other=' or "same"')
    return (height, height), (width, width)


def same_padding(windows: Windows) -> list[tuple[int, int]]:
    """For each axis, the padding with which the output is as large as the input."""
    extra = [d * (n - 1) for n, d in zip(windows.size, windows.dilation, strict=True)]
    return [(n // 2, n - n // 2) for n in extra]
