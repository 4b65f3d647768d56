"""``python -m minibnn inspect``: the contents of a packed model's file."""

from __future__ import annotations

import argparse
import json
from typing import Any

from minibnn.commands import own_input as own
from minibnn.commands import shared
from minibnn.packed import PackedFileInfo, PackedModel, packed_file_info

DESCRIPTION = """\
Print the contents of a packed model's file: its stages, the size of each part, what was checked
during reading, what was certified during packing, and the figures about its training."""
EPILOG = """\
examples:
  python -m minibnn inspect digits.safetensors
  python -m minibnn inspect digits.safetensors --json | python -m json.tool"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    shared.add_file(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def run(given: argparse.Namespace) -> int:
    """Print the file's contents."""
    packed = shared.read_packed(given.file)
    info = packed_file_info(given.file)
    if given.json:
        print(json.dumps(_for_machines(given.file, packed, info), indent=2))
        return 0
    version = f"format {info.format_version}, written by minibnn {shared.on_one_line(info.minibnn)}"
    print(f"{given.file}: a packed model, {version}\n")
    print(f"{packed.summary()}\n")
    for name, text in _lines(packed, info):
        print(f"{name:<13}{text}")
    if isinstance(packed.training.get("source"), str) and not own.is_of_numbers(packed):
        print(shared.next_step("export", "c", given.file, "-o", own.header_for(given.file)))
    return 0


def _lines(packed: PackedModel, info: PackedFileInfo) -> list[tuple[str, str]]:
    """Names and texts of the lines to print."""
    parts = {
        "header": info.header_bytes,
        "packed model": info.payload_bytes,
        "latent weights": info.latent_bytes,
    }
    sizes = " + ".join(f"{size:,} {name}" for name, size in parts.items())
    full = shared.float_bytes(packed)
    ratios = f"{full / info.payload_bytes:.1f} times the packed model"
    if not info.latent_bytes:
        ratios += f", {full / info.bytes:.1f} times the file"
    lines = [
        ("file", f"{info.bytes:,} bytes = {sizes}"),
        ("float32", f"{full:,} bytes for the same numbers: {ratios}"),
        ("sha256", f"{info.sha256} of the file, checked now: not a bit has changed"),
        ("", f"{packed.sha256} of the network, which its exports state too"),
        ("thresholds", "checked now: their sha256 are those of the certificate"),
    ]
    if packed.input_dtype != "uint8":
        lines.insert(0, ("input", f"{packed.input_dtype} of {packed.input_shape}"))
    for name, names in (("features", packed.feature_names), ("classes", packed.class_names)):
        if names is not None:
            lines.append((name, ", ".join(map(shared.on_one_line, names))))
    for entry in packed.certificate["thresholds"]:
        counts = f"{shared.several(entry['channels'], 'channel')}, {entry['values']:,} accumulators"
        how = {"enumeration": "the float layers", "exact": "exact arithmetic"}.get(
            entry["by"], "exact arithmetic on rounded numbers"
        )
        lines.append(("certificate", f"stage {entry['stage']}: {counts} compared with {how}"))
    if packed.bound is not None:
        same, any_ = (f"{bound:.6g}" for bound in (packed.bound_of_same_signs, packed.bound))
        text = f"outputs differ from the model's by {same} at most if no sign does, else by {any_}"
        lines.append(("bound", text))
    if not packed.training:
        return [*lines, ("training", "no figures")]
    figures = ", ".join(
        f"{shared.on_one_line(name)} {_plain(value)}" for name, value in packed.training.items()
    )
    return [*lines, ("training", figures)]


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shared.on_one_line(str(value))


def _for_machines(path: str, packed: PackedModel, info: PackedFileInfo) -> dict[str, Any]:
    """The same, for JSON."""
    sizes = {
        "file": info.bytes,
        "header": info.header_bytes,
        "packed": info.payload_bytes,
        "latents": info.latent_bytes,
        "float32": shared.float_bytes(packed),
    }
    return {
        "path": path,
        "format_version": info.format_version,
        "minibnn": info.minibnn,
        "input_shape": packed.input_shape,
        "input_dtype": packed.input_dtype,
        "feature_names": packed.feature_names,
        "classes": packed.classes,
        "class_names": packed.class_names,
        "stages": [vars(row) for row in packed.summary().rows],
        "bytes": sizes,
        "sha256": info.sha256,
        "network_sha256": packed.sha256,
        "certificate": packed.certificate,
        "training": packed.training,
    }
