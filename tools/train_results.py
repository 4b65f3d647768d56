"""Train recipes with the minibnn that comes first on the path, and write the results.

    PYTHONPATH=CHECKOUT python tools/train_results.py                    # describes this minibnn
    PYTHONPATH=CHECKOUT python tools/train_results.py FOLDER SETTINGS

`compare_checkouts.py` runs it, with the settings as JSON. It uses only names that are public in
both checkouts. The files contain no dates and no paths; packed files and exports contain minibnn's
version. `tests/tools/test_compare_checkouts.py` tests it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import minibnn

warnings: list[str] = []  # minibnn's messages about compiled kernels that it does not use


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "_kernels" in record.getMessage():
            warnings.append(record.getMessage())


def state() -> dict[str, Any]:
    """Describe this minibnn, and whether it uses its C kernels."""
    minibnn.get_backend("cpu")  # loads them
    package = Path(minibnn.__file__).parent
    built = any(package.rglob("_kernels.so")) and not warnings
    return {
        "checkout": str(package.parent),
        "minibnn": minibnn.__version__,
        "numpy": np.__version__,
        "C kernels": built and os.environ.get("MINIBNN_COMPILED") != "0",
    }


def train(folder: Path, settings: dict[str, Any]) -> None:
    """Train each recipe; write its history and values and, for some, the packed model and exports.

    The values are compared, too, because binary networks with different weights can have equal
    histories: only the signs of the weights matter there.
    """
    from minibnn.recipes import RECIPES  # not above: a warning about the kernels would be lost

    data = minibnn.load_sample() if settings["sample"] else minibnn.load_mnist()
    count = settings["train images"]
    images, labels = data.train_images[:count], data.train_labels[:count]
    data = replace(data, train_images=images, train_labels=labels)
    for name, epochs in settings["epochs"].items():
        print(f"  {name}", file=sys.stderr, flush=True)
        model, history = RECIPES[name]().train(data, device="cpu", progress=False, epochs=epochs)
        out = folder / name
        out.mkdir(parents=True)
        (out / "history.csv").write_text(history.to_csv())
        parts: list[Any] = [*model.parameters(), *model.buffers()]
        (out / "values.bin").write_bytes(b"".join(part.data.tobytes() for part in parts))
        if name in settings["exported"]:
            packed = minibnn.pack(model)
            minibnn.save_packed(packed, out / "packed.safetensors")
            minibnn.save_packed(packed, out / "latents.safetensors", model=model)
            minibnn.export_c(packed, out / "digits.h")
            minibnn.export_onnx(packed, out / "digits.onnx")
            minibnn.export_html(packed, out / "digits.html")


if __name__ == "__main__":
    logging.getLogger("minibnn").addHandler(_Notes())
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]), json.loads(sys.argv[2]))
    print(json.dumps(state()))
