"""What all contestants share. It needs only NumPy: rivals' environments do not have minibnn.

A contestant is a class with three methods:

    __init__(job, weights, data, form)      builds the network with these weights
    train(rows) -> losses                   one step for each row of `rows` (steps, batch)
    evaluate(images, labels) -> loss, accuracy

and, if it runs on a GPU, two more:

    put(array) -> array                     moves the images and labels of `evaluate`; not timed
    wait()                                  waits for the device; called before reading the clock

The last line of its module is ``run(TheClass)``. `start_contestant.py` runs the module with
arguments ``FOLDER [FORM]``: the folder has the job, the weights, the data and the order of the
samples; the form names a variant of the contestant. For each line on stdin the contestant runs one
round and answers with a line of JSON: seconds per step, first loss, last loss.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CLASSES = 10


@dataclass(frozen=True)
class Job:
    """The network, and the work of one round.

    The network has 3x3 convolutions with `convs` output channels, each followed by 2x2 max pooling
    if its index is in `pooled`, and then dense layers of `sizes`. All weights are binarised. With
    `norm`, batch norm follows each layer. A sign follows each layer but the last.
    """

    kind: str  # train, evaluate, load or whole
    sizes: tuple[int, ...]
    convs: tuple[int, ...] = ()
    pooled: tuple[int, ...] = ()
    bias: bool = False
    norm: bool = True
    clip: float | None = 1.0  # the gradient of an activation's sign is 0 beyond this |x|
    bound: float | None = 1.0  # the optimiser keeps weights in [-bound, bound]
    scale: float = 2 / 255  # of the pixels
    shift: float = -1.0
    learning_rate: float = 1e-3
    batch: int = 100
    steps: int = 100  # per round; for evaluation and loading, the number of repetitions
    threads: int = 2
    device: str = "cpu"  # or gpu
    tf32: bool = False  # whether float32 matrix products may be rounded to TF32
    by_epoch: bool = False  # whether a round is one epoch of a loader: see `samples`

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read the job that the race has written."""
        job: dict[str, Any] = json.loads((folder / "job.json").read_text())
        for name in ("sizes", "convs", "pooled"):
            job[name] = tuple(job[name])
        return cls(**job)

    def write(self, folder: Path) -> None:
        """Write the job for the contestants."""
        job = {field.name: getattr(self, field.name) for field in fields(self)}
        (folder / "job.json").write_text(json.dumps(job))

    def samples(self, available: int) -> int:
        """The number of training samples in the loader.

        All that are available. With `by_epoch` only as many as one round takes, so that an epoch
        has as many steps as a round.
        """
        use_all = not self.by_epoch or available // self.batch == self.steps
        return available if use_all else self.batch * self.steps

    def pixels(self, images: Array) -> Array:
        """Bytes to the network's input: (n, 784), or (n, 28, 28, 1) if it has convolutions."""
        x = images.astype(np.float32) * np.float32(self.scale) + np.float32(self.shift)
        return x.reshape(len(x), 28, 28, 1) if self.convs else x.reshape(len(x), -1)


class Data(NamedTuple):
    """The four arrays of MNIST, as bytes."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def read_mnist(folder: Path) -> Data:
    """Read MNIST from its four IDX files, gzipped or plain, without minibnn."""
    arrays = []
    for name in NAMES:
        file = folder / f"{name}-ubyte.gz"
        data = (
            gzip.decompress(file.read_bytes())
            if file.exists()
            else file.with_suffix("").read_bytes()
        )
        if "images" in name:
            arrays.append(np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28))
        else:
            arrays.append(np.frombuffer(data, np.uint8, offset=8))
    return Data(*arrays)


class Contestant(Protocol):
    """See the docstring of this module."""

    def train(self, rows: Array) -> Sequence[float]:
        """Run a step for each row; return all losses, or the first and the last."""

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """Return mean loss and accuracy."""


Maker = Callable[[Job, list[Array], Data, str], Any]


def require_exact(job: Job, product: Callable[[Array, Array], Any]) -> None:
    """Raise if a contestant rounds products to TF32 (10 bits) and the job forbids it.

    Libraries have different defaults, and rounding makes products several times faster.
    """
    a = np.full((256, 256), 1 + 2**-12, np.float32)
    rounded = not np.array_equal(np.asarray(product(a, np.eye(256, dtype=np.float32))), a)
    if rounded and not job.tf32:
        raise RuntimeError("the products are rounded to TF32, which this job forbids")


def limit_cores(threads: int) -> None:
    """Restrict this process to so many cores: JAX has no setting for its threads."""
    if hasattr(os, "sched_setaffinity") and threads < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def open_answers() -> TextIO:
    """Return a stream for answers; from now on stdout, for a framework's messages, is stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def whole(make: Maker, job: Job, form: str) -> None:
    """The seed job as one process: read the files, train for ten epochs, print the table."""
    data = read_mnist(Path(os.environ["MINIBNN_DATA"]))
    rng = np.random.default_rng(0)
    weights: list[Array] = []
    for n_in, n_out in zip(job.sizes[:-1], job.sizes[1:], strict=True):
        limit = np.sqrt(6 / (n_in + n_out))
        weights.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
    contestant = make(job, weights, data, form)
    put: Callable[[Array], Any] = getattr(contestant, "put", lambda array: array)
    images, labels = put(data.train_images), put(data.train_labels)
    test_images, test_labels = put(data.test_images), put(data.test_labels)
    steps = len(data.train_images) // job.batch
    print("epoch  loss_train  loss_test  acc_train  acc_test")
    for epoch in range(1, 11):
        rows = rng.permutation(len(data.train_images))[: steps * job.batch]
        contestant.train(rows.reshape(steps, job.batch))
        loss_train, acc_train = contestant.evaluate(images, labels)
        loss_test, acc_test = contestant.evaluate(test_images, test_labels)
        print(f"{epoch:5} {loss_train:11.3f} {loss_test:10.3f} {acc_train:10.3f} {acc_test:9.3f}")


def run(make: Maker, cold: Callable[[Maker, Job, str], None] = whole) -> None:
    """Run the contestant that the command line asks for; `cold` runs the whole seed job."""
    folder = Path(sys.argv[1])
    form = sys.argv[2] if len(sys.argv) > 2 else ""
    job = Job.read(folder)
    limit_cores(job.threads)
    if job.kind == "whole":
        cold(make, job, form)
        return
    answers = open_answers()
    data = Data(*(np.load(folder / f"{name}.npy") for name in Data._fields))
    weights = [np.load(file) for file in sorted(folder.glob("weight_*.npy"))]
    contestant = make(job, weights, data, form)
    put: Callable[[Array], Any] = getattr(contestant, "put", lambda array: array)
    wait: Callable[[], None] = getattr(contestant, "wait", lambda: None)
    test = put(data.test_images), put(data.test_labels)
    orders = np.load(folder / "orders.npy")
    for index, _ in enumerate(sys.stdin):
        wait()
        start = time.perf_counter()
        losses: Sequence[float] = []
        if job.kind == "train":
            losses = contestant.train(orders[index])
        for _ in range(job.steps if job.kind == "evaluate" else 0):
            losses = contestant.evaluate(*test)[:1]
        for _ in range(job.steps if job.kind == "load" else 0):
            contestant.load()
        wait()
        seconds = time.perf_counter() - start
        # Keras's `fit` returns no loss of a single batch; Larq reports its first loss, untimed.
        first = getattr(contestant, "first_loss", losses[0] if len(losses) else None)
        last = losses[-1] if len(losses) else None
        answer = [seconds / job.steps, *(None if v is None else float(v) for v in (first, last))]
        print(json.dumps(answer), file=answers, flush=True)
