"""Write a trained network in every form, for `deploy.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from deployment.compiled_c import compiler
from deployment.shipped_numpy import float_arrays
from harness.contestant import Array
from harness.race import Contestant, Row
from minibnn import ImageDataset, Sequential, save_packed
from minibnn.packed import PackedModel
from minibnn.packed.bits import unpack_rows
from minibnn.packed.stages import DenseStage, ScoreStage, ThresholdStage

C = Contestant("C -O3 -march=native", "numpy", "deployment.compiled_c", "native")
PACKED = Contestant("packed NumPy", "minibnn", "deployment.shipped_numpy", "packed")
FORMS = (
    PACKED,  # first: its labels are the expected ones
    C,
    Contestant("C -O2", "numpy", "deployment.compiled_c", "O2"),
    Contestant("C -O3 -march=native from Python", "numpy", "deployment.compiled_c", "ctypes"),
    Contestant("minibnn's float model", "minibnn", "deployment.shipped_numpy", "float"),
    Contestant("NumPy, folded floats", "numpy", "deployment.shipped_numpy", "folded"),
    Contestant("PyTorch eager", "pytorch", "deployment.shipped_pytorch", "eager"),
    Contestant("PyTorch traced", "pytorch", "deployment.shipped_pytorch", "traced"),
    Contestant("PyTorch compiled", "pytorch", "deployment.shipped_pytorch", "compiled"),
    Contestant("ONNX Runtime, floats", "onnx", "deployment.shipped_onnx", "float"),
    Contestant("ONNX Runtime, integers", "onnx", "deployment.shipped_onnx", "integer"),
)
IMAGES = 1000


def write_forms(
    folder: Path, model: Sequential, packed: PackedModel, data: ImageDataset
) -> dict[Any, str]:
    """Write the network in every form, images and labels; return the forms left out, and why.

    A key of the result is a module, or a pair of a module and a form.
    """
    images = data.test_images[:IMAGES]
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", packed.predict(images))
    save_packed(packed, folder / "model.safetensors")
    np.savez(folder / "float.npz", *float_arrays(model))
    layers = fold(packed)
    np.savez(folder / "folded.npz", *(array for layer in layers for array in layer))
    left_out: dict[Any, str] = {}
    c, onnx = "deployment.compiled_c", "deployment.shipped_onnx"
    if compiler() is None:
        left_out[c] = "C left out: no C compiler"
    writers: dict[Any, Callable[[], None]] = {
        c: lambda: exporter("c")(packed, folder / "digits.h"),
        (onnx, "integer"): lambda: exporter("onnx")(packed, folder / "integer.onnx"),
        (onnx, "float"): lambda: write_float_graph(layers, folder / "float.onnx"),
    }
    for form, write in writers.items():
        try:
            write()
        except ImportError as error:
            names = [f.name for f in FORMS if form in (f.module, (f.module, f.form))]
            left_out.setdefault(form, f"{', '.join(names)} left out: {error}")
    return left_out


def exporter(form: str) -> Callable[..., None]:
    """The function ``export_FORM`` of ``minibnn.export.FORM``."""
    export: Callable[..., None] = getattr(import_module(f"minibnn.export.{form}"), f"export_{form}")
    return export


def fold(packed: PackedModel) -> list[tuple[Array, Array]]:
    """The packed network in floats: ``x = sign(x W.T + b)`` without sums of 0; the last are logits.

    For integers, ``acc >= t`` is ``acc - t + 1/2 > 0``, and ``acc <= t`` is the same with negated
    weights. Everything but the logits is exact in float32.
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
    """Write the folded network as an ordinary ONNX graph: Gemm and Sign in float32."""
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
    """Rename the columns of `run_rounds`: a form answers with these instead of losses."""
    agreement, shipped, _ = (row.pop(k) for k in ("first_loss", "last_loss", "warmup_seconds"))
    return row | {"agreement": agreement, "shipped": shipped}
