"""Reading a model from a file, and refusing every other file."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

import numpy as np

from minibnn.backend import Backend, get_backend
from minibnn.container import Container, read_file
from minibnn.description import build, require_known
from minibnn.layers import Layer
from minibnn.model_file.form import MODEL, ModelFileError
from minibnn.model_file.parts import Classes, known_classes
from minibnn.optimizers import Optimizer
from minibnn.state_file import from_json, unflatten

_TEXTS = {"format", "format_version", "minibnn", "dtype", "architecture", "state"}
_DTYPES = ("float32", "float64")


@overload
def load_model(
    path: str | os.PathLike[str],
    *,
    optimizer: Literal[False] = False,
    classes: Classes = (),
    device: str | Backend = "cpu",
) -> Layer: ...


@overload
def load_model(
    path: str | os.PathLike[str],
    *,
    optimizer: Literal[True],
    classes: Classes = (),
    device: str | Backend = "cpu",
) -> tuple[Layer, Optimizer]: ...


def load_model(
    path: str | os.PathLike[str],
    *,
    optimizer: bool = False,
    classes: Classes = (),
    device: str | Backend = "cpu",
) -> Layer | tuple[Layer, Optimizer]:
    """Make the model of a file that `save_model` wrote, and refuse any other file.

    The file may come from anywhere: nothing in it is executed or imported. It names classes; these
    are minibnn's own, or among `classes`. Memory is taken for arrays that are in the file only.

    Args:
        path: of the file.
        optimizer: whether to make the saved optimiser, too. It holds the model's parameters, and
            its next steps are those that it would have made when it was saved.
        classes: classes of your own (layers, functions, initialisers, schedules, optimisers) and
            functions in the model, found by their names.
        device: see `get_backend`.

    Returns:
        the model; with `optimizer`, the model and its optimiser.

    Raises:
        ModelFileError: for a file that is cut off, damaged, from another program or from a newer
            version; for a pipe or a device; for classes that were not given; and if an optimiser
            is wanted that the file does not have.
        TypeError: for anything but classes and functions among the classes.
        OSError: if it cannot be read.
    """
    backend = get_backend(device)
    known = known_classes("load_model", classes)
    container = read_file(path, MODEL)
    if optimizer and "optimizer" not in container.metadata:
        raise ModelFileError(
            f"{container.path}: expected an optimiser, got the model alone; save both with "
            "save_model(model, path, optimizer=optimizer)"
        )
    try:
        return _made(container, known, backend, optimizer)
    except (ModelFileError, MemoryError, OSError):
        raise
    except Exception as error:  # classes of a user's own may raise anything
        raise ModelFileError(
            f"{container.path}: expected a model that can be made again, got "
            f"{type(error).__name__}: {error}; give the classes that it was saved with, or save it "
            "again"
        ) from error


def _made(
    container: Container, known: dict[str, Any], backend: Backend, optimizer: bool
) -> Layer | tuple[Layer, Optimizer]:
    metadata = container.metadata
    if set(metadata) - {"optimizer"} != _TEXTS:
        raise ValueError(f"metadata {sorted(metadata)}")
    states = unflatten(container.views(), from_json(metadata["state"]))
    _require_parts(states, metadata)
    names = ("architecture", "optimizer") if optimizer else ("architecture",)
    described = {name: from_json(metadata[name]) for name in names}
    try:
        require_known(list(described.values()), known)
    except ValueError as error:
        raise ModelFileError(f"{container.path}: {error}") from None
    with np.errstate(all="ignore"):
        model = _model(described["architecture"], metadata["dtype"], states["model"], known)
    model.to(backend)
    if not optimizer:
        return model
    return model, _optimizer(described["optimizer"], states["optimizer"], model, known)


def _require_parts(states: Any, metadata: dict[str, str]) -> None:
    if type(states) is not dict or set(states) != {"model", *({"optimizer"} & set(metadata))}:
        raise ValueError("states of other things")
    if metadata["dtype"] not in _DTYPES:
        raise ValueError(f"the dtype {metadata['dtype']!r}")


def _model(described: Any, dtype: str, state: Any, known: dict[str, Any]) -> Layer:
    """The model, on the host.

    Making it takes memory for nothing but the description. Then its values are put in, each after a
    comparison of its shape. Only then is it known that the description's sizes are those of the
    file's arrays, so that the model may be initialised; this shows which forms its buffers have.
    """
    model = build(described, "model", known)
    if not isinstance(model, Layer):
        raise ValueError(f"model: expected a layer, got {model!r}")
    model.to(dtype=dtype)
    model.restore(state)
    empty = [p.data is None for p in model.parameters()]
    if any(empty) and not all(empty):
        raise ValueError("values for some of the parameters")
    if not any(empty):
        model.initialize(0, dtype)
        model.restore(state)
    for buffer in model.buffers():
        if buffer.data is not None and buffer.data.dtype != model.dtype:
            raise ValueError(f"{buffer.data.dtype} in {buffer!r} of a model of {model.dtype}")
    return model


def _optimizer(described: Any, state: Any, model: Layer, known: dict[str, Any]) -> Optimizer:
    parameters = dict(model.named_parameters())
    optimizer = build(described, "optimizer", known, parameters=parameters)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer: expected an optimiser, got {optimizer!r}")
    optimizer.restore(state)
    return optimizer
