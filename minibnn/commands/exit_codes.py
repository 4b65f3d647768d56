"""The exit codes of errors, as ``python -m minibnn --help`` lists them."""

from __future__ import annotations

import minibnn

OF_ERRORS: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
    ((minibnn.WrongCheckpointError,), 2),
    ((minibnn.CheckpointError,), 3),
    ((minibnn.DataError, minibnn.PackedFileError, minibnn.ModelFileError), 3),
    ((minibnn.DeviceError,), 4),
    ((minibnn.DivergedError,), 5),
    ((ValueError, TypeError), 2),
    ((OSError, ImportError, MemoryError), 1),
)


def code_of(error: BaseException) -> int | None:
    """The exit code of an error that a command may raise; None for any other."""
    return next((code for kinds, code in OF_ERRORS if isinstance(error, kinds)), None)
