"""From a trained model to bits that give the same answer."""

from minibnn.packed.disagree import Disagreements, disagreements
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.file import (
    PackedFileInfo,
    load_latents,
    load_packed,
    packed_file_info,
    save_packed,
)
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
