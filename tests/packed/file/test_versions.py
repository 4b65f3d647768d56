"""Both versions of the format: files of version 1 stay as they are for ever; what version 2 adds.

The files in `golden` of version 1 were written by minibnn before version 2 existed. They are never
written anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coded_tables import FRONTS, coded, named, table, tail
from integer_files import certified, every_kind
from integer_programs import random_program
from packed_files import bytes_of, changed, load_bytes, on_images, same, small

from minibnn import PackedFileError, Sequential, load_latents, load_packed, pack, save_packed
from minibnn.packed import packed_file_info
from minibnn.packed.description import describe, format_version, to_json
from minibnn.packed.file import container, save
from minibnn.packed.integer_stages import INTEGER_STAGES
from minibnn.packed.stages import CodeStage

GOLDEN = Path(__file__).parent / "golden"
# The SHA-256 of the file, of the network, and of the scores of 50 images.
FILES = {
    "format-1-table": (
        "d9e7b72a9e0a5ba5515113e356c56e361040c868bb7cfa106d7bc63c2c50cf5a",
        "1172885a2ba5fd8696dc8d6a5c7885bb6df0aee1e5a618d77a8dd348d2788735",
        "1130d69b1215bd0f9ee8cc19647a4ce4cc771c92ee5b1502aa9638bd4ce15eb3",
    ),
    "format-1-images": (
        "4d9d635d88818be5dafa36352d437d1fd9b4740f500a996f282eba74dd712cc8",
        "e1e932dd7a8696b2df45f7393fa74b4c3c69cd54f0241efc9f99b2433b009cf9",
        "5de28d3bc0739f72efa0d91785decfcfa123b9e95f7d6539c19ece7ab5d99bad",
    ),
}


# And of version 2: of the file, of the network, of the scores.
INTEGERS = (
    "6c8f914a59795803803e45f88e2ec739d7c0115d8c928ce310730909e1da6006",
    "8616fd735c6baf9e4995c40c2f71bf73f164ce28e4a2d4428a0f151e7851daaf",
    "86462513dcf03e5aaecfb7cca049da224e6816be0ba7b1ad542ed2dfdb03132b",
)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_golden_files_of_version_1(name, tmp_path, monkeypatch):
    """They load, give the scores that they gave, and are saved to the same bytes."""
    path = GOLDEN / f"{name}.safetensors"
    file, network, scores = FILES[name]
    data = path.read_bytes()
    assert sha256(data) == file
    packed = load_packed(path)
    assert packed.sha256 == network
    images = np.random.default_rng(0).integers(0, 256, (50, *packed.input_shape), np.uint8)
    found = packed.predict_scores(images)
    assert sha256(found.astype("<i8").tobytes()) == scores
    info = packed_file_info(path)
    assert info.format_version == 1
    assert (packed.input_dtype, packed.feature_names, packed.class_names) == ("uint8", None, None)
    monkeypatch.setattr(save, "__version__", info.minibnn)  # the only thing that may change
    model = None
    if name == "format-1-table":
        model = load_latents(path, small(seed=5))
        packed.verify(model)
    save_packed(packed, tmp_path / "again", model=model)
    assert (tmp_path / "again").read_bytes() == data


def test_a_golden_file_of_stages_on_integers(tmp_path, monkeypatch):
    data = (GOLDEN / "format-2-integers.safetensors").read_bytes()
    packed = load_bytes(data)
    images = np.random.default_rng(0).integers(0, 256, (50, *packed.input_shape), np.uint8)
    found = packed.predict_scores(images)
    scores = sha256(found.astype("<i8").tobytes())
    assert (sha256(data), packed.sha256, scores) == INTEGERS
    assert container.read(data, "").metadata["format_version"] == "2"
    monkeypatch.setattr(save, "__version__", container.read(data, "").metadata["minibnn"])
    assert bytes_of(packed, tmp_path) == data
    assert bytes_of(every_kind(), tmp_path, training={"epochs": 3}) == data


@pytest.mark.parametrize("part", range(8))
def test_random_programs_there_and_back(part, tmp_path):
    """The same bytes, stages and scores; of 400 programs."""
    for i in range(50 * part, 50 * part + 50):
        rng = np.random.default_rng([5, i])
        packed = certified(random_program(rng))
        data = bytes_of(packed, tmp_path)
        loaded = load_bytes(data)
        same(loaded, packed)
        images = rng.integers(0, 256, (4, *packed.input_shape), np.uint8)
        np.testing.assert_array_equal(loaded.predict_scores(images), packed.predict_scores(images))
        assert bytes_of(loaded, tmp_path) == data


def test_stages_on_integers_and_sources_are_version_2(tmp_path):
    """`test_only_what_needs_it_is_version_2` has the rest."""
    seen = set()
    for i in range(40):
        packed = certified(random_program(np.random.default_rng([6, i])))
        new = {s.kind for s in packed.stages if isinstance(s, INTEGER_STAGES) or s.sources}
        single = packed.classes == 1
        assert format_version(packed.interface, packed.stages) == (2 if new or single else 1)
        data = bytes_of(packed, tmp_path)
        if new:
            with pytest.raises(PackedFileError, match="another format version"):
                load_bytes(changed(data, lambda *a: a[3].update(format_version="1")))
        seen |= new
    assert seen >= {"integer_dense", "integer_conv", "sum_pool", "levels", "scale", "slope", "add"}
    # A source alone is new, too.
    plain = pack(small(), (10,))
    sourced = [replace(plain.stages[1], sources=(0,))]
    assert format_version(plain.interface, (plain.stages[0], *sourced, *plain.stages[2:])) == 2


def test_the_golden_models_are_packed_to_the_same_bytes(tmp_path, monkeypatch):
    for name, model, shape in (
        ("format-1-table", small(), (10,)),
        ("format-1-images", on_images("two"), (8, 9)),
    ):
        data = (GOLDEN / f"{name}.safetensors").read_bytes()
        monkeypatch.setattr(save, "__version__", container.read(data, "").metadata["minibnn"])
        table = name == "format-1-table"
        options = {"training": {"epochs": 3}, "model": model} if table else {"training": {}}
        assert bytes_of(pack(model, shape), tmp_path, **options) == data


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("name", FRONTS)
def test_there_and_back(name, names, tmp_path):
    model = coded(name)
    packed = named(name) if names else pack(model)
    _, dtype, shape, _ = FRONTS[name]
    path, again = tmp_path / "model", tmp_path / "again"
    save_packed(packed, path, model=model, training={"a": 1})
    loaded = load_packed(path)
    same(loaded, replace(packed, training={"a": 1}))
    assert loaded.sha256 == packed.sha256
    assert packed_file_info(path).format_version == 2
    x = table(dtype, shape=shape, seed=1)[0]
    if dtype == "float32":
        x[0], x[1], x[2] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(loaded.predict(x), model.forward(x).argmax(1))
    np.testing.assert_array_equal(loaded.predict_scores(x), packed.predict_scores(x))
    assert loaded.verify(model) == packed.certificate
    save_packed(loaded, again, model=model)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", FRONTS)
def test_latents_have_the_numbers_of_the_code(name, fresh, tmp_path):
    model, path = coded(name), tmp_path / "model"
    packed = pack(model)
    save_packed(packed, path, model=model)
    other = coded(name, seed=1)
    if fresh:  # neither fitted nor initialised
        front, _, _, bits = FRONTS[name]
        other = Sequential(*front(), *tail(bits))
    load_latents(path, other)
    assert other.input_contract.dtype == packed.input_dtype
    assert other.input_contract.shape == packed.input_shape
    again = pack(other)
    assert again.sha256 == packed.sha256


def test_only_what_needs_it_is_version_2(tmp_path):
    plain = pack(small(), (10,))
    features, classes = [f"f{i}" for i in range(10)], ["a", "b", "c", "d"]
    models = {
        plain: 1,
        pack(small(), (10,), class_names=classes): 2,
        pack(small(), (10,), feature_names=features): 2,
        pack(coded("thermometer of bytes")): 2,
        pack(coded("sign of bytes")): 2,
        pack(coded()): 2,
    }
    for packed, version in models.items():
        assert format_version(packed.interface, packed.stages) == version
        data = bytes_of(packed, tmp_path)
        assert container.read(data, "").metadata["format_version"] == str(version)
        wrong = str(3 - version)
        with pytest.raises(PackedFileError, match="another format version than save_packed's"):
            load_bytes(changed(data, lambda *a, w=wrong: a[3].update(format_version=w)))
        with pytest.raises(PackedFileError, match=r"expected format version 1 or 2, got '3'"):
            load_bytes(changed(data, lambda *a: a[3].update(format_version="3")))
    assert len({packed.sha256 for packed in models}) == len(models)


def test_what_is_usual_is_left_out():
    packed = pack(coded("thermometer of bytes"))
    described = json.loads(to_json(describe(packed.interface, packed.stages)))
    assert set(described) == {"input_shape", "stages"}
    assert described["stages"][0] == {"kind": "code", "out_shape": [15]}
    assert {k for k in packed.arrays() if k.startswith("0.")} == {"0.feature", "0.low"}
    assert packed.arrays()["0.feature"].dtype == np.int16
    one_hot = pack(coded("one-hot"))
    assert describe(one_hot.interface, one_hot.stages)["input_dtype"] == "int8"
    ends = {k: a.dtype for k, a in one_hot.arrays().items() if k.startswith("0.")}
    assert ends == {"0.feature": np.int16, "0.low": np.int8, "0.high": np.int8}
    falling = pack(coded("falling")).arrays()
    assert "0.high" in falling
    assert "0.low" not in falling


# --- Files with a right digest and a wrong content ------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Categories in int8, with names."""
    return bytes_of(named("one-hot"), tmp_path_factory.mktemp("file"))


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    return bytes_of(named(), tmp_path_factory.mktemp("floats"))


def refuses(data, change, match="expected a packed model"):
    with pytest.raises(PackedFileError, match=match):
        load_bytes(changed(data, change))


def test_wrong_interfaces(file):
    load_bytes(file)

    def says(**values):
        return lambda architecture, *_: architecture.update(values)

    for dtype in ("int32", "float64", "float16", "int16", "uint8", "float32", "", None, 8, ["int8"], {}):  # fmt: skip
        refuses(file, says(input_dtype=dtype))
    for field, count in (("features", 3), ("classes", 3)):
        good = [f"n{i}" for i in range(count)]
        load_bytes(changed(file, says(**{field: good})))
        load_bytes(changed(file, lambda a, *_, f=field: a.pop(f)))
        for wrong in (good[:-1], [*good, "x"], [*good[:-1], good[0]], [*good[:-1], 1],
                      [*good[:-1], None], [], {}, "abc", 3, None, [good], False):  # fmt: skip
            refuses(file, says(**{field: wrong}))
    refuses(file, says(class_names=["a", "b", "c"]))
    refuses(file, lambda a, *_: a.pop("input_dtype"))


def test_wrong_codes(file, floats):
    def stage(**values):
        return lambda architecture, *_: architecture["stages"][0].update(values)

    for values in ({"out_shape": [119]}, {"out_shape": [121]}, {"out_shape": [120, 1]}, {"out_shape": [0]},
                   {"in_shape": [3]}, {"in_shape": [4]}, {"in_shape": [1, 3]}, {"dtype": "int8"}, {"kind": "binarize"},
                   {"kind": "dense"}, {"falling": True}, {"threshold": 3}, {"low": 1}):  # fmt: skip
        refuses(file, stage(**values))
    for name in ("feature", "low", "high"):
        array = container.read(file, "").arrays()[f"0.{name}"]

        def becomes(value, name=name):
            return lambda _, arrays, *__: arrays.update({f"0.{name}": value})

        wrong = [array[:-1], np.append(array, array[:1]), array[:0], array[:, None], array[0],
                 array.astype(np.float64), array.astype(np.float32), array.astype(np.int64),
                 array.astype(np.uint8)]  # fmt: skip
        if name != "feature":
            wrong += [array.astype(np.int16)]
        for value in wrong:
            refuses(file, becomes(value))
    feature = container.read(file, "").arrays()["0.feature"]
    for index in (-1, 3, 2**15 - 1, -(2**15)):
        other = feature.copy()
        other[7] = index
        refuses(file, lambda _, a, *__, o=other: a.update({"0.feature": o}), "features below 3")
    refuses(file, lambda _, a, *__: a.pop("0.feature"))
    refuses(file, lambda _, a, *__: a.update({"0.threshold": feature}), "no arrays but")
    for name in ("low", "high"):
        ends = np.zeros(12, np.float32)
        ends[5] = np.nan
        refuses(floats, lambda _, a, *__, n=name, e=ends: a.update({f"0.{n}": e}), "got nan")
    # A code that is not the first stage, and raw inputs without one.
    refuses(file, lambda a, *_: a["stages"].insert(1, {"kind": "code", "out_shape": [120]}))
    refuses(file, lambda a, *_: a["stages"].pop(0))


def test_floats_are_not_summed(tmp_path):
    """A product of pixels takes bytes."""
    data = bytes_of(pack(small(), (10,)), tmp_path)
    two = lambda *a: a[3].update(format_version="2")  # noqa: E731
    for dtype in ("int8", "int16", "float32"):
        refuses(
            data, lambda *a, d=dtype: (a[0].update(input_dtype=d), two(*a)), "expected a code of"
        )


def test_other_features_and_ends_are_another_code(file):
    """Any features in range and any numbers are a program."""

    def change(_, arrays, *__):
        rng = np.random.default_rng(0)
        arrays["0.feature"] = rng.integers(0, 3, 120).astype(np.int16)
        arrays["0.low"], arrays["0.high"] = rng.integers(-128, 128, (2, 120)).astype(np.int8)

    packed = load_bytes(changed(file, change))
    code = packed.stages[0]
    assert isinstance(code, CodeStage)
    x = np.random.default_rng(1).integers(-128, 128, (20, 3)).astype(np.int8)
    expected = [
        [low <= row[f] <= high for f, low, high in zip(code.feature, code.low, code.high, strict=True)]
        for row in x.tolist()
    ]  # fmt: skip
    np.testing.assert_array_equal(packed.after(x, 1), expected)
