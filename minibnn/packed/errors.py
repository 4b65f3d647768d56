"""What can go wrong with packed models."""

from __future__ import annotations

__all__ = ["PackError", "PackedFileError"]


class PackError(ValueError):
    """A model has no packed form; the message says which layer, or which limit, is in the way."""


class PackedFileError(ValueError):
    """A file is not a packed model, or not the one that was saved, or would cost too much."""
