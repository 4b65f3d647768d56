"""Writing a model to a file, after a check that it can be made again."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minibnn import container
from minibnn.atomic_file import whole_file
from minibnn.checks import require
from minibnn.description import Described, build, describe
from minibnn.initializers import Fill
from minibnn.layers import Layer
from minibnn.model_file.form import MODEL
from minibnn.model_file.parts import known_classes
from minibnn.optimizers import Optimizer
from minibnn.parameter import Buffer, Parameter
from minibnn.state import form_difference
from minibnn.state_file import flatten, to_json
from minibnn.version import __version__


def save_model(
    model: Layer, path: str | os.PathLike[str], *, optimizer: Optimizer | None = None
) -> None:
    """Write a model to one file, which appears whole or not at all.

    The file has the architecture and all values: parameters, buffers, random streams, and what the
    model was trained on. `load_model` makes the model again without other code, except for classes
    of your own. With the optimiser, training goes on as if it had not been interrupted.

    The file is in the safetensors format, so any safetensors reader opens it;
    ``docs/model-format.md`` describes its content. One model gives the same bytes every time, from
    whatever device.

    Args:
        model: any layer, with or without values. Its classes, and those of its parts, are
            minibnn's own, or have their constructor's arguments as attributes; see
            ``docs/extending.md``.
        path: of the file; an existing file is replaced.
        optimizer: of this model's parameters; None to save the model alone.

    Raises:
        TypeError: for a part that could not be made again, such as a lambda; the message has its
            place and what to do.
        ValueError: if only some of the parameters have values, or their dtypes differ.
        RuntimeError: if a parameter was moved or replaced since the optimiser was made.
        ModelFileError: if the file would be larger than `load_model` reads.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> from minibnn import Adam, Dense, Sequential, SignSTE, load_model
    >>> model = Sequential(Dense(784, 10, weight_quantizer=SignSTE())).initialize(0)
    >>> optimizer = Adam(model.parameters(), 0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.safetensors"
    ...     save_model(model, path, optimizer=optimizer)
    ...     model, optimizer = load_model(path, optimizer=True)
    >>> optimizer
    Adam(2 parameters, 7,850 values, next rate 0.01, after 0 steps)
    """
    require("save_model", "model", model, Layer)
    texts = {"minibnn": __version__, "dtype": str(model.dtype)}
    parameters = dict(model.named_parameters())
    _require_values(model, parameters)
    described = _describe(model)
    texts["architecture"] = to_json(described.description)
    state: dict[str, Any] = {"model": model.state()}
    _require_same(model, parameters, state["model"], described)
    if optimizer is not None:
        require("save_model", "optimizer", optimizer, Optimizer)
        texts["optimizer"] = to_json(_describe_optimizer(optimizer, parameters))
        state["optimizer"] = optimizer.state()
    arrays, rest = flatten(state)
    texts["state"] = to_json(rest)
    with whole_file(path) as file:
        container.write(file, os.fspath(path), MODEL, texts, arrays)


def _require_values(model: Layer, parameters: dict[str, Parameter]) -> None:
    """Raise ValueError unless all parameters or none have values, all of the model's dtype."""
    empty = [path for path, p in parameters.items() if p.data is None]
    if 0 < len(empty) < len(parameters):
        raise ValueError(
            f"save_model: expected values for all parameters or for none, got none for {empty[0]}; "
            "call model.initialize(rng), and train it again"
        )
    holders: list[tuple[str, Parameter | Buffer]] = [*parameters.items()]
    holders += [(buffer.name, buffer) for buffer in model.buffers()]
    for path, holder in holders:
        if holder.data is not None and holder.data.dtype != model.dtype:
            raise ValueError(
                f"save_model: expected values of the model's dtype {model.dtype}, got "
                f"{holder.data.dtype} in {path}; choose one with model.to(dtype=...)"
            )


def _describe(model: Layer) -> Described:
    """The description, and all classes: after a check that they make the same again.

    Raises:
        TypeError: if they do not.
    """
    described = describe(model, "model")
    return described._replace(classes=known_classes("save_model", described.classes.values()))


def _require_same(
    model: Layer, parameters: dict[str, Parameter], state: Any, described: Described
) -> None:
    """Raise TypeError unless the description makes a model of the same parts."""
    try:
        trial = build(described.description, "model", described.classes)
    except ValueError as error:
        raise TypeError(
            f"{error}; let the constructor accept what its attributes have, or write a method "
            "arguments() that returns what it accepts"
        ) from error
    _require_equal(describe(trial, "model").description, described.description, "model")
    here, there = (
        {k: (p.shape, p.bound, p.lr_scale) for k, p in parts}
        for parts in (parameters.items(), trial.named_parameters())
    )
    trial.to(dtype=model.dtype)
    changed = sorted(k for k in {**here, **there} if here.get(k) != there.get(k))
    difference = form_difference(trial.state(), state)
    if changed or difference is not None:
        part = changed[0] if changed else difference[0]  # type: ignore[index]
        raise TypeError(
            f"model: expected parts as the constructors make them, got another {part}; write a "
            "class of your own that makes it in its constructor"
        )


def _require_equal(again: Any, before: Any, name: str) -> None:
    """Raise TypeError unless two descriptions are equal; the message has the first difference."""
    if isinstance(again, dict) and isinstance(before, dict) and list(again) == list(before):
        inside = {"arguments", "mapping"}
        for key in before:
            deeper = name if key in inside else f"{name}.{key}"
            _require_equal(again[key], before[key], deeper)
    elif isinstance(again, list) and isinstance(before, list) and len(again) == len(before):
        for i, (a, b) in enumerate(zip(again, before, strict=True)):
            _require_equal(a, b, f"{name}[{i}]")
    elif again != before:
        raise TypeError(
            f"{name}: expected an attribute that the constructor sets to its argument, got "
            f"{again!r} from {before!r}; write a method arguments() that returns the argument"
        )


def _describe_optimizer(optimizer: Optimizer, parameters: dict[str, Parameter]) -> Any:
    """The description, after a check that it makes such an optimiser.

    Raises:
        TypeError: if it does not, or if the optimiser belongs to another model.
    """
    optimizer.require_intact()
    paths = {id(p): path for path, p in parameters.items()}
    for p in optimizer.parameters:
        if id(p) not in paths:
            raise TypeError(
                f"save_model: expected the optimiser of this model, got one of {p!r}, which is not "
                "in it; give the model whose parameters it has"
            )
    found = describe(optimizer, "optimizer", parameters=paths)
    classes = known_classes("save_model", found.classes.values())
    standing_in = {path: _stand_in(p) for path, p in parameters.items() if p.data is not None}
    try:
        trial = build(found.description, "optimizer", classes, parameters=standing_in)
    except ValueError as error:
        raise TypeError(
            f"{error}; let the constructor accept what its attributes have, or write a method "
            "arguments() that returns what it accepts"
        ) from error
    paths = {id(p): path for path, p in standing_in.items()}
    again = describe(trial, "optimizer", parameters=paths)
    _require_equal(again.description, found.description, "optimizer")
    return found.description


def _stand_in(parameter: Parameter) -> Parameter:
    """A small parameter of the same kind, which an optimiser may take over."""
    p = parameter
    shape = (*(1 for _ in p.shape[:-1]), *p.shape[-1:])
    small = Parameter(p.name, shape, Fill(1.0), bound=p.bound, lr_scale=p.lr_scale)
    small.initialize(np.random.default_rng(0), p.data.dtype)
    small.quantizer = p.quantizer
    return small
