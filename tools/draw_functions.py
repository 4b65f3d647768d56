"""Draw docs/pictures/quantizers.png: every quantizer and its surrogate derivative.

    python tools/draw_functions.py

`tests/plots/test_function.py` tests it.
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from minibnn import (
    AdaSTE,
    ApproxSign,
    DoReFaActivations,
    DoReFaWeights,
    Function,
    Heaviside,
    MagnitudeAwareSign,
    SignSTE,
    StochasticSign,
    SwishSign,
    Ternary,
    TernaryWeights,
)
from minibnn.atomic_file import whole_file
from minibnn.plots import draw_function

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "quantizers.png"
LIMITS = (-2.5, 2.5)
COLUMNS = 2

QUANTIZERS: tuple[Function, ...] = (
    SignSTE(),
    SignSTE(clip=1.0),
    ApproxSign(),
    SwishSign(),
    MagnitudeAwareSign(),
    StochasticSign(clip=1.0),
    AdaSTE(),
    Heaviside(),
    Ternary(threshold=0.5),  # the default, 0.05, is too narrow to see
    TernaryWeights(),
    DoReFaActivations(bits=2),
    DoReFaWeights(bits=2),
)


def draw(path: Path = PICTURE) -> Path:
    """Draw the picture into a file and return its path."""
    rows = -(-len(QUANTIZERS) // COLUMNS)
    sheet = Figure(figsize=(6.4 * COLUMNS, 2.4 * rows), layout="constrained")
    parts = sheet.subfigures(rows, COLUMNS, squeeze=False).ravel()
    for part, quantizer in zip(parts, QUANTIZERS, strict=False):
        draw_function(part, quantizer, LIMITS)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = io.BytesIO()
    sheet.savefig(pixels, dpi=80)
    # A palette is enough for these few colours, and takes half the bytes.
    with whole_file(path) as file:
        Image.open(pixels).convert("RGB").quantize(128).save(file, format="PNG", optimize=True)
    return path


if __name__ == "__main__":
    print(draw())
