"""A model's sizes and costs, layer by layer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from minibnn.checks import shape as check_shape
from minibnn.functions import weight_bits
from minibnn.html_tables import html_line, html_report, html_table
from minibnn.inspection.costs import macs, product_bits, shipped_floats, value_bits
from minibnn.inspection.recorder import Recorder
from minibnn.layers import Layer

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("binary", "mixed", "float")


@dataclass(frozen=True)
class SummaryRow:
    """One layer.

    Attributes:
        path: its position in the model, as in the names of its parameters.
        layer: its short name.
        output: shape of its output for one sample; None if the pass did not reach it.
        values: how many numbers it ships for each bit width, ``{1: 7840, 32: 10}``.
        bytes: what those take; each weight is packed and rounded up to whole bytes.
        macs: multiply-accumulates for one sample.
        kind: of the multiply-accumulates: ``"binary"`` if weights and inputs both have one bit,
            ``"float"`` if both have 32, else ``"mixed"``; empty without any. This counts bits: the
            0 and 1 of `Heaviside` are one bit, although XNOR (the product of signs, as bits) does
            not multiply them. ``minibnn.pack`` shows what can run on XNOR.
    """

    path: str
    layer: str
    output: tuple[int, ...] | None
    values: dict[int, int]
    bytes: int
    macs: int
    kind: str


@dataclass(frozen=True, repr=False)
class Summary:
    """What it takes to store and to run a model; prints as a table.

    Sizes are those of the shipped model: quantized weights at their bit width, everything else at
    32 bits. Latent weights, feedback weights and whatever only training needs do not count, and
    batch norm counts as the scale and the shift that it folds into.

    Attributes:
        title: the model's short name.
        input_shape: of one sample.
        rows: one for each layer, in the order of the forward pass.
    """

    title: str
    input_shape: tuple[int, ...]
    rows: tuple[SummaryRow, ...]

    @property
    def bytes(self) -> int:
        """The size of the shipped model, without any header."""
        return sum(row.bytes for row in self.rows)

    @property
    def float_bytes(self) -> int:
        """The size of the model with every number at 32 bits."""
        return 4 * sum(self.values.values())

    @property
    def values(self) -> dict[int, int]:
        """How many numbers it ships for each bit width, fewest bits first."""
        widths = sorted({bits for row in self.rows for bits in row.values})
        return {bits: sum(row.values.get(bits, 0) for row in self.rows) for bits in widths}

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates for one sample by kind: binary, mixed, float."""
        return {kind: sum(row.macs for row in self.rows if row.kind == kind) for kind in KINDS}

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame, with the index ``path``."""
        import pandas as pd

        columns = {
            "path": [row.path for row in self.rows],
            "layer": [row.layer for row in self.rows],
            "output": [row.output for row in self.rows],
            **{
                f"{bits}-bit": [row.values.get(bits, 0) for row in self.rows]
                for bits in self._widths()
            },
            "bytes": [row.bytes for row in self.rows],
            "macs": [row.macs for row in self.rows],
            "kind": [row.kind for row in self.rows],
        }
        return pd.DataFrame(columns).set_index("path")

    def __repr__(self) -> str:
        return "\n".join([self._head(), *ruled(self._lines(), names=3), *self._foot()])

    def _repr_html_(self) -> str:
        head, *rows, total = self._lines()
        rows_and_names = html_table(head, rows, total=total, names=(0, 1, 2, len(head) - 1))
        return html_report(html_line(self._head()), rows_and_names, *map(html_line, self._foot()))

    def _head(self) -> str:
        return f"{self.title}, one sample {self.input_shape}"

    def _lines(self) -> list[list[str]]:
        """The cells of the table: names of columns, rows, totals."""
        widths = self._widths()
        head = ["", "layer", "output", *(f"{bits}-bit" for bits in widths), "bytes", "MACs", "kind"]
        lines = [head]
        for row in self.rows:
            counts = [*(row.values.get(bits, 0) for bits in widths), row.bytes, row.macs]
            output = "not run" if row.output is None else str(row.output)
            lines.append([row.path, row.layer, output, *map(or_dash, counts), row.kind])
        totals = self.values
        counts = [*(totals.get(bits, 0) for bits in widths), self.bytes, sum(self.macs.values())]
        lines.append(["", "total", "", *map(or_dash, counts), ""])
        return lines

    def _foot(self) -> tuple[str, str]:
        ratio = f", {self.float_bytes / self.bytes:.1f} times as much" if self.bytes else ""
        macs = ", ".join(f"{n:,} {kind}" for kind, n in self.macs.items())
        return (
            f"as shipped {_kib(self.bytes)}; in float32 {_kib(self.float_bytes)}{ratio}",
            f"multiply-accumulates a sample: {macs}",
        )

    def _widths(self) -> list[int]:
        return sorted({1, 32} | set(self.values))


def summarize(model: Layer, input_shape: tuple[int, ...] | None) -> Summary:
    """Run one sample of zeros through a copy of the model, and describe each layer."""
    if input_shape is not None:
        if not isinstance(input_shape, tuple):
            raise TypeError(
                f"summary: expected input_shape to be one sample's shape, such as (28, 28), "
                f"got {input_shape!r}"
            )
        input_shape = check_shape("summary", "input_shape", input_shape)
    if any(p.data is None for p in model.parameters()):
        model = copy.deepcopy(model).initialize(0)  # shapes do not depend on the values
    recorder = Recorder(model)
    shape = _input_shape(recorder) if input_shape is None else input_shape
    x = model.backend.xp.zeros((1, *shape), dtype=model.dtype)
    try:
        recorder.model.forward(x)
    except (TypeError, ValueError) as error:
        if input_shape is not None:
            raise
        raise ValueError(f"{_UNKNOWN}; its layers suggest {shape}, which does not fit") from error
    return Summary(str(model), shape, tuple(_rows(recorder)))


_UNKNOWN = (
    "summary: the layers do not fix the input's shape; pass one sample's, such as "
    "model.summary((28, 28))"
)


def _input_shape(recorder: Recorder) -> tuple[int, ...]:
    for _, layer in recorder.layers:
        features = getattr(layer, "in_features", None)
        if isinstance(features, int):
            return (features,)
    raise ValueError(_UNKNOWN)


def _rows(recorder: Recorder) -> list[SummaryRow]:
    bits = value_bits(recorder.steps)
    rows = []
    reached = {id(step.layer) for step in recorder.steps}
    order = list({id(step.layer): (step.path, step.layer) for step in recorder.steps}.values())
    order += [(path, layer) for path, layer in recorder.layers if id(layer) not in reached]
    for path, layer in order:
        steps = [step for step in recorder.steps if step.layer is layer]
        values: dict[int, int] = {}
        floats, size, most_bits = shipped_floats(layer), 0, 0
        own = {id(parameter) for parameter in layer.own_parts()[0]}
        for _, parameter, function in layer.named_quantized():
            if id(parameter) in own:
                n, width = (
                    parameter.size,
                    weight_bits(function, len(parameter.shape), parameter.shape[-1]),
                )
                most_bits = max(most_bits, width)
                if width == 32:  # listed as quantized, but with real values
                    floats += n
                    continue
                values[width] = values.get(width, 0) + n
                size += -(-n * width // 8)
                floats += function.shipped_floats(parameter.shape)
        if floats:
            values[32] = floats
        products = sum(macs(layer, step.y.shape[1:]) for step in steps)
        kind = ""
        if products:
            met = {product_bits(layer, bits.get(id(step.x), 32)) for step in steps}
            both = {most_bits or 32, *met}
            kind = "binary" if both == {1} else "float" if both == {32} else "mixed"
        output = tuple(steps[-1].y.shape[1:]) if steps else None
        rows.append(SummaryRow(path, str(layer), output, values, size + 4 * floats, products, kind))
    return rows


def ruled(lines: list[list[str]], names: int) -> list[str]:
    """Lines of cells as text, with rules below the head and above the total.

    The first `names` columns and the last are left-aligned; the others, numbers, right-aligned.
    """
    size = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(n) if i < names or i == len(size) - 1 else cell.rjust(n)
            for i, (cell, n) in enumerate(zip(line, size, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, text))
    return [text[0], rule, *text[1:-1], rule, text[-1]]


def or_dash(n: int) -> str:
    """A number, or a dash for 0."""
    return f"{n:,}" if n else "-"


def _kib(n: int) -> str:
    return f"{n:,} bytes = {n / 1024:.2f} KiB"
