"""The seed job in plain NumPy, as a learner would write it from the formulas."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from harness.contestant import Array, Data, Job, read_mnist, run


def sign(x: Array) -> Array:
    """+1 or -1."""
    y: Array = (x >= 0) * np.float32(2) - np.float32(1)
    return y


def softmax(z: Array) -> Array:
    """Each row's probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p: Array = e / e.sum(axis=1, keepdims=True)
    return p


class PlainNumpy:
    """Dense binary layers with biases, straight-through gradients, Adam."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        self.job = job
        self.images, self.labels = job.pixels(data.train_images), data.train_labels
        self.parameters = [a for W in weights for a in (W, np.zeros(W.shape[1], np.float32))]
        self.m = [np.zeros_like(p) for p in self.parameters]
        self.v = [np.zeros_like(p) for p in self.parameters]
        self.t = 0

    def forward(self, x: Array) -> tuple[list[tuple[Array, Array]], Array]:
        """Each layer's input and binarised weights, and the logits."""
        layers: list[tuple[Array, Array]] = []
        for W, b in zip(self.parameters[0::2], self.parameters[1::2], strict=True):
            x = sign(x) if layers else x
            layers.append((x, sign(W)))
            x = x @ layers[-1][1] + b
        return layers, x

    def train(self, rows: Array) -> list[float]:
        """Run a step for each row."""
        losses = []
        for row in rows:
            labels = self.labels[row]
            layers, logits = self.forward(self.images[row])
            p = softmax(logits)
            samples = np.arange(len(row))
            losses.append(float(-np.log(p[samples, labels]).mean()))
            p[samples, labels] -= 1
            dz = p / np.float32(len(row))
            gradients: list[Array] = []
            for layer, (x, Wq) in reversed(list(enumerate(layers))):
                gradients = [x.T @ dz, dz.sum(axis=0), *gradients]
                if layer:
                    dz = dz @ Wq.T
            self.adam(gradients)
        return losses

    def adam(self, gradients: list[Array]) -> None:
        """Kingma and Ba 2014, arXiv:1412.6980, algorithm 1."""
        self.t += 1
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
            m = self.m[i] / (1 - 0.9**self.t)
            v = self.v[i] / (1 - 0.999**self.t)
            p -= self.job.learning_rate * m / (np.sqrt(v) + 1e-8)

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """Mean loss and accuracy over all images at once."""
        _, logits = self.forward(self.job.pixels(images))
        p = softmax(logits)
        loss = -np.log(p[np.arange(len(p)), labels]).mean()
        return float(loss), float((logits.argmax(axis=1) == labels).mean())

    def load(self) -> None:
        """Read the files of MNIST without verification."""
        read_mnist(Path(os.environ["MINIBNN_DATA"]))


if __name__ == "__main__":
    run(PlainNumpy)
