"""What the C code of every stage needs: constants, buffers, statements, and a checksum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from minibnn.packed import PackError
from minibnn.packed.stages import HostArray, Stage

WINDOW_BYTES = 4 * 13  # of a `name_window`
COLUMNS = 100
NAMES = {"bits": ("x", "y", "x2"), "numbers": ("numbers",), "acc": ("sums",)}


class Value(NamedTuple):
    """The output of a stage in C.

    Attributes:
        kind: pixels, bits, numbers or acc.
        text: the expression of its buffer, as in ``s.x``.
    """

    kind: str
    text: str


@dataclass
class Buffers:
    """The arrays of the scratch. One array holds values of one kind, one after another.

    Attributes:
        sizes: of each array, by kind and then name, in bits for words and else in elements. Besides
            the kinds of values there are "row", the bits of a window and which of them are valid;
            "values", a window's integers; and "pixels", a window's pixels.
    """

    sizes: dict[str, dict[str, int]] = field(
        default_factory=lambda: {
            kind: {} for kind in ("bits", "row", "acc", "numbers", "values", "pixels")
        }
    )
    _taken: set[str] = field(default_factory=set)

    def take(self, kind: str, size: int) -> str:
        """An array that holds no value: the smallest that suffices, or else the largest, grown."""
        sizes = self.sizes[kind]
        free = [name for name in sizes if name not in self._taken]
        name = min(free, key=lambda n: (sizes[n] < size, abs(sizes[n] - size)), default="")
        if not name:
            names, n = NAMES[kind], len(sizes)
            name = names[n] if n < len(names) else f"{names[0]}{n + 1}"
        self._taken.add(name)
        return self.reserve(kind, name, size)

    def reserve(self, kind: str, name: str, size: int) -> str:
        """The expression of an array that holds at least so much."""
        self.sizes[kind][name] = max(size, self.sizes[kind].get(name, 0))
        return f"s.{name}"

    def free(self, text: str) -> None:
        """The value in this array is needed no more; nothing for what is not in the scratch."""
        self._taken.discard(text.removeprefix("s."))

    def fields(self) -> list[str]:
        """The members of the struct."""
        words = {**self.sizes["bits"], **self.sizes["row"]}
        lines = [f"name_word {k}[NAME_WORDS({n})];" for k, n in words.items()]
        types = {"acc": "int32", "numbers": "int16", "values": "int16", "pixels": "uint8"}
        for kind, type_ in types.items():
            lines += [f"{type_}_t {k}[{n}];" for k, n in self.sizes[kind].items()]
        return lines

    @property
    def bytes(self) -> int:
        """The size of the struct, with words of 32 bits."""
        words = [*self.sizes["bits"].values(), *self.sizes["row"].values()]
        whole = 4 * (sum(-(-n // 32) for n in words) + sum(self.sizes["acc"].values()))
        shorts = sum(self.sizes["numbers"].values()) + sum(self.sizes["values"].values())
        return whole + -(-(2 * shorts + sum(self.sizes["pixels"].values())) // 4) * 4


@dataclass
class Writer:
    """C code as far as it is written.

    Attributes:
        parts: the parts of `c_parts.h` that it calls.
        types: C types of names such as the scores, of thresholds ("threshold"), and others.
        constants: definitions of arrays, as iterators of lines.
        constant_bytes: their size, with words of 32 bits.
        largest_constant: the size of the largest of them.
        checksum: of all words and numbers in them.
        checks: the statements that compute the checksum.
        body: the statements of the stages.
        buffers: the scratch.
        most_pixels: the width of the widest product of pixels.
    """

    parts: set[str] = field(default_factory=set)
    types: dict[str, str] = field(default_factory=dict)
    constants: list[Iterable[str]] = field(default_factory=list)
    constant_bytes: int = 0
    largest_constant: int = 0
    checksum: int = 0
    checks: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    buffers: Buffers = field(default_factory=Buffers)
    most_pixels: int = 0

    def need(self, *parts: str) -> None:
        """Note parts of `c_parts.h` that are called."""
        self.parts.update(parts)

    def say(self, *lines: str) -> None:
        """Add statements."""
        self.body += [f"    {line}" for line in lines]

    def loop(self, lines: list[str], times: int, always: bool = False) -> None:
        """Add statements that run for each p."""
        self.say(*(looped(lines, "p", times) if times > 1 or always else lines))

    def cleared_bits(self, bits: int) -> str:
        """A buffer for bits, all 0."""
        y = self.buffers.take("bits", bits)
        self.need("put")
        self.say(f"name_clear({y}, NAME_WORDS({bits}));")
        return y

    def window(self, i: int, stage: Stage, outside: int = 0) -> str:
        """A constant with the windows of a convolution or a pooling."""
        self.need("window")
        pairs = [stage.size, stage.stride]  # type: ignore[attr-defined]
        if hasattr(stage, "dilation"):
            pairs += [stage.dilation, (stage.border[0][0], stage.border[1][0])]  # type: ignore[attr-defined]
        else:
            pairs += [(1, 1), (0, 0)]
        numbers = ", ".join(f"{{{down}, {across}}}" for down, across in pairs)
        image = ", ".join(map(str, stage.in_shape))
        line = (
            f"static const name_window name_window_{i} NAME_FLASH = "
            f"{{{image}, {stage.out_shape[1]}, {numbers}, {outside}}};"
        )
        self.constants.append([line])
        self._count(WINDOW_BYTES)
        return f"name_window_{i}"

    def words(self, name: str, rows: HostArray, width: int) -> str:
        """A constant array of rows of bits, for words of 32 or 64 bits; see `_words`."""
        size = f"{len(rows)} * NAME_WORDS({width})"
        lines = (line for row in rows for line in wrap(_words(row.tolist(), width)))
        self.constants.append(array(f"name_word name_{name}[{size}]", lines))
        self._count(4 * -(-width // 32) * len(rows))
        self.mix(word for row in rows for word in row.tolist())
        self.checks.append(f"h = name_mix_words(h, name_{name}, {len(rows)}, {width});")
        return f"name_{name}"

    def numbers(self, name: str, alias: str, values: HostArray, ctype: str) -> str:
        """A constant array of integers."""
        flat = values.reshape(-1)
        numbers = (f"INT64_C({v})" if ctype == "int64_t" else f"{v}" for v in flat.tolist())
        self.constants.append(array(f"{alias} name_{name}[{len(flat)}]", wrap(numbers)))
        self._count(len(flat) * int(ctype.strip("uint_")) // 8)
        self.mix(flat.tolist())
        self.checks.append(f"NAME_MIX_NUMBERS(h, {alias}, name_{name})")
        return f"name_{name}"

    def _count(self, size: int) -> None:
        self.constant_bytes += size
        self.largest_constant = max(self.largest_constant, size)

    def mix(self, values: Iterable[int]) -> None:
        """Update the checksum like `name_mix`, with each value as two numbers of 32 bits."""
        h = self.checksum
        for value in values:
            for half in (value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF):
                h = (h ^ half) * 0x9E3779B1 & 0xFFFFFFFF
                h ^= h >> 15
        self.checksum = h


def looped(lines: list[str], counter: str, times: int) -> list[str]:
    """Statements in a loop."""
    head = f"for ({counter} = 0; {counter} < {times}; {counter}++)"
    if len(lines) > 1:
        return [f"{head} {{", *(f"    {line}" for line in lines), "}"]
    return [head, f"    {lines[0]}"]


def ctype(values: Iterable[int]) -> str:
    """The smallest type for some integers."""
    values = list(values)
    least, most = min(values), max(values)
    for bits in (8, 16, 32):
        if least >= 0 and most < 2**bits:
            return f"uint{bits}_t"
        if least >= -(2 ** (bits - 1)) and most < 2 ** (bits - 1):
            return f"int{bits}_t"
    raise PackError(f"export_c: expected thresholds of 32 bits, got {least} to {most}")


def array(declaration: str, lines: Iterable[str]) -> Iterator[str]:
    """The definition of a constant array."""
    yield f"static const {declaration} NAME_FLASH = {{"
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
