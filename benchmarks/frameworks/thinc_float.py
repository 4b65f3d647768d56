"""Thinc: a float network of the seed's shape with ReLU, since Thinc has no binary layers.

It does less work than the others, since it binarises no weights. Its loss is not compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc.api import Adam, Relu, Softmax, chain, get_current_ops

from harness.contestant import Array, Data, Job, run


class Thinc:
    """Thinc's training loop: begin the update, finish it."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        self.images, self.labels = job.pixels(data.train_images), data.train_labels
        hidden = [Relu(n) for n in job.sizes[1:-1]]
        self.model: Any = chain(*hidden, Softmax(job.sizes[-1]))
        self.model.initialize(self.images[:2], np.eye(10, dtype=np.float32)[:2])
        self.optimizer = Adam(job.learning_rate, L2=0.0, grad_clip=0.0, use_averages=False)
        self.one_hot = np.eye(10, dtype=np.float32)
        self.ops = get_current_ops()

    def train(self, rows: Array) -> list[float]:
        """Run a step for each row."""
        for row in rows:
            p, backward = self.model.begin_update(self.images[row])
            backward((p - self.one_hot[self.labels[row]]) / np.float32(len(row)))
            self.model.finish_update(self.optimizer)
        return []

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """This contestant does not evaluate."""
        raise NotImplementedError


if __name__ == "__main__":
    run(Thinc)
