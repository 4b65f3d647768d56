"""A trained 784-128-64-10 in the forms that it ships in: latency, memory and bytes, side by side.

    python benchmarks/rivals.py pytorch onnx          # an environment for each
    MINIBNN_DATA=... python benchmarks/deploy.py      # every form, batches of 1 and 1000
    python benchmarks/deploy.py --rivals none --batches 1 --repeats 5

Trains the recipe for a few epochs, packs it, and writes it in each form. Then the forms take turns,
each in a process and an environment of its own, in an order that rotates. Prints a table in
Markdown with medians, quartiles, and the ratio compiled C / form, which is the median over rounds
of two turns' ratio. A whole run writes every turn to `benchmarks/results/deploy.csv` and what it
ran on to `deploy.json`; a run of parts does so with `--out FOLDER`.

Latency: of a call that has images of bytes, as its users hold them (arrays, tensors), and gives
labels. Every form answers to the same 1000 test images; at batch 1 each call has the next of them.
A form whose labels are not the packed model's, but for one in a hundred, is out. Compiled C and
packed NumPy's products of bits use one core whatever `threads` says.

Shipped, in bytes: the code and constants of one call (C); the file, with its header (packed model,
ONNX); all parameters and buffers, which are four numbers of batch norm for a channel beside the
weights (minibnn's float model); weights and one bias for a channel, with batch norm folded into
them (the other floats). All floats are float32. `inspect` and `pack` count one number for a
threshold and two for a class.

Memory: how much a process grows at most, from after its imports and the loading of images until it
has the network and has answered 1000 images at once and one alone. Libraries do not count, what
they allocate later does. From Linux's account of the process; elsewhere left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from environment import RESULTS, save_run, start_even
from race import Contestant, RaceError, Row, Worker, limits, take_turns
from rivals import installed
from tables import quantity

from minibnn import ImageDataset, Sequential, load_mnist_or_sample, pack, save_packed
from minibnn.packed import PackedModel
from minibnn.packed.bits import unpack_rows
from minibnn.packed.stages import DenseStage, ScoreStage, ThresholdStage
from minibnn.recipes import RECIPES

# After `race`, which makes this folder known.
from compiled_c import compiler  # isort: skip
from shipped import Task  # isort: skip
from shipped_numpy import float_arrays  # isort: skip
from turns import Array  # isort: skip

C = Contestant("C -O3 -march=native", "numpy", "compiled_c.py", "native")
PACKED = Contestant("packed NumPy", "minibnn", "shipped_numpy.py", "packed")
FORMS = (
    PACKED,  # first: what the others are held to
    C,
    Contestant("C -O2", "numpy", "compiled_c.py", "O2"),
    Contestant("C -O3 -march=native from Python", "numpy", "compiled_c.py", "ctypes"),
    Contestant("minibnn's float model", "minibnn", "shipped_numpy.py", "float"),
    Contestant("NumPy, folded floats", "numpy", "shipped_numpy.py", "folded"),
    Contestant("PyTorch eager", "pytorch", "shipped_pytorch.py", "eager"),
    Contestant("PyTorch traced", "pytorch", "shipped_pytorch.py", "traced"),
    Contestant("PyTorch compiled", "pytorch", "shipped_pytorch.py", "compiled"),
    Contestant("ONNX Runtime, floats", "onnx", "shipped_onnx.py", "float"),
    Contestant("ONNX Runtime, integers", "onnx", "shipped_onnx.py", "integer"),
)
RIVALS = ("onnx", "pytorch")
IMAGES = 1000
BATCHES = (1, IMAGES)
CALLS = {1: 2000, IMAGES: 20}  # in a turn
MEMORY_REPEATS = 3
TOLERANCE = 0.01
SHIPPED = (
    "Shipped: C, code and constants; packed NumPy and ONNX Runtime, the file; minibnn's float "
    "model, parameters and buffers; other floats, weights and biases with batch norm folded in."
)


def main() -> None:
    """Train, pack, measure, print."""
    parser = argparse.ArgumentParser(description="The forms a trained network ships in.")
    parser.add_argument("--recipe", choices=("modern", "seed"), default="modern")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--batches", type=int, nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--threads", type=int, nargs="+", default=None, metavar="N",
                        help="default: 1 and 2, as far as there are cores")  # fmt: skip
    parser.add_argument("--rivals", nargs="+", choices=(*RIVALS, "none"), metavar="RIVAL",
                        help="none, or any of " + ", ".join(RIVALS)
                        + "; default: all installed")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=15, metavar="N", help="default: %(default)s")
    parser.add_argument("--calls", type=int, metavar="N", help="in a turn; default: "
                        + ", ".join(f"{n} of batch {b}" for b, n in CALLS.items()))  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="keep the results there; default: benchmarks/results")  # fmt: skip
    args = parser.parse_args()
    start_even()
    cores = os.cpu_count() or 1
    threads: list[int] = args.threads or [n for n in (1, 2) if n <= cores]
    there = [name for name in installed() if name in RIVALS]
    homes = {"minibnn", "numpy", *(args.rivals or there)} - {"none"}
    missing = homes - {"minibnn", "numpy", *there}
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; see benchmarks/rivals.py")

    data = load_mnist_or_sample()
    print(f"{args.recipe}: {args.epochs} epochs of {data.name} ...", file=sys.stderr, flush=True)
    model, _ = RECIPES[args.recipe]().train(data, epochs=args.epochs, progress=False)
    packed = pack(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left_out = write_forms(folder, model, packed, data)
        forms = [f for f in FORMS if f.home in homes and f.script not in left_out]
        forms = [f for f in forms if (f.script, f.form) not in left_out]
        whole = len(forms) == len(FORMS) and set(args.batches) == set(BATCHES)
        whole = whole and not args.calls and not args.threads
        out = args.out or (RESULTS if whole else None)
        complaints: list[str] = []
        rows: list[Row] = []
        for batch in args.batches:
            for n in threads:
                print(f"batch {batch}, {n} threads ...", file=sys.stderr, flush=True)
                calls = args.calls or CALLS[batch]
                Task(args.recipe, batch, calls, n).write(folder)
                found, wrong = take_turns(folder, forms, args.repeats, limits(n), calls, TOLERANCE)
                where: Row = {"work": "latency", "batch": batch, "threads": n, "unit": "s/call"}
                rows += [where | tidy(row) for row in found]
                complaints += [f"batch {batch}, {n} threads: {text}" for text in wrong]
        if Path("/proc/self/clear_refs").exists():
            print("memory ...", file=sys.stderr, flush=True)
            Task(args.recipe, 1, 0, 1).write(folder)
            found, wrong = measure_memory(folder, forms, min(args.repeats, MEMORY_REPEATS))
            where = {"work": "memory", "batch": IMAGES, "threads": 1, "unit": "MiB"}
            rows += [where | row for row in found]
            complaints += [f"memory: {text}" for text in wrong]
    for text in (*left_out.values(), *complaints):
        print(text, file=sys.stderr)
    table = pd.DataFrame(rows)
    if out is not None:
        about = {"recipe": args.recipe, "epochs": args.epochs, "images": data.name}
        save_run(out, "deploy", table, homes, threads, [*left_out.values(), *complaints],
                 compiler=compiler_version(),
                 packed_bytes=packed.nbytes, **about)  # fmt: skip
    print(markdown(table))
    if out is None:
        print("a part of the suite: not kept without --out", file=sys.stderr)
    sys.exit(1 if complaints else 0)


def write_forms(
    folder: Path, model: Sequential, packed: PackedModel, data: ImageDataset
) -> dict[Any, str]:
    """The network in every form, images and labels; what cannot be written, and why."""
    images = data.test_images[:IMAGES]
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", packed.predict(images))
    save_packed(packed, folder / "model.safetensors")
    np.savez(folder / "float.npz", *float_arrays(model))
    layers = fold(packed)
    np.savez(folder / "folded.npz", *(array for layer in layers for array in layer))
    left_out: dict[Any, str] = {}
    if compiler() is None:
        left_out["compiled_c.py"] = "C left out: no C compiler"
    writers: dict[Any, Callable[[], None]] = {
        "compiled_c.py": lambda: exporter("c")(packed, folder / "digits.h"),
        ("shipped_onnx.py", "integer"): lambda: exporter("onnx")(packed, folder / "integer.onnx"),
        ("shipped_onnx.py", "float"): lambda: write_float_graph(layers, folder / "float.onnx"),
    }
    for form, write in writers.items():
        try:
            write()
        except ImportError as error:
            names = [f.name for f in FORMS if form in (f.script, (f.script, f.form))]
            left_out.setdefault(form, f"{', '.join(names)} left out: {error}")
    return left_out


def exporter(form: str) -> Callable[..., None]:
    """``export_c`` of minibnn.export.c, and its like."""
    export: Callable[..., None] = getattr(import_module(f"minibnn.export.{form}"), f"export_{form}")
    return export


def fold(packed: PackedModel) -> list[tuple[Array, Array]]:
    """The packed network in floats: ``x = sign(x W.T + b)`` with no sum at 0, and last the logits.

    ``acc >= t`` is ``acc - t + 1/2 > 0`` for whole numbers, and ``acc <= t`` is that of the
    opposite weights. All but the logits is exact in float32.
    """
    layers = []
    products = [stage for stage in packed.stages if isinstance(stage, DenseStage)]
    ends = [stage for stage in packed.stages if not isinstance(stage, DenseStage)]
    for product, end in zip(products, ends, strict=True):
        signs = 2 * unpack_rows(product.weights, product.width).astype(np.float32) - 1
        if isinstance(end, ThresholdStage):
            way = np.where(end.falling, -1, 1)
            layers.append((way[:, None] * signs, 0.5 - way * end.thresholds))
        elif isinstance(end, ScoreStage):
            layers.append((end.scale[:, None] * signs, end.offset))
        else:
            raise TypeError(f"expected dense stages and thresholds, got {end.kind}")
    return [(W.astype(np.float32), b.astype(np.float32)) for W, b in layers]


def write_float_graph(layers: Sequence[tuple[Array, Array]], file: Path) -> None:
    """The folded network as people write such a graph: Gemm and Sign in float32."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["x0"]),
    ]
    arrays = []
    for i, (W, b) in enumerate(layers):
        arrays += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [f"x{i}", f"W{i}", f"b{i}"], [f"y{i}"], transB=1))
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Sign", [f"y{i}"], [f"x{i + 1}"]))
    nodes.append(helper.make_node("ArgMax", [nodes[-1].output[0]], ["label"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "folded",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 28, 28])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])],
        arrays,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(file))


def tidy(row: Row) -> Row:
    """A row of `take_turns`, whose losses are other things here."""
    agreement, shipped, _ = (row.pop(k) for k in ("first_loss", "last_loss", "warmup_seconds"))
    return row | {"agreement": agreement, "shipped": shipped}


def measure_memory(
    folder: Path, forms: Iterable[Contestant], repeats: int
) -> tuple[list[Row], list[str]]:
    """How much a fresh process grows, form by form."""
    rows: list[Row] = []
    complaints = []
    for form in forms:
        for repeat in range(repeats + 1):  # the first may compile, and is left out
            worker = Worker(form, folder, limits(1))
            try:
                growth, agreement, shipped = worker.turn()
            except RaceError as error:
                complaints.append(str(error))
                break
            finally:
                worker.close()
            row = {"contestant": form.name, "repeat": repeat - 1, "value": growth / 2**20}
            rows += [row | {"agreement": agreement, "shipped": shipped}] if repeat else []
    return rows, complaints


def markdown(table: pd.DataFrame) -> str:
    """Latency in each setting, and after it what every form takes."""
    lines = [
        "| batch | threads | form | a call (quartiles) | compiled C / form |",
        "|" + 5 * "---|",
    ]
    latency = table[table.work == "latency"]
    for setting in latency[["batch", "threads"]].drop_duplicates().itertuples(index=False):
        rows = latency[(latency[["batch", "threads"]] == list(setting)).all(axis=1)]
        values = rows.pivot(index="repeat", columns="contestant", values="value")
        for name in rows.contestant.unique():
            low, middle, high = (quantity(values[name].quantile(q), "s") for q in (0.25, 0.5, 0.75))
            ratio = ""
            if C.name in values and name != C.name:
                pairs = (values[C.name] / values[name]).dropna()
                ends = f"{pairs.quantile(0.25):.3g} to {pairs.quantile(0.75):.3g}"
                ratio = f"{pairs.median():.3g} ({ends})"
            cells = [*map(str, setting), name, f"{middle} ({low} to {high})", ratio]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| form | shipped | memory | other labels |", "|---|---|---|---|"]
    memory = table[table.work == "memory"]
    for name in memory.contestant.unique():
        rows = memory[memory.contestant == name]
        others = round(IMAGES * (1 - rows.agreement.min()))
        grown = f"{rows.value.median():.2f} MiB"
        lines.append(f"| {name} | {int(rows.shipped.iloc[0]):,} bytes | {grown} | {others} |")
    return "\n".join([*lines, "", SHIPPED])


def compiler_version() -> str:
    """The first line of what the C compiler says of itself."""
    cc = compiler()
    if cc is None:
        return ""
    done = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    main()
