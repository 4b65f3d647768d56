"""Checkpoints as files: TEMPORARY container, replaced by minibnn/container.py."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.state import State

BEFORE = ".before"


def _flat(path: str, value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {k: _flat(f"{path}/{k}", v, arrays) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"@": path}
    return value


def _nested(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"@"}:
            return arrays[value["@"]]
        return {k: _nested(v, arrays) for k, v in value.items()}
    return value


def write_checkpoint(path: str, state: State, about: dict[str, Any]) -> None:
    """Write a checkpoint; the one before it becomes ``path + BEFORE``."""
    from safetensors.numpy import save

    arrays: dict[str, Any] = {}
    rest = _flat("", state, arrays)
    data = save(arrays, {"rest": json.dumps(rest), "about": json.dumps(about)})
    with whole_file(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        keep_before(path)


def read_checkpoint(path: str) -> tuple[State, dict[str, Any]]:
    """The state and what it was made from."""
    from safetensors import safe_open

    with safe_open(path, "np") as f:
        arrays = {k: f.get_tensor(k) for k in f.keys()}
        meta = f.metadata()
    return _nested(json.loads(meta["rest"]), arrays), json.loads(meta["about"])


def keep_before(path: str) -> None:
    """Give the file at `path`, if there is one, a second name that ends with `BEFORE`.

    At every moment there is a whole file at `path`, or where the file system has no hard links, at
    one of both names.
    """
    real = os.path.realpath(path)
    if not os.path.isfile(real):
        return
    folder, name = os.path.split(real)
    link = os.path.join(folder, f".{name}{BEFORE}.tmp")
    with suppress(FileNotFoundError):
        os.unlink(link)
    try:
        os.link(real, link)
    except OSError:  # no hard links here
        os.replace(real, real + BEFORE)
        return
    try:
        os.replace(link, real + BEFORE)
    except BaseException:
        with suppress(OSError):
            os.unlink(link)
        raise
