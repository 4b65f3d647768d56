"""Recipes: named networks and their training, each as plain code.

A recipe is a function that returns a `Recipe`: network, loss, optimiser, learning rate schedule,
batch size and epochs. Read one, copy it, change a line. Those of this file take images of 28x28
pixels in 10 classes; your own takes what its network takes.

>>> from minibnn import load_sample
>>> model, history = RECIPES["seed"]().train(load_sample(), epochs=1, progress=False)
>>> bool(history.acc_test[1] > 0.3)
True
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

from minibnn.checks import integer, number
from minibnn.feedback import Feedback, FixedFeedback
from minibnn.functions import ApproxSign, Function, ReLU, SignSTE, StochasticSign
from minibnn.initializers import Uniform, glorot_lr_scale
from minibnn.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Concatenate,
    Conv2D,
    Dense,
    DirectFeedback,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Rescale,
    Reshape,
    Residual,
    Sequential,
)
from minibnn.losses import SquaredHinge
from minibnn.renames import renamed_argument
from minibnn.training.recipe import ExponentialTo, Recipe, constant


def binary_dense(n_in: int, n_out: int, feedback: Feedback | None = None) -> Dense:
    """A dense layer with binary weights, as networks use it today.

    Latent weights start in [-1, 1] and stay there, so that a step can flip their sign. The learning
    rate is scaled to the layer's width. The batch norm that follows makes a bias useless.
    """
    return Dense(
        n_in,
        n_out,
        bias=False,
        weight_quantizer=SignSTE(),
        feedback=feedback,
        weight_init=Uniform(-1, 1),
        weight_bound=1.0,
        lr_scale=glorot_lr_scale(n_in, n_out),
    )


def binary_hidden(n_in: int, n_out: int, feedback: Feedback | None = None) -> list[Layer]:
    """A hidden layer with binary weights and activations.

    Batch norm centres the input of the sign. The clip removes gradients that cannot flip a sign.
    """
    return [binary_dense(n_in, n_out, feedback), BatchNorm(n_out), Activation(SignSTE(clip=1.0))]


def seed() -> Recipe:
    """The first binary network: sign weights, sign activations, straight-through gradients.

    784-128-64-10 with biases: Adam at 3e-4, batches of 64, ten epochs.

    Reference: Bender.jl's tutorial, whose table ends at a test accuracy of 0.869.
    """

    def build() -> Sequential:
        return Sequential(
            Flatten(),
            Rescale(1 / 255),
            Dense(784, 128, weight_quantizer=SignSTE()),
            Activation(SignSTE()),
            Dense(128, 64, weight_quantizer=SignSTE()),
            Activation(SignSTE()),
            Dense(64, 10, weight_quantizer=SignSTE()),
        )

    return Recipe("seed", build, epochs=10, batch_size=64, learning_rate=3e-4, decay=constant)


def modern() -> Recipe:
    """The network of `seed` with modern training; see `binary_dense` and `binary_hidden`."""

    def build() -> Sequential:
        return Sequential(
            Flatten(),
            Rescale(2 / 255, -1),
            *binary_hidden(784, 128),
            *binary_hidden(128, 64),
            binary_dense(64, 10),
            BatchNorm(10),
        )

    return Recipe("modern", build, epochs=10, batch_size=100, learning_rate=5e-3)


def feedback_alignment() -> Recipe:
    """`modern` with feedback alignment: errors go back through fixed random matrices.

    Reference: Lillicrap et al. 2016, arXiv:1411.0247.
    """

    def build() -> Sequential:
        return Sequential(
            Flatten(),
            Rescale(2 / 255, -1),
            *binary_hidden(784, 128, FixedFeedback()),
            *binary_hidden(128, 64, FixedFeedback()),
            binary_dense(64, 10, FixedFeedback()),
            BatchNorm(10),
        )

    return replace(modern(), name="feedback-alignment", build=build)


def direct_feedback() -> Recipe:
    """`modern` with direct feedback: the output error goes straight to each hidden layer.

    Reference: Nokland 2016, arXiv:1609.01596.
    """

    def build() -> Sequential:
        return DirectFeedback(
            Sequential(Flatten(), Rescale(2 / 255, -1), *binary_hidden(784, 128)),
            Sequential(*binary_hidden(128, 64)),
            Sequential(binary_dense(64, 10), BatchNorm(10)),
        )

    return replace(modern(), name="direct-feedback", build=build)


@renamed_argument("lr", "learning_rate", gone_in="0.3")
def finn(
    name: str,
    width: int,
    *,
    input_bits: int,
    epochs: int,
    learning_rate: float,
    dropout: float = 0.0,
    threshold: int = 64,
) -> Recipe:
    """Three hidden layers of the same width, with binary weights and activations.

    FINN's networks TFC, SFC and LFC (64, 256 and 1024 wide), trained as `modern`.

    Args:
        name: the recipe's name.
        width: units in each hidden layer.
        input_bits: 8 for the grey values, 1 for ink or no ink.
        epochs: see `Recipe`.
        learning_rate: see `Recipe`.
        dropout: dropout rate of the input.
        threshold: with 1-bit input, the lowest grey value that counts as ink.

    Raises:
        ValueError: if input_bits is not 1 or 8.

    References: Umuroglu et al. 2017, arXiv:1612.07119; the published accuracies with 1-bit input
    are Brevitas's 0.9317, 0.9781 and 0.9888 after 1000 epochs.
    """
    input_bits = integer("finn", "input_bits", input_bits)
    width, threshold = integer("finn", "width", width), integer("finn", "threshold", threshold)
    dropout = number("finn", "dropout", dropout)
    if input_bits not in (1, 8):
        raise ValueError(f"finn: expected input_bits of 1 or 8, got {input_bits!r}")

    def build() -> Sequential:
        bits: list[Layer] = [Rescale(2 / 255, -1)]
        if input_bits == 1:
            bits = [Rescale(1, -threshold), Activation(SignSTE())]
        return Sequential(
            Flatten(),
            *bits,
            *([Dropout(dropout)] if dropout else []),
            *binary_hidden(784, width),
            *binary_hidden(width, width),
            *binary_hidden(width, width),
            binary_dense(width, 10),
            BatchNorm(10),
        )

    return Recipe(name, build, epochs=epochs, batch_size=100, learning_rate=learning_rate)


def published_dense(
    n_in: int, n_out: int, quantizer: Function, momentum: float
) -> tuple[Dense, BatchNorm]:
    """The dense layer of BinaryConnect and BinaryNet: `binary_dense` with a (useless) bias."""
    dense = Dense(
        n_in,
        n_out,
        weight_quantizer=quantizer,
        weight_init=Uniform(-1, 1),
        weight_bound=1.0,
        lr_scale=glorot_lr_scale(n_in, n_out),
    )
    return dense, BatchNorm(n_out, momentum=momentum, epsilon=1e-4)


def binarynet() -> Recipe:
    """The permutation-invariant MNIST network of BinaryNet, as the authors' code trains it.

    Dropout of 0.2 on the input, three hidden layers of 4096 with dropout of 0.5, biases before
    batch norm (useless, but published), squared hinge loss, Adam from 3e-3 to 3e-7, multiplied
    by the same factor after each of 1000 epochs, learning rates scaled to each layer (57.0, 73.9,
    73.9 and 52.3), and the best epoch chosen on 10,000 images held out. Published test error:
    0.96 %.

    Three details differ here: the images held out are random (theirs: the last 10,000), batch norm
    keeps a running variance (theirs: a running 1 / sqrt(variance)), and Adam adds its epsilon of
    1e-8 after the bias correction of the second moment (theirs: before).

    Reference: Courbariaux et al. 2016, arXiv:1602.02830, section 2.1 and their code.
    """

    def build() -> Sequential:
        hidden: list[Layer] = []
        for n_in in (784, 4096, 4096):
            hidden += published_dense(n_in, 4096, SignSTE(), momentum=0.9)
            hidden += [Activation(SignSTE(clip=1.0)), Dropout(0.5)]
        output = published_dense(4096, 10, SignSTE(), momentum=0.9)
        return Sequential(Flatten(), Rescale(2 / 255, -1), Dropout(0.2), *hidden, *output)

    return Recipe(
        "binarynet",
        build,
        epochs=1000,
        batch_size=100,
        learning_rate=3e-3,
        decay=ExponentialTo(3e-7),
        loss=SquaredHinge,
        held_out=10_000,
    )


def binaryconnect() -> Recipe:
    """Binary weights, sampled anew for each batch, and real activations (ReLU).

    Three hidden layers of 2048, squared hinge loss, Adam from 1e-3 to 3e-6 over 250 epochs. The
    authors evaluate with real weights; here their signs are used, as in a packed model.

    Reference: Courbariaux et al. 2015, arXiv:1511.00363, sections 2.3 and 3.1 and their code.
    """

    def build() -> Sequential:
        hidden: list[Layer] = []
        for n_in in (784, 2048, 2048):
            hidden += published_dense(n_in, 2048, StochasticSign(), momentum=0.85)
            hidden += [Activation(ReLU())]
        output = published_dense(2048, 10, StochasticSign(), momentum=0.85)
        return Sequential(Flatten(), Rescale(2 / 255, -1), *hidden, *output)

    return Recipe(
        "binaryconnect",
        build,
        epochs=250,
        batch_size=100,
        learning_rate=1e-3,
        decay=ExponentialTo(3e-6),
        loss=SquaredHinge,
        held_out=10_000,
    )


def binary_conv(c_in: int, c_out: int, **windows: Any) -> Conv2D:
    """Windows of 3x3 with binary weights, trained as those of `binary_dense`."""
    return Conv2D(
        c_in,
        c_out,
        3,
        bias=False,
        weight_quantizer=SignSTE(),
        weight_init=Uniform(-1, 1),
        weight_bound=1.0,
        lr_scale=glorot_lr_scale(9 * c_in, 9 * c_out),
        **windows,
    )


def larq_cnn() -> Recipe:
    """The convolutional network of Larq's introduction, 13.2 KiB, with binary weights.

    Convolutions of 32, 64 and 64 channels, dense layers of 64 and 10. Larq publishes 0.976 after 6
    epochs.

    Reference: Geiger and Team 2020, "Larq: an open-source library for training binarized neural
    networks", JOSS 5(45), and its MNIST tutorial.
    """

    def sign(channels: int) -> list[Layer]:
        return [BatchNorm(channels, scale=False), Activation(SignSTE(clip=1.0))]

    def build() -> Sequential:
        return Sequential(
            Reshape((28, 28, 1)),
            Rescale(2 / 255, -1),
            binary_conv(1, 32),
            MaxPool2D(2),
            *sign(32),
            binary_conv(32, 64),
            MaxPool2D(2),
            *sign(64),
            binary_conv(64, 64),
            *sign(64),
            Flatten(),
            binary_dense(576, 64),
            *sign(64),
            binary_dense(64, 10),
            BatchNorm(10, scale=False),
        )

    return Recipe("larq-cnn", build, epochs=6, batch_size=100, learning_rate=5e-3)


def bi_real() -> Recipe:
    """A residual network with binary weights, 12.3 KiB: every hidden convolution has a shortcut.

    A convolution of 32 channels, then three steps of sign, convolution, batch norm and shortcut: at
    13x13 pixels with 32 channels; to 6x6 pixels and 64 channels; at 6x6. The second pools its input
    for the shortcut, and doubles the channels by two such steps side by side, as in ReActNet, so
    that no shortcut has weights. A sign and a binary dense layer follow. All 87,840 weights have
    one bit (`larq_cnn` has 93,088).

    Unlike the authors' network, the first and the last layer are binary, too, the latent weights
    are bounded and have no scales, and it trains in one stage. Their evidence is on ImageNet.

    References: Liu et al. 2018 (Bi-Real Net), arXiv:1808.00278, section 3.2; the
    concatenation: Liu et al. 2020 (ReActNet), arXiv:2003.03488, section 4.1.
    """

    def block(channels: int, **windows: Any) -> Sequential:
        return Sequential(
            Activation(ApproxSign()),
            binary_conv(channels, channels, **windows),
            BatchNorm(channels),
        )

    def step(channels: int) -> Residual:
        return Residual(block(channels, padding=1, padding_value=1))

    def smaller(channels: int) -> Residual:
        return Residual(block(channels, stride=2), AveragePool2D(2))

    def build() -> Sequential:
        return Sequential(
            Reshape((28, 28, 1)),
            Rescale(2 / 255, -1),
            binary_conv(1, 32),
            MaxPool2D(2),
            BatchNorm(32),
            step(32),
            Concatenate(smaller(32), smaller(32)),
            step(64),
            Activation(ApproxSign()),
            Flatten(),
            binary_dense(2304, 10),
            BatchNorm(10),
        )

    return Recipe("bi-real", build, epochs=10, batch_size=100, learning_rate=1e-2)


class _Recipes(dict[str, Callable[..., Recipe]]):
    def __missing__(self, name: str) -> Callable[..., Recipe]:
        raise KeyError(f"expected the name of a recipe, got {name!r}; there are {', '.join(self)}")


# Each value returns a `Recipe` when called; those made by `finn` also take its other arguments.
RECIPES = _Recipes(
    {
        "seed": seed,
        "modern": modern,
        "feedback-alignment": feedback_alignment,
        "direct-feedback": direct_feedback,
        "finn-tfc": partial(finn, "finn-tfc", 64, input_bits=1, epochs=100, learning_rate=2e-3),
        "finn-sfc": partial(
            finn, "finn-sfc", 256, input_bits=1, epochs=100, learning_rate=2e-3, dropout=0.1
        ),
        "finn-lfc": partial(
            finn, "finn-lfc", 1024, input_bits=1, epochs=30, learning_rate=1e-3, dropout=0.2
        ),
        "finn-tfc-8bit": partial(
            finn, "finn-tfc-8bit", 64, input_bits=8, epochs=100, learning_rate=2e-3
        ),
        "finn-sfc-8bit": partial(
            finn, "finn-sfc-8bit", 256, input_bits=8, epochs=50, learning_rate=2e-3, dropout=0.1
        ),
        "finn-lfc-8bit": partial(
            finn, "finn-lfc-8bit", 1024, input_bits=8, epochs=30, learning_rate=1e-3, dropout=0.2
        ),
        "binarynet": binarynet,
        "binaryconnect": binaryconnect,
        "larq-cnn": larq_cnn,
        "bi-real": bi_real,
    }
)


def recipe_text(text: str) -> str:
    """An option's type for argparse: the name of a recipe, or ``FILE.py:FUNCTION``."""
    if text not in RECIPES and ":" not in text:
        import argparse

        raise argparse.ArgumentTypeError(
            f"invalid choice: {text!r} (choose from {', '.join(RECIPES)}, or write "
            "FILE.py:FUNCTION)"
        )
    return text


def recipe_named(
    text: str,
    *,
    epochs: int = 10,
    batch_size: int = 100,
    learning_rate: float = 5e-3,
    **others: Any,
) -> Recipe:
    """The recipe of a name, or of a function in a file of your own: ``"mine.py:build"``.

    The function takes no arguments, and returns a `Recipe`, or a `Sequential` that is not yet
    initialised; the latter is trained with the other arguments.

    Args:
        text: a name in `RECIPES`, or a path, a colon and the name of a function.
        epochs: of a network without a recipe.
        batch_size: of a network without a recipe.
        learning_rate: of a network without a recipe.
        others: attributes of that recipe, such as ``loss``.

    Raises:
        ValueError: for an unknown name, a file that cannot be run, and for a function that is not
            in it, or returns something else.

    >>> recipe_named("modern").name
    'modern'
    """
    if text in RECIPES:
        return RECIPES[text]()
    function = _function(text)
    made = _network(text, function)
    if isinstance(made, Recipe):
        return made

    def build() -> Sequential:
        again = _network(text, function)
        return again if isinstance(again, Sequential) else Sequential(cast(Layer, again))

    return Recipe(text, build, epochs, batch_size, learning_rate, **others)


def _function(text: str) -> Callable[[], Any]:
    """The function of ``"FILE:FUNCTION"``."""
    file, _, function = text.rpartition(":")
    if not file or not function.isidentifier():
        raise ValueError(
            f"expected the name of a recipe, or FILE.py:FUNCTION, got {text!r}; there are "
            f"{', '.join(RECIPES)}"
        )
    import runpy

    try:
        names = runpy.run_path(file)
    except OSError as error:
        raise ValueError(
            f"{text}: expected a file of Python, got {error.strerror}; name one that is there"
        ) from None
    except Exception as error:
        raise ValueError(
            f"{text}: expected a file that Python can run, got {type(error).__name__}: {error}; "
            f"correct it until this runs: python {file}"
        ) from error
    if not callable(names.get(function)):
        own = names["__name__"]
        there = [n for n, f in names.items() if inspect.isfunction(f) and f.__module__ == own]
        raise ValueError(
            f"{text}: expected a function {function} in the file, got none; name one of its own: "
            f"{', '.join(there) or 'it has none'}"
        )
    found: Callable[[], Any] = names[function]
    return found


def _network(text: str, function: Callable[[], Any]) -> Recipe | Layer:
    """What the function returns."""
    try:
        made = function()
    except Exception as error:
        raise ValueError(
            f"{text}: expected a function that returns a network, got {type(error).__name__}: "
            f"{error}; call it in Python first, without arguments"
        ) from error
    if not isinstance(made, Recipe | Layer):
        raise ValueError(
            f"{text}: expected a function that returns a Sequential or a Recipe, got "
            f"{type(made).__name__}; return one"
        )
    return made
