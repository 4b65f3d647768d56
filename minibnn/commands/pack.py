"""``python -m minibnn pack``: a file without latent weights."""

from __future__ import annotations

import argparse
import os

from minibnn.commands import shared
from minibnn.packed import packed_file_info, save_packed

DESCRIPTION = """\
Write a packed model without the latent weights, which only `train --from` needs. The packed model
itself and the figures about its training stay the same."""
EPILOG = """\
example:
  python -m minibnn pack digits.safetensors -o small.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    shared.add_file(parser)
    shared.add_output(parser)


def run(given: argparse.Namespace) -> int:
    """Write the smaller file and print the sizes."""
    packed = shared.read_packed(given.file)
    before = os.path.getsize(given.file)
    if shared.same_file(given.file, given.output) and packed_file_info(given.file).latent_bytes:
        raise ValueError(
            f"{given.output}: expected another file than the one with the latent weights, which "
            "would be lost, got the same; choose another name after -o"
        )
    path = shared.check_output(given.output, shared.MODEL)
    save_packed(packed, path)
    after = os.path.getsize(path)
    full = shared.float_bytes(packed)
    print(f"before    {before:>12,} bytes  {given.file}")
    print(f"after     {after:>12,} bytes  {given.output}")
    print(f"float32   {full:>12,} bytes  {full / after:.1f} times as much, for the same numbers")
    return 0
