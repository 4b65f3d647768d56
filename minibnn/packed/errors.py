"""The exceptions of packing and of packed files."""

from __future__ import annotations

__all__ = ["PackError", "PackedFileError"]


class PackError(ValueError):
    """A model has no packed form; the message names the layer or the limit."""


class PackedFileError(ValueError):
    """A file is not a packed model, is damaged, or exceeds a limit."""
