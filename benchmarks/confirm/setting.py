"""What the parts of `confirm_gpu.py` are given, and how they end."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from minibnn import ImageDataset, load_mnist_or_sample
from minibnn.backend import Backend

OK, FAILED, NOT_RUN = "ok", "FAILED", "not run"
BENCHMARKS = Path(__file__).parent.parent
ROOT = BENCHMARKS.parent


class Outcome(NamedTuple):
    """How a part ended.

    Attributes:
        status: one of OK, FAILED, NOT_RUN.
        line: the rest of the part's last line: figures, or why.
        details: everything else that is kept.
    """

    status: str
    line: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What all parts are given.

    Attributes:
        backend: of the device.
        images: for training; None for all.
        accuracy_seeds: how many of them.
        epochs: that a speed is the median of.
        steps: of an epoch, of the wide networks.
        job_epochs: of the whole job.
        sanitizer: the program, if it was named.
        given: data to take instead of MNIST's.
    """

    backend: Backend
    images: int | None = None
    accuracy_seeds: int = 5
    epochs: int = 5
    steps: int = 200
    job_epochs: int = 10
    sanitizer: str | None = None
    given: ImageDataset | None = field(default=None, repr=False)

    @cached_property
    def data(self) -> ImageDataset:
        """MNIST, or the sample where it is not."""
        return self.given or load_mnist_or_sample()

    @property
    def few(self) -> ImageDataset:
        """So many of its training images."""
        data, part = self.data, slice(self.images)
        return replace(
            data, train_images=data.train_images[part], train_labels=data.train_labels[part]
        )


def verdict(complaints: list[str], line: str, details: dict[str, Any]) -> Outcome:
    """`line` if there are no complaints, else the first of them."""
    if not complaints:
        return Outcome(OK, line, details)
    more = f" (and {len(complaints) - 1} more)" if complaints[1:] else ""
    return Outcome(FAILED, complaints[0] + more, details | {"complaints": complaints})


def run(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Run a program in the checkout: its exit code, None if it took too long, and its output."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, timeout=seconds,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return None, output.decode(errors="replace") if isinstance(output, bytes) else output
    return done.returncode, done.stdout
