"""minibnn: README's plain loop, over bytes that the model scales.

A job `by_epoch` has two forms, which run whole epochs by minibnn.training: `plain` runs the same
loop; `captured` captures a step on the GPU and replays it.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.contestant import Array, Data, Job, Maker, require_exact, run
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
    get_backend,
    load_mnist,
    training,
)
from minibnn.backend import Backend

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist.py"


def network(job: Job) -> Sequential:
    """The job's network with the weights of seed 0, the initial weights of all contestants."""
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
    """The training batches; given the indices of samples, it yields their order."""
    n = job.samples(len(arrays[0]))
    parts = tuple(array[:n] for array in arrays)
    return DataLoader(parts, job.batch, shuffle=True, drop_last=True, rng=0)


def endless(batches: DataLoader) -> Iterator[Any]:
    """Yield batches, one epoch after another."""
    while True:
        yield from batches


def backend_for(device: str, tf32: bool) -> Backend:
    """The device's backend, with TF32 allowed or not."""
    backend: Any = get_backend(device)
    if device == "gpu":
        backend.tf32 = tf32
    return backend  # type: ignore[no-any-return]


class Minibnn:
    """Forward, loss, backward, step."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        self.job = job
        self.backend = backend_for(job.device, job.tf32)
        require_exact(job, self.product)
        self.model = network(job).to(self.backend)
        self.loss = LogitCrossEntropy()
        self.optimizer = Adam(self.model.parameters(), job.learning_rate)
        self.data = loader(job, data.train_images, data.train_labels).to(self.backend)
        self.batches = endless(self.data)
        self.steps: Any = None
        self.form = form
        if form:
            steps = {"plain": training.PlainSteps, "captured": training.CapturedSteps}[form]
            self.steps = steps(self.model, self.loss, self.optimizer)

    def train(self, rows: Array) -> list[Any]:
        """Run a step for each row; the contestant's own loader yields the same rows."""
        if self.steps is not None:
            read = self.backend.to_host(self.steps.epoch(self.data))
            if len(read) != len(rows):
                raise RuntimeError(f"expected an epoch of {len(rows)} steps, got {len(read)}")
            if self.form == "captured" and not self.steps.captured:
                raise RuntimeError(f"no step was captured: {self.steps.refused}")
            return [read[0], read[-1]]
        losses = []
        for x, labels in islice(self.batches, len(rows)):
            logits = self.model.forward(x, train=True)
            losses.append(self.loss.forward(logits, labels))
            self.model.backward(self.loss.backward(), need_dx=False)
            self.optimizer.step()
        return losses

    def product(self, a: Array, b: Array) -> Array:
        """The product of two matrices on the host, computed on the device."""
        a, b = map(self.put, (a, b))
        return self.backend.to_host(self.backend.matmul(a, b))

    def put(self, array: Array) -> Any:
        """Move an array to the device."""
        return self.backend.asarray(array)

    def wait(self) -> None:
        """Wait for all streams of the device."""
        if not self.backend.host:
            self.backend.xp.cuda.Device().synchronize()

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """Mean loss and accuracy over images, as bytes."""
        test = DataLoader((images, labels), self.job.batch)
        loss, accuracy = evaluate(self.model, test, self.loss)
        return loss, accuracy

    def load(self) -> None:
        """Find, read and verify the files of MNIST."""
        load_mnist()


def example(make: Maker, job: Job, form: str) -> None:
    """The seed job as users run it: `examples/mnist.py`."""
    backend_for(job.device, job.tf32)
    sys.argv = [str(EXAMPLE), "--device", job.device, "--quiet"]
    runpy.run_path(str(EXAMPLE), run_name="__main__")


if __name__ == "__main__":
    run(Minibnn, example)
