"""The stages on integers of more than one bit as C."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minibnn.export.c_writer import Value, Writer, looped
from minibnn.packed.bits import pack_rows
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
from minibnn.packed.ranges import Range
from minibnn.packed.stages import (
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Stage,
    ThresholdStage,
    size_of,
)

ByChannel = ThresholdStage | LevelStage | ScaleStage | SlopeStage


def as_product(stage: Stage) -> Stage:
    """The same product as a `Product`, if it is one: of +1 and -1, and no border of 0 in bits."""
    if not isinstance(stage, IntegerProduct) or weight_form(stage.weights) != "bits":
        return stage
    pixels = stage.takes == "pixels"
    usual = stage.in_shape, stage.out_shape, plane(stage.weights > 0), stage.width, pixels
    if stage.takes == "numbers":
        return stage
    if not isinstance(stage, IntegerConv):
        return DenseStage(*usual, sources=stage.sources)
    if stage.groups > 1 or (has_border_of_zeros(stage) and not pixels):
        return stage
    outside = stage.border_value if pixels else int(stage.border_value > 0)
    windows = stage.size, stage.stride, stage.dilation, stage.border
    return ConvStage(*usual, *windows, outside, sources=stage.sources)


def has_border_of_zeros(stage: IntegerConv) -> bool:
    """Whether some positions of its windows are outside of the image, and 0 there."""
    return stage.border_value == 0 and any(map(any, stage.border))


def plane(bits: HostArray) -> HostArray:
    """Rows of bools as words."""
    words: HostArray = pack_rows(bits.astype(np.uint8))
    return words


@dataclass
class IntegerStages(Writer):
    """C code that may have stages on integers."""

    level: str = "int32_t"  # the type of thresholds here
    groups: bool = False  # whether a loop over groups is in the body

    # --- sums -------------------------------------------------------------------------------------

    def integer_sums(self, i: int, stage: IntegerProduct, x: str, y: str, p: str) -> list[str]:
        """The statements that compute the sums of window p, or of the whole sample."""
        conv = stage if isinstance(stage, IntegerConv) else None
        groups = conv.groups if conv else 1
        channels, width = stage.channels // groups, stage.width
        form, masked = weight_form(stage.weights), stage.takes == "bits"
        row = x
        lines: list[str] = []
        if form == "bytes" or stage.takes != "bits":
            row, lines = self._values(i, stage, x, p)
            masked = False
        elif conv:
            row, lines = self._bits(i, conv, x, p)
        outputs = f"{y} + g * {channels}" if groups > 1 else y
        step = f" + g * {channels} * NAME_WORDS({width})" if groups > 1 else ""
        if form == "bytes":
            w = self.numbers(f"weights_{i}", "int8_t", stage.weights, "int8_t")
            at = f"{w} + g * {channels * width}" if groups > 1 else w
            kind = "pixels" if stage.takes == "pixels" else "numbers"
            self.need(f"byte sums of {kind}")
            lines.append(f"name_byte_sums_of_{kind}({outputs}, {row}, {at}, {width}, {channels});")
        else:
            w = self.words(f"weights_{i}", plane(stage.weights > 0), width) + step
            mask = "0"
            if form == "ternary":
                mask = self.words(f"masks_{i}", plane(stage.weights != 0), width) + step
            if masked:
                valid = "s.valid" if conv and has_border_of_zeros(conv) else "0"
                plain = valid == mask == "0"
                self.need("popcount", "products" if plain else "masked")
                arguments = f"{row}, {w}" if plain else f"{row}, {valid}, {w}, {mask}"
                called = "products" if plain else "masked"
                lines.append(f"name_{called}({outputs}, {arguments}, {width}, {channels});")
            elif stage.takes == "pixels" and form == "bits":
                self.need("simd", "sums")
                self.most_pixels = max(self.most_pixels, width)
                lines.append(f"name_sums({outputs}, {row}, {w}, {width}, {channels});")
            else:
                kind = "pixels" if stage.takes == "pixels" else "numbers"
                self.need(f"plane sums of {kind}")
                arguments = f"{outputs}, {row}, {w}, {mask}, {width}, {channels}"
                lines.append(f"name_plane_sums_of_{kind}({arguments});")
        self.groups |= groups > 1
        return looped(lines, "g", groups) if groups > 1 else lines

    def _bits(self, i: int, stage: IntegerConv, x: str, p: str) -> tuple[str, list[str]]:
        """A window's bits, and which of them are in the image if the border is 0."""
        window, taken = self.window(i, stage), stage.in_shape[2] // stage.groups
        first = f"g * {taken}" if stage.groups > 1 else "0"
        row = self.buffers.reserve("row", "row", stage.width)
        self.need("put", "part")
        there = f"&{window}, {p}, {first}, {taken}"
        clear = f"name_clear({row}, NAME_WORDS({stage.width}));"
        lines = [clear, f"name_part({row}, {x}, {there}, {int(stage.border_value > 0)});"]
        if has_border_of_zeros(stage):
            valid = self.buffers.reserve("row", "valid", stage.width)
            lines += [clear.replace(row, valid), f"name_part({valid}, 0, {there}, 0);"]
        return row, lines

    def _values(self, i: int, stage: IntegerProduct, x: str, p: str) -> tuple[str, list[str]]:
        """A window's integers, or the whole sample's."""
        if not isinstance(stage, IntegerConv):
            if stage.takes != "bits":
                return x, []
            row = self.buffers.reserve("values", "values", stage.width)
            self.need("bit", "unpack")
            return row, [f"name_unpack({row}, {x}, {stage.width});"]
        window, taken = self.window(i, stage), stage.in_shape[2] // stage.groups
        first = f"g * {taken}" if stage.groups > 1 else "0"
        kind = "pixels" if stage.takes == "pixels" else "values"
        row = self.buffers.reserve(kind, kind, stage.width)
        self.need(*["bit"] * (stage.takes == "bits"), f"row of {stage.takes}")
        arguments = f"{row}, {x}, &{window}, {p}, {first}, {taken}, {stage.border_value}"
        return row, [f"name_row_of_{stage.takes}({arguments});"]

    def window_sums(self, i: int, stage: SumPoolStage, x: str, y: str, p: str) -> list[str]:
        """The sums of a window's values, for each channel."""
        self.need(*["bit"] * (stage.takes == "bits"), f"window sums of {stage.takes}")
        window = self.window(i, stage)
        return [f"name_window_sums_of_{stage.takes}({y}, {x}, &{window}, {p});"]

    # --- from a row of values ---------------------------------------------------------------------

    def channel_stage(
        self, i: int, stage: ByChannel, x: Value, y: str, rows: tuple[str, str], taken: Range
    ) -> list[str]:
        """The statements of a stage that treats each channel on its own, for one row of channels.

        Args:
            i: the number of the stage.
            stage: of thresholds, levels, scales or slopes.
            x: what it takes.
            y: the buffer of its output.
            rows: where in x and in y the row begins.
            taken: the range of x.
        """
        n, taken = channels_of(stage), _by_channel(stage, taken)
        source, target = x.text, y
        kind = {"acc": "sums"}.get(x.kind, x.kind)
        if x.kind != "bits" and rows[0] != "0":
            source = f"{x.text} + {rows[0]}"
        if not isinstance(stage, ThresholdStage) and rows[1] != "0":
            target = f"{y} + {rows[1]}"
        if isinstance(stage, ThresholdStage | LevelStage):
            t, falls = self._thresholds(i, stage, taken)
            if isinstance(stage, ThresholdStage):
                self.need("put", f"signs of {kind}")
                return [f"name_signs_of_{kind}({y}, {rows[1]}, {source}, {t}, {falls}, {n});"]
            self.need(f"levels of {kind}")
            levels = stage.thresholds.shape[1]
            return [f"name_levels_of_{kind}({target}, {source}, {t}, {falls}, {n}, {levels});"]
        if isinstance(stage, SlopeStage):
            small = bool((_size(stage.A, taken) + 2 ** (stage.shift - 1) < 2**31).all())
            called = "slopes" if small else "wide_slopes"
            self.need("floor" if small else "wide floor", called.replace("_", " "))
            a = self.numbers(f"slopes_{i}", "int32_t", stage.A, "int32_t")
            return [f"name_{called}({target}, {source}, {a}, {stage.shift}, {n});"]
        if x.kind == "bits":
            ends = [((v * stage.A + stage.B) >> stage.shift) for v in (-1, 1)]
            names = [
                self.numbers(f"{name}_{i}", "int16_t", values, "int16_t")
                for name, values in zip(("off", "on"), ends, strict=True)
            ]
            self.need("bit", "choose")
            return [f"name_choose({target}, {source}, {rows[0]}, {', '.join(names)}, {n});"]
        small = stage.shift < 32 and bool((_size(stage.A, taken) + abs(stage.B) < 2**31).all())
        called = "scale" if small else "wide_scale"
        self.need("floor" if small else "wide floor", f"{called.replace('_', ' ')} of {kind}")
        a = self.numbers(f"factors_{i}", "int32_t", stage.A, "int32_t")
        wide = "int32_t" if small else "int64_t"
        b = self.numbers(f"summands_{i}", wide, stage.B, wide)
        return [f"name_{called}_of_{kind}({target}, {source}, {a}, {b}, {stage.shift}, {n});"]

    def _thresholds(
        self, i: int, stage: ThresholdStage | LevelStage, taken: Range
    ) -> tuple[str, str]:
        """The constants: thresholds, and which channels fall, or 0 if none does."""
        t = within(stage, taken)
        name = "levels" if isinstance(stage, LevelStage) else "signs"
        self.types["level"] = self.level
        numbers = self.numbers(f"{name}_{i}", "name_level", t, self.level)
        if not stage.falling.any():
            return numbers, "0"
        return numbers, self.words(f"falls_{i}", plane(stage.falling[None]), len(stage.falling))

    # --- others -----------------------------------------------------------------------------------

    def maxima(self, i: int, stage: PoolStage, kind: str, x: str, y: str, falls: str = "0") -> None:
        """The greatest number or sum of each window and channel; y may be x.

        Where `falls`, the name of a constant, has a 1 it is the least one.
        """
        windows, window = size_of(stage.out_shape[:2]), self.window(i, stage)
        if kind == "acc" and x == y:
            self.need("pool")
            self.say(f"name_pool({x}, &{window}, {windows});")
        else:
            kind = {"acc": "sums"}.get(kind, kind)
            self.need(f"maxima of {kind}")
            self.say(f"name_maxima_of_{kind}({y}, {x}, &{window}, {windows}, {falls});")

    def add_stage(self, stage: AddStage, sources: list[str], y: str) -> None:
        """The sums of numbers. On machines whose int has 16 bits, these are added in 32 bits."""
        first, *others = (f"{x}[p]" for x in sources)
        terms = " + ".join([f"(int32_t){first}", *others])
        self.loop([f"{y}[p] = (int16_t)({terms});"], size_of(stage.out_shape), always=True)

    def concat_stage(self, stage: ConcatStage, sources: list[Value], y: str) -> None:
        """Values side by side along the channels."""
        total, at = sum(stage.parts), 0
        positions = size_of(stage.out_shape) // total
        for x, n in zip(sources, stage.parts, strict=True):
            self.need(*["put"] * (x.kind == "bits"), f"join {x.kind}")
            self.say(f"name_join_{x.kind}({y}, {x.text}, {positions}, {n}, {total}, {at});")
            at += n


def channels_of(stage: Stage) -> int:
    """The channels of a stage that treats each on its own."""
    return len(next(iter(stage.arrays().values())))


def _by_channel(stage: Stage, taken: Range) -> Range:
    return taken.of_shape((len(taken.low),), (channels_of(stage),))


def within(stage: ThresholdStage | LevelStage, taken: Range) -> HostArray:
    """Its thresholds, none of them more than 1 beyond the values that there are."""
    low, high = _by_channel(stage, taken)
    t = stage.thresholds.astype(np.int64)
    clipped: HostArray = np.clip(t.T, low - 1, high + 1).T
    return clipped


def rising(stage: ThresholdStage) -> ThresholdStage:
    """The stage with ``acc >= t + 1``, the opposite, in the place of ``acc <= t``."""
    t = stage.thresholds.astype(np.int64)
    thresholds = np.where(stage.falling, t + 1, t)
    return replace(stage, thresholds=thresholds, falling=np.zeros_like(stage.falling))


def falls(stage: Stage) -> HostArray:
    """Whether a greater value gives a smaller number, for each channel."""
    found: HostArray = stage.A < 0 if isinstance(stage, ScaleStage) else stage.falling  # type: ignore[attr-defined]
    return found


def _size(A: HostArray, taken: Range) -> HostArray:
    """An upper bound on the sizes of A v."""
    sizes: HostArray = abs(A) * np.maximum(abs(taken.low), abs(taken.high))
    return sizes
