"""Writing a packed model to a file."""

from __future__ import annotations

import os
from typing import Any

from minibnn.atomic_file import whole_file
from minibnn.layers import Layer
from minibnn.packed.description import describe, format_version, to_json
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.file.container import read, write
from minibnn.packed.file.latents import latent_arrays
from minibnn.packed.file.load import LATENT, packed_model
from minibnn.packed.model import PackedModel
from minibnn.version import __version__


def save_packed(
    packed: PackedModel,
    path: str | os.PathLike[str],
    *,
    training: dict[str, Any] | None = None,
    model: Layer | None = None,
) -> None:
    """Write a packed model to one file, which appears whole or not at all.

    The file is in the safetensors format, so any safetensors reader opens it;
    ``docs/packed-format.md`` describes its content. One model gives the same bytes every time.

    Args:
        packed: the model.
        path: of the file; an existing file is replaced.
        training: figures to keep with the model, such as ``{"accuracy": 0.966}``: a dict that JSON
            can hold. None keeps those that `packed` has.
        model: the model that was packed. Its latent weights and buffers go into the file too, in
            its dtype, so that `load_latents` can continue training. They take several times as
            many bytes as the rest.

    Raises:
        TypeError: if `packed` is not a PackedModel, and for figures that JSON cannot hold.
        PackError: if `model` is not the model that was packed.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> from minibnn import Dense, Rescale, Sequential, SignSTE, load_latents, pack
    >>> def build():
    ...     return Sequential(Rescale(1 / 255), Dense(64, 10, weight_quantizer=SignSTE()))
    >>> model = build().initialize(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "digits.safetensors"
    ...     save_packed(pack(model, (64,)), path, model=model)
    ...     again = load_latents(path, build())
    >>> bool((again[1].weight.data == model[1].weight.data).all())
    True
    """
    if not isinstance(packed, PackedModel):
        got = type(packed).__name__
        raise TypeError(f"save_packed: expected a PackedModel, got {got}; pack(model) makes one")
    training = packed.training if training is None else training
    arrays = packed.arrays()
    if model is not None:
        try:
            packed.verify(model)
        except PackError as error:
            raise PackError(f"save_packed: expected the model that was packed: {error}") from None
        arrays |= {LATENT + name: value for name, value in latent_arrays(model).items()}
    data = write(metadata_of(packed, training), arrays)
    try:
        packed_model(read(data, os.fspath(path)))
    except PackedFileError as error:
        raise PackError(
            f"save_packed: expected a model that can be loaded again, got {error}"
        ) from None
    with whole_file(path) as file:
        file.write(data)


def metadata_of(packed: PackedModel, training: dict[str, Any]) -> dict[str, str]:
    """The texts in a file's header.

    Raises:
        TypeError: for figures that JSON cannot hold.
    """
    if type(training) is not dict:
        raise TypeError(f"save_packed: expected training as a dict, got {training!r}")
    try:
        figures = to_json(training)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"save_packed: expected training that JSON can hold: {error}") from None
    return {
        "format_version": str(format_version(packed.interface, packed.stages)),
        "minibnn": __version__,
        "architecture": to_json(describe(packed.interface, packed.stages)),
        "certificate": to_json(packed.certificate),
        "training": figures,
    }
