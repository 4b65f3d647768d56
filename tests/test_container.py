"""minibnn's container: what safetensors writes, streamed, and nothing else is read."""

from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from minibnn import container
from minibnn.container import DTYPES, Format


class OddFileError(ValueError):
    """A file of the format below that cannot be read."""


FORM = Format("odd", 3, "an odd file", "save_odd", OddFileError, max_bytes=2**20, max_header=2**12)
dtypes = st.sampled_from(list(DTYPES.values()))
some_arrays = st.dictionaries(
    st.text(max_size=5),
    dtypes.flatmap(lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, min_side=0))),
    max_size=4,
)  # fmt: skip


def written(arrays, form=FORM, **metadata):
    file = io.BytesIO()
    container.write(file, "path", form, metadata, arrays)
    return file.getvalue()


@settings(deadline=None)
@given(some_arrays)
def test_a_round_trip(arrays):
    data = written(arrays, text="x")
    assert data == container.to_bytes(FORM, {"text": "x"}, arrays)
    read = container.read(data, "path", FORM)
    assert read.metadata == {"format": "odd", "format_version": "3", "text": "x"}
    for found in (read.arrays(), read.views()):
        assert found.keys() == arrays.keys()
        for name, a in arrays.items():
            assert (found[name].dtype, found[name].shape) == (a.dtype, a.shape)
            assert found[name].tobytes() == a.tobytes()
            assert found[name].flags.aligned


@settings(deadline=None)
@given(some_arrays)
def test_the_order_and_the_entries_are_those_of_safetensors(arrays):
    from safetensors.numpy import save

    theirs = save({name: np.array(a, order="C") for name, a in arrays.items()}, {"format": "odd"})
    start = 8 + int.from_bytes(theirs[:8], "little")
    ours = written(arrays)
    _, entries, begin = container.read_header(ours, len(ours), "path", FORM)
    assert ours[begin:] == theirs[start:]
    theirs = json.loads(theirs[8:start])
    theirs.pop("__metadata__")
    assert entries == theirs


def test_other_orders_in_memory_give_the_same_bytes():
    a = np.arange(24, dtype=np.int32).reshape(4, 6)
    forms = (a, np.asfortranarray(a), a.astype(">i4"), np.repeat(a, 2, axis=1)[:, ::2])
    assert len({written({"a": form}) for form in forms}) == 1


def test_copies_do_not_share_memory_with_the_file():
    read = container.read(bytearray(written({"a": np.arange(3)})), "path", FORM)
    assert np.shares_memory(read.views()["a"], np.frombuffer(read.data, np.uint8))
    assert not np.shares_memory(read.arrays()["a"], np.frombuffer(read.data, np.uint8))


def test_writing_and_reading_copy_nothing_as_large_as_the_arrays(tmp_path):
    form = Format("odd", 1, "an odd file", "save_odd", OddFileError, max_bytes=2**30)
    arrays = {str(i): np.full(2**20, i, np.float32) for i in range(8)}
    size, path = 8 * 2**22, tmp_path / "file"
    tracemalloc.start()
    with path.open("wb") as file:
        container.write(file, "path", form, {}, arrays)
    assert tracemalloc.get_traced_memory()[1] < size / 8
    tracemalloc.reset_peak()
    read = container.read_file(path, form)
    views = read.views()
    assert tracemalloc.get_traced_memory()[1] < 1.1 * size
    tracemalloc.stop()
    np.testing.assert_array_equal(views["7"], arrays["7"])


@pytest.mark.parametrize("dtype", [np.float16, object, complex, "datetime64[s]", "S3"])
def test_other_dtypes_are_named(dtype):
    with pytest.raises(TypeError, match=r"in the array 'a', got .*; convert it, with astype"):
        written({"a": np.zeros(2, dtype)})


def test_a_name_that_safetensors_uses_is_refused():
    with pytest.raises(ValueError, match="another name for an array than '__metadata__'"):
        written({"__metadata__": np.zeros(2)})


def test_what_could_not_be_read_is_not_written():
    file = io.BytesIO()
    with pytest.raises(
        OddFileError, match=r"^path: expected a header of at most 4,096 bytes, got one of"
    ):
        container.write(file, "path", FORM, {"text": "x" * 5000}, {})
    with pytest.raises(
        OddFileError, match=r"^path: expected an odd file of at most 1,048,576 bytes"
    ):
        container.write(file, "path", FORM, {}, {"a": np.zeros(2**18)})
    assert file.getvalue() == b""


def test_the_messages_name_the_format(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(written({}, Format("even", 3, "", "", OddFileError, 1000)))
    with pytest.raises(
        OddFileError, match=r"of the format 'odd', got 'even'; use a file of save_odd"
    ):
        container.read_file(path, FORM)
    path.write_bytes(written({}, Format("odd", 4, "", "", OddFileError, 1000), minibnn="9.9"))
    with pytest.raises(
        OddFileError, match=r"format version 3, got '4'; use the minibnn .*'9.9'.* later"
    ):
        container.read_file(path, FORM)
    with path.open("wb") as file:
        file.truncate(2**21)
    with pytest.raises(
        OddFileError, match=r"an odd file of at most .*; is this a file of save_odd\?"
    ):
        container.read_file(path, FORM)
    with pytest.raises(OddFileError, match="expected an odd file, got a device"):
        container.read_file("/dev/null", FORM)


def test_any_flipped_bit_is_refused():
    data = written({"a": np.arange(3, dtype=np.int16), "b": np.array([True, False])}, text="x")
    container.read(data, "path", FORM)
    for k in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[k // 8] ^= 1 << k % 8
        with pytest.raises(OddFileError):
            container.read(damaged, "path", FORM)


def test_bools_are_0_and_1():
    """Under a right digest: NumPy's result for another byte is undefined."""
    entries = {"a": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}
    metadata = {"format": "odd", "format_version": "3"}
    for payload, right in ((b"\0\1", True), (b"\0\2", False), (b"\xff\0", False)):
        sha256 = container.digest(metadata, entries, payload)
        data = container.header(metadata, entries, sha256) + payload
        if right:
            assert container.read(data, "path", FORM).arrays()["a"].tolist() == [False, True]
        else:
            with pytest.raises(OddFileError, match="bytes of 0 and 1 as the bools 'a'"):
                container.read(data, "path", FORM)


def test_arrays_in_an_order_that_is_not_aligned_are_aligned():
    """Other programs may write small values first, under a right digest."""
    entries = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
               "b": {"dtype": "F64", "shape": [2], "data_offsets": [1, 17]}}  # fmt: skip
    metadata = {"format": "odd", "format_version": "3"}
    payload = b"\7" + np.array([1.5, -2.0]).astype("<f8").tobytes()
    sha256 = container.digest(metadata, entries, payload)
    data = container.header(metadata, entries, sha256) + payload
    views = container.read(data, "path", FORM).views()
    assert views["b"].flags.aligned
    assert views["b"].tolist() == [1.5, -2.0]
