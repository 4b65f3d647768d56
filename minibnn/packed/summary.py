"""A packed model's sizes and costs, stage by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from minibnn.html_tables import html_line, html_report, html_table
from minibnn.inspection.summary import or_dash, ruled
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
    weight_form,
)
from minibnn.packed.stages import (
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Shape,
    Stage,
    size_of,
)

if TYPE_CHECKING:
    import pandas as pd

OPERATIONS = ("xnor", "add", "compare", "multiply")


@dataclass(frozen=True)
class PackedRow:
    """One stage.

    Attributes:
        stage: its index, as in the names of its arrays.
        kind: of the stage.
        in_shape: of one sample before it.
        out_shape: of one sample after it.
        bits: the number of stored bits: weights (a bit, two if some are 0, or a byte each), and
            directions of thresholds if some fall.
        integers: the number of stored integers: thresholds, or factors and summands.
        floats: the number of stored floats: scale and offset of the logits.
        bytes: the size of all these.
        count: the number of operations for one image.
        operation: ``"xnor"``: two bits compared and the result counted, 64 at once in a word;
            ``"add"``: an integer added or subtracted; ``"compare"``: two integers or bits
            compared; ``"multiply"``: two integers multiplied, with an addition; empty for a stage
            that only copies.
    """

    stage: int
    kind: str
    in_shape: Shape
    out_shape: Shape
    bits: int
    integers: int
    floats: int
    bytes: int
    count: int
    operation: str


@dataclass(frozen=True, repr=False)
class PackedSummary:
    """The sizes and operations of a packed model; prints as a table.

    Attributes:
        input_shape: of one image.
        rows: a row for each stage, in order.
    """

    input_shape: Shape
    rows: tuple[PackedRow, ...]

    @property
    def bytes(self) -> int:
        """The bytes of all arrays: the model's `nbytes`, and the payload of its file."""
        return sum(row.bytes for row in self.rows)

    @property
    def bits(self) -> int:
        """The number of stored single bits."""
        return sum(row.bits for row in self.rows)

    @property
    def operations(self) -> dict[str, int]:
        """The operations for one image by kind: xnor, add, compare, multiply."""
        return {k: sum(r.count for r in self.rows if r.operation == k) for k in OPERATIONS}

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame, with the index ``stage``."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.rows]).set_index("stage")

    def __repr__(self) -> str:
        return "\n".join([self._head(), *ruled(self._lines(), names=4), self._foot()])

    def _repr_html_(self) -> str:
        head, *rows, total = self._lines()
        rows_and_names = html_table(head, rows, total=total, names=(0, 1, 2, 3, len(head) - 1))
        return html_report(html_line(self._head()), rows_and_names, html_line(self._foot()))

    def _head(self) -> str:
        return f"PackedModel, one image {self.input_shape}"

    def _lines(self) -> list[list[str]]:
        """The cells of the table: names of columns, rows, totals."""
        head = ["", "stage", "in", "out", "bits", "integers", "floats", "bytes", "operations", ""]
        lines = [head]
        for row in self.rows:
            counts = (row.bits, row.integers, row.floats, row.bytes, row.count)
            shapes = (str(row.in_shape), str(row.out_shape))
            lines.append([str(row.stage), row.kind, *shapes, *map(or_dash, counts), row.operation])
        totals = (
            self.bits,
            sum(row.integers for row in self.rows),
            sum(row.floats for row in self.rows),
            self.bytes,
        )
        lines.append(["", "total", "", "", *map(or_dash, totals), "", ""])
        return lines

    def _foot(self) -> str:
        operations = ", ".join(f"{n:,} {kind}" for kind, n in self.operations.items())
        return f"operations an image: {operations}"


def summarize(
    input_shape: Shape, stages: tuple[Stage, ...], arrays: dict[str, HostArray]
) -> PackedSummary:
    """The summary of a program and its `named_arrays`."""
    rows = []
    for i, stage in enumerate(stages):
        own = {k.partition(".")[2]: a for k, a in arrays.items() if k.partition(".")[0] == str(i)}
        bits = integers = floats = 0
        for name, array in own.items():
            if isinstance(stage, Product | IntegerProduct):  # weights, and the mask of ternary ones
                bits += stage.channels * stage.width * (8 if array.dtype == np.int8 else 1)
            elif name == "falling":
                bits += stage.in_shape[-1]
            elif array.dtype.kind == "f":
                floats += array.size
            else:
                integers += array.size
        size = sum(array.nbytes for array in own.values())
        count, operation = _operations(stage)
        shapes = (stage.in_shape, stage.out_shape)
        rows.append(
            PackedRow(i, stage.kind, *shapes, bits, integers, floats, size, count, operation)
        )
    return PackedSummary(input_shape, tuple(rows))


def _operations(stage: Stage) -> tuple[int, str]:
    if isinstance(stage, Product):
        positions = 1 if isinstance(stage, DenseStage) else size_of(stage.out_shape[:2])
        return positions * stage.channels * stage.width, "add" if stage.pixels else "xnor"
    n, m = size_of(stage.in_shape), size_of(stage.out_shape)
    if isinstance(stage, IntegerProduct):
        bytes_, bits = weight_form(stage.weights) == "bytes", stage.takes == "bits"
        return m * stage.width, _PRODUCTS[bytes_, bits]
    if isinstance(stage, PoolStage | SumPoolStage):
        operation = "add" if isinstance(stage, SumPoolStage) else "compare"
        return m * (math.prod(stage.size) - 1), operation
    if isinstance(stage, AddStage):
        return n * (max(1, len(stage.sources)) - 1), "add"
    if isinstance(stage, ConcatStage):
        return 0, ""
    if isinstance(stage, ScaleStage | SlopeStage | ScoreStage):
        return n, "multiply"
    if isinstance(stage, LevelStage):
        return n * stage.thresholds.shape[1], "compare"
    return m, "compare"


# By whether weights are bytes, and whether they are multiplied with bits.
_PRODUCTS = {
    (False, True): "xnor",
    (False, False): "add",
    (True, True): "add",
    (True, False): "multiply",
}
