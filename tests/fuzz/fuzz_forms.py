"""Random networks in NumPy, C and ONNX Runtime: the same integers for every image.

    python tests/fuzz/fuzz_forms.py             # 800 networks, some minutes
    python tests/fuzz/fuzz_forms.py 100 --start 5000

The networks are those of `wide_models.random_model`: real, ternary and binary weights, levels,
branches, pools, groups, single outputs. C is compiled by gcc, with ASan and UBSan and all warnings
as errors. It stops at the first difference.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from c_headers import C99, SANITIZE, build, check_program, write_program
from onnx_checks import check, images_for
from wide_models import packed_networks

from minibnn import export_onnx

AT_ONCE = 100  # networks in one C program
GCC = ["gcc", *C99, "-fsanitize=address,undefined", *SANITIZE]


def main() -> None:
    """Compare so many networks."""
    parser = argparse.ArgumentParser(description="Compare random networks in three forms.")
    parser.add_argument("networks", type=int, nargs="?", default=800)
    parser.add_argument("--start", type=int, default=0, help="the first seed; default: 0")
    given = parser.parse_args()

    onnxruntime = importlib.import_module("onnxruntime")
    networks = packed_networks(given.networks, given.start)
    rng = np.random.default_rng(given.start)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for start in range(0, len(networks), AT_ONCE):
            models = [
                (packed, images_for(packed, rng, 20))
                for packed in networks[start : start + AT_ONCE]
            ]
            write_program(folder, models)
            build(folder, GCC, ["main.c"])
            check_program(folder, models)
            for packed, images in models:
                export_onnx(packed, folder / "model.onnx")
                check(onnxruntime, packed, folder / "model.onnx", images)
            print(f"{start + len(models)} networks agree", flush=True)


if __name__ == "__main__":
    main()
