"""``python -m minibnn export``: a model as C, ONNX or a page; a film of a training as a page."""

from __future__ import annotations

import argparse
import os
import shlex

from minibnn.commands import own_input as own
from minibnn.commands import shared
from minibnn.film import FilmFileError, load_film
from minibnn.packed import PackedModel

DESCRIPTION = """\
Write a packed model in a form that runs without Python. All forms give the same integer scores. Or
write a page that replays a training, from the film that `train --film` takes."""
EPILOG = """\
examples:
  python -m minibnn export c digits.safetensors -o digits.h
  python -m minibnn export onnx digits.safetensors -o digits.onnx
  python -m minibnn export html digits.safetensors -o digits.html
  python -m minibnn export training-page digits.film -o film.html

python -m minibnn export FORM --help has a form's options."""
FORMS = {
    "c": "one C99 header, without malloc or floats: for a microcontroller, or anything else",
    "onnx": "an ONNX graph of integers, for onnxruntime and others (needs the package onnx)",
    "html": "one web page that works offline: draw a digit or move sliders, and all bits light up",
    "training-page": "one web page that works offline and replays a training: the first layer's "
    "bits as they flip, latent weights, margins, curves",
}
EXAMPLES = {
    "c": """\
  python -m minibnn export c sensor.safetensors -o sensor.h
  python -m minibnn export c digits.safetensors -o digits.h
  python -m minibnn export c digits.safetensors -o thumb.h --name thumb""",
    "onnx": """\
  python -m minibnn export onnx digits.safetensors -o digits.onnx""",
    "html": """\
  python -m minibnn export html digits.safetensors -o digits.html
  python -m minibnn export html digits.safetensors -o digits.html --name 'Digits in 14 KB'""",
    "training-page": """\
  python -m minibnn train -o digits.safetensors --film digits.film
  python -m minibnn export training-page digits.film -o film.html
  python -m minibnn export training-page digits.film -o film.html --name 'Digits, bit by bit'""",
}
NAMES = {
    "c": "what all names in it begin with; default: digits, or of your own data OUT's name",
    "html": "the page's title",
    "training-page": "the page's title",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    forms = parser.add_subparsers(dest="form", required=True, metavar="FORM")
    for name, line in FORMS.items():
        form = forms.add_parser(name, help=line)
        shared.describe(form, f"Write {line}.", f"examples:\n{EXAMPLES[name]}")
        if name == "training-page":
            form.add_argument("file", metavar="FILE", help="a film, as train --film writes it")
        else:
            shared.add_file(form)
        shared.add_output(form)
        if name in NAMES:
            form.add_argument("--name", metavar="NAME", help=NAMES[name])


def run(given: argparse.Namespace) -> int:
    """Export, and print what was written."""
    titled = given.form in ("html", "training-page") and given.name is not None
    if titled and not given.name.strip():
        raise ValueError(f"--name: expected a title, got {given.name!r}; leave it out")
    if given.form == "training-page":
        return _training_page(given)
    packed = shared.read_packed(given.file)
    if shared.same_file(given.file, given.output):
        raise ValueError(
            f"{given.output}: expected another file than the model, which would be lost, got the "
            "same; choose another name after -o"
        )
    if own.is_of_numbers(packed):
        raise ValueError(
            f"{given.file}: expected a model of classes, got one that predicts numbers, and the "
            "exported forms give labels and scores of classes only; use it in Python: "
            "load_packed(FILE).logits(x)"
        )
    path = shared.check_output(given.output, shared.FORMS[given.form])
    what = {"c": _c, "onnx": _onnx, "html": _html}[given.form](packed, path, given)
    print(f"{given.output}: {os.path.getsize(path):,} bytes, {what}")
    return 0


def _c(packed: PackedModel, path: str, given: argparse.Namespace) -> str:
    from minibnn.export import export_c

    mine = isinstance(packed.training.get("source"), str)
    default = own.c_name(given.output) if mine else "digits"
    name = default if given.name is None else given.name
    export_c(packed, path, name=name)
    main = f"int main(void) {{ return {name}_selftest(); }}"
    compile = (
        f"cc -std=c99 -D{name.upper()}_SELFTEST -include {shlex.quote(path)} -x c - -o selftest"
    )
    return (
        f"C99: label = {name}_predict({'sample' if mine else 'image'})\n"
        f"it tests itself, on {'some samples' if mine else 'a dozen images'}:\n"
        f"  echo '{main}' | {compile} && ./selftest && echo passed"
    )


def _onnx(packed: PackedModel, path: str, given: argparse.Namespace) -> str:
    from minibnn.export import export_onnx

    export_onnx(packed, path)
    return f"ONNX; images ({packed.input_dtype}) in, scores and label (int64) out"


def _html(packed: PackedModel, path: str, given: argparse.Namespace) -> str:
    from minibnn.export import export_html

    export_html(packed, path, title=given.name)
    return "a web page; open it in a browser"


def _training_page(given: argparse.Namespace) -> int:
    from minibnn.export import export_training_page

    shared.require_another_file(given.output, given.file)
    try:
        film = load_film(given.file)
    except FileNotFoundError:
        raise FilmFileError(
            f"{given.file}: expected a film of a training, got no such file; "
            "python -m minibnn train -o FILE --film FILM makes one"
        ) from None
    path = shared.check_output(given.output, shared.FORMS[given.form])
    export_training_page(film, path, title=given.name)
    print(f"{given.output}: {os.path.getsize(path):,} bytes, a web page; open it in a browser")
    return 0
