"""What is compiled once in a run of the tests, by whichever of its processes needs it first."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_VARIABLE = "TESTS_COMPILED_ONCE"  # the folder; the processes of pytest-xdist inherit it
if _VARIABLE not in os.environ:
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="compiled")
    atexit.register(shutil.rmtree, os.environ[_VARIABLE], ignore_errors=True)
FOLDER = Path(os.environ[_VARIABLE])


def compiled_once(name: str, make: Callable[[Path], object]) -> Path:
    """The file of this name, which `make` has written. Two processes at once may both write it."""
    made = FOLDER / name
    if not made.exists():
        part = made.with_name(f"{os.getpid()}.{name}")
        make(part)
        part.replace(made)
    return made
