"""How `fit` shows its progress: a bar in a terminal, a line in a notebook, lines in a file."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TextIO

from minibnn.notebook import Place, in_notebook

SECONDS = 0.1  # between two updates within an epoch


class Display:
    """Counts, and shows nothing; its subclasses show something.

    Args:
        epochs: of the training.
        steps: in an epoch.
    """

    visible = False

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs = epochs
        self.steps = steps
        self.epoch = self.done = 0
        self.before = ""  # what was measured after the last epoch
        self._shown_at = self._began = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def begin(self, epoch: int, done: int) -> None:
        """Begin an epoch, of which so many steps are done."""
        self.epoch, self.done, self._began = epoch, done, time.monotonic()

    def update(self, steps: int, loss: Callable[[], float | None]) -> None:
        """Count steps.

        Args:
            steps: how many were just made.
            loss: gives the mean of the last losses; None if reading them would wait for the device.
        """
        self.done += steps
        if not self.visible:
            return
        now = time.monotonic()
        if now - self._shown_at >= SECONDS:
            self._shown_at = now
            value = loss()
            self.show("" if value is None else f"loss {value:.4g}")

    def end(self, measured: Mapping[str, float]) -> None:
        """End an epoch, with its row of the history."""
        texts = [
            f"{name} {value:.4g}"
            for name, value in measured.items()
            if not name.startswith("flips_") and not math.isnan(value)
        ]
        self.before = ", ".join(texts)

    def show(self, running: str) -> None:
        """Show the steps of the running epoch, and what is known of it."""

    def close(self) -> None:
        """Leave nothing behind that is out of date."""

    def _line(self) -> str:
        """An epoch that is complete, as a line."""
        seconds = time.monotonic() - self._began
        return f"epoch {self.epoch}/{self.epochs}: {self.before} ({seconds:.1f} s)"


class Bar(Display):
    """A bar in a terminal, which is gone in the end."""

    visible = True

    def __init__(self, epochs: int, steps: int, stream: TextIO) -> None:
        super().__init__(epochs, steps)
        from tqdm import tqdm

        self._bar = tqdm(total=steps, unit="batch", leave=False, file=_Terminal(stream))

    def begin(self, epoch: int, done: int) -> None:
        """Begin an epoch with a new bar."""
        super().begin(epoch, done)
        self._bar.reset()
        self._bar.set_description(f"epoch {epoch}/{self.epochs}")
        self._bar.update(done)

    def update(self, steps: int, loss: Callable[[], float | None]) -> None:
        """Count steps."""
        self._bar.update(steps)
        super().update(steps, loss)

    def end(self, measured: Mapping[str, float]) -> None:
        """Show what was measured."""
        super().end(measured)
        self._bar.set_postfix_str(self.before)

    def show(self, running: str) -> None:
        """The running loss, before the numbers of the last epoch."""
        texts = [t for t in (running, self.before and f"before: {self.before}") if t]
        self._bar.set_postfix_str("; ".join(texts))

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


class Lines(Display):
    """A line for each epoch, in a log file or a pipe."""

    def __init__(self, epochs: int, steps: int, stream: TextIO) -> None:
        super().__init__(epochs, steps)
        self._stream = _Terminal(stream)

    def end(self, measured: Mapping[str, float]) -> None:
        """Write the line."""
        super().end(measured)
        self._stream.write(self._line() + "\n")
        self._stream.flush()


class NotebookLine(Display):
    """One line below a notebook's cell, which is replaced as training goes on.

    When it ends, the line tells the last complete epoch, and so does the saved notebook.
    """

    visible = True

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__(epochs, steps)
        self._last = ""
        self._place = Place(_plain(""))

    def end(self, measured: Mapping[str, float]) -> None:
        """Show the epoch's line."""
        super().end(measured)
        self._last = self._line()
        self._place.show(_plain(self._last))

    def show(self, running: str) -> None:
        """The epoch, its steps and the running loss."""
        text = f"epoch {self.epoch}/{self.epochs}, batch {self.done}/{self.steps}"
        texts = [t for t in (text, running, self.before and f"before: {self.before}") if t]
        self._place.show(_plain("; ".join(texts)))

    def close(self) -> None:
        """Show the last complete epoch again, or nothing."""
        self._place.show(_plain(self._last))


def display_for(epochs: int, steps: int, wanted: bool | None) -> Display:
    """What suits where the program runs.

    Args:
        epochs: of the training.
        steps: in an epoch.
        wanted: None shows progress to people only: in a terminal or a notebook.
    """
    stream = sys.stderr
    if getattr(stream, "closed", False):
        stream = None  # as if the process had no stderr
    notebook = in_notebook()
    # A program may have put an object in its place that can only write.
    terminal = hasattr(stream, "isatty") and stream.isatty()
    if wanted is None:
        wanted = notebook or terminal
    if wanted and notebook:
        return NotebookLine(epochs, steps)
    if not wanted or stream is None:
        return Display(epochs, steps)
    return (Bar if terminal else Lines)(epochs, steps, stream)


def _plain(text: str) -> dict[str, str]:
    return {"text/plain": text}


class _Terminal:
    """A stream whose terminal may be closed while training goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __eq__(self, other: object) -> bool:
        """As the stream itself, by which tqdm knows whether text would hit the bar."""
        return self._stream is other

    def __hash__(self) -> int:
        return hash(self._stream)

    def write(self, text: str) -> int:
        """Write, if that is still possible; escaped what the stream's encoding does not have."""
        with suppress(OSError):
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                return self._stream.write(text.encode("ascii", "backslashreplace").decode())
        return 0

    def flush(self) -> None:
        """Flush, if that is still possible."""
        with suppress(OSError, AttributeError):  # an object that can only write
            self._stream.flush()
