"""Output of commands, which may outlive the terminal, the pipe or the disk that takes it."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def note(text: str) -> None:
    """Print to stderr: stdout is for results."""
    _print(text, sys.stderr)


def log_line(text: str) -> None:
    """Print a line of a long run's log to stdout, at once; if that fails, the run goes on."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stdout):  # beside a progress bar
        error = _print(text, sys.stdout)
    if error is not None:
        note(f"the log cannot be written ({error.strerror}); training goes on without it")


def _print(text: str, stream: TextIO | None) -> OSError | None:
    if stream is None:  # closed before the process began: `print` would take stdout
        return None
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        discard(stream)
        return error
    return None


def discard(stream: TextIO) -> None:
    """Let a stream that has failed write to nowhere, or the interpreter fails again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def flush() -> OSError | None:
    """Flush both streams at the end of a command; the error with which stdout failed."""
    failed = None
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # closed before the process began
                stream.flush()
        except OSError as error:
            discard(stream)
            failed = failed or (error if stream is sys.stdout else None)
    return failed
