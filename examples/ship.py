"""From training to every form that ships, and the proof that they all agree.

    python examples/ship.py     # on MNIST, or without it on the bundled sample

It trains a 784-128-64-10 network, packs it into bits, and writes it as a file, as C, as ONNX and as
a web page. Each form then scores every test image, in its own language, and must give the packed
model's integers. The same, one step at a time: python -m minibnn --help.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import minibnn
from minibnn import (
    PackedModel,
    disagreements,
    export_c,
    export_html,
    export_onnx,
    load_packed,
    pack,
    save_packed,
)
from minibnn.commands.shared import float_bytes
from minibnn.recipes import RECIPES
from minibnn.result_folder import ResultFolder

RESULTS = ("digits.safetensors", "digits.h", "digits.c", "digits", "digits.onnx", "digits.html")
DATA = {"auto": "load_mnist_or_sample", "mnist": "load_mnist", "sample": "load_sample"}
PROGRAM = """#include <stdio.h>
#include "digits.h"
int main(void) {  /* images in, scores out */
    static uint8_t image[784]; static int32_t scores[10];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        digits_scores(image, scores);
        fwrite(scores, sizeof scores, 1, stdout);
    }
}
"""
SCRIPT = """
const images = require("fs").readFileSync(0), network = loadNetwork(model);
for (let k = 0; k < images.length; k += 784)
  console.log(runNetwork(network, images.subarray(k, k + 784)).scores.join(" "));
"""


class CannotRunError(Exception):
    """This machine cannot run a form; says what is missing, and how to get it."""


def ship(dataset: str, epochs: int, folder: ResultFolder) -> bool:
    """Train, pack, write every form, run each; whether all agree."""
    # 1. Train, with latent weights of 32 bits, as binary networks are.
    data = getattr(minibnn, DATA[dataset])()
    model, _ = RECIPES["modern"]().train(data, epochs=epochs)
    images, labels = data.test_images, data.test_labels
    floats = model.forward(images).argmax(axis=1)

    # 2. Pack: weights become bits; bias, batch norm and sign become one integer for each unit.
    # Where the float model rounds to another answer, exact arithmetic says who is right.
    packed = pack(model)
    found = disagreements(model, packed, images)
    print(f"{data.name}, the float model beside the packed one:\n{found}\n")
    agree = found.packed_is_right

    # 3. One file with all of it. From here on only what was read back counts.
    file = folder.file("digits.safetensors")
    save_packed(packed, file)
    packed = load_packed(file)
    scores = packed.predict_scores(images)

    # 4. The other forms: write each, run it, and hold its scores against the packed model's.
    def line(form: str, size: int, predicted: Any, differ: str) -> None:
        print(f"{form:<10}{size:>12,}{(predicted == labels).mean():>10.4f}  {differ}")

    print("form        file bytes  accuracy  images that differ from packed")
    line("float32", float_bytes(packed), floats, f"{found.labels:,}, labels")
    line("packed", file.stat().st_size, scores.argmax(axis=1), "")
    for form, run in {"C": run_c, "ONNX": run_onnx, "web page": run_page}.items():
        try:
            path, theirs = run(packed, images, folder)
        except CannotRunError as missing:
            print(f"{form:<10}    not run: {missing}")
            continue
        except subprocess.CalledProcessError as error:  # it has said why itself, on stderr
            name = Path(error.cmd[0]).name
            print(f"{form:<10}    failed: {name} ended with exit code {error.returncode}")
            agree = False
            continue
        differ = int((theirs != scores).any(axis=1).sum())
        agree = agree and differ == 0
        line(form, path.stat().st_size, theirs.argmax(axis=1), f"{differ:,}, scores")
    folder.finish()  # those of an earlier run have stayed until now
    print(f"\nthe files are in {folder.path}; open digits.html in a browser and draw a digit")
    return agree


def run_c(packed: PackedModel, images: Any, folder: ResultFolder) -> tuple[Path, Any]:
    """One header, and a program that includes it."""
    path = folder.file("digits.h")
    export_c(packed, path)
    if not (compiler := shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")):
        raise CannotRunError("needs a C compiler: install gcc or clang")
    kind = "int32" if packed.scores.fits_int32 else "int64"
    folder.write("digits.c", PROGRAM.replace("int32", kind))
    program = folder.file("digits").resolve()
    subprocess.run([compiler, "-O2", "digits.c", "-o", program], cwd=folder.current, check=True)
    scores = run_program([program], images)
    return path, np.frombuffer(scores, kind).reshape(-1, 10)


def run_onnx(packed: PackedModel, images: Any, folder: ResultFolder) -> tuple[Path, Any]:
    """A graph of integers, in onnxruntime."""
    path = folder.file("digits.onnx")
    try:
        export_onnx(packed, path)
        import onnxruntime
    except ImportError:
        raise CannotRunError("needs two packages: pip install onnx onnxruntime") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return path, session.run(["scores"], {"images": images})[0]


def run_page(packed: PackedModel, images: Any, folder: ResultFolder) -> tuple[Path, Any]:
    """A web page; its network is a script of its own, which node runs as a browser does."""
    path = folder.file("digits.html")
    export_html(packed, path)
    if not (node := shutil.which("node")):
        raise CannotRunError("needs node: install Node.js (the page also tests itself when opened)")
    parts = re.findall(r'<script[^>]* id="(\w+)".*?>(.*?)</script>', path.read_text(), re.DOTALL)
    code = dict(parts)["network"] + f"const model = {dict(parts)['model']};" + SCRIPT
    return path, np.array(run_program([node, "-e", code], images).split(), np.int64).reshape(-1, 10)


def run_program(command: list[Any], images: Any) -> Any:
    """What a program writes when it reads all images."""
    return subprocess.run(command, input=bytes(images), stdout=subprocess.PIPE, check=True).stdout


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Ship a trained network in every form.")
    parser.add_argument("--dataset", default="auto", choices=DATA, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("shipped"), help="default: %(default)s")
    given = parser.parse_args()
    if given.epochs < 1:
        parser.error(f"--epochs: expected at least 1, got {given.epochs}")
    try:
        folder = ResultFolder(given.out, RESULTS)  # before any time is spent
        return 0 if ship(given.dataset, given.epochs, folder) else 1
    except (minibnn.DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, minibnn.DataError) else 1 if isinstance(error, OSError) else 2


if __name__ == "__main__":
    sys.exit(main())
