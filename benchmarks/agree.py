"""Check that every form of a trained network gives the packed model's scores.

    MINIBNN_DATA=... python benchmarks/agree.py             # all test samples, twelve networks
    python benchmarks/agree.py --networks modern --epochs 1 --samples 1000

Trains networks of every packable kind (`deployment/networks.py`), packs them, saves and loads the
packed file, and runs each exported form: compiled C, ONNX Runtime, the web page's JavaScript in
Node.js, and CuPy on a GPU. It compares all integer scores and labels with packed NumPy's, and the
float model's labels and bits by `disagreements`.
Prints a table in Markdown. A full run writes it to `benchmarks/results/agree.csv`, a partial run
only with `--out FOLDER`.

A form that cannot run here is listed as "not run", with the reason. The exit code is 1 if a score
or a label differs without an explanation. The float model may differ where rounding puts a sum on
the other side of a threshold: `disagreements` must explain each such label, and exact arithmetic
must confirm the packed model every time. Where weights or numbers are rounded in the packed form,
outputs must stay within its proved bound.
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
from deployment.networks import NETWORKS
from deployment.write_forms import exporter
from harness.contestant import Array
from harness.environment import RESULTS, restart_without_unfair_variables, write_whole
from minibnn import (
    DeviceError,
    disagreements,
    get_backend,
    load_packed,
    pack,
    save_packed,
)
from minibnn.commands.shared import at_least
from minibnn.packed import PackedModel
from minibnn.packed.inference import labels_of

DEFAULT = list(NETWORKS)[:12]
RUNNER = """
const [page, images, rows] = process.argv.slice(2);
const fs = require("fs"), vm = require("vm");
const text = fs.readFileSync(page, "utf8");
const part = (id) => text.match(new RegExp(`<script[^>]*id="${id}"[^>]*>([^]*?)</script>`))[1];
vm.runInThisContext(part("network"));
const network = loadNetwork(JSON.parse(part("model")));
const kinds = { uint8: Uint8Array, int8: Int8Array, int16: Int16Array, float32: Float32Array };
const bytes = fs.readFileSync(images), size = bytes.length / rows, lines = [];
for (let k = 0; k < rows; k++) {
  const part = new Uint8Array(bytes.subarray(k * size, (k + 1) * size));
  const image = new kinds[network.input?.dtype ?? "uint8"](part.buffer);
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
    return gpu.to_host(scores), gpu.to_host(labels_of(scores))


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
    parser.add_argument("--networks", nargs="+", choices=sorted(NETWORKS), metavar="NAME",
                        default=DEFAULT, help=f"default: {' '.join(DEFAULT)}")  # fmt: skip
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="epochs of training on digits, and more of them on small tables; default: %(default)s",
    )
    parser.add_argument(
        "--samples", type=at_least(1), metavar="N", help="use the first N of the test; default: all"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the exported files there")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write the table there; default: benchmarks/results for a full run, "
                        "nowhere for a partial one")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    full = args.networks == DEFAULT and args.samples is None
    rows: list[dict[str, Any]] = []
    for name in args.networks:
        print(f"{name}: training ...", file=sys.stderr, flush=True)
        try:
            trained = NETWORKS[name](args.epochs)
        except ImportError as error:
            rows.append({"network": name, "form": "all", "verdict": "not run", "why": str(error)})
            full = False
            continue
        full &= name != "seed" or len(trained.samples) == 10_000  # MNIST, not the sample
        samples, labels = (a[: args.samples] for a in (trained.samples, trained.labels))
        with tempfile.TemporaryDirectory() as scratch:
            folder = args.keep / name if args.keep else Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            save_packed(pack(trained.model, **trained.names), folder / "model.safetensors")
            packed = load_packed(folder / "model.safetensors")
            about = {"network": name, "epochs": args.epochs, "bytes": packed.nbytes}
            found = compare(packed, trained.model, samples, labels, folder)
            rows += [{**about, **row} for row in found]
    table = pd.DataFrame(rows)
    print(markdown(table))
    out = args.out or (RESULTS if full else None)
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
    if packed.bound is None:
        right = sum(layer.packed_right for layer in found.layers)
        values = sum(layer.values for layer in found.layers)
        verdict = "explained" if found.packed_is_right else "DIFFERS"
        why = (
            f"{found.bits} samples with other bits; the packed model is right in {right} of "
            f"{values} values; {found.unexplained} unexplained labels"
        )
    else:
        verdict = "DIFFERS" if found.beyond else "within the bound"
        why = (
            f"outputs differ by {found.largest:.3g} at most; bound {packed.bound:.3g}, "
            f"{packed.bound_of_same_signs:.3g} with the same signs"
        )
    accuracy = float((labels_of(model.predict(images)) == labels).mean())
    rows.append(
        {"form": "float model", "images": found.images, "other_labels": found.labels,
         "accuracy": accuracy, "verdict": verdict, "why": why}
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
    columns = ["network", "form", "images", "other_scores", "other_labels", "verdict", "why"]
    lines = ["| " + " | ".join(columns).replace("_", " ") + " |", "|" + len(columns) * "---|"]
    shown = table.reindex(columns=columns)
    for row in shown.itertuples(index=False):
        cells = ["" if pd.isna(v) else f"{v:,.0f}" if isinstance(v, float) else str(v) for v in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
