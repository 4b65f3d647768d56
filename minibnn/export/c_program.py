"""The stages of a packed model as C: constants, scratch and statements."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from minibnn.export.c_integers import (
    ByChannel,
    IntegerStages,
    as_product,
    channels_of,
    falls,
    plane,
    rising,
    within,
)
from minibnn.export.c_writer import Value, ctype
from minibnn.packed import PackedModel, PackError
from minibnn.packed.bits import pack_rows, unpack_rows
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
    weight_form,
)
from minibnn.packed.numbers import Numbers
from minibnn.packed.ranges import Range, constant, ranges
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Shape,
    Stage,
    ThresholdStage,
    last_uses,
    size_of,
    sources_of,
)

LIMIT = 2**31  # C counts bits and positions in 32 bits
ByWindow = Product | IntegerProduct | SumPoolStage
# What each kind of stage takes, where it does not say so itself.
TAKES = {
    "binarize": ("pixels",),
    "code": ("pixels",),
    "pool": ("bits", "numbers", "acc"),
    "threshold": ("acc", "numbers"),
    "levels": ("acc", "numbers"),
    "slope": ("numbers",),
    "add": ("numbers",),
    "concat": ("bits", "numbers"),
    "scores": ("acc", "numbers"),
}


@dataclass
class Program(IntegerStages):
    """The C code of the stages.

    Attributes:
        shape: of an image.
        stages: the program, with products of one bit as `Product`.
        uses: how many stages take the output of each stage.
        at: the values that later stages take, by stage, -1 for the input.
        fused: for a product whose sums are compared at once, the stage of its thresholds.
    """

    shape: Shape = ()
    stages: tuple[Stage, ...] = ()
    uses: Counter[int] = field(default_factory=Counter)
    at: dict[int, Value] = field(default_factory=dict)
    fused: dict[int, int] = field(default_factory=dict)
    _ranges: list[Range] = field(default_factory=list)

    def read(self, packed: PackedModel) -> Program:
        """Add all stages; thresholds, and others, take the sums before them row by row.

        Raises:
            PackError: for a stage that cannot be exported.
        """
        self.stages = tuple(as_product(stage) for stage in packed.stages)
        self.shape = packed.input_shape
        self.uses = Counter(j for i, s in enumerate(self.stages) for j in sources_of(i, s))
        self.at[-1] = Value("pixels", "image")
        for i, stage in enumerate(self.stages):
            self._require_small(i, stage)
        self._choose_types()
        i = 0
        while i < len(self.stages):
            taken = self._sources(i, self.stages[i])
            end = self.stage(i, taken)
            self._release(end)
            i = end + 1
        return self

    def stage(self, i: int, taken: list[Value]) -> int:
        """Add stage i, and those that are fused with it; the number of the last one."""
        stage, x = self.stages[i], taken[0]
        if isinstance(stage, ByWindow):
            return self.product(i, stage)
        if isinstance(stage, ScoreStage):
            self.scores(stage, x.text)
            return i
        if isinstance(stage, Binarize):
            self.binarize(i, stage)
            return i
        if isinstance(stage, CodeStage):
            self.code(i, stage)
            return i
        if isinstance(stage, PoolStage) and x.kind == "bits":
            self.at[i] = Value("bits", self.pool_bits(i, stage, x.text))
            return i
        self.say(f"/* {describe(stage)} */")
        kind = "bits" if isinstance(stage, ThresholdStage) else "numbers"
        if isinstance(stage, PoolStage | ConcatStage):
            kind = x.kind
        # Each element of these depends on the same element, or later ones, of what they take.
        in_place = not isinstance(stage, ConcatStage)
        y = self._output(i, kind, size_of(stage.out_shape), in_place)
        self.at[i] = Value(kind, y)
        if isinstance(stage, PoolStage):
            self.maxima(i, stage, x.kind, x.text, y)
        elif isinstance(stage, AddStage):
            self.add_stage(stage, [source.text for source in taken], y)
        elif isinstance(stage, ConcatStage):
            self.concat_stage(stage, taken, y)
        elif isinstance(stage, ByChannel):
            n = channels_of(stage)
            positions = size_of(stage.out_shape) // n
            row = f"p * {n}" if positions > 1 else "0"
            lines = self.channel_stage(i, stage, x, y, (row, row), self._range(i))
            self.loop(lines, positions)
        return i

    # --- what stages take and give ----------------------------------------------------------------

    def _require_small(self, i: int, stage: Stage) -> None:
        what = f"export_c: stage {i}, {stage.kind}"
        if max(size_of(stage.in_shape), size_of(stage.out_shape)) >= LIMIT:
            raise PackError(f"{what}: expected fewer values")
        bits = {Product: 64, IntegerProduct: 8}
        for kind, size in bits.items():
            if isinstance(stage, kind) and stage.weights.size * size >= LIMIT:  # type: ignore[attr-defined]
                raise PackError(f"{what}: expected fewer weights")

    def _sources(self, i: int, stage: Stage) -> list[Value]:
        """The values that a stage takes, of a kind that it can take."""
        if isinstance(stage, Product):
            kinds: tuple[str, ...] = ("pixels" if stage.pixels else "bits",)
        else:
            own = getattr(stage, "takes", None)
            kinds = (own,) if own else TAKES.get(stage.kind, ())
        if not kinds:
            raise PackError(f"export_c: stage {i}, {stage.kind}: it has no form in C here")
        values = [self.at[j] for j in sources_of(i, stage)]
        for value in values:
            if value.kind not in kinds:
                raise PackError(
                    f"export_c: stage {i}, {stage.kind}: expected {' or '.join(kinds)}, "
                    f"got {value.kind}"
                )
        return values

    def _output(self, i: int, kind: str, size: int, in_place: bool) -> str:
        """The buffer of a stage's output; in place, that of what it takes for the last time."""
        if kind == "bits":
            return self.cleared_bits(size)
        last = last_uses(self.stages)
        for j in {*sources_of(i, self.stages[i])} if in_place else ():
            if self.at[j].kind == kind and last[j + 1] == i:
                return self.at[j].text
        return self.buffers.take(kind, size)

    def _release(self, end: int) -> None:
        """Free the buffers of what no stage behind `end` takes, unless another value is there."""
        last = last_uses(self.stages)
        for j in [j for j in self.at if last[j + 1] <= end and j not in (end, -1)]:
            value = self.at.pop(j)
            if value.text not in [other.text for other in self.at.values()]:
                self.buffers.free(value.text)

    def _range(self, i: int) -> Range:
        """The range of what a stage takes."""
        if not self._ranges:
            self._ranges = ranges(self.shape, self.stages)
        stage, j = self.stages[i], sources_of(i, self.stages[i])[0]
        if j < 0:
            return constant(0, 255, stage.in_shape[-1])
        return self._ranges[j].of_shape(self.stages[j].out_shape, stage.in_shape)

    def _sole(self, j: int) -> Stage | None:
        """The next stage, if it takes the output of stage j, and no other stage does."""
        following = self.stages[j + 1] if j + 1 < len(self.stages) else None
        sole = following and self.uses[j] == 1 and sources_of(j + 1, following) == (j,)
        return following if sole else None

    def _choose_types(self) -> None:
        """Types of thresholds, each for all stages."""
        stages = list(enumerate(self.stages))
        for i, stage in stages:
            end = self._thresholds_after(i) if isinstance(stage, Product) else None
            if end is not None:
                self.fused[i] = end
        widths = [s.width for _, s in stages if isinstance(s, Product) and not s.pixels]
        self.types["limit"] = ctype([0, max(widths, default=0) + 1])
        pixels = [
            self._turned(i, end)[1].tolist()
            for i, end in self.fused.items()
            if self.stages[i].pixels  # type: ignore[attr-defined]
        ]
        if pixels:
            # Signed, or of fewer bits than an int, since sums below 0 are compared with them.
            self.types["threshold"] = ctype([-1, *(v for t in pixels for v in t)])
        others = [
            (i, stage)
            for i, stage in stages
            if isinstance(stage, ThresholdStage | LevelStage) and i not in self.fused.values()
        ]
        if others:
            t = [within(stage, self._range(i)) for i, stage in others]
            t += [
                within(rising(stage), self._range(i))
                for i, stage in others
                if isinstance(stage, ThresholdStage)
            ]
            self.level = ctype([-1, min(v.min() for v in t), max(v.max() for v in t)])

    def _thresholds_after(self, i: int) -> int | None:
        """The stage of thresholds that a product goes with; pools may be between them."""
        stage, k = self.stages[i], i
        while isinstance(following := self._sole(k), PoolStage):
            k += 1
        if not isinstance(following, ThresholdStage):
            return None
        channels = {s.out_shape[-1] for s in self.stages[i : k + 2]}
        return k + 1 if channels == {stage.channels} == {len(following.thresholds)} else None  # type: ignore[attr-defined]

    # --- stages -----------------------------------------------------------------------------------

    def binarize(self, i: int, stage: Binarize) -> None:
        """Pixels to bits: ``pixel <= t`` is the opposite of ``pixel >= t + 1``."""
        n = size_of(stage.in_shape)
        self.say(f"/* bits of {n} pixels */")
        y = self.cleared_bits(n)
        threshold = max(stage.threshold + stage.falling, 0)
        self.need("binarize", "put")
        self.say(f"name_binarize({y}, image, {n}, {threshold}, {int(stage.falling)});")
        self.at[i] = Value("bits", y)

    def code(self, i: int, stage: CodeStage) -> None:
        """Raw inputs to bits. Floats are compared as integers, by their place among all floats.

        A thermometer has no upper ends, so these are left out.
        """
        n, features = len(stage.feature), stage.in_shape[-1]
        positions = size_of(stage.in_shape) // features
        self.say(f"/* {describe(stage)} */")
        y, numbers = self.cleared_bits(positions * n), Numbers(stage.dtype)
        number = "int32_t" if stage.dtype == "float32" else f"{stage.dtype}_t"
        self.types["input"] = "float" if stage.dtype == "float32" else number
        self.types["number"] = number
        codes = [j for j, other in enumerate(self.stages) if isinstance(other, CodeStage)]
        self.types["feature"] = ctype([*(self.stages[j].in_shape[-1] - 1 for j in codes), 0])
        several = "" if i == codes[0] else f"{i}"
        self.need("code", "put", *["order"] * (stage.dtype == "float32"))
        ends = {name: numbers.place(getattr(stage, name)) for name in ("low", "high")}
        names = [
            self.numbers(f"features{several}", "name_feature", stage.feature, self.types["feature"])
        ]
        for name, places in ends.items():
            if name == "high" and (places == numbers.ends[1]).all():
                names.append("0")
            else:
                names.append(self.numbers(f"{name}s{several}", "name_number", places, number))
        self.say(f"name_code({y}, image, {', '.join(names)}, {n}, {features}, {positions});")
        self.at[i] = Value("bits", y)

    def product(self, i: int, stage: ByWindow) -> int:
        """Sums of windows or of a whole sample, and the stage that takes each row of them at once.

        Without such a stage, the sums of all windows are kept.
        """
        if i in self.fused:
            self.product_to_bits(i, self.fused[i])
            return self.fused[i]
        self.say(f"/* {describe(stage)} */")
        n = stage.out_shape[-1] if isinstance(stage, SumPoolStage) else stage.channels
        positions = size_of(stage.out_shape) // n
        p, start = ("p", f"p * {n}") if positions > 1 else ("0", "0")
        end = i + 1
        while isinstance(after := self._sole(end - 1), PoolStage):
            end += 1
        if not (isinstance(after, ByChannel) and after.in_shape[-1] == channels_of(after) == n):
            y = self.buffers.take("acc", positions * n)
            to = f"{y} + {start}" if positions > 1 else y
            self.loop(self.sums_of_window(i, stage, to, p), positions)
            self.at[i] = Value("acc", y)
            return i
        self.say(f"/* {describe(after)} */")
        pooled, row = end > i + 1, self.buffers.take("acc", n)
        turn = rising(after) if pooled and isinstance(after, ThresholdStage) else after
        kind = "bits" if isinstance(after, ThresholdStage) else "numbers"
        y = self._output(end, kind, positions * n, in_place=False)
        lines = self.sums_of_window(i, stage, row, p)
        taken = self._range(end)
        lines += self.channel_stage(end, turn, Value("acc", row), y, ("0", start), taken)
        self.loop(lines, positions)
        self.buffers.free(row)
        self._release(i)
        if pooled:
            y = self.pools(i, end, Value(kind, y))
        self.at[end] = Value(kind, y)
        return end

    def pools(self, i: int, end: int, x: Value) -> str:
        """The pools between a product and stage `end`, after that stage; their buffer.

        A maximum of sums becomes the maximum of what they become, or the minimum where greater sums
        become less. Bits are those of `rising`, and flipped at the end.
        """
        last, y = self.stages[end], x.text
        n, flips = channels_of(last), plane(falls(last)[None])
        mask = "0"
        if x.kind == "numbers" and falls(last).any():
            mask = self.words(f"least_{i}", flips, n)
        for k in range(i + 1, end):
            pool = cast(PoolStage, self.stages[k])
            if x.kind == "numbers":
                self.say(f"/* {describe(pool)} */")
                self.maxima(k, pool, x.kind, y, y, mask)
            else:
                before, y = y, self.pool_bits(k, pool, y)
                self.buffers.free(before)
        if x.kind == "bits" and falls(last).any():
            mask = self.words(f"flips_{i}", flips, n)
            self.need("flip")
            self.say(f"name_flip({y}, {mask}, {size_of(last.out_shape) // n}, {n});")
        return y

    def sums_of_window(self, i: int, stage: ByWindow, y: str, p: str) -> list[str]:
        """The statements that compute the sums of window p."""
        x = self.at[sources_of(i, stage)[0]].text
        if isinstance(stage, SumPoolStage):
            return self.window_sums(i, stage, x, y, p)
        if isinstance(stage, IntegerProduct):
            return self.integer_sums(i, stage, x, y, p)
        lines, row = self.windows(i, stage, x, p)
        w = self.words(f"weights_{i}", stage.weights, stage.width)
        return lines + self.product_sums(stage, row, w, y)

    def product_sums(self, stage: Product, x: str, w: str, y: str) -> list[str]:
        """The statement that computes the sums of a row of bits or pixels."""
        called = "sums" if stage.pixels else "products"
        self.need(*(("simd", "sums") if stage.pixels else ("popcount", "products")))
        if stage.pixels:
            self.most_pixels = max(self.most_pixels, stage.width)
        return [f"name_{called}({y}, {x}, {w}, {stage.width}, {stage.channels});"]

    def _turned(self, i: int, end: int) -> tuple[HostArray, HostArray]:
        """The weights of a product, and thresholds that rise; see `product_to_bits`."""
        stage = cast(Product, self.stages[i])
        last = cast(ThresholdStage, self.stages[end])
        falling, t = last.falling, last.thresholds.astype(np.int64)
        if end > i + 1:
            return stage.weights, np.where(falling, t + 1, t)
        if not falling.any():
            return stage.weights, t
        flipped = unpack_rows(stage.weights, stage.width) ^ falling[:, None].astype(np.uint8)
        return pack_rows(flipped), np.where(falling, -t, t)

    def product_to_bits(self, i: int, end: int) -> None:
        """Compare each sum with its threshold before the pools, so that these take bits.

        A maximum reaches a threshold if one of its sums does. A falling channel has bit 1 for
        sum <= t. Without pools, its weights change sign; the sum then changes sign as well, and the
        comparison is -sum >= -t. With pools, the sum is compared with t + 1, since sum <= t is the
        opposite of sum >= t + 1, and the bit is flipped after the pools.
        """
        stage = cast(Product, self.stages[i])
        weights, t = self._turned(i, end)
        self.say(f"/* {describe(stage)} */")
        positions, n = size_of(stage.out_shape) // stage.channels, stage.channels
        y = self.cleared_bits(positions * n)
        at, p = (f"p * {n}", "p") if positions > 1 else ("0", "0")
        lines, x = self.windows(i, stage, self.at[sources_of(i, stage)[0]].text, p)
        w = self.words(f"weights_{i}", weights, stage.width)
        self.need("put")
        if stage.pixels:
            row = self.buffers.take("acc", n)
            t_i = self.numbers(f"thresholds_{i}", "name_threshold", t, self.types["threshold"])
            lines += self.product_sums(stage, x, w, row)
            lines.append(f"name_compare({y}, {at}, {row}, {t_i}, {n});")
            self.need("compare")
            self.buffers.free(row)
        else:
            # width - 2 differences >= t
            limits = (stage.width - t) // 2 + 1
            limits_i = self.numbers(f"limits_{i}", "name_limit", limits, self.types["limit"])
            lines.append(f"name_bits({y}, {at}, {x}, {w}, {limits_i}, {stage.width}, {n});")
            self.need("popcount", "bits")
        self.loop(lines, positions)
        self._release(i)
        if end > i + 1:
            y = self.pools(i, end, Value("bits", y))
        self.at[end] = Value("bits", y)

    def pool_bits(self, i: int, stage: PoolStage, x: str) -> str:
        """The maxima of bits; their buffer."""
        self.say(f"/* {describe(stage)} */")
        positions, n = size_of(stage.out_shape[:2]), stage.out_shape[2]
        y = self.cleared_bits(size_of(stage.out_shape))
        window, p = self.window(i, stage), "p" if positions > 1 else "0"
        self.need("put", "gather")
        self.loop([f"name_gather({y}, {p} * {n}, 0, {x}, &{window}, {p});"], positions)
        return y

    def scores(self, stage: ScoreStage, x: str) -> None:
        """The scores from the sums."""
        score = "int32_t" if stage.fits_int32 else "int64_t"
        self.types["score"] = score
        a, b = (
            self.numbers(n, "name_score", v, score) for n, v in (("a", stage.A), ("b", stage.B))
        )
        a, b = (f"NAME_READ(name_score, &{name}[p])" for name in (a, b))
        self.loop([f"scores[p] = {a} * {x}[p] + {b};"], len(stage.A), always=True)

    def windows(self, i: int, stage: Product, x: str, p: str) -> tuple[list[str], str]:
        """The statements that gather window p, and the row that a product then takes."""
        if not isinstance(stage, ConvStage):
            return [], x
        window = self.window(i, stage, stage.border_value)
        if stage.pixels:
            row = self.buffers.reserve("pixels", "pixels", stage.width)
            self.need("pixels")
            return [f"name_pixels({row}, {x}, &{window}, {p});"], row
        row = self.buffers.reserve("row", "row", stage.width)
        self.need("put", "gather")
        return [
            f"name_clear({row}, NAME_WORDS({stage.width}));",
            f"name_gather({row}, 0, {stage.in_shape[2]}, {x}, &{window}, {p});",
        ], row


def describe(stage: Stage) -> str:
    """A stage in a few words."""
    shape = " x ".join(map(str, stage.out_shape))
    if isinstance(stage, Binarize):
        return f"{size_of(stage.in_shape)} pixels to bits"
    if isinstance(stage, CodeStage):
        return f"{size_of(stage.in_shape)} numbers to {size_of(stage.out_shape)} bits"
    if isinstance(stage, ConvStage | IntegerConv):
        size = " x ".join(map(str, stage.size))
        n = stage.groups if isinstance(stage, IntegerConv) else 1
        groups = f", {n} groups" if n > 1 else ""
        return f"convolution {size} of {_kind(stage)}, {shape} sums{groups}"
    if isinstance(stage, Product | IntegerProduct):
        return f"{stage.width} {_kind(stage)} to {stage.channels} sums"
    if isinstance(stage, PoolStage | SumPoolStage):
        size = " x ".join(map(str, stage.size))
        return f"{'maxima' if isinstance(stage, PoolStage) else 'sums'} of {size}, {shape}"
    if isinstance(stage, ThresholdStage):
        return f"thresholds of {len(stage.thresholds)} channels"
    if isinstance(stage, LevelStage):
        channels, levels = stage.thresholds.shape
        return f"levels 0 to {levels} of {channels} channels"
    if isinstance(stage, ScaleStage | SlopeStage):
        name = "slopes below 0" if isinstance(stage, SlopeStage) else "scales"
        return f"{name} of {len(stage.A)} channels"
    if isinstance(stage, AddStage):
        return f"{shape} numbers, sums of {len(stage.sources)} values"
    if isinstance(stage, ConcatStage):
        return f"{shape} values of {len(stage.parts)} stages side by side"
    return f"{size_of(stage.out_shape)} scores"


def _kind(stage: Product | IntegerProduct) -> str:
    """What a product takes, and with which weights."""
    if isinstance(stage, Product):
        return "pixels" if stage.pixels else "bits"
    form = {"ternary": " with ternary weights", "bytes": " with weights of 8 bits"}
    return stage.takes + form.get(weight_form(stage.weights), "")
