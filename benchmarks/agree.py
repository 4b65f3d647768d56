"""Check that every form of a trained network gives the packed model's scores.

    MINIBNN_DATA=... python benchmarks/agree.py             # 10,000 images, four recipes
    python benchmarks/agree.py --recipes modern --epochs 1 --images 1000

Trains recipes, packs them, saves and loads the packed file, and runs each exported form: compiled
C, ONNX Runtime, the web page's JavaScript in Node.js, and CuPy on a GPU. It compares all integer
scores and labels with packed NumPy's, and the float model's labels and bits by `disagreements`.
Prints a table in Markdown. A full run writes it to `benchmarks/results/agree.csv`, a partial run
only with `--out FOLDER`.

A form that cannot run here is listed as "not run", with the reason. The exit code is 1 if a score
or a label differs without an explanation. The float model may differ where rounding puts a sum on
the other side of a threshold: `disagreements` must explain each such label, and exact arithmetic
must confirm the packed model every time.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deployment.compiled_c import FLAGS, Library, compiler
from deployment.write_forms import exporter
from harness.contestant import Array
from harness.environment import RESULTS, restart_without_unfair_variables, write_whole
from minibnn import (
    DeviceError,
    disagreements,
    get_backend,
    load_mnist_or_sample,
    load_packed,
    one_cold,
    pack,
    save_packed,
)
from minibnn.commands.shared import at_least
from minibnn.packed import PackedModel
from minibnn.recipes import RECIPES

DEFAULT_RECIPES = ("seed", "modern", "finn-sfc-8bit", "larq-cnn")
RUNNER = """
const [page, images, rows] = process.argv.slice(2);
const fs = require("fs"), vm = require("vm");
const text = fs.readFileSync(page, "utf8");
const part = (id) => text.match(new RegExp(`<script[^>]*id="${id}"[^>]*>([^]*?)</script>`))[1];
vm.runInThisContext(part("network"));
const network = loadNetwork(JSON.parse(part("model")));
const pixels = fs.readFileSync(images), size = pixels.length / rows, lines = [];
for (let k = 0; k < rows; k++) {
  const image = new Uint8Array(pixels.subarray(k * size, (k + 1) * size));
  const { scores, label } = runNetwork(network, image);
  lines.push(`${label} ${[...scores].join(" ")}`);
}
fs.writeFileSync(1, lines.join("\\n"));
"""


class NotRunError(Exception):
    """This machine cannot run a form; the message says why."""


Answer = tuple[Array, Array]  # scores (n, classes), labels (n,)


def by_c(packed: PackedModel, images: Array, folder: Path) -> Answer:
    """Run the compiled C header."""
    if compiler() is None:
        raise NotRunError("no C compiler")
    exporter("c")(packed, folder / "digits.h")
    library = Library(folder, FLAGS["native"])
    return library.scores(images, packed.classes), library.labels(images)


def by_onnx(packed: PackedModel, images: Array, folder: Path) -> Answer:
    """Run the integer graph in ONNX Runtime, in parts: its buffers grow with the batch."""
    import onnxruntime

    exporter("onnx")(packed, folder / "model.onnx")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    parts = [
        session.run(["scores", "label"], {"images": images[i : i + 500]})
        for i in range(0, len(images), 500)
    ]
    scores, labels = (np.concatenate(list(part)) for part in zip(*parts, strict=True))
    return scores, labels


def by_javascript(packed: PackedModel, images: Array, folder: Path) -> Answer:
    """Run the web page's script in Node.js."""
    node = shutil.which("node")
    if node is None:
        raise NotRunError("no node (Node.js)")
    exporter("html")(packed, folder / "page.html")
    (folder / "runner.js").write_text(RUNNER)
    images.tofile(folder / "images")
    command = [node, "runner.js", "page.html", "images", str(len(images))]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"node failed:\n{done.stderr}")
    numbers = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    table = np.array(numbers, dtype=np.int64)
    return table[:, 1:], table[:, 0]


def by_cupy(packed: PackedModel, images: Array, folder: Path) -> Answer:
    """Run the packed model on a GPU."""
    try:
        gpu = get_backend("gpu")
    except DeviceError as error:
        raise NotRunError(str(error).splitlines()[0]) from None
    scores = packed.predict_scores(gpu.asarray(images))
    return gpu.to_host(scores), gpu.to_host(one_cold(scores))


FORMS: dict[str, Callable[[PackedModel, Array, Path], Answer]] = {
    "compiled C": by_c,
    "ONNX Runtime": by_onnx,
    "JavaScript": by_javascript,
    "CuPy": by_cupy,
}


def main() -> None:
    """Train, pack, export, compare."""
    parser = argparse.ArgumentParser(
        description="Check that every form gives the packed model's scores."
    )
    parser.add_argument("--recipes", nargs="+", choices=sorted(RECIPES), metavar="RECIPE",
                        default=list(DEFAULT_RECIPES),
                        help=f"default: {' '.join(DEFAULT_RECIPES)}")  # fmt: skip
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="epochs of training; default: %(default)s",
    )
    parser.add_argument(
        "--images", type=at_least(1), metavar="N", help="use the first N test images; default: all"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the exported files there")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write the table there; default: benchmarks/results for a full run, "
                        "nowhere for a partial one")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    data = load_mnist_or_sample()
    images, labels = (a[: args.images] for a in (data.test_images, data.test_labels))
    full = (
        args.recipes == list(DEFAULT_RECIPES) and args.images is None and "sample" not in data.name
    )
    out = args.out or (RESULTS if full else None)
    rows: list[dict[str, Any]] = []
    for name in args.recipes:
        print(f"{name}: {args.epochs} epochs of {data.name} ...", file=sys.stderr, flush=True)
        model, _ = RECIPES[name]().train(data, epochs=args.epochs, progress=False)
        with tempfile.TemporaryDirectory() as scratch:
            folder = args.keep / name if args.keep else Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            save_packed(pack(model), folder / "model.safetensors")
            packed = load_packed(folder / "model.safetensors")
            rows += [{"recipe": name, "epochs": args.epochs, **row}
                     for row in compare(packed, model, images, labels, folder)]  # fmt: skip
    table = pd.DataFrame(rows)
    print(markdown(table))
    if out is None:
        print("a partial run: its results are not saved without --out", file=sys.stderr)
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "agree.csv", table.to_csv(index=False))
    sys.exit(1 if (table.verdict == "DIFFERS").any() else 0)


def compare(
    packed: PackedModel, model: Any, images: Array, labels: Array, folder: Path
) -> list[dict[str, Any]]:
    """Return a row for each form."""
    scores, predicted = packed.predict_scores(images), packed.predict(images)
    rows = [row_of("packed NumPy", (scores, predicted), scores, predicted, labels)]
    rows[0]["verdict"] = "reference"
    for form, run in FORMS.items():
        print(f"  {form} ...", file=sys.stderr, flush=True)
        try:
            answer = run(packed, images, folder)
        except (NotRunError, ImportError) as error:
            rows.append({"form": form, "images": 0, "verdict": "not run", "why": str(error)})
            continue
        rows.append(row_of(form, answer, scores, predicted, labels))
    found = disagreements(model, packed, images)
    right = sum(layer.packed_right for layer in found.layers)
    values = sum(layer.values for layer in found.layers)
    rows.append(
        {"form": "float model", "images": found.images, "other_labels": found.labels,
         "verdict": "explained" if found.packed_is_right else "DIFFERS",
         "why": f"{found.bits} images with other bits; the packed model is right in {right} of "
         f"{values} values; {found.unexplained} unexplained labels"}
    )  # fmt: skip
    return rows


def row_of(
    form: str, answer: Answer, scores: Array, predicted: Array, labels: Array
) -> dict[str, Any]:
    """Count the images whose scores or label differ from the packed model's."""
    if answer[0].shape != scores.shape or answer[1].shape != predicted.shape:
        raise RuntimeError(f"{form}: expected scores {scores.shape}, got {answer[0].shape}")
    other_scores = int((answer[0] != scores).any(axis=1).sum())
    other_labels = int((answer[1] != predicted).sum())
    verdict = "DIFFERS" if other_scores or other_labels else "identical"
    accuracy = float((answer[1] == labels).mean())
    return {"form": form, "images": len(scores), "other_scores": other_scores,
            "other_labels": other_labels, "accuracy": accuracy, "verdict": verdict}  # fmt: skip


def markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    columns = ["recipe", "form", "images", "other_scores", "other_labels", "verdict", "why"]
    lines = ["| " + " | ".join(columns).replace("_", " ") + " |", "|" + len(columns) * "---|"]
    shown = table.reindex(columns=columns)
    for row in shown.itertuples(index=False):
        cells = ["" if pd.isna(v) else f"{v:,.0f}" if isinstance(v, float) else str(v) for v in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
