"""The exit codes of errors, as ``python -m minibnn --help`` lists them."""

from __future__ import annotations

from typing import Any

import minibnn


def code_of(error: BaseException) -> int | None:
    """The exit code of an error that a command may raise; None for any other."""
    files = (
        minibnn.CheckpointError,
        minibnn.DataError,
        minibnn.PackedFileError,
        minibnn.ModelFileError,
        minibnn.FilmFileError,
    )
    # The first that fits; names of minibnn are looked up here, since that imports its rooms.
    codes: tuple[tuple[Any, int], ...] = (
        (minibnn.WrongCheckpointError, 2),
        (files, 3),
        (minibnn.DeviceError, 4),
        (minibnn.DivergedError, 5),
        ((ValueError, TypeError), 2),
        ((OSError, ImportError, MemoryError), 1),
    )
    return next((code for kinds, code in codes if isinstance(error, kinds)), None)
