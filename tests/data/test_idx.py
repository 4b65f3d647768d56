"""IDX files: valid ones from literal bytes, and all known kinds of invalid ones."""

import gzip
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from minibnn.data import (
    DataError,
    IdxFormatError,
    read_idx,
    write_idx,
)

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
GOOD = bytes.fromhex("00000802 00000002 00000003 010203 040506")

# One file of each element type, spelled out byte by byte.
LITERALS = {
    "uint8": ("00000801 00000002 00ff", [0, 255]),
    "int8": ("00000901 00000002 7f80", [127, -128]),
    "int16": ("00000b01 00000002 0102 fffe", [258, -2]),
    "int32": ("00000c01 00000002 01020304 ffffffff", [16909060, -1]),
    "float32": ("00000d01 00000002 3f800000 c0200000", [1.0, -2.5]),
    "float64": ("00000e01 00000002 3ff0000000000000 c004000000000000", [1.0, -2.5]),
}


def put(folder, content, name="file.idx"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zipped", [False, True])
def test_reads_literal_bytes(tmp_path, dtype, zipped):
    text, values = LITERALS[dtype]
    content = bytes.fromhex(text)
    # The name says nothing: the first two bytes decide.
    array = read_idx(put(tmp_path, gzip.compress(content) if zipped else content))
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.tolist() == values
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[0] = 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_writes_literal_bytes(tmp_path, dtype):
    text, values = LITERALS[dtype]
    for order in "<>":
        write_idx(tmp_path / "a", np.array(values, dtype=np.dtype(dtype).newbyteorder(order)))
        assert (tmp_path / "a").read_bytes() == bytes.fromhex(text)


def test_rows_come_first(tmp_path):
    array = read_idx(put(tmp_path, GOOD))
    assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
    write_idx(tmp_path / "fortran", np.asfortranarray(array))
    write_idx(tmp_path / "strided", np.repeat(array, 2, axis=1)[:, ::2])
    assert (tmp_path / "fortran").read_bytes() == (tmp_path / "strided").read_bytes() == GOOD


def test_zero_items_load(tmp_path):
    array = read_idx(put(tmp_path, bytes.fromhex("00000803 00000000 0000001c 0000001c")))
    assert array.shape == (0, 28, 28)


def test_as_many_dimensions_as_numpy_has(tmp_path):
    content = b"\x00\x00\x08\x40" + struct.pack(">64I", *[1] * 64) + b"\x07"
    assert read_idx(put(tmp_path, content)).shape == (1,) * 64


FLIPPED = bytearray(gzip.compress(GOOD, mtime=0))
FLIPPED[-6] ^= 1  # inside the CRC

# content, byte offset, what the message must say
MALFORMED = {
    "empty": (b"", 0, ["inside its header, after 0 bytes", "fetch it again"]),
    "empty gz": (gzip.compress(b""), 0, ["inside its header, after 0 bytes"]),
    "cut magic": (GOOD[:3], 3, ["inside its header, after 3 bytes"]),
    "cut sizes": (GOOD[:11], 11, ["the sizes of 2 dimensions", "after 11 bytes"]),
    "html": (b"\n<!DOCTYPE html><html>no</html>", 0, ["HTML page", "fetch it again"]),
    "html bom": (b"\xef\xbb\xbf<HTML>no</HTML>", 0, ["HTML page"]),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", 0, ["XML document"]),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", 0, ["Git LFS pointer", "git lfs"]),
    "zip": (b"PK\x03\x04" + bytes(30), 0, ["zip archive", "unpack"]),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(30), 0, ["numpy.load"]),
    "gz twice": (gzip.compress(gzip.compress(GOOD)), 0, ["gzip inside gzip"]),
    "other bytes": (b"\x12\x34\x56\x78rest", 0, ["12 34 56 78", "two zero bytes"]),
    "swapped": (bytes.fromhex("02080000 02000000 03000000"), 0, ["byte-swapped", "big-endian"]),
    "type 0a": (b"\x00\x00\x0a\x01" + bytes(4), 2, ["code 0a", "08, 09, 0b"]),
    "rank 0": (bytes.fromhex("00000800 01"), 3, ["1 to 64 dimensions, got 0"]),
    "rank 65": (b"\x00\x00\x08\x41" + bytes(4 * 65), 3, ["1 to 64 dimensions, got 65"]),
    "overflow": (b"\x00\x00\x0e\x03" + b"\xff" * 12, 4, ["at most 2147483648 bytes", "max_bytes"]),
    "empty but vast": (b"\x00\x00\x08\x03" + bytes(4) + b"\xff" * 8, 4, ["max_bytes"]),
    "short": (GOOD[:-2], 16, ["6 bytes of elements for (2, 3) uint8", "got 4 bytes", "cut off"]),
    "short gz": (gzip.compress(GOOD[:-2]), 16, ["6 bytes of elements", "got 4 bytes"]),
    "long": (GOOD + b"xyz", 18, ["6 bytes of elements", "got 9 bytes"]),
    "long gz": (gzip.compress(GOOD + b"xyz"), 18, ["6 bytes of elements", "got more"]),
    "two members": (gzip.compress(GOOD) * 2, 18, ["got more", "two files joined"]),
    "half an item": (bytes.fromhex("00000b01 00000002 000100"), 11, ["4 bytes", "got 3 bytes"]),
    "cut gz": (gzip.compress(GOOD)[:-9], None, ["cut short"]),
    "gz magic only": (b"\x1f\x8b", 0, ["cut short"]),
    "bad gz method": (b"\x1f\x8b\x07" + bytes(20), 0, ["corrupt gzip data", "method"]),
    "bad crc": (bytes(FLIPPED), None, ["corrupt gzip data", "CRC"]),
    "bad deflate": (gzip.compress(GOOD)[:10] + b"\xff" * 20, 0, ["corrupt gzip", "block type"]),
    "gz and trash": (gzip.compress(GOOD) + b"trash", None, ["corrupt gzip data", "Not a gzip"]),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_file_says_what_is_wrong(tmp_path, fault):
    content, offset, words = MALFORMED[fault]
    path = put(tmp_path, content)
    with pytest.raises(IdxFormatError) as caught:
        read_idx(path)
    error = caught.value
    message = str(error)
    assert error.path == str(path)
    assert message.startswith(f"{path}, byte {error.offset}: expected {error.expected}, got ")
    assert message.endswith(f"{error.got}; {error.hint}")
    assert isinstance(error, DataError)
    assert isinstance(error, ValueError)
    if offset is not None:
        assert error.offset == offset
    for word in words:
        assert word in message


def test_deflate_error_is_zlibs_own(tmp_path):
    # The row "bad deflate" is worth its place only while gzip lets this exception through.
    with pytest.raises(IdxFormatError) as caught:
        read_idx(put(tmp_path, MALFORMED["bad deflate"][0]))
    assert isinstance(caught.value.__cause__, zlib.error)


def test_max_bytes_is_the_exact_limit(tmp_path):
    path = put(tmp_path, GOOD)
    assert read_idx(path, max_bytes=6).size == 6
    with pytest.raises(IdxFormatError, match=r"at most 5 bytes \(max_bytes\)"):
        read_idx(path, max_bytes=5)


def test_missing_file_is_not_a_format_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none.idx")


def peak_bytes(path):
    """Return the peak of Python's and NumPy's memory while a bad file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(IdxFormatError):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zipped", [False, True])
def test_lying_header_costs_no_memory(tmp_path, zipped):
    content = struct.pack(">HBBI", 0, 8, 1, 2**31 - 1) + bytes(100)
    assert peak_bytes(put(tmp_path, gzip.compress(content) if zipped else content)) < 8e6


def test_gzip_bomb_is_not_unpacked(tmp_path):
    bomb = gzip.compress(GOOD + bytes(200_000_000), 1)
    assert len(bomb) < 1_000_000
    assert peak_bytes(put(tmp_path, bomb)) < 8e6


# --- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        ("bool", ".astype(np.uint8)"),
        ("int64", "int32"),
        ("uint16", "uint8, int8, int16, int32, float32, float64"),
        ("float16", "float32"),
        ("complex64", "float64"),
        ("U3", "to one of them"),
        ("O", "to one of them"),
    ],
)
def test_write_refuses_other_dtypes(tmp_path, dtype, hint):
    with pytest.raises(TypeError, match="expected a dtype that IDX can hold") as caught:
        write_idx(tmp_path / "a", np.zeros(2, dtype=dtype))
    assert hint in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_write_refuses_what_no_header_can_say(tmp_path):
    with pytest.raises(ValueError, match="at least one dimension"):
        write_idx(tmp_path / "a", np.array(3, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"below 2\*\*32"):
        write_idx(tmp_path / "a", np.zeros((0, 2**32), dtype=np.uint8))
    assert not list(tmp_path.iterdir())


def test_gz_output_is_reproducible(tmp_path, monkeypatch):
    array = np.arange(50, dtype=np.int32)
    for name, now in (("one.gz", 1e9), ("other.gz", 2e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write_idx(tmp_path / name, array)
    first, second = (tmp_path / name for name in ("one.gz", "other.gz"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[:2] == b"\x1f\x8b"
    assert first.read_bytes()[4:8] == bytes(4)  # mtime


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = put(tmp_path, GOOD)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_idx(path, np.zeros(3, dtype=np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == GOOD


def test_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    steps = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(
            os, step, lambda *args, real=real, step=step: steps.append(step) or real(*args)
        )
    write_idx(tmp_path / "a", np.zeros(3, dtype=np.uint8))
    assert steps[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_written_file_has_the_umasks_mode(tmp_path):
    old = os.umask(0o027)
    try:
        write_idx(tmp_path / "a", np.zeros(3, dtype=np.uint8))
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


# --- properties ------------------------------------------------------------------------------

arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st_numpy.arrays(
        dtype, st_numpy.array_shapes(min_dims=1, max_dims=6, min_side=0, max_side=4)
    )
)
hypothesis_settings = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@hypothesis_settings
@given(array=arrays, zipped=st.booleans())
def test_round_trip(tmp_path, array, zipped):
    path = tmp_path / ("a.gz" if zipped else "a")
    write_idx(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()  # bitwise: NaN and -0.0 too


@st.composite
def near_misses(draw):
    """Return a good file with a few bytes cut, flipped, put in or put after it."""
    content = bytearray(GOOD if draw(st.booleans()) else gzip.compress(GOOD, mtime=0))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(["cut", "flip", "insert", "append"]))
        if kind == "cut":
            del content[at:]
        elif kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=4))
        else:
            content += draw(st.binary(min_size=1, max_size=8))
    return bytes(content)


@settings(hypothesis_settings, max_examples=600)
@given(content=near_misses())
def test_near_miss_loads_or_is_refused(tmp_path, content):
    path = put(tmp_path, content)
    try:
        array = read_idx(path, max_bytes=10_000)
    except IdxFormatError:
        return
    assert array.ndim >= 1
