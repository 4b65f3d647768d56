"""What the parts of `confirm_gpu.py` are given, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from minibnn import ImageDataset, load_mnist_or_sample
from minibnn.backend import Backend

OK, FAILED, CUT_OFF, NOT_RUN = "ok", "FAILED", "cut off", "not run"
GRACE = 10.0  # seconds for a program to say what it has, before it is killed
BENCHMARKS = Path(__file__).parent.parent
ROOT = BENCHMARKS.parent


class Outcome(NamedTuple):
    """How a part ended.

    Attributes:
        status: one of OK, FAILED, CUT_OFF, NOT_RUN.
        line: the rest of the part's last line: figures, or why.
        details: everything else that is kept.
    """

    status: str
    line: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the parts are given that run in a process of their own.

    Attributes:
        backend: of the device.
        images: for training; None for all.
        accuracy_seeds: how many of them.
        epochs: that a speed is the median of.
        steps: of an epoch, of the wide networks.
        job_epochs: of the whole job.
        given: data to take instead of MNIST's.
        keep: writes findings into the report at once.
    """

    backend: Backend
    images: int | None = None
    accuracy_seeds: int = 5
    epochs: int = 5
    steps: int = 200
    job_epochs: int = 10
    given: ImageDataset | None = field(default=None, repr=False)
    keep: Callable[..., None] = field(default=lambda **found: None, repr=False)

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


def run(
    command: list[str], seconds: float, *, grace: float = GRACE, show: bool = False
) -> tuple[int | None, str]:
    """Run a program in the checkout: its exit code, None if it took too long, and its output.

    Whoever takes too long is interrupted, as by Ctrl-C, and killed if it does not end then; with
    everything that it has started.

    Args:
        command: the program and its arguments.
        seconds: for it.
        grace: seconds for its end.
        show: whether its output goes where this program's goes, and is not returned.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, start_new_session=True,
            stdout=None if show else output, stderr=None if show else subprocess.STDOUT,
        )  # fmt: skip
        code = None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            end(process, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        finally:
            end(process, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
