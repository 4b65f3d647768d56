"""ONNX Runtime: the folded network as a graph of floats, and minibnn's integer export.

Forms: `float`, `integer`. Only the label is computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from deployment.form import run
from harness.contestant import Array


class OnnxRuntime:
    """A session on the CPU."""

    def __init__(self, folder: Path, threads: int, form: str) -> None:
        file = folder / f"{form}.onnx"
        self.shipped = file.stat().st_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def prepare(self, images: Array) -> dict[str, Array]:
        """The input of a session."""
        return {"images": images}

    def predict(self, feed: dict[str, Array]) -> Any:
        """Labels."""
        return self.session.run(["label"], feed)[0]


if __name__ == "__main__":
    run(OnnxRuntime)
