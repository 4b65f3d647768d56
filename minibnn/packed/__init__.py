"""From a trained model to bits that give the same answer."""

from minibnn.packed.disagree import Disagreements, disagreements
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.file import load_packed, save_packed
from minibnn.packed.model import PackedModel, pack

__all__ = [
    "Disagreements",
    "PackError",
    "PackedFileError",
    "PackedModel",
    "disagreements",
    "load_packed",
    "pack",
    "save_packed",
]
