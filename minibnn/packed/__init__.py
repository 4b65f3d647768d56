"""From a trained model to a packed one: bits and integers that give the same answers."""

from minibnn.packed.agreement import Disagreements, disagreements
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.file.latents import load_latents
from minibnn.packed.file.load import PackedFileInfo, load_packed, packed_file_info
from minibnn.packed.file.save import save_packed
from minibnn.packed.model import PackedModel, pack
from minibnn.packed.summary import PackedRow, PackedSummary

__all__ = [
    "Disagreements",
    "PackError",
    "PackedFileError",
    "PackedFileInfo",
    "PackedModel",
    "PackedRow",
    "PackedSummary",
    "disagreements",
    "load_latents",
    "load_packed",
    "pack",
    "packed_file_info",
    "save_packed",
]
