"""Every public layer, function and feedback, once: the generic tests run on this table.

A new piece gets a row here, and with it the gradient check, dtype, batch of one, non-contiguous
arrays, equality between devices and the rules about saved state. `layers/test_every_layer.py` fails when a
public piece has no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibnn import (
    Activation,
    AdaSTE,
    ApproxSign,
    AveragePool2D,
    BatchNorm,
    Blocked,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DirectFeedback,
    DoReFaActivations,
    DoReFaWeights,
    Dropout,
    Feedback,
    FixedFeedback,
    Flatten,
    Function,
    GlobalAveragePool2D,
    HardTanh,
    Heaviside,
    Identity,
    Layer,
    MagnitudeAwareSign,
    MaxPool2D,
    OneHotCode,
    PowerOfTwo,
    PReLU,
    Radial,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    ShiftBatchNorm,
    Sigmoid,
    SignSTE,
    Standardize,
    StochasticSign,
    SwishSign,
    Tanh,
    TensorNorm,
    Ternary,
    TernaryWeights,
    Thermometer,
    Transpose,
    Uniform,
)

NUMBERS = np.random.default_rng(5).standard_normal((9, 4))  # to fit codes to


@dataclass(frozen=True)
class Case:
    """A layer to test, and the shape of its input without the batch axis."""

    name: str
    make: Callable[[], Layer]
    shape: tuple[int, ...] = (4,)
    min_batch: int = 1
    same_in_training: bool = True  # whether training and evaluation compute the same output


def binary_net() -> Sequential:
    """The seed's network, small."""
    return Sequential(
        Flatten(),
        Rescale(0.5, -0.25),
        Dense(6, 5, weight_quantizer=SignSTE()),
        Activation(SignSTE()),
        Dense(5, 4, weight_quantizer=SignSTE()),
        Activation(SignSTE()),
        Dense(4, 3, weight_quantizer=SignSTE()),
    )


def normalised_net() -> Sequential:
    """The modern recipe's network, small."""

    def dense(n_in: int, n_out: int) -> Dense:
        return Dense(
            n_in,
            n_out,
            bias=False,
            weight_quantizer=SignSTE(),
            weight_init=Uniform(-1, 1),
            weight_bound=1.0,
        )

    return Sequential(
        dense(6, 5),
        BatchNorm(5),
        Activation(SignSTE(clip=1.0)),
        dense(5, 3),
        BatchNorm(3),
    )


def image_net() -> Sequential:
    """A binary convolutional network, small."""

    def conv(n_in: int, n_out: int) -> Conv2D:
        return Conv2D(n_in, n_out, 2, bias=False, weight_quantizer=SignSTE())

    return Sequential(
        Reshape((6, 5, 1)),
        conv(1, 3),
        MaxPool2D(2),
        BatchNorm(3),
        Activation(SignSTE(clip=1.0)),
        conv(3, 2),
        Flatten(),
        Dense(2, 3),
    )


def residual_net() -> Sequential:
    """Residual blocks as in Bi-Real Net and ReActNet, small, with all kinds of branches."""

    def block(n_in: int, n_out: int, **options) -> Sequential:
        return Sequential(
            Activation(ApproxSign()),
            Conv2D(n_in, n_out, 3, bias=False, weight_quantizer=SignSTE(), **options),
            BatchNorm(n_out),
        )

    return Sequential(
        Conv2D(1, 2, 2, weight_quantizer=SignSTE()),
        Residual(block(2, 2, padding=1, padding_value=1.0)),
        PReLU(2),
        Concatenate(
            Residual(block(2, 2, stride=2), AveragePool2D(2)),
            Residual(block(2, 2, stride=2), AveragePool2D(2)),
        ),
        GlobalAveragePool2D(),
        Dense(4, 3),
    )


class Fold(Layer):
    """(batch, 2 n) to (batch, 2, n): outputs that are no vectors."""

    def forward(self, x, *, train=False):
        if train:
            self.saved = ((len(x), 2, x.shape[1] // 2),)
        return x.reshape(len(x), 2, x.shape[1] // 2)

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy.reshape(len(dy), -1) if need_dx else None


def direct_feedback_net(features: int = 4) -> DirectFeedback:
    """Three blocks, the second with outputs that are no vectors."""
    return DirectFeedback(
        Sequential(Dense(features, 5, weight_quantizer=SignSTE()), Activation(Tanh())),
        Sequential(Dense(5, 6), Fold(), Activation(SignSTE(clip=1.0))),
        Sequential(Flatten(), Dense(6, 3)),
    )


CASES = [
    *(
        Case(f"activation-{f!r}", lambda f=f: Activation(f))
        for f in (
            Identity(),
            ReLU(),
            Tanh(),
            HardTanh(),
            Sigmoid(),
            SignSTE(),
            SignSTE(clip=1.0),
            SignSTE(clip=0.5),
            ApproxSign(),
            SwishSign(),
            SwishSign(beta=1.0),
            AdaSTE(),
            Ternary(),
            Ternary(threshold=0.5, clip=None),
            Heaviside(),
            Heaviside(clip=None),
            DoReFaActivations(bits=1),
            DoReFaActivations(bits=3),
            PowerOfTwo(),
        )
    ),
    *(
        Case(f"dense-{f!r}", lambda f=f: Dense(4, 3, weight_quantizer=f))
        for f in (
            ApproxSign(),
            SwishSign(),
            MagnitudeAwareSign(),
            MagnitudeAwareSign(clip=None),
            AdaSTE(),
            Ternary(),
            TernaryWeights(),
            TernaryWeights(clip=None),
            DoReFaWeights(bits=1),
            DoReFaWeights(bits=3),
        )
    ),
    # It holds a stream, so each layer gets its own.
    Case(
        "activation-stochastic",
        lambda: Activation(StochasticSign()),
        same_in_training=False,
    ),
    Case(
        "activation-stochastic-clip",
        lambda: Activation(StochasticSign(clip=1.0)),
        same_in_training=False,
    ),
    Case(
        "dense-stochastic",
        lambda: Dense(4, 3, weight_quantizer=StochasticSign()),
        same_in_training=False,
    ),
    Case(
        "quantized-net",
        lambda: Sequential(
            Dense(4, 5, weight_quantizer=DoReFaWeights(bits=2)),
            Activation(AdaSTE()),
            Dense(5, 4, weight_quantizer=MagnitudeAwareSign()),
            Activation(StochasticSign(clip=1.0)),
            Dense(4, 3, weight_quantizer=StochasticSign()),
        ),
        same_in_training=False,
    ),
    Case("dense", lambda: Dense(4, 3)),
    Case("dense-no-bias", lambda: Dense(4, 3, bias=False)),
    Case("dense-binary", lambda: Dense(4, 3, weight_quantizer=SignSTE())),
    Case("dense-binary-clip", lambda: Dense(4, 3, weight_quantizer=SignSTE(clip=0.3))),
    Case("dense-tanh-weights", lambda: Dense(4, 3, weight_quantizer=Tanh())),
    Case("dense-transpose", lambda: Dense(4, 3, feedback=Transpose())),
    Case("dense-feedback", lambda: Dense(4, 3, feedback=FixedFeedback())),
    Case(
        "dense-binary-feedback",
        lambda: Dense(4, 3, weight_quantizer=SignSTE(), feedback=FixedFeedback()),
    ),
    Case("dense-blocked", lambda: Dense(4, 3, feedback=Blocked())),
    Case("batchnorm", lambda: BatchNorm(4), min_batch=2, same_in_training=False),
    Case("batchnorm-image", lambda: BatchNorm(2), shape=(3, 2, 2), same_in_training=False),
    Case("conv", lambda: Conv2D(2, 3, (2, 3), stride=(2, 1)), shape=(5, 4, 2)),
    Case("conv-same", lambda: Conv2D(1, 2, (2, 3), padding="same"), shape=(3, 3, 1)),
    Case(
        "conv-binary-padded",
        lambda: Conv2D(
            2, 3, 3, stride=2, padding=(1, 2), padding_value=-1.0, weight_quantizer=SignSTE()
        ),
        shape=(4, 3, 2),
    ),
    Case("conv-groups", lambda: Conv2D(4, 6, 2, groups=2), shape=(3, 3, 4)),
    Case("conv-depthwise", lambda: Conv2D(2, 2, 3, groups=2, bias=False), shape=(4, 3, 2)),
    Case("conv-dilated", lambda: Conv2D(1, 2, (2, 3), dilation=(3, 1)), shape=(5, 4, 1)),
    Case(
        "conv-feedback",
        lambda: Conv2D(
            2,
            2,
            2,
            padding=1,
            padding_value=1.0,
            weight_quantizer=SignSTE(),
            feedback=FixedFeedback(),
        ),
        shape=(3, 3, 2),
    ),
    Case(
        "conv-groups-feedback",
        lambda: Conv2D(2, 4, 2, groups=2, feedback=FixedFeedback()),
        shape=(3, 3, 2),
    ),
    Case("conv-blocked", lambda: Conv2D(1, 2, 2, padding=1, feedback=Blocked()), shape=(3, 3, 1)),
    Case("conv1d", lambda: Conv1D(2, 3, 3, stride=2), shape=(6, 2)),
    Case("conv1d-same", lambda: Conv1D(1, 2, 2, padding="same"), shape=(4, 1)),
    Case(
        "conv1d-binary-padded",
        lambda: Conv1D(2, 3, 3, padding=2, padding_value=-1.0, weight_quantizer=SignSTE()),
        shape=(4, 2),
    ),
    Case("conv1d-groups", lambda: Conv1D(4, 6, 2, groups=2, bias=False), shape=(3, 4)),
    Case("conv1d-dilated", lambda: Conv1D(1, 2, 3, dilation=2, padding=1), shape=(5, 1)),
    Case(
        "conv1d-groups-feedback",
        lambda: Conv1D(2, 4, 2, groups=2, padding=1, feedback=FixedFeedback()),
        shape=(3, 2),
    ),
    Case("conv1d-blocked", lambda: Conv1D(1, 2, 2, feedback=Blocked()), shape=(3, 1)),
    Case("max-pool", lambda: MaxPool2D(2), shape=(5, 4, 2)),
    Case("max-pool-overlapping", lambda: MaxPool2D((3, 2), stride=(2, 1)), shape=(5, 4, 2)),
    Case("max-pool-apart", lambda: MaxPool2D(2, stride=3), shape=(5, 6, 2)),
    Case("average-pool", lambda: AveragePool2D(2), shape=(5, 4, 2)),
    Case("average-pool-overlapping", lambda: AveragePool2D((3, 2), stride=(2, 1)), shape=(5, 4, 2)),
    Case("global-average-pool", GlobalAveragePool2D, shape=(5, 3, 2)),
    Case("global-average-pool-pixel", GlobalAveragePool2D, shape=(1, 1, 2)),
    Case("thermometer", lambda: Thermometer(4, 3).fit(NUMBERS)),
    Case("thermometer-image", lambda: Thermometer(2, 3, "uniform").fit(NUMBERS[:, :2]), (3, 2, 2)),
    Case("one-hot", lambda: OneHotCode(4, 9).fit(NUMBERS)),
    Case("standardize", lambda: Standardize(4).fit(NUMBERS)),
    Case(
        "coded-net",
        lambda: Sequential(
            Standardize(4).fit(NUMBERS),
            Thermometer(4, 2).fit(NUMBERS),
            Dense(8, 3, weight_quantizer=SignSTE()),
        ),
    ),
    Case("prelu", lambda: PReLU(4)),
    Case("prelu-image", lambda: PReLU(2, slope_init=Uniform(-1, 1)), shape=(3, 2, 2)),
    Case("residual", lambda: Residual(Sequential(Dense(4, 4), Activation(Tanh())))),
    Case("residual-shortcut", lambda: Residual(Dense(4, 3), Dense(4, 3, bias=False))),
    Case("residual-no-parameters", lambda: Residual(Activation(SignSTE(clip=1.0)))),
    Case("residual-identity-block", lambda: Residual(Sequential(), Sequential())),
    Case(
        "residual-norm",
        lambda: Residual(Sequential(Activation(SignSTE(clip=1.0)), BatchNorm(4))),
        min_batch=2,
        same_in_training=False,
    ),
    Case(
        "residual-feedback",
        lambda: Residual(
            Sequential(Activation(Tanh()), Dense(4, 4, feedback=FixedFeedback())),
            Dense(4, 4, feedback=Blocked()),
        ),
    ),
    Case(
        "residual-dropout",
        lambda: Residual(Sequential(Dense(4, 4), Dropout(0.4)), Dropout(0.3)),
        same_in_training=False,
    ),
    Case("concatenate", lambda: Concatenate(Dense(4, 3), Sequential(), Dense(4, 1))),
    Case("concatenate-one", lambda: Concatenate(Activation(Tanh()))),
    Case(
        "concatenate-images",
        lambda: Concatenate(Conv2D(1, 2, 2, padding="same"), Activation(SignSTE(clip=1.0))),
        shape=(3, 4, 1),
    ),
    Case(
        "branches-in-direct-feedback",
        lambda: DirectFeedback(
            Residual(Sequential(Dense(4, 4), Activation(Tanh()))),
            Concatenate(Dense(4, 2), Sequential(Dense(4, 3), Activation(SignSTE(clip=1.0)))),
            Dense(5, 3),
        ),
    ),
    Case("residual-net", residual_net, shape=(6, 6, 1), same_in_training=False),
    Case("image-net", image_net, shape=(6, 5), same_in_training=False),
    Case("reshape", lambda: Reshape((3, 1, 2)), shape=(2, 3)),
    Case(
        "batchnorm-no-scale", lambda: BatchNorm(4, scale=False), min_batch=2, same_in_training=False
    ),
    Case("tensornorm", TensorNorm, same_in_training=False),
    Case("tensornorm-image", TensorNorm, shape=(3, 2, 2), same_in_training=False),
    Case("shift-batchnorm", lambda: ShiftBatchNorm(4), min_batch=2, same_in_training=False),
    Case(
        "shift-batchnorm-image", lambda: ShiftBatchNorm(2), shape=(3, 2, 2), same_in_training=False
    ),
    Case("dropout", lambda: Dropout(0.4), shape=(3, 4), same_in_training=False),
    Case("dropout-zero", lambda: Dropout(0)),
    Case("dropout-no-rescale", lambda: Dropout(0.4, rescale=False), same_in_training=False),
    Case("radial", lambda: Radial(4, 3)),
    Case("radial-binary", lambda: Radial(4, 3, bias=False, weight_quantizer=SignSTE(clip=1.0))),
    Case("radial-feedback", lambda: Radial(4, 3, feedback=FixedFeedback())),
    Case("radial-blocked", lambda: Radial(4, 3, feedback=Blocked())),
    Case("direct-feedback", direct_feedback_net),
    Case("direct-feedback-one", lambda: DirectFeedback(Dense(4, 3))),
    Case(
        "direct-feedback-inside",
        lambda: Sequential(
            Dense(4, 5),
            direct_feedback_net(5),
            Activation(Tanh()),
            Dense(3, 2),
        ),
    ),
    Case("flatten", Flatten, shape=(2, 3)),
    Case("rescale", lambda: Rescale(2.0, -1.0)),
    Case("sequential-empty", Sequential),
    Case("binary-net", binary_net, shape=(2, 3)),
    Case("normalised-net", normalised_net, shape=(6,), min_batch=2, same_in_training=False),
    Case(
        "feedback-net",
        lambda: Sequential(
            Dense(4, 5, feedback=FixedFeedback()),
            Activation(ReLU()),
            Dense(5, 4, feedback=FixedFeedback()),
            Activation(ReLU()),
            Dense(4, 3, feedback=FixedFeedback()),
        ),
    ),
]


def pieces(layer: Layer) -> set[type]:
    """The classes that a layer is made of."""
    found: set[type] = {type(layer)}
    found |= {type(v) for v in vars(layer).values() if isinstance(v, Function | Feedback)}
    for child in layer.children():
        found |= pieces(child)
    return found
