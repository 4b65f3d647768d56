"""Train a network, ship it in every form, and show that all forms agree.

    python examples/ship.py     # on MNIST, or on the bundled sample if there is no MNIST

It trains a 784-128-64-10 network, packs it into bits, and writes it as a file, as C, as ONNX and as
a web page. Then each form computes the scores of every test image, in its own language, and they
must equal the packed model's integers. For single steps, see python -m minibnn --help.
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
    """This machine cannot run a form; the message says what to install."""


def ship(dataset: str, epochs: int, folder: ResultFolder) -> bool:
    """Train, pack, write and run every form; return whether all agree."""
    # 1. Train. Binary networks are trained with latent weights of 32 bits.
    data = getattr(minibnn, DATA[dataset])()
    model, _ = RECIPES["modern"]().train(data, epochs=epochs)
    images, labels = data.test_images, data.test_labels
    floats = model.forward(images).argmax(axis=1)

    # 2. Pack: weights become bits; bias, batch norm and sign become one integer per unit. Where
    # rounding gives the float model another label, exact arithmetic decides which one is right.
    packed = pack(model)
    found = disagreements(model, packed, images)
    print(f"{data.name}, the float model compared with the packed model:\n{found}\n")
    agree = found.packed_is_right

    # 3. Save one file with all of it. From here on, use the model that was read back.
    file = folder.file("digits.safetensors")
    save_packed(packed, file)
    packed = load_packed(file)
    scores = packed.predict_scores(images)

    # 4. Write each of the other forms, run it, and compare its scores with the packed model's.
    def line(form: str, size: int, predicted: Any, differ: str) -> None:
        print(f"{form:<10}{size:>12,}{(predicted == labels).mean():>10.4f}  {differ}")

    print("form        file bytes  accuracy  images that differ from packed")
    line("float32", float_bytes(packed), floats, f"{found.labels:,} labels")
    line("packed", file.stat().st_size, scores.argmax(axis=1), "")
    for form, run in {"C": run_c, "ONNX": run_onnx, "web page": run_page}.items():
        try:
            path, theirs = run(packed, images, folder)
        except CannotRunError as missing:
            print(f"{form:<10}    not run: {missing}")
            continue
        except subprocess.CalledProcessError as error:  # its own message is on stderr
            name = Path(error.cmd[0]).name
            print(f"{form:<10}    failed: {name} ended with exit code {error.returncode}")
            agree = False
            continue
        differ = int((theirs != scores).any(axis=1).sum())
        agree = agree and differ == 0
        line(form, path.stat().st_size, theirs.argmax(axis=1), f"{differ:,} scores")
    folder.finish()  # replaces the files of an earlier run
    print(f"\nThe files are in {folder.path}. Open digits.html in a browser and draw a digit.")
    return agree


def run_c(packed: PackedModel, images: Any, folder: ResultFolder) -> tuple[Path, Any]:
    """Write the header, and compile and run a program that includes it."""
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
    """Write the integer graph, and run it in onnxruntime."""
    path = folder.file("digits.onnx")
    try:
        export_onnx(packed, path)
        import onnxruntime
    except ImportError:
        raise CannotRunError("needs two packages: pip install onnx onnxruntime") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return path, session.run(["scores"], {"images": images})[0]


def run_page(packed: PackedModel, images: Any, folder: ResultFolder) -> tuple[Path, Any]:
    """Write the web page, and run its script for the network in Node.js."""
    path = folder.file("digits.html")
    export_html(packed, path)
    if not (node := shutil.which("node")):
        raise CannotRunError("needs node: install Node.js (the page also tests itself when opened)")
    parts = re.findall(r'<script[^>]* id="(\w+)".*?>(.*?)</script>', path.read_text(), re.DOTALL)
    code = dict(parts)["network"] + f"const model = {dict(parts)['model']};" + SCRIPT
    return path, np.array(run_program([node, "-e", code], images).split(), np.int64).reshape(-1, 10)


def run_program(command: list[Any], images: Any) -> Any:
    """Run a program with all images as its input; return its output."""
    return subprocess.run(command, input=bytes(images), stdout=subprocess.PIPE, check=True).stdout


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Train a network, ship it in every form, and check that all agree."
    )
    parser.add_argument("--dataset", default="auto", choices=DATA,
                        help="default: auto, MNIST or, if there is none, the sample")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=3, metavar="N",
                        help="default: %(default)s")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("shipped"), metavar="FOLDER",
                        help="write all forms there; default: %(default)s")  # fmt: skip
    given = parser.parse_args()
    if given.epochs < 1:
        parser.error(f"--epochs: expected at least 1, got {given.epochs}")
    try:
        folder = ResultFolder(given.out, RESULTS)  # before training, so that errors come early
        return 0 if ship(given.dataset, given.epochs, folder) else 1
    except (minibnn.DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, minibnn.DataError) else 1 if isinstance(error, OSError) else 2


if __name__ == "__main__":
    sys.exit(main())
