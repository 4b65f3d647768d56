"""What the C code is written with: buffers that values share, types, and constants."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import PackError
from minibnn.export.c_writer import Buffers, Writer, ctype, looped, wrap
from minibnn.packed.bits import pack_rows


def test_long_initializers_are_wrapped():
    lines = list(wrap(str(n) for n in range(1000, 1100)))
    assert all(90 < len(line) <= 100 for line in lines[:-1])
    assert [int(n) for line in lines for n in line.split(",")[:-1]] == list(range(1000, 1100))


def test_buffers_of_values_that_are_not_needed_hold_others():
    buffers = Buffers()
    first, second = buffers.take("bits", 100), buffers.take("bits", 40)
    assert (first, second, buffers.take("bits", 7)) == ("s.x", "s.y", "s.x2")
    assert buffers.take("bits", 8) == "s.x4"
    for text in (first, second, "s.x4", "image"):
        buffers.free(text)
    assert buffers.take("bits", 30) == "s.y"  # the smallest that suffices
    assert buffers.take("bits", 200) == "s.x"  # the largest, grown
    assert buffers.take("acc", 3) == "s.sums"  # another kind has its own
    assert buffers.take("acc", 3) == "s.sums2"
    buffers.free("s.sums2")
    assert buffers.take("numbers", 5) == "s.numbers"
    assert buffers.reserve("row", "row", 33) == buffers.reserve("row", "row", 5) == "s.row"
    assert buffers.reserve("pixels", "pixels", 3) == "s.pixels"
    assert buffers.fields() == [
        "name_word x[NAME_WORDS(200)];",
        "name_word y[NAME_WORDS(40)];",
        "name_word x2[NAME_WORDS(7)];",
        "name_word x4[NAME_WORDS(8)];",
        "name_word row[NAME_WORDS(33)];",
        "int32_t sums[3];",
        "int32_t sums2[3];",
        "int16_t numbers[5];",
        "uint8_t pixels[3];",
    ]
    assert buffers.bytes == 4 * (7 + 2 + 1 + 1 + 2 + 3 + 3) + 16  # 13 bytes of the last two


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], "uint8_t"), ([-1, 127], "int8_t"), ([-1, 128], "int16_t"), ([256], "uint16_t"),
        ([-32769], "int32_t"), ([2**32 - 1], "uint32_t"),
    ],
)  # fmt: skip
def test_the_smallest_type(values, expected):
    assert ctype(iter(values)) == expected


def test_what_no_type_of_32_bits_holds():
    with pytest.raises(PackError, match="of 32 bits, got -1 to 2147483648"):
        ctype([-1, 2**31])


def test_loops():
    assert looped(["a;"], "g", 3) == ["for (g = 0; g < 3; g++)", "    a;"]
    assert looped(["a;", "b;"], "p", 2) == [
        "for (p = 0; p < 2; p++) {", "    a;", "    b;", "}",
    ]  # fmt: skip


def test_constants_are_counted_and_change_the_checksum():
    writer = Writer()
    assert writer.numbers("n", "name_level", np.array([[1, -2], [3, 4]]), "int16_t") == "name_n"
    assert (writer.constant_bytes, writer.largest_constant) == (8, 8)
    before = writer.checksum
    assert writer.words("w", pack_rows(np.ones((2, 33), np.uint8)), 33) == "name_w"
    assert (writer.constant_bytes, writer.largest_constant) == (24, 16)
    assert before not in (0, writer.checksum)
    text = "\n".join(line for lines in writer.constants for line in lines)
    assert text == (
        "static const name_level name_n[4] NAME_FLASH = {\n    1, -2, 3, 4,\n};\n"
        "static const name_word name_w[2 * NAME_WORDS(33)] NAME_FLASH = {\n"
        "    NAME_2(0xFFFFFFFFu, 0x00000001u),\n    NAME_2(0xFFFFFFFFu, 0x00000001u),\n};"
    )
