"""The file format: any damage is refused, and one content has one form."""

from __future__ import annotations

import hashlib
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import load_bytes, small

from minibnn import PackedFileError, pack, save_packed
from minibnn import container as file_format
from minibnn.packed.file import container


def sealed(header, payload):
    """A file with any header and a correct digest."""
    metadata = header.pop("__metadata__", {})
    return (
        file_format.header(metadata, header, file_format.digest(metadata, header, payload))
        + payload
    )


def test_the_library_reads_it(tmp_path):
    from safetensors import safe_open

    packed = pack(small(), (10,))
    path = tmp_path / "model.safetensors"
    save_packed(packed, path)
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "minibnn-packed"
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    expected = packed.arrays()
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_any_flipped_bit_is_refused(saved, which):
    data = saved[which]
    load_bytes(data)
    for k in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[k // 8] ^= 1 << k % 8
        with pytest.raises(PackedFileError):
            load_bytes(bytes(damaged))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_any_other_length_is_refused(saved, which):
    data = saved[which]
    for length in range(len(data)):
        with pytest.raises(PackedFileError):
            load_bytes(data[:length])
    for more in (b"\0", b" ", b"\0" * 8, data):
        with pytest.raises(PackedFileError, match="something follows it"):
            load_bytes(data + more)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data):
    for start in (b"", len(data).to_bytes(8, "little")):
        with pytest.raises(PackedFileError):
            load_bytes(start + data)


def test_foreign_files(saved):
    from safetensors.numpy import save

    arrays = {"0.weights": np.zeros(3, np.uint8)}
    for metadata in (None, {"format": "pt"}, {"format": "x" * 10_000}):
        with pytest.raises(PackedFileError, match="of the format 'minibnn-packed'") as error:
            load_bytes(save(arrays, metadata))
        assert len(str(error.value)) < 300
    for header in (b"[]", b"null", b"{}", b'{"__metadata__":[]}', b'{"__metadata__":{"format":1}}',
                   b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b"\xff\xfe{\0}\0",
                   b'{"__metadata__":{"format":"minibnn-packed"}}'):  # fmt: skip
        with pytest.raises(PackedFileError):
            load_bytes(len(header).to_bytes(8, "little") + header)
    for length in (2**63, 2**64 - 1, len(saved[0])):
        with pytest.raises(PackedFileError, match="cut off"):
            load_bytes(length.to_bytes(8, "little") + saved[0][8:])


def test_other_versions(saved):
    read = container.read(saved[0], "file")
    for version in ("3", "0", "", "1.0", "x" * 1000):
        metadata = {**read.metadata, "format_version": version, "minibnn": "9.9"}
        with pytest.raises(PackedFileError, match=r"version 1 or 2, got .*use the minibnn.*9\.9"):
            load_bytes(container.write(metadata, read.arrays()))


def test_a_wrong_checksum(saved):
    digest = container.read(saved[0], "file").sha256.encode()
    for other in (b"0" * 64, digest.upper(), digest[::-1]):
        with pytest.raises(PackedFileError, match="damaged"):
            load_bytes(saved[0].replace(digest, other))


ENTRIES = [None, {}, [], 1, {"dtype": "U8", "shape": [3]},
           {"dtype": "U8", "shape": [3], "data_offsets": [0, 3], "x": 1}]  # fmt: skip
ENTRIES += [
    {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    for dtype, shape, offsets in [
        ("U8", [3], [0, 4]), ("U8", [3], [1, 4]), ("U8", [3], [4, 1]), ("U8", [-3], [0, 3]), ("U8", [-1, -3], [0, 3]),
        ("U8", [2**40], [0, 2**40]), ("U8", [2**40, 2**40], [0, 3]), ("U8", [2**80, 0], [0, 0]),
        ("U8", [2**61, 8], [0, 0]), ("I64", [2**61], [0, 0]), ("U8", [3.0], [0, 3]),
        ("U8", [True, 3], [0, 3]), ("U8", 3, [0, 3]), ("U8", "3", [0, 3]), ("U8", [3], [0]),
        ("U8", [3], [0, 3, 3]), ("U8", [3], {"0": 0}), ("F8", [3], [0, 3]), ("BOOL", [3], [0, 3]),
        (8, [3], [0, 3]), (["U8"], [3], [0, 3]), ("U8", [1] * 99 + [3], [0, 3]), ("U8", [], [0, 1]),
        ("U8", [3], [-3, 0]), ("U8", [3], [10**30, 10**30 + 3]), ("U16", [1], [0, 2]),
    ]
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_crafted_entries(entry):
    metadata = {"format": "minibnn-packed", "format_version": "1"}
    tracemalloc.start()
    for payload in (b"", b"abc"):
        for others in ({}, {"b": {"dtype": "U8", "shape": [1], "data_offsets": [2, 3]}}):
            with pytest.raises(PackedFileError):
                load_bytes(sealed({"__metadata__": dict(metadata), "a": entry, **others}, payload))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_one_content_has_one_form(saved):
    """Other spaces, another order, escapes or duplicate names are refused, though equal as JSON."""
    data = saved[0]
    length = int.from_bytes(data[:8], "little")
    text, payload = data[8 : 8 + length].rstrip(), data[8 + length :]
    header = json.loads(text)
    forms = [json.dumps(header).encode(), text.replace(b'"dtype"', b'"dt\\u0079pe"', 1)]
    forms += [text[:-1] + b',"x":1}', text.replace(b"{", b'{"1.weights":1,', 1), text + b"\n"]
    forms += [text + b" " * (16 + -len(text) % 8), text.decode().encode("utf-16")]
    for form in forms:
        digest = json.loads(form.decode() if b"\0" not in form else text)["__metadata__"]["sha256"]
        for padded in (form, form + b" " * (-len(form) % 8)):
            if padded == data[8 : 8 + length]:
                continue
            start = len(padded).to_bytes(8, "little") + padded
            blank = start.replace(digest.encode(), b"0" * 64)
            right = hashlib.sha256(blank + payload).hexdigest()
            with pytest.raises(PackedFileError):
                load_bytes(start.replace(digest.encode(), right.encode()) + payload)


@pytest.mark.parametrize("where", ["before the first", "between", "after the last"])
def test_bytes_that_belong_to_no_array(saved, where):
    """With a correct digest: they could hide data, and one content would have many forms."""
    data = saved[0]
    start = 8 + int.from_bytes(data[:8], "little")
    header, payload = json.loads(data[8:start]), data[start:]
    entries = sorted(
        (e["data_offsets"] for name, e in header.items() if name != "__metadata__"), key=min
    )
    at = {"before the first": 0, "between": entries[1][0], "after the last": len(payload)}[where]
    for offsets in entries:
        offsets[:] = [n + 8 * (offsets[0] >= at) for n in offsets]
    payload = payload[:at] + bytes(8) + payload[at:]
    with pytest.raises(PackedFileError, match=r"arrays one after another|bytes, got"):
        load_bytes(sealed(header, payload))
