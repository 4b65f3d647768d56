"""The convolutional layer for signals: series of samples in time, or along any one axis."""

from __future__ import annotations

from typing import Any

from minibnn.backend import Array
from minibnn.checks import integer
from minibnn.feedback import Feedback
from minibnn.functions import Function
from minibnn.initializers import Initializer
from minibnn.layers.conv import Convolution, same_padding
from minibnn.windows import Windows


class Conv1D(Convolution):
    """The same small `Dense` layer on every window of a signal.

    .. equations::

        forward    Wq = quantizer(W)                         the weights that the windows meet
                   X  = x, padded with padding_value
                   z[n, p] = b + sum over i of X_i[n, p] Wq[i]
        backward   dWq[i] = X_i.T dz
                   dW  = quantizer.backward(dWq, W)
                   db  = sum of dz over the batch and all windows
                   dX_i += dz B[i].T                         B = feedback.backward_weights(Wq)
                   dx  = dX without the padding

    ``X_i[n, p] = X[n, p stride + i dilation]`` is the value, a vector of channels, that window p
    sees at its position i. It is `Conv2D` on images of one row, and runs on the same products. The
    kernel is not flipped. Values at the end where no further window fits are ignored.

    It packs like `Conv2D`.

    Shapes: x (batch, length, in_channels), W and B (kernel_size, in_channels / groups,
    out_channels), b (out_channels,), z (batch, L', out_channels) with
    ``L' = (length + padding on both sides - dilation (kernel_size - 1) - 1) // stride + 1``.

    Args:
        in_channels: channels of the input, such as the axes of a sensor.
        out_channels: channels of the output.
        kernel_size: values in a window.
        stride: steps from one window to the next.
        padding: values added on each side; or ``"same"``, for an output as long as the input.
            ``"same"`` needs a stride of 1; an odd padding is larger at the end.
        padding_value: fills the padding: 0.0, -1.0 or +1.0.
        dilation: steps from one position in a window to the next.
        groups: divides the channels: each group of outputs sees one group of inputs.
        weight_quantizer: as for `Conv2D`; likewise the arguments that follow.
        feedback: which weights the error travels back through.
        bias: whether there is a b.
        weight_init: draws W. b starts at 0.
        weight_bound: the optimiser keeps W in [-weight_bound, weight_bound].
        lr_scale: multiplies the learning rate of W.

    Raises:
        TypeError: as from `Conv2D`.
        ValueError: for sizes that do not fit together; from `forward`, for an x of another shape or
            shorter than a window.
        RuntimeError: from `forward` before `initialize`, from `backward` before ``forward``.

    >>> import numpy as np
    >>> layer = Conv1D(3, 8, 5, stride=2, padding=2).initialize(np.random.default_rng(0))
    >>> layer.forward(np.ones((2, 128, 3), dtype=np.float32)).shape
    (2, 64, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | str = 0,
        padding_value: float = 0.0,
        dilation: int = 1,
        groups: int = 1,
        weight_quantizer: Function | None = None,
        feedback: Feedback | None = None,
        bias: bool = True,
        weight_init: Initializer | None = None,
        weight_bound: float | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        groups = self.set_channels(in_channels, out_channels, groups, padding_value)
        self.kernel_size = integer("Conv1D", "kernel_size", kernel_size, least=1)
        self.stride = integer("Conv1D", "stride", stride, least=1)
        self.dilation = integer("Conv1D", "dilation", dilation, least=1)
        self.windows = Windows((1, self.kernel_size), (1, self.stride), (1, self.dilation), groups)
        self.padding = (_padding(padding, self.windows),)
        self.set_weights(
            (self.kernel_size, self.in_channels // groups, self.out_channels),
            quantizer=weight_quantizer,
            feedback=feedback,
            bias=bias,
            init=weight_init,
            bound=weight_bound,
            lr_scale=lr_scale,
        )

    def arguments(self) -> dict[str, Any]:
        """See `Weighted.arguments`."""
        ((before, after),) = self.padding
        padding = before if before == after else "same"
        return {**super().arguments(), "padding": padding, "groups": self.windows.groups}

    def __str__(self) -> str:
        options = [
            f", {name}={value!r}"
            for name, value, default in (
                ("stride", self.stride, 1),
                ("padding", self.arguments()["padding"], 0),
                ("padding_value", self.padding_value, 0.0),
                ("dilation", self.dilation, 1),
                ("groups", self.windows.groups, 1),
            )
            if value != default
        ]
        start = f"Conv1D({self.in_channels} -> {self.out_channels}, {self.kernel_size}"
        return start + "".join(options) + ")"

    def check_samples(self, x: Array) -> None:
        """Raise ValueError unless `x` is a batch of signals with these channels."""
        if x.ndim == 3 and x.shape[-1] == self.in_channels:
            return
        hint = ""
        if x.ndim == 2 and x.shape[-1] == self.in_channels != 1:
            hint = (
                "; for a single signal, give a batch of one: x[None]; for a batch of signals, put "
                f"Reshape({(self.in_channels, 1)}) first, and make the layer's channels one"
            )
        elif x.ndim == 2 and x.shape[-1] % self.in_channels == 0:
            length = x.shape[-1] // self.in_channels
            hint = f"; put Reshape(({length}, {self.in_channels})) first"
        elif x.ndim == 3 and x.shape[1] == self.in_channels:
            hint = "; channels are the last axis: x.transpose(0, 2, 1)"
        raise ValueError(
            f"{self}: expected x of shape (batch, length, {self.in_channels}), got {x.shape}{hint}"
        )

    def check_windows(self, X: Array) -> None:
        """Raise ValueError unless a window fits on the padded signals."""
        reach = self.dilation * (self.kernel_size - 1) + 1
        if X.shape[1] < reach:
            raise ValueError(
                f"{self}: expected signals of at least {reach} values, the reach of a window, got "
                f"{X.shape[1]}; use smaller windows or padding"
            )

    # A signal is an image of one row.

    def product(self, X: Array, W: Array) -> Array:
        """The windows of the padded signals times the kernel."""
        return super().product(X[:, None], W[None])[:, 0]

    def product_dW(self, X: Array, dz: Array) -> Array:
        """The gradient of `product` with respect to W."""
        return super().product_dW(X[:, None], dz[:, None])[0]

    def product_dX(self, dz: Array, W: Array, shape: tuple[int, ...]) -> Array:
        """The gradient of `product` with respect to an X of this shape."""
        image = (shape[0], 1, *shape[1:])
        return super().product_dX(dz[:, None], W[None], image)[:, 0]


def _padding(padding: int | str, windows: Windows) -> tuple[int, int]:
    """Values added before and after."""
    if isinstance(padding, str) and padding == "same":
        if windows.stride != (1, 1):
            raise ValueError(
                'Conv1D: expected a stride of 1 with padding="same", '
                f"got {windows.stride[1]}; give the padding as a number"
            )
        return same_padding(windows)[1]
    if isinstance(padding, str):
        raise TypeError(f'Conv1D: expected padding to be an integer or "same", got {padding!r}')
    if padding == -1:
        raise ValueError(
            "Conv1D: expected padding of at least 0, got -1; for a padding of -1 write "
            "padding=1, padding_value=-1"
        )
    side = integer("Conv1D", "padding", padding, least=0)
    return side, side
