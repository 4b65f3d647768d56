"""From a trained model to bits that give the same answer."""

from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.model import PackedModel, pack

__all__ = ["PackError", "PackedFileError", "PackedModel", "pack"]
