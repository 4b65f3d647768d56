"""minibnn: the plain loop that README shows, over bytes that the model scales."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from turns import Array, Data, Job, run

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    Flatten,
    Layer,
    LogitCrossEntropy,
    MaxPool2D,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    Uniform,
    evaluate,
    load_mnist,
)


def network(job: Job) -> Sequential:
    """The job's network with the weights of seed 0, from which every contestant starts."""
    binary: dict[str, Any] = {"bias": job.bias, "weight_quantizer": SignSTE()}
    if job.bound is not None:
        binary |= {"weight_init": Uniform(-job.bound, job.bound), "weight_bound": job.bound}
    layers: list[Layer] = [Reshape((28, 28, 1)) if job.convs else Flatten()]
    layers += [Rescale(job.scale, job.shift)]

    def after(channels: int, *, last: bool = False) -> list[Layer]:
        norm: list[Layer] = [BatchNorm(channels)] if job.norm else []
        return norm if last else [*norm, Activation(SignSTE(clip=job.clip))]

    channels = 1
    for i, n_out in enumerate(job.convs):
        layers += [Conv2D(channels, n_out, 3, **binary)]
        layers += [MaxPool2D(2)] if i in job.pooled else []
        layers += after(n_out)
        channels = n_out
    layers += [Flatten()] if job.convs else []
    last = len(job.sizes) - 1
    for i in range(1, last + 1):
        layers += [Dense(job.sizes[i - 1], job.sizes[i], **binary)]
        layers += after(job.sizes[i], last=i == last)
    return Sequential(*layers).initialize(np.random.default_rng(0))


def loader(job: Job, *arrays: Array) -> DataLoader:
    """The training batches; over row numbers it says in which order the samples come."""
    return DataLoader(arrays, job.batch, shuffle=True, drop_last=True, rng=0)


def endless(batches: DataLoader) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from batches


class Minibnn:
    """Forward, loss, backward, step."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        self.job = job
        self.model = network(job)
        self.loss = LogitCrossEntropy()
        self.optimizer = Adam(self.model.parameters(), job.rate)
        self.batches = endless(loader(job, data.train_images, data.train_labels))

    def train(self, rows: Array) -> list[Any]:
        """As many steps as there are rows, with its own loader, which gives these very rows."""
        losses = []
        for x, labels in islice(self.batches, len(rows)):
            logits = self.model.forward(x, train=True)
            losses.append(self.loss.forward(logits, labels))
            self.model.backward(self.loss.backward(), need_dx=False)
            self.optimizer.step()
        return losses

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """Over all images, which are bytes."""
        test = DataLoader((images, labels), self.job.batch)
        loss, accuracy = evaluate(self.model, test, self.loss)
        return loss, accuracy

    def load(self) -> None:
        """MNIST from its files, found, read and verified."""
        load_mnist()


if __name__ == "__main__":
    run(Minibnn)
