"""Checkpoints as files; the one before the last is kept beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from minibnn.atomic_file import UnsyncedError, whole_file
from minibnn.container import Format, read_file, write
from minibnn.state import State
from minibnn.state_file import flatten, from_json, to_json, unflatten
from minibnn.version import __version__

BEFORE = ".before"  # the name of the checkpoint before the last one ends with it


class CheckpointError(ValueError):
    """A file is not a whole checkpoint, or another process is using it."""


CHECKPOINT = Format(
    name="minibnn-checkpoint",
    version=1,
    content="a checkpoint",
    writer="fit(..., checkpoint=...)",
    error=CheckpointError,
    max_bytes=2**40,
    max_header=2**26,
    header_hint="keep long texts and lists out of the states",
)


def write_checkpoint(path: str, state: State, about: dict[str, Any]) -> None:
    """Write a checkpoint; the one before it becomes ``path + BEFORE``.

    Args:
        path: of the file.
        state: arrays, numbers and texts, in dicts by name.
        about: what the training was made from; numbers and texts.

    Raises:
        OSError: if it cannot be written; `path` has the checkpoint that it had.
        UnsyncedError: as from `whole_file`; it is written.
        CheckpointError: if it is too large.
        TypeError: for a state that a file cannot hold.
    """
    arrays, rest = flatten(state)
    metadata = {"minibnn": __version__, "about": to_json(about), "state": to_json(rest)}
    moved = False
    try:
        with whole_file(path) as file:
            write(file, path, CHECKPOINT, metadata, arrays)
            file.flush()
            os.fsync(file.fileno())  # the new one has to be whole before the old one moves
            moved = keep_before(path)
    except UnsyncedError:
        raise
    except BaseException:
        if moved:
            os.replace(before(path), os.path.realpath(path))
        raise


def read_checkpoint(path: str) -> tuple[State, dict[str, Any]]:
    """The state in a checkpoint, and what the training was made from.

    Raises:
        CheckpointError: for a file that is damaged, from another program or from a newer version.
        OSError: if it cannot be read.
    """
    container = read_file(path, CHECKPOINT)
    try:
        about: Any = from_json(container.metadata["about"])
        state: Any = unflatten(container.views(), from_json(container.metadata["state"]))
        if not isinstance(about, dict) or not isinstance(state, dict):
            raise ValueError("expected named parts")
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, got something else ({error}); delete it to start the "
            "training anew"
        ) from None
    return state, about


def before(path: str) -> str:
    """Where the checkpoint before the one at `path` is: if that is a link, beside its target."""
    return (os.path.realpath(path) if os.path.islink(path) else path) + BEFORE


def keep_before(path: str) -> bool:
    """Give the file at `path`, if there is one, a second name that ends with `BEFORE`.

    At every moment there is a whole file at `path`, or where the file system has no hard links, at
    one of both names. Returns whether the file had to be moved, for want of hard links.
    """
    real = os.path.realpath(path)
    if not os.path.isfile(real):
        return False
    folder, name = os.path.split(real)
    link = os.path.join(folder, f".{name}{BEFORE}.tmp")
    with suppress(FileNotFoundError):
        os.unlink(link)
    try:
        os.link(real, link)
    except OSError:  # no hard links here
        os.replace(real, real + BEFORE)
        return True
    try:
        os.replace(link, real + BEFORE)
    except BaseException:
        with suppress(OSError):
            os.unlink(link)
        raise
    return False
