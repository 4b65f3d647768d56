"""Measure convolutions in C beside those by im2col matrices, one thread, on each instruction set.

    python benchmarks/convolutions.py       # four minutes; writes results/convolutions.csv, .json
    python benchmarks/convolutions.py --shapes 100,13,32,64,3,1 --out FOLDER

A shape is: batch, rows and columns of an image, its channels, outputs, kernel size, stride. The
rows of the table are z of signs and of a real kernel, both gradients on bits, and z and dW of small
windows, whose images are real. Both ways take turns, and the table has the least processor time of
each in microseconds, with the call from Python.

`bits_pay`, `dx_pays` and `small_pays` in `minibnn/backend/cpu/convolution.py` choose by shape; the
program prints how often they chose the slower way.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import product as combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from harness.turns import restart_on_one_thread, take_turns
from minibnn.backend.cpu import CompiledBackend, convolution, open_library
from minibnn.backend.cpu.c_kernels import INSTRUCTION_SETS, Library
from minibnn.windows import Windows

LARGEST = 1e8  # products of two numbers
SHAPES = [
    (batch, size, channels, outputs, kernel, stride)
    for batch, size, (channels, outputs), (kernel, stride) in combinations(
        (1, 100),
        (5, 13, 28),
        ((1, 16), (1, 32), (1, 64), (3, 10), (3, 32), (3, 64), (8, 8), (16, 16), (32, 4), (32, 32),
         (48, 64), (64, 128), (128, 32)),
        ((1, 1), (2, 1), (3, 1), (3, 2), (5, 1)),
    )
    if batch * (size / stride) ** 2 * channels * outputs * kernel**2 < LARGEST
]  # fmt: skip


def operands(shape: tuple[int, ...], real: bool) -> tuple[Any, ...]:
    """x, W, dz and the windows: x and W are signs unless they are to be real."""
    batch, size, channels, outputs, kernel, stride = shape
    rng, windows = np.random.default_rng(0), Windows((kernel, kernel), (stride, stride))
    x = rng.standard_normal((batch, size, size, channels)).astype(np.float32)
    W = rng.standard_normal((kernel, kernel, channels, outputs)).astype(np.float32)
    if not real:
        x, W = (np.where(a < 0, np.float32(-1), np.float32(1)) for a in (x, W))
    dz = rng.standard_normal((batch, *windows.counts(x.shape), outputs)).astype(np.float32)
    return x, W, dz, windows


def calls(backend: CompiledBackend, shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """What is measured: a name, whether C is chosen, its implementation, and the other one.

    C is chosen anyway until the next one.
    """
    choices = bits_pay, dx_pays, small_pays = (
        convolution.bits_pay, convolution.dx_pays, convolution.small_pays
    )  # fmt: skip
    for real in (False, True):
        x, W, dz, windows = operands(shape, real)
        bits = bits_pay(windows, x.shape)
        small = [small_pays(windows, x.shape, shape[3], most) for most in (1024, 2048)]
        R = operands(shape, True)[1]
        z, dW = (x, W, windows), (x, dz, windows)
        in_c = convolution.convolve_in_c, convolution.convolve_dW_in_c, convolution.convolve_dx_in_c
        other = convolution.convolve, convolution.convolve_dW, convolution.convolve_dx
        rows: list[tuple[Any, ...]] = [
            ("z", bits, 0, z),
            ("z of a real kernel", bits, 0, (x, R, windows)),
            ("dW", bits, 1, dW),
            ("dx", dx_pays(windows, x.shape), 2, (dz, W, windows, x.shape)),
        ]
        if real:
            rows = [
                ("z of small windows", small[0], 0, z),
                ("dW of small windows", small[1], 1, dW),
            ]
        convolution.bits_pay = convolution.dx_pays = lambda *args, real=real: not real
        convolution.small_pays = lambda *args, real=real: real
        try:
            for what, chosen, which, arguments in rows:
                both = [partial(f[which], backend, *arguments) for f in (in_c, other)]
                yield what, chosen, *both
        finally:
            convolution.bits_pay, convolution.dx_pays, convolution.small_pays = choices


def measure(shapes: list[tuple[int, ...]], seconds: float) -> Iterator[dict[str, Any]]:
    """Rows of the table."""
    library = open_library()
    if library is None:
        raise SystemExit("convolutions: expected C kernels, found none; see CONTRIBUTING.md")
    for name in INSTRUCTION_SETS[: library.minibnn_instruction_set() + 1]:
        backend = CompiledBackend(library)
        backend.c = Library(library, name)
        for shape in shapes:
            for what, chosen, in_c, other in calls(backend, shape):
                if in_c() is not NotImplemented:  # not too large for small windows
                    ours, theirs = map(min, take_turns([in_c, other], seconds))
                    names = "batch", "size", "channels", "outputs", "kernel", "stride"
                    yield {
                        "instructions": name, "what": what, **dict(zip(names, shape, strict=True)),
                        "c": ours, "im2col": theirs, "ratio": ours / theirs, "chosen": chosen,
                    }  # fmt: skip


def main() -> None:
    """Measure, store, and print the errors of the choice."""
    parser = argparse.ArgumentParser(description="Measure convolutions in C beside im2col's.")
    parser.add_argument("--shapes", nargs="+", metavar="n,size,c,out,k,s", default=SHAPES,
                        type=lambda text: tuple(map(int, text.split(","))),
                        help="shapes of convolutions; default: those in the program")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=0.01, metavar="S",
                        help="for each convolution; default: %(default)s")  # fmt: skip
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER",
                        help="for the two files; default: benchmarks/results")  # fmt: skip
    args = parser.parse_args()
    restart_on_one_thread()
    restart_without_unfair_variables()
    table = pd.DataFrame(measure(args.shapes, args.seconds))
    save_run(args.out, "convolutions", table, [], 1, [])
    for (name, what), rows in table.groupby(["instructions", "what"], sort=False):
        chosen, left = rows[rows.chosen], rows[~rows.chosen]
        print(
            f"{name}, {what}: {len(chosen)} of {len(rows)} in C, "
            f"ratios {chosen.ratio.min():.2f} to {chosen.ratio.max():.2f}, median "
            f"{chosen.ratio.median():.2f}, {(chosen.ratio > 1.05).sum()} above 1.05; "
            f"the best that was left out {left.ratio.min():.2f}"
        )


if __name__ == "__main__":
    main()
