"""What all forms of a trained network share. It needs only NumPy.

A form is a class:

    __init__(folder, threads, form)      loads the shipped network, and nothing for training
    prepare(images) -> batch             not timed: images as users of the form have them (tensors)
    predict(batch) -> labels             timed; on a GPU, from images there to labels on the host
    shipped                              the size in bytes of the shipped network

The last line of its module is ``run(TheClass)``. `start_contestant.py` runs the module with
arguments ``FOLDER [FORM]``. The folder has the task, the network in every form, and images with the
labels of the packed model. For each line on stdin a form runs one round and answers with a line of
JSON: seconds per call (or bytes of memory), the share of images with the packed model's label, and
`shipped`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.contestant import Array, limit_cores, open_answers


@dataclass(frozen=True)
class Task:
    """The work of a round: `calls` calls with `batch` images each; with no calls, memory."""

    recipe: str
    batch: int
    calls: int
    threads: int
    device: str = "cpu"

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Read the task that `deploy.py` has written."""
        return cls(**json.loads((folder / "task.json").read_text()))

    def write(self, folder: Path) -> None:
        """Write the task for the forms."""
        (folder / "task.json").write_text(json.dumps(asdict(self)))


class Form(Protocol):
    """See the docstring of this module."""

    shipped: int

    def __init__(self, folder: Path, threads: int, form: str) -> None: ...

    def prepare(self, images: Array) -> Any:
        """Return the batch that `predict` takes."""

    def predict(self, batch: Any) -> Any:
        """Return labels."""


def folded(folder: Path) -> list[tuple[Array, Array]]:
    """The network as weights (outputs, inputs) and biases: ``x = sign(x W.T + b)``, then logits.

    They include batch norm and thresholds, and no sum is 0. The first layer takes pixels.
    """
    with np.load(folder / "folded.npz") as file:
        arrays = [file[name] for name in file.files]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def run(make: type[Form]) -> None:
    """Run the form that the command line asks for."""
    folder = Path(sys.argv[1])
    name = sys.argv[2] if len(sys.argv) > 2 else ""
    task = Task.read(folder)
    limit_cores(task.threads)
    answers = open_answers()
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    before = 0.0 if task.calls else memory_from_here()
    form = make(folder, task.threads, name)
    agreement = np.mean(np.asarray(form.predict(form.prepare(images))) == labels)
    form.predict(form.prepare(images[:1]))
    growth = 0.0 if task.calls else peak_memory() - before
    batches: list[Any] = []
    if task.calls:
        starts = range(0, len(images), task.batch)
        batches = [form.prepare(images[i : i + task.batch]) for i in starts]
    for _ in sys.stdin:
        value = growth
        if task.calls:  # a form may have a clock of its own
            own: Any = getattr(form, "seconds_a_call", partial(clocked, form.predict))
            value = own(batches, task.calls)
        answer = [float(value), float(agreement), form.shipped]
        print(json.dumps(answer), file=answers, flush=True)


def clocked(predict: Callable[[Any], Any], batches: list[Any], calls: int) -> float:
    """Seconds per call, over one batch after another."""
    order = [batches[i % len(batches)] for i in range(calls)]
    start = time.perf_counter()
    for batch in order:
        predict(batch)
    return (time.perf_counter() - start) / calls


def memory_from_here() -> float:
    """The resident memory of this process in bytes; resets `peak_memory` (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_memory() -> float:
    """The peak of the resident memory in bytes since `memory_from_here`."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(field))
