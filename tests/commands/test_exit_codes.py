"""The exit codes of errors."""

from __future__ import annotations

import pytest

import minibnn
from minibnn.__main__ import EPILOG
from minibnn.commands.exit_codes import code_of
from minibnn.data.errors import DatasetNotFoundError
from minibnn.packed import PackError

CODES = {
    "a wrong argument": (ValueError(), 2),
    "a wrong type": (TypeError(), 2),
    "a network that cannot be packed": (PackError(), 2),
    "ranks that differ": (minibnn.RanksDifferError(), 2),
    "a checkpoint of another training": (minibnn.WrongCheckpointError(), 2),
    "a damaged checkpoint": (minibnn.CheckpointError(), 3),
    "data": (minibnn.DataError(), 3),
    "a damaged IDX file": (
        minibnn.IdxFormatError("images", 0, "a header", "none", "fetch it again"),
        3,
    ),
    "no data": (DatasetNotFoundError(), 3),
    "a damaged packed file": (minibnn.PackedFileError(), 3),
    "a damaged model": (minibnn.ModelFileError(), 3),
    "no device": (minibnn.DeviceError("none", "no driver"), 4),
    "diverged": (minibnn.DivergedError(1.0, 1, 1, None), 5),
    "no permission": (PermissionError(), 1),
    "a package that is missing": (ImportError(), 1),
    "no memory": (MemoryError(), 1),
}


@pytest.mark.parametrize("name", CODES)
def test_the_code_of_an_error(name):
    error, code = CODES[name]
    assert code_of(error) == code
    assert f"\n  {code} " in EPILOG


@pytest.mark.parametrize(
    "error", [KeyError(), RuntimeError(), ZeroDivisionError(), KeyboardInterrupt()]
)
def test_an_error_in_minibnn_itself_has_none(error):
    """It is shown with its traceback."""
    assert code_of(error) is None
