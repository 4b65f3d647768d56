"""What the parts of `confirm_gpu.py` get (`Setting`) and return (`Outcome`)."""

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
GRACE = 10.0  # seconds to report after an interrupt, before a program is killed
ROOT = Path(__file__).parents[3]
BENCHMARKS = ROOT / "benchmarks"


class Outcome(NamedTuple):
    """How a part ended.

    Attributes:
        status: one of OK, FAILED, CUT_OFF, NOT_RUN.
        line: the rest of the part's last line: results, or the reason.
        details: further findings for the report.
    """

    status: str
    line: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """The arguments of a part that runs in a process of its own.

    Attributes:
        backend: the device's backend.
        images: number of training images; None for all.
        accuracy_seeds: number of seeds in `accuracy`.
        epochs: number of timed epochs; a time is their median.
        steps: steps per epoch of the wide networks.
        job_epochs: epochs of the whole job.
        given: data to use instead of MNIST.
        keep: writes findings to the report at once.
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
        """MNIST, or the bundled sample if there is no MNIST."""
        return self.given or load_mnist_or_sample()

    @property
    def few(self) -> ImageDataset:
        """The data with only `images` training images."""
        data, part = self.data, slice(self.images)
        return replace(
            data, train_images=data.train_images[part], train_labels=data.train_labels[part]
        )


def verdict(problems: list[str], line: str, details: dict[str, Any]) -> Outcome:
    """OK with `line` if there are no problems; otherwise FAILED with the first problem."""
    if not problems:
        return Outcome(OK, line, details)
    more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
    return Outcome(FAILED, problems[0] + more, details | {"problems": problems})


def run(
    command: list[str], seconds: float, *, grace: float = GRACE, show: bool = False
) -> tuple[int | None, str]:
    """Run a program in the checkout; return its exit code (None after a timeout) and its output.

    After a timeout, the program and all processes that it has started are interrupted, as by
    Ctrl-C, and then killed if they do not end.

    Args:
        command: the program and its arguments.
        seconds: the timeout.
        grace: seconds between the interrupt and the kill.
        show: whether to show the output, instead of returning it.
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
    """Send a signal to a program and all processes that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
