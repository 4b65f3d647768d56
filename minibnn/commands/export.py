"""``python -m minibnn export``: a file as C, ONNX or a web page."""

from __future__ import annotations

import argparse
import os
import shlex

from minibnn.commands import shared
from minibnn.packed import PackedModel

DESCRIPTION = """\
Write a packed model in a form that leaves Python. Every form gives the same integer scores.

  c      one C99 header, without malloc or floats: for a microcontroller, or anything else
  onnx   an ONNX graph of integers, for onnxruntime and others (needs the package onnx)
  html   one web page that works offline: draw a digit, see it recognised, and all bits light up"""
EPILOG = """\
examples:
  python -m minibnn export c digits.safetensors -o digits.h
  python -m minibnn export c digits.safetensors -o thumb.h --name thumb
  python -m minibnn export onnx digits.safetensors -o digits.onnx
  python -m minibnn export html digits.safetensors -o digits.html --name 'Digits in 14 KB'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    parser.add_argument("form", choices=("c", "onnx", "html"), help="c, onnx or html")
    shared.add_file(parser)
    shared.add_output(parser)
    parser.add_argument("--name", metavar="NAME", help="in C, what all names begin with (default: "
                        "digits); of a page, its title")  # fmt: skip


def run(given: argparse.Namespace) -> int:
    """Export, and say what was written."""
    if given.form == "onnx" and given.name is not None:
        raise ValueError("--name: an ONNX graph has none; leave it out")
    packed = shared.read_packed(given.file)
    shared.check_output(given.output)
    what = {"c": _c, "onnx": _onnx, "html": _html}[given.form](packed, given)
    print(f"{given.output}: {os.path.getsize(given.output):,} bytes, {what}")
    return 0


def _c(packed: PackedModel, given: argparse.Namespace) -> str:
    from minibnn.export import export_c

    name = "digits" if given.name is None else given.name
    export_c(packed, given.output, name=name)
    path = shlex.quote(os.path.abspath(given.output))
    main = f"int main(void) {{ return {name}_selftest(); }}"
    compile = f"cc -std=c99 -D{name.upper()}_SELFTEST -include {path} -x c - -o selftest"
    return (
        f"C99: label = {name}_predict(image)\n"
        "it tests itself, on a dozen images:\n"
        f"  echo '{main}' | {compile} && ./selftest && echo passed"
    )


def _onnx(packed: PackedModel, given: argparse.Namespace) -> str:
    from minibnn.export import export_onnx

    export_onnx(packed, given.output)
    return "ONNX; images (uint8) in, scores and label (int64) out"


def _html(packed: PackedModel, given: argparse.Namespace) -> str:
    from minibnn.export import export_html

    export_html(packed, given.output, title=given.name)
    return "a web page; open it in a browser"
