"""The format of models' files, and their error."""

from __future__ import annotations

from minibnn.container import Format

__all__ = ["MODEL", "ModelFileError"]


class ModelFileError(ValueError):
    """A file is not a model, is damaged, or needs classes that were not given."""


MODEL = Format(
    name="minibnn-model",
    version=1,
    content="a model",
    writer="save_model",
    error=ModelFileError,
    max_bytes=2**36,
    header_hint="use fewer layers, and keep long texts and lists out of their state",
)
