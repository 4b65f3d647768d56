"""The stages of a packed model as C: constants, scratch and statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from minibnn.packed import PackedModel, PackError
from minibnn.packed.bits import pack_rows, unpack_rows
from minibnn.packed.numbers import Numbers
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Stage,
    ThresholdStage,
    size_of,
)

WINDOW_BYTES = 4 * 13  # of a `name_window`
LIMIT = 2**31  # C counts bits and positions in 32 bits
COLUMNS = 100


@dataclass
class Program:
    """The C code of the stages so far.

    Attributes:
        parts: the parts of `c_parts.h` that it calls.
        types: C types of the scores, of thresholds after pixels ("threshold") and bits ("limit").
        constants: definitions of arrays, as iterators of lines.
        constant_bytes: their size, with words of 32 bits.
        checksum: of all words and numbers in them.
        checks: the statements that compute the checksum.
        body: the statements of the stages.
        bits: the number of bits of each buffer of words.
        sizes: of the other buffers.
        most_pixels: the width of the widest product of pixels.
        here: the name of the buffer with the current values.
    """

    parts: set[str] = field(default_factory=set)
    types: dict[str, str] = field(default_factory=dict)
    constants: list[Iterable[str]] = field(default_factory=list)
    constant_bytes: int = 0
    checksum: int = 0
    checks: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    bits: dict[str, int] = field(default_factory=lambda: {"x": 0, "y": 0, "row": 0})
    sizes: dict[str, int] = field(default_factory=lambda: {"pixels": 0, "sums": 0})
    most_pixels: int = 0
    here: str = "image"

    def read(self, packed: PackedModel) -> Program:
        """Add all stages; a product goes with the pools and the thresholds or scores after it.

        Raises:
            PackError: for a stage that cannot be exported.
        """
        widths = [s.width for s in packed.stages if isinstance(s, Product) and not s.pixels]
        self.types["limit"] = _ctype([0, max(widths, default=0) + 1])
        rest = list(enumerate(packed.stages))
        while rest:
            i, stage = rest.pop(0)
            if max(size_of(stage.in_shape), size_of(stage.out_shape)) >= LIMIT:
                raise PackError(f"export_c: stage {i}, {stage.kind}: expected fewer values")
            if isinstance(stage, Binarize):
                self.binarize(stage)
            elif isinstance(stage, CodeStage):
                self.code(stage)
            elif isinstance(stage, PoolStage):
                self.pool_bits(i, stage)
            elif isinstance(stage, Product):
                pools = []
                while rest and isinstance(rest[0][1], PoolStage):
                    pools.append(rest.pop(0))
                last = rest.pop(0)[1] if rest else None
                if stage.weights.size * 64 >= LIMIT:
                    raise PackError(f"export_c: stage {i}, {stage.kind}: expected fewer weights")
                if isinstance(last, ThresholdStage):
                    self.product_to_bits(i, stage, pools, last)
                elif isinstance(last, ScoreStage):
                    self.product_to_sums(i, stage, pools)
                    self.scores(last)
                else:
                    raise PackError(
                        f"export_c: stage {i}, {stage.kind}: expected thresholds or scores after it"
                    )
            else:
                raise PackError(f"export_c: stage {i}, {stage.kind}: it has no form in C here")
        return self

    # --- stages -----------------------------------------------------------------------------------

    def binarize(self, stage: Binarize) -> None:
        """Pixels to bits: ``pixel <= t`` is the opposite of ``pixel >= t + 1``."""
        n = size_of(stage.in_shape)
        self.say(f"/* bits of {n} pixels */")
        y = self.next_bits(n)
        threshold = max(stage.threshold + stage.falling, 0)
        self.need("binarize", "put")
        self.say(f"name_binarize({y}, image, {n}, {threshold}, {int(stage.falling)});")
        self.here = y

    def code(self, stage: CodeStage) -> None:
        """Raw inputs to bits. Floats are compared as integers, by their place among all floats.

        A thermometer has no upper ends, so these are left out.
        """
        n, features = len(stage.feature), stage.in_shape[-1]
        positions = size_of(stage.in_shape) // features
        self.say(f"/* {describe(stage)} */")
        y, numbers = self.next_bits(positions * n), Numbers(stage.dtype)
        ctype = "int32_t" if stage.dtype == "float32" else f"{stage.dtype}_t"
        self.types["input"] = "float" if stage.dtype == "float32" else ctype
        self.types["number"] = ctype
        self.types["feature"] = _ctype([features - 1, 0])
        self.need("code", "put", *["order"] * (stage.dtype == "float32"))
        ends = {name: numbers.place(getattr(stage, name)) for name in ("low", "high")}
        names = [self.numbers("features", "name_feature", stage.feature, self.types["feature"])]
        for name, places in ends.items():
            if name == "high" and (places == numbers.ends[1]).all():
                names.append("0")
            else:
                names.append(self.numbers(f"{name}s", "name_number", places, ctype))
        self.say(f"name_code({y}, image, {', '.join(names)}, {n}, {features}, {positions});")
        self.here = y

    def product_to_bits(
        self, i: int, stage: Product, pools: list[tuple[int, Stage]], last: ThresholdStage
    ) -> None:
        """Compare each sum with its threshold before the pools, so that these take bits.

        A maximum reaches a threshold if one of its sums does. A falling channel has bit 1 for
        sum <= t. Without pools, its weights change sign; the sum then changes sign as well, and the
        comparison is -sum >= -t. With pools, the sum is compared with t + 1, since sum <= t is the
        opposite of sum >= t + 1, and the bit is flipped after the pools.
        """
        falling, t = last.falling, last.thresholds.astype(np.int64)
        weights = stage.weights
        if pools:
            t = np.where(falling, t + 1, t)
        elif falling.any():
            t = np.where(falling, -t, t)
            flipped = unpack_rows(weights, stage.width) ^ falling[:, None].astype(np.uint8)
            weights = pack_rows(flipped)
        self.say(f"/* {describe(stage)} */")
        positions, n = size_of(stage.out_shape) // stage.channels, stage.channels
        y = self.next_bits(positions * n)
        at = f"p * {n}" if positions > 1 else "0"
        lines, x = self.windows(i, stage, positions)
        w = self.words(f"weights_{i}", weights, stage.width)
        self.need("put")
        if stage.pixels:
            self.sizes["sums"] = max(self.sizes["sums"], n)
            # Signed, or of fewer bits than an int, since sums below 0 are compared with them.
            self.types["threshold"] = _ctype([-1, *t.tolist()])
            t_i = self.numbers(f"thresholds_{i}", "name_threshold", t, self.types["threshold"])
            lines += self.sums("s.sums", x, w, stage)
            lines.append(f"name_compare({y}, {at}, s.sums, {t_i}, {n});")
            self.need("compare")
        else:
            # width - 2 differences >= t
            limits = (stage.width - t) // 2 + 1
            limits_i = self.numbers(f"limits_{i}", "name_limit", limits, self.types["limit"])
            lines.append(f"name_bits({y}, {at}, {x}, {w}, {limits_i}, {stage.width}, {n});")
            self.need("popcount", "bits")
        self.loop(lines, positions)
        self.here = y
        for k, pool in pools:
            self.pool_bits(k, pool)
        if pools and falling.any():
            positions = size_of(last.out_shape) // n
            mask = self.words(f"flips_{i}", pack_rows(falling[None].astype(np.uint8)), n)
            self.need("flip")
            self.say(f"name_flip({self.here}, {mask}, {positions}, {n});")

    def product_to_sums(self, i: int, stage: Product, pools: list[tuple[int, Stage]]) -> None:
        """The sums of the last product, and pools of them."""
        self.say(f"/* {describe(stage)} */")
        positions, n = size_of(stage.out_shape) // stage.channels, stage.channels
        self.sizes["sums"] = max(self.sizes["sums"], positions * n)
        lines, x = self.windows(i, stage, positions)
        w = self.words(f"weights_{i}", stage.weights, stage.width)
        y = f"s.sums + p * {n}" if positions > 1 else "s.sums"
        if stage.pixels:
            lines += self.sums(y, x, w, stage)
        else:
            lines.append(f"name_products({y}, {x}, {w}, {stage.width}, {n});")
            self.need("popcount", "products")
        self.loop(lines, positions)
        for k, pool in pools:
            self.say(f"/* {describe(pool)} */")
            self.need("pool")
            window = self.window(k, pool)
            self.say(f"name_pool(s.sums, &{window}, {size_of(pool.out_shape[:2])});")

    def sums(self, y: str, x: str, w: str, stage: Product) -> list[str]:
        """The sums of pixels."""
        self.need("simd", "sums")
        self.most_pixels = max(self.most_pixels, stage.width)
        return [f"name_sums({y}, {x}, {w}, {stage.width}, {stage.channels});"]

    def pool_bits(self, i: int, stage: Stage) -> None:
        """The maxima of bits."""
        self.say(f"/* {describe(stage)} */")
        positions, n = size_of(stage.out_shape[:2]), stage.out_shape[2]
        x, y = self.here, self.next_bits(size_of(stage.out_shape))
        window, p = self.window(i, stage), "p" if positions > 1 else "0"
        self.need("put", "gather")
        self.loop([f"name_gather({y}, {p} * {n}, 0, {x}, &{window}, {p});"], positions)
        self.here = y

    def scores(self, stage: ScoreStage) -> None:
        """The scores from the sums."""
        score = "int32_t" if stage.fits_int32 else "int64_t"
        self.types["score"] = score
        a, b = (
            self.numbers(n, "name_score", v, score) for n, v in (("a", stage.A), ("b", stage.B))
        )
        self.loop([f"scores[p] = {a}[p] * s.sums[p] + {b}[p];"], len(stage.A), always=True)

    def windows(self, i: int, stage: Product, positions: int) -> tuple[list[str], str]:
        """The statements that gather window p, and the row that a product then takes."""
        if not isinstance(stage, ConvStage):
            return [], self.here
        window, p = self.window(i, stage), "p" if positions > 1 else "0"
        if stage.pixels:
            self.sizes["pixels"] = max(self.sizes["pixels"], stage.width)
            self.need("pixels")
            return [f"name_pixels(s.pixels, {self.here}, &{window}, {p});"], "s.pixels"
        self.bits["row"] = max(self.bits["row"], stage.width)
        self.need("put", "gather")
        return [
            f"name_clear(s.row, NAME_WORDS({stage.width}));",
            f"name_gather(s.row, 0, {stage.in_shape[2]}, {self.here}, &{window}, {p});",
        ], "s.row"

    # --- constants and statements -----------------------------------------------------------------

    def need(self, *parts: str) -> None:
        """Note parts of `c_parts.h` that are called."""
        self.parts.update(parts)

    def say(self, *lines: str) -> None:
        """Add statements."""
        self.body += [f"    {line}" for line in lines]

    def loop(self, lines: list[str], times: int, always: bool = False) -> None:
        """Add statements that run for each p."""
        if times > 1 or always:
            head = f"for (p = 0; p < {times}; p++)"
            if len(lines) > 1:
                lines = [f"{head} {{", *(f"    {line}" for line in lines), "}"]
            else:
                lines = [head, f"    {lines[0]}"]
        self.say(*lines)

    def next_bits(self, bits: int) -> str:
        """The buffer for the next bits, cleared."""
        name = "y" if self.here == "s.x" else "x"
        self.bits[name] = max(self.bits[name], bits)
        self.need("put")
        self.say(f"name_clear(s.{name}, NAME_WORDS({bits}));")
        return f"s.{name}"

    def window(self, i: int, stage: Stage) -> str:
        """A constant with the windows of a convolution or a pooling."""
        self.need("window")
        pairs = [stage.size, stage.stride]  # type: ignore[attr-defined]
        outside = 0
        if isinstance(stage, ConvStage):
            pairs += [stage.dilation, (stage.border[0][0], stage.border[1][0])]
            outside = stage.border_value
        else:
            pairs += [(1, 1), (0, 0)]
        numbers = ", ".join(f"{{{down}, {across}}}" for down, across in pairs)
        image = ", ".join(map(str, stage.in_shape))
        line = (
            f"static const name_window name_window_{i} = "
            f"{{{image}, {stage.out_shape[1]}, {numbers}, {outside}}};"
        )
        self.constants.append([line])
        self.constant_bytes += WINDOW_BYTES
        return f"name_window_{i}"

    def words(self, name: str, rows: HostArray, width: int) -> str:
        """A constant array of rows of bits, for words of 32 or 64 bits; see `_words`."""
        size = f"{len(rows)} * NAME_WORDS({width})"
        lines = (line for row in rows for line in wrap(_words(row.tolist(), width)))
        self.constants.append(_array(f"name_word name_{name}[{size}]", lines))
        self.constant_bytes += 4 * -(-width // 32) * len(rows)
        self.mix(word for row in rows for word in row.tolist())
        self.checks.append(f"h = name_mix_words(h, name_{name}, {len(rows)}, {width});")
        return f"name_{name}"

    def numbers(self, name: str, alias: str, values: HostArray, ctype: str) -> str:
        """A constant array of integers."""
        numbers = (f"INT64_C({v})" if ctype == "int64_t" else f"{v}" for v in values.tolist())
        self.constants.append(_array(f"{alias} name_{name}[{len(values)}]", wrap(numbers)))
        self.constant_bytes += len(values) * int(ctype.strip("uint_")) // 8
        self.mix(values.tolist())
        self.checks.append(f"NAME_MIX_NUMBERS(h, name_{name})")
        return f"name_{name}"

    def mix(self, values: Iterable[int]) -> None:
        """Update the checksum like `name_mix`, with each value as two numbers of 32 bits."""
        h = self.checksum
        for value in values:
            for half in (value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF):
                h = (h ^ half) * 0x9E3779B1 & 0xFFFFFFFF
                h ^= h >> 15
        self.checksum = h


def _ctype(values: Iterable[int]) -> str:
    """The smallest type for some integers."""
    least, most = min(values), max(values)
    for bits in (8, 16, 32):
        if least >= 0 and most < 2**bits:
            return f"uint{bits}_t"
        if least >= -(2 ** (bits - 1)) and most < 2 ** (bits - 1):
            return f"int{bits}_t"
    raise PackError(f"export_c: expected thresholds of 32 bits, got {least} to {most}")


def _array(declaration: str, lines: Iterable[str]) -> Iterator[str]:
    """The definition of a constant array."""
    yield f"static const {declaration} = {{"
    yield from lines
    yield "};"


def _words(row: list[int], width: int) -> Iterator[str]:
    """A row of 64-bit words as pairs of 32 bits, and an odd one."""
    for i, word in enumerate(row):
        low, high = word & 0xFFFFFFFF, word >> 32
        odd = 64 * i + 32 >= width
        yield f"NAME_1(0x{low:08X}u)" if odd else f"NAME_2(0x{low:08X}u, 0x{high:08X}u)"


def wrap(words: Iterable[str]) -> Iterator[str]:
    """Elements of an initialiser as lines."""
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > COLUMNS:
            yield line
            line = "   "
        line += f" {word},"
    yield line


def describe(stage: Stage) -> str:
    """A stage in a few words."""
    if isinstance(stage, Binarize):
        return f"{size_of(stage.in_shape)} pixels to bits"
    if isinstance(stage, CodeStage):
        return f"{size_of(stage.in_shape)} numbers to {size_of(stage.out_shape)} bits"
    if isinstance(stage, ConvStage):
        size, shape = " x ".join(map(str, stage.size)), " x ".join(map(str, stage.out_shape))
        return f"convolution {size} of {_kind(stage)}, {shape} sums"
    if isinstance(stage, Product):
        return f"{stage.width} {_kind(stage)} to {stage.channels} sums"
    if isinstance(stage, PoolStage):
        size, shape = " x ".join(map(str, stage.size)), " x ".join(map(str, stage.out_shape))
        return f"maxima of {size}, {shape}"
    if isinstance(stage, ThresholdStage):
        return f"thresholds of {len(stage.thresholds)} channels"
    return f"{size_of(stage.out_shape)} scores"


def _kind(stage: Product) -> str:
    return "pixels" if stage.pixels else "bits"
