"""Feedback alignment: train a network whose errors do not travel through its own weights.

    python examples/feedback_alignment.py                      # fixed random feedback weights
    python examples/feedback_alignment.py --feedback Transpose   # backpropagation, for comparison

Backpropagation sends the error of each layer back through the transpose of its weights. Feedback
alignment sends it through a fixed random matrix, and the network still learns (Lillicrap et al.
2016, arXiv:1411.0247). In minibnn this changes one word: `FixedFeedback` instead of `Transpose`.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd

import minibnn
from minibnn import (
    Activation,
    Adam,
    DataLoader,
    Dense,
    FixedFeedback,
    Flatten,
    LogitCrossEntropy,
    ReLU,
    Rescale,
    Sequential,
    Transpose,
    fit,
    load_mnist_or_sample,
)


def build_model(feedback: type[FixedFeedback] | type[Transpose] = FixedFeedback) -> Sequential:
    """A 784-128-64-10 network with ReLU and real weights."""
    return Sequential(
        Flatten(),
        Rescale(1 / 255),
        Dense(784, 128, feedback=feedback()),
        Activation(ReLU()),
        Dense(128, 64, feedback=feedback()),
        Activation(ReLU()),
        Dense(64, 10, feedback=feedback()),
    )


def train(feedback: str = "FixedFeedback", epochs: int = 10, seed: int = 0) -> pd.DataFrame:
    """Train and return the history, with a title in its `attrs`."""
    rng = np.random.default_rng(seed)
    data = load_mnist_or_sample()
    model = build_model(getattr(minibnn, feedback)).initialize(rng)
    history = fit(
        model,
        DataLoader((data.train_images, data.train_labels), 64, shuffle=True, rng=rng),
        DataLoader((data.test_images, data.test_labels), 64),
        loss=LogitCrossEntropy(),
        optimizer=Adam(model.parameters(), 3e-4),
        epochs=epochs,
    )
    history.attrs["title"] = f"{data.name}, {feedback}, seed {seed}"
    return history


def main() -> int:
    """Run the command line."""
    # fmt: off
    parser = argparse.ArgumentParser(description="Train a network with feedback alignment.")
    choices = ("FixedFeedback", "Transpose")
    parser.add_argument("--feedback", choices=choices, default=choices[0],
                        help="the weights that send the error back; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, metavar="N",
                        help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="seed of all random numbers; default: %(default)s")
    # fmt: on
    try:
        history = train(**vars(parser.parse_args()))
    except (minibnn.DataError, minibnn.DivergedError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        codes = {minibnn.DataError: 3, minibnn.DivergedError: 5}
        return next((code for kind, code in codes.items() if isinstance(error, kind)), 2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if len(history):
        print(history.attrs["title"])
        print(history.rename_axis(index=None, columns="epoch").to_string(float_format="%.3f"))
    return 130 if history.attrs["interrupted"] else 0


if __name__ == "__main__":
    sys.exit(main())
