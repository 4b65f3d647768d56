"""Files of packed models: what is written comes back, and everything else is refused."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_models import SIGN, dense, images_models, ink, norms, shake

from minibnn import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Dense,
    DirectFeedback,
    Dropout,
    FixedFeedback,
    Flatten,
    LogitCrossEntropy,
    MagnitudeAwareSign,
    PackedFileError,
    PackError,
    Rescale,
    Sequential,
    load_latents,
    load_packed,
    load_sample,
    pack,
    save_packed,
)
from minibnn.packed import packed_file_info
from minibnn.packed.description import to_json
from minibnn.packed.file import container
from minibnn.packed.file.load import packed_model
from minibnn.packed.stages import ThresholdStage
from minibnn.recipes import RECIPES

DOC = Path(__file__).parents[2] / "docs" / "packed-format.md"


def small(seed=0, norm=1):
    """Every kind of field but a convolution's, falling thresholds among them."""
    model = Sequential(
        *ink(), dense(10, 9), *norms(9)[norm], Activation(SIGN), dense(9, 4), BatchNorm(4)
    )
    rng = np.random.default_rng(seed)
    model = shake(model.initialize(rng), rng)
    return _calm(model)


def _calm(model):
    """Logits within reach of each other."""
    model[-1].initialize(0)
    return model


def on_images(name="two", seed=0):
    rng = np.random.default_rng(seed)
    model = shake(Sequential(*images_models()[name]).initialize(rng), rng)
    return _calm(model) if name == "conv last" else model


def parts(path):
    """A file's metadata and arrays."""
    read = container.read(Path(path).read_bytes(), "file")
    return read.metadata, read.arrays()


def load_bytes(data):
    return packed_model(container.read(data, "file"))


def sealed(header, payload):
    """A file with a right digest, whatever the header says."""
    metadata = header.pop("__metadata__", {})
    digest = container._digest(container._header(metadata, header, "0" * 64), memoryview(payload))
    return container._header(metadata, header, digest) + payload


def bytes_of(packed, tmp_path, **options):
    path = tmp_path / "model.safetensors"
    save_packed(packed, path, **options)
    return path.read_bytes()


def same(one, other):
    assert one.input_shape == other.input_shape
    assert len(one.stages) == len(other.stages)
    for a, b in zip(one.stages, other.stages, strict=True):
        mine, theirs = dict(vars(a)), dict(vars(b))
        assert type(a) is type(b)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            got = theirs[name]
            assert type(value) is type(got), name
            if isinstance(value, np.ndarray):
                assert value.dtype == got.dtype, name
                np.testing.assert_array_equal(value, got)
            else:
                assert value == got, name
    assert one.certificate == other.certificate
    assert one.training == other.training


# --- there and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*images_models(), *range(5)])
def test_there_and_back(name, tmp_path, rng):
    model = small(norm=name) if isinstance(name, int) else on_images(name)
    shape = (10,) if isinstance(name, int) else (8, 9)
    packed = pack(model, shape)
    path = tmp_path / "model.safetensors"
    figures = {"accuracy": 0.5, "epochs": [1, None, "zwei", {"lr": 1e-3}]}
    save_packed(packed, path, training=figures)
    loaded = load_packed(path)
    assert loaded.training == figures
    object.__setattr__(packed, "training", figures)
    same(loaded, packed)
    images = rng.integers(0, 256, (20, *shape), np.uint8)
    np.testing.assert_array_equal(loaded.predict_scores(images), packed.predict_scores(images))
    np.testing.assert_array_equal(loaded.logits(images), packed.logits(images))
    assert loaded.verify(model) == packed.certificate

    again = tmp_path / "again"
    save_packed(loaded, str(again))  # with the figures that it has
    assert again.read_bytes() == path.read_bytes()
    save_packed(pack(copy.deepcopy(model), shape), again, training=figures)
    assert again.read_bytes() == path.read_bytes()


def test_the_small_models_have_everything():
    stages = [stage for norm in range(5) for stage in pack(small(norm=norm), (10,)).stages]
    thresholds = [stage for stage in stages if isinstance(stage, ThresholdStage)]
    assert any(stage.falling.any() for stage in thresholds)
    assert any(not stage.falling.any() for stage in thresholds)


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


@pytest.mark.parametrize("latents", [False, True])
def test_sizes_add_up(tmp_path, latents):
    model = small()
    packed = pack(model, (10,))
    data = bytes_of(packed, tmp_path, model=model if latents else None)
    info = packed_file_info(tmp_path / "model.safetensors")
    assert info.bytes == len(data) == info.header_bytes + info.payload_bytes + info.latent_bytes
    assert info.payload_bytes == packed.nbytes == packed.summary().bytes
    floats = sum(p.size for p in model.parameters()) + sum(b.data.size for b in model.buffers())
    assert info.latent_bytes == (4 * floats if latents else 0)
    assert info.header_bytes == 8 + int.from_bytes(data[:8], "little")
    assert (info.format_version, info.minibnn) == (
        1,
        parts(tmp_path / "model.safetensors")[0]["minibnn"],
    )
    blank = data.replace(info.sha256.encode(), b"0" * 64)
    assert hashlib.sha256(blank).hexdigest() == info.sha256


def test_what_is_no_packed_model(tmp_path):
    path = tmp_path / "net.safetensors"
    for first, second, got in (
        (small(), path, "Sequential"),
        (path, pack(small(), (10,)), "Posix"),
    ):
        with pytest.raises(
            TypeError, match=rf"save_packed: expected a PackedModel, got {got}.*pack"
        ):
            save_packed(first, second)
    with pytest.raises(TypeError, match="expected the model, got str"):
        save_packed(pack(small(), (10,)), path, model="model")
    assert not path.exists()


def test_figures_may_be_numpy_integers(tmp_path):
    packed = pack(small(), (10,))
    data = bytes_of(packed, tmp_path, training={"a": np.int64(3), "b": [np.uint8(4)]})
    assert data == bytes_of(packed, tmp_path, training={"a": 3, "b": [4]})
    with pytest.raises(TypeError, match=r"JSON can hold: got .* float32; float\(\.\.\.\) makes a"):
        bytes_of(packed, tmp_path, training={"a": np.float32(1)})


def test_what_cannot_be_saved(tmp_path):
    packed, path = pack(small(), (10,)), tmp_path / "model"
    path.write_text("before")
    endless = {}
    endless["self"] = endless
    for training in ({"a": float("nan")}, {"a": {1, 2}}, [1], endless, {"a": np.float32(1)}):
        with pytest.raises(TypeError, match="training"):
            save_packed(packed, path, training=training)
    with pytest.raises(PackError, match=r"the model that was packed.*channel 0"):
        save_packed(packed, path, model=small(1))
    packed.certificate["thresholds"][0]["sha256"] = "0" * 64
    with pytest.raises(PackError, match=r"loaded again.*certificate"):
        save_packed(packed, path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    with pytest.raises(FileNotFoundError):
        load_packed(tmp_path / "nowhere")


# --- sizes of the recipes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seed", "modern"])
def test_the_recipes_files_are_small(name, tmp_path):
    recipe = RECIPES[name]()
    model, _ = recipe.train(load_sample(), epochs=1, progress=False)[:2]
    if name == "modern":  # thresholds that fall have a line in the header
        model[3].gamma.data[:9] *= -1
        model[6].gamma.data[3] *= -1
    packed = pack(model, (28, 28))
    training = {
        "recipe": name, "seed": 0, "epochs": 20, "dataset": "mnist", "test_accuracy": 0.9663,
        "test_loss": 0.11523, "packed_accuracy": 0.9663, "disagreements": 12,
    }  # fmt: skip
    data = bytes_of(packed, tmp_path, training=training)
    if name == "modern":
        assert {"1.falling", "3.falling"} <= set(packed.arrays())
    assert len(data) < 16_000
    assert model.summary((28, 28)).float_bytes >= 25 * len(data)


# --- refused: damage -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file's bytes, without and with latent weights."""
    folder = tmp_path_factory.mktemp("saved")
    model = small()
    packed = pack(model, (10,))
    return [bytes_of(packed, folder, training={"a": 1}, model=m) for m in (None, model)]


@pytest.mark.parametrize("latents", [0, 1])
def test_any_flipped_bit_is_refused(saved, latents):
    data = saved[latents]
    load_bytes(data)
    for k in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[k // 8] ^= 1 << k % 8
        with pytest.raises(PackedFileError):
            load_bytes(bytes(damaged))


@pytest.mark.parametrize("latents", [0, 1])
def test_any_other_length_is_refused(saved, latents):
    data = saved[latents]
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


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "digits"
    path.write_bytes(b"short")
    for load in (load_packed, packed_file_info, lambda p: load_latents(p, small())):
        with pytest.raises(PackedFileError, match=f"{re.escape(str(path))}: expected a whole"):
            load(path)


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
    for version in ("2", "0", "", "1.0", "x" * 1000):
        metadata = {**read.metadata, "format_version": version, "minibnn": "9.9"}
        with pytest.raises(PackedFileError, match=r"version 1, got .*use the minibnn.*9\.9"):
            load_bytes(container.write(metadata, read.arrays()))


def test_a_wrong_checksum(saved):
    digest = container.read(saved[0], "file").sha256.encode()
    for other in (b"0" * 64, digest.upper(), digest[::-1]):
        with pytest.raises(PackedFileError, match="damaged"):
            load_bytes(saved[0].replace(digest, other))


# --- refused: files with a right checksum that say something wrong ---------------------------------


def changed(data, change):
    """The file with its metadata and arrays changed, and a right checksum."""
    read = container.read(data, "file")
    metadata, arrays = dict(read.metadata), dict(read.arrays())
    architecture, certificate = (json.loads(metadata[k]) for k in ("architecture", "certificate"))
    change(architecture, arrays, certificate, metadata)
    for name, value in (("architecture", architecture), ("certificate", certificate)):
        if metadata.get(name) == read.metadata[name]:
            metadata[name] = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return container.write(metadata, arrays)


def test_a_change_of_nothing_is_nothing(saved):
    assert changed(saved[0], lambda *_: None) == saved[0]


def names(saved):
    return sorted(k for k in container.read(saved[1], "file").entries if "latent" not in k)


def test_wrong_arrays(saved):
    for name in names(saved):
        original = container.read(saved[0], "file").arrays()[name]

        def lose(_, arrays, *__, name=name):
            del arrays[name]

        def rename(_, arrays, *__, name=name):
            arrays[name + "x"] = arrays.pop(name)

        def move(_, arrays, *__, name=name):
            arrays["9" + name] = arrays.pop(name)

        def replace(value, name=name):
            return lambda _, arrays, *__: arrays.__setitem__(name, value)

        wrong = [
            original[:-1],
            np.append(original, original[:1]),
            original[:0],
            original.astype(np.float64),
            original.astype(np.int8 if original.dtype == np.uint8 else np.uint8),
            original[:, None],
            original[None],
            original[0],
        ]
        for change in (lose, rename, move, *map(replace, wrong)):
            if change is lose and name.endswith("falling"):
                continue  # the certificate's, below
            with pytest.raises(PackedFileError):
                load_bytes(changed(saved[0], change))
    for extra in ("x", "5.more", "7.weights", "00.weights", "", "latentx.y"):
        with pytest.raises(PackedFileError, match="no arrays but"):
            load_bytes(changed(saved[0], lambda _, a, *__, e=extra: a.update({e: np.ones(2)})))


def test_arrays_that_the_certificate_is_not_about(saved):
    for name in ("2.thresholds", "2.falling"):
        flipped = {"2.thresholds": lambda a: a - 2, "2.falling": lambda a: a ^ np.uint8(1)}[name]
        with pytest.raises(PackedFileError, match="certificate"):
            load_bytes(
                changed(saved[0], lambda _, a, *__, n=name, f=flipped: a.update({n: f(a[n])}))
            )
    with pytest.raises(PackedFileError, match="certificate"):
        load_bytes(changed(saved[0], lambda _, a, *__: a.pop("2.falling")))


def test_wrong_certificates(saved):
    def of(value):
        return lambda _, __, certificate, metadata: metadata.update(certificate=to_json(value))

    certificate = json.loads(container.read(saved[0], "file").metadata["certificate"])
    (entry,) = certificate["thresholds"]
    wrong = [{}, [], None, 1, {"thresholds": None}, {"thresholds": []}, {"thresholds": [1]}]
    wrong += [{"thresholds": [entry, entry]}, {"thresholds": [{**entry, "stage": [3]}]}]
    wrong += [{"thresholds": [{**entry, k: v}]} for k in entry for v in (None, "x", -1, {}, 2.5)]
    wrong += [{"thresholds": [{k: v for k, v in entry.items() if k != gone}]} for gone in entry]
    wrong += [{"thresholds": [{**entry, "more": 1}]}, {**certificate, "more": 1}]
    wrong += [{"thresholds": [{**entry, "values": entry["values"] + k}]} for k in (1, -1)]
    wrong += [{"thresholds": [{**entry, "by": "exact"}]}]  # which compares fewer values
    for value in wrong:
        with pytest.raises(PackedFileError, match="expected a certificate of these thresholds"):
            load_bytes(changed(saved[0], of(value)))


def test_certificates_behind_pixels(tmp_path, rng):
    """Floats do not meet the sums themselves there, so nobody can have enumerated them."""
    layers = Dense(9, 5, weight_quantizer=MagnitudeAwareSign()), Activation(SIGN)
    model = Sequential(
        Rescale(1 / 255),
        dense(9, 9),
        Activation(SIGN),
        *layers,
        dense(5, 6),
        Activation(SIGN),
        dense(6, 2),
    ).initialize(rng)
    data = bytes_of(pack(model, (9,)), tmp_path)
    entries = load_bytes(data).certificate["thresholds"]
    assert [e["by"] for e in entries] == ["exact", "exact", "enumeration"]
    assert entries[-1]["values"] == 6 * 6

    def say(k, **values):
        return lambda _, __, certificate, ___: certificate["thresholds"][k].update(values)

    for k, values in (
        (0, {"by": "enumeration"}), (0, {"by": "enumeration", "values": 9 * (255 * 9 + 1)}),
        (0, {"by": "enumeration", "values": 9 * 10}), (0, {"values": 9 * 4 + 1}),
        (0, {"values": 1}), (1, {"values": 10_000}), (2, {"values": 6 * 5}), (2, {"stage": 1}),
    ):  # fmt: skip
        with pytest.raises(PackedFileError, match="expected a certificate of these thresholds"):
            load_bytes(changed(data, say(k, **values)))
    with pytest.raises(PackedFileError, match="expected a certificate of these thresholds"):
        load_bytes(changed(data, lambda _, __, c, ___: c["thresholds"].reverse()))


def test_wrong_metadata(saved):
    def say(**values):
        return lambda *args: args[3].update(values)

    for name in ("architecture", "certificate", "training"):
        for text in ("", "{", "NaN", '{"a":NaN}', '{"a":Infinity}', "[" * 100_000, "9" * 10_000,
                     "[1]", '"x"', "\ud800"):  # fmt: skip
            with pytest.raises(PackedFileError):
                load_bytes(changed(saved[0], say(**{name: text})))
        with pytest.raises(PackedFileError):
            load_bytes(changed(saved[0], lambda *a, n=name: a[3].pop(n)))
    with pytest.raises(PackedFileError, match="metadata"):
        load_bytes(changed(saved[0], say(more="1")))


NASTY = [None, True, 0, -1, 1, 2, 3, 255, 256, 2**31, 2**62, 2**63, 10**400, -(10**30), 0.5, 1e308,
         float("nan"), float("inf"), "", "dense", "conv", "pool", "threshold", "scores", "binarize",
         [], [1], [2], [0, 0], [1, 1], [2, 2], [-1, 1], [2**20, 2**20], [2**40] * 3, [1] * 9,
         [[1]], [[0, 0], [1, 1]], [[2**27, 0], [0, 0]], {}, {"kind": "pool"}, [None], [0.5, 1]]  # fmt: skip


def places(value, path=()):
    """Where something can be put in JSON."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(value, path, new):
    if not path:
        return new
    holder = value = copy.deepcopy(value)
    for key in path[:-1]:
        holder = holder[key]
    if new is KeyError:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return value


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    models = [(small(), (10,))]
    models += [
        (on_images(n), (8, 9)) for n in ("two", "border +1", "pixel border 0", "pooled signs")
    ]
    return [bytes_of(pack(*model), folder) for model in models]


@settings(deadline=None, max_examples=600)
@given(st.data())
def test_absurd_architectures(programs, data):
    """Either refused, or a program that runs and is saved as it was read."""
    file = data.draw(st.sampled_from(programs))
    architecture = json.loads(container.read(file, "file").metadata["architecture"])
    path = data.draw(st.sampled_from(list(places(architecture))))
    new = data.draw(st.sampled_from([*NASTY, KeyError] if path else NASTY))
    extra = data.draw(st.booleans()) and path and isinstance(path[-1], str)
    if extra:
        name = data.draw(st.sampled_from(["stride", "dilation", "border", "falling", "pixels",
                                          "border_value", "out_shape", "in_shape", "width", "x"]))  # fmt: skip
        path = (*path[:-1], name)
        new = [] if new is KeyError else new
    wrong = put(architecture, path, new)
    text = json.dumps(wrong, sort_keys=True, separators=(",", ":"))
    crafted = changed(file, lambda *a: a[3].update(architecture=text))
    tracemalloc.start()
    try:
        packed = load_bytes(crafted)
    except PackedFileError:
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**22
    packed.predict(np.zeros((2, *packed.input_shape), np.uint8))
    packed.summary()


def test_named_absurdities(programs):
    """Each check that a random change might miss."""

    def stage(i, **values):
        return lambda architecture, *_: architecture["stages"][i].update(values)

    two = json.loads(container.read(programs[1], "file").metadata["architecture"])["stages"]
    assert [s["kind"] for s in two] == [
        "conv",
        "threshold",
        "conv",
        "pool",
        "threshold",
        "dense",
        "scores",
    ]
    for i, values in [
        (0, {"pixels": False}),
        (0, {"border_value": 256}),
        (0, {"border": [[2**26, 0], [2**26, 0]]}),
        (0, {"stride": [0, 1]}),
        (0, {"stride": [2, 1]}),
        (0, {"out_shape": [6, 7, 6]}),
        (0, {"in_shape": [9, 8, 1]}),
        (0, {"in_shape": [72]}),
        (2, {"border_value": 2}),
        (2, {"pixels": True}),
        (2, {"kind": "dense"}),
        (3, {"size": [3, 3]}),
        (3, {"out_shape": [3, 3, 4]}),
        (3, {"in_shape": [6, 21, 1]}),
        (4, {"in_shape": [9, 3, 1]}),
        (5, {"out_shape": [2**21]}),
        (5, {"out_shape": [4, 1]}),
        (5, {"x": 1}),
        (6, {"shift": 2**20}),
        (6, {"shift": True}),
        (6, {"in_shape": [1, 4]}),
        (6, {"kind": "threshold"}),
    ]:
        with pytest.raises(PackedFileError, match="expected a packed model"):
            load_bytes(changed(programs[1], stage(i, **values)))
    for change in (
        lambda a, *_: a["stages"].pop(),
        lambda a, *_: a["stages"].append(a["stages"][-1]),
        lambda a, *_: a["stages"].clear(),
        lambda a, *_: a.update(stages={}),
        lambda a, *_: a.update(more=1),
    ):
        with pytest.raises(PackedFileError, match="expected a packed model"):
            load_bytes(changed(programs[1], change))
    for name, number in (("A", 2**61), ("B", 2**62), ("A", -(2**63))):
        big = np.full(4, number, np.int64)
        with pytest.raises(PackedFileError, match="62 bits"):
            load_bytes(
                changed(programs[1], lambda _, a, *__, n=f"6.{name}", b=big: a.update({n: b}))
            )
    for number in (-(2**31), 2**31 - 1, 2 * 255 * 9):
        far = np.full(5, number, np.int32)
        with pytest.raises(PackedFileError, match="within the sums' reach"):
            load_bytes(changed(programs[1], lambda _, a, *__, b=far: a.update({"1.thresholds": b})))
    # Wider integers than need be are fine; whether 32 bits are enough follows from them.
    wide = load_bytes(
        changed(programs[1], lambda _, a, *__: a.update({"6.B": a["6.B"].astype(np.int64)}))
    )
    assert wide.scores.fits_int32
    wide = load_bytes(changed(programs[1], lambda _, a, *__: a.update({"6.B": np.full(4, 2**31)})))
    assert not wide.scores.fits_int32


def test_programs_that_would_take_too_much(programs):
    """Sizes that no sensible file has; `test_costs.py` has what they come to together."""

    def first(weights, **values):
        def change(architecture, arrays, *_):
            architecture["input_shape"] = values["in_shape"]
            architecture["stages"][0] = {"pixels": True, **values}
            arrays["0.weights"] = np.zeros(weights, np.uint8)

        return changed(programs[1], change)

    channels = {"kind": "dense", "in_shape": [1], "out_shape": [2**16 + 1]}
    wide = {"kind": "dense", "in_shape": [2**14, 2**14, 2], "out_shape": [1]}
    sums = {"kind": "dense", "in_shape": [2**24], "out_shape": [1]}
    image = {
        "kind": "conv",
        "in_shape": [2902, 2902, 1],
        "size": [2902, 2902],
        "out_shape": [1, 1, 1],
    }
    for crafted, match in (
        (first(2**13 + 1, **channels), "at most 65,536 channels"),
        (first(1, **wide), "at most 268,435,456 values"),
        (first(2**21, **sums), "fit into int32"),
        (first(-(-(2902**2) // 8), **image), "fit into int32"),
    ):
        with pytest.raises(PackedFileError, match=match):
            load_bytes(crafted)


def test_channels_stay_channels_until_the_threshold(programs):
    """A pool that takes an image of three channels for a wider one of one channel."""

    def change(architecture, *_):
        stages = architecture["stages"]
        stages[3].update(in_shape=[6, 21, 1], size=[2, 5], stride=[2, 2], out_shape=[3, 9, 1])
        stages[4]["in_shape"] = [3, 3, 3]

    with pytest.raises(PackedFileError, match="stage 3: expected the channels of"):
        load_bytes(changed(programs[1], change))


def test_bits_beyond_the_last(programs):
    def overflow(name):
        def change(_, arrays, *__):
            arrays[name] = arrays[name].copy()
            arrays[name][-1] |= 128

        return change

    for i, name in ((0, "1.weights"), (0, "2.falling"), (1, "0.weights")):
        with pytest.raises(PackedFileError):
            load_bytes(changed(programs[i], overflow(name)))


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
    """Other spaces, another order, escapes, or names twice would be the same to a JSON reader."""
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


@pytest.mark.parametrize("where", ["before the first", "between", "behind the last"])
def test_bytes_that_belong_to_no_array(saved, where):
    """Under a right digest: they could hide anything, and one content would have many forms."""
    data = saved[0]
    start = 8 + int.from_bytes(data[:8], "little")
    header, payload = json.loads(data[8:start]), data[start:]
    entries = sorted(
        (e["data_offsets"] for name, e in header.items() if name != "__metadata__"), key=min
    )
    at = {"before the first": 0, "between": entries[1][0], "behind the last": len(payload)}[where]
    for offsets in entries:
        offsets[:] = [n + 8 * (offsets[0] >= at) for n in offsets]
    payload = payload[:at] + bytes(8) + payload[at:]
    with pytest.raises(PackedFileError, match=r"arrays one after another|bytes, got"):
        load_bytes(sealed(header, payload))


def test_json_inside_has_one_form_too(programs, tmp_path):
    """Spaces, order, escapes, a name twice, numbers in another form, and fields that go without saying."""
    packed = replace(load_bytes(programs[1]), training={"a": 1, "b": [1e-5, "x"]})
    data = bytes_of(packed, tmp_path)

    def of(name, text):
        return changed(data, lambda *args: args[3].update({name: text}))

    texts = container.read(data, "file").metadata
    for name in ("architecture", "certificate", "training"):
        value, text = json.loads(texts[name]), texts[name]
        assert load_bytes(of(name, text)).sha256 == packed.sha256
        forms = [json.dumps(value), json.dumps(value, indent=1, sort_keys=True), text + " "]
        forms += [json.dumps(dict(reversed(value.items())), separators=(",", ":"))]
        first = next(iter(value))
        forms += [text.replace(f'"{first}"', f'"\\u{ord(first[0]):04x}{first[1:]}"', 1)]
        forms += [f'{{"{first}":0,' + text[1:]]
        for form in forms:
            if form != text:
                with pytest.raises(PackedFileError, match=f"{name} in another form"):
                    load_bytes(of(name, form))
    for old, new in (
        ("1e-05", "0.00001"),
        ("1e-05", "1E-05"),
        ('"a":1', '"a":-0'),
        ("1e-05", "1e400"),
    ):
        with pytest.raises(PackedFileError):
            load_bytes(of("training", texts["training"].replace(old, new)))
    for values in (
        {"pixels": False}, {"falling": False}, {"stride": [1, 1]}, {"dilation": [1, 1]},
        {"border": [[0, 0], [0, 0]]}, {"border_value": 0}, {"in_shape": None},
    ):  # fmt: skip
        architecture = json.loads(texts["architecture"])
        shape, said = architecture["input_shape"], 0
        for stage in architecture["stages"]:
            (field,) = values
            usual = shape if field == "in_shape" else values[field]
            takes = {"conv": {"pixels", "stride", "dilation", "border", "border_value"}, "dense": {"pixels"},
                     "pool": {"stride"}, "binarize": {"falling"}}.get(stage["kind"], set())  # fmt: skip
            if field not in stage and field in takes | {"in_shape"}:
                kept = dict(stage)
                stage[field] = usual
                said += 1
                with pytest.raises(PackedFileError, match="architecture in another form"):
                    load_bytes(of("architecture", to_json(architecture)))
                del stage[field]
                assert stage == kept
            shape = stage.get("out_shape", stage.get("in_shape", shape))
        assert said or field in ("falling", "border")


def test_logits_that_are_no_numbers(programs):
    for name in ("6.scale", "6.offset"):
        with pytest.raises(PackedFileError, match=r"stage 6: expected numbers .*, got nan"):
            load_bytes(changed(programs[1], lambda _, a, *__, n=name: a[n].__setitem__(1, np.nan)))


# --- latent weights --------------------------------------------------------------------------------


def every_array():
    """Biases, norms of every kind, scaled weights, dropout, and feedback of both kinds."""
    return DirectFeedback(
        Sequential(
            Flatten(), Rescale(2 / 255, -1),
            Dense(6, 8, weight_quantizer=MagnitudeAwareSign(), feedback=FixedFeedback()),
            BatchNorm(8, scale=False), Activation(SIGN), Dropout(0.2),
        ),
        Sequential(dense(8, 7, bias=False), *norms(7)[4], Activation(SIGN)),
        Sequential(dense(7, 5), *norms(5)[3]),
    )  # fmt: skip


def step(model, optimizer, images, labels):
    loss = LogitCrossEntropy()
    for _ in range(3):
        loss.forward(model.forward(images, train=True), labels)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()


def arrays_of(model):
    return [*(p.data for p in model.parameters()), *(b.data for b in model.buffers())]


def batch(rng):
    return rng.integers(0, 256, (30, 2, 3), np.uint8), rng.integers(0, 5, 30)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_goes_on(tmp_path, rng, dtype):
    images, labels = batch(rng)
    model = every_array().initialize(0, dtype)
    step(model, SGD(model.parameters(), 0.1), images, labels)
    path = tmp_path / "model"
    packed = pack(model, (2, 3))
    save_packed(packed, path, model=model, training={"epochs": 1})
    before = path.read_bytes()
    save_packed(packed, path, model=model, training={"epochs": 1})
    assert path.read_bytes() == before
    same(load_packed(path), load_bytes(bytes_of(packed, tmp_path, training={"epochs": 1})))

    fresh = every_array()
    assert load_latents(path, fresh) is fresh
    assert fresh.dtype == dtype
    for a, b in zip(arrays_of(fresh), arrays_of(model), strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(fresh.forward(images), model.forward(images))
    for each in (fresh, model):
        each[0][5].stream.initialize(np.random.default_rng(0))
        step(each, SGD(each.parameters(), 0.1), images, labels)
    for a, b in zip(arrays_of(fresh), arrays_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_before_any_training(tmp_path, rng):
    """Direct feedback has no matrices yet; they may be missing, here and there."""
    model = every_array().initialize(0)
    assert any(buffer.data is None for buffer in model.buffers())
    path = tmp_path / "model"
    save_packed(pack(model, (2, 3)), path, model=model)
    fresh = load_latents(path, every_array())
    assert [b.data is None for b in fresh.buffers()] == [b.data is None for b in model.buffers()]
    step(fresh, SGD(fresh.parameters(), 0.1), *batch(rng))


def test_an_optimizer_stays_intact(tmp_path, rng):
    model, other = small(0), small(1)
    path = tmp_path / "model"
    save_packed(pack(model, (10,)), path, model=model)
    optimizer = Adam(other.parameters(), 0.01)
    load_latents(path, other)
    np.testing.assert_array_equal(other[2].weight.data, model[2].weight.data)
    images, labels = rng.integers(0, 256, (20, 10), np.uint8), rng.integers(0, 4, 20)
    step(other, optimizer, images, labels)  # raises if an array was replaced
    assert (other[2].weight.data != model[2].weight.data).any()


def test_latents_on_a_device(tmp_path, device):
    model = small()
    path = tmp_path / "model"
    packed = pack(model, (10,))
    save_packed(packed, path, model=model)
    data = path.read_bytes()
    for there in (small(1).to(device), Sequential(*small(1).layers).to(device)):
        load_latents(path, there)
        assert there.backend is device
        for a, b in zip(arrays_of(there), arrays_of(model), strict=True):
            assert type(a) is device.array_type
            np.testing.assert_array_equal(device.to_host(a), b)
    save_packed(packed, path, model=there)
    assert path.read_bytes() == data


def test_a_fresh_model_on_a_device(tmp_path, device):
    path = tmp_path / "model"
    model = every_array().initialize(0, np.float64)
    save_packed(pack(model, (2, 3)), path, model=model)
    fresh = load_latents(path, every_array().to(device))
    assert fresh.backend is device
    assert fresh.dtype == np.float64
    np.testing.assert_array_equal(device.to_host(fresh[1][0].weight.data), model[1][0].weight.data)


def refused(path, model, match):
    """Load into the model, which must be left as it was."""
    before = [None if a is None else a.copy() for a in arrays_of(model)]
    with pytest.raises(PackedFileError, match=match):
        load_latents(path, model)
    for a, b in zip(arrays_of(model), before, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


def test_latents_that_do_not_fit(tmp_path):
    model = small()
    packed, path = pack(model, (10,)), tmp_path / "model"
    save_packed(packed, path)
    refused(path, small(1), "the packed model alone; save it with")
    save_packed(packed, path, model=model)
    no_bias = Sequential(*ink(), dense(10, 9, bias=False), *list(model)[3:])
    for fresh in (False, True):
        for other, match in (
            (no_bias, r"none for '2.bias', got float32 \(9,\)"),
            (Sequential(*ink(), dense(10, 8)), r"float32 \(8,\) for '2.bias', got float32 \(9,\)"),
            (Sequential(*ink(), dense(10, 9)), r"none for '3.beta', got"),
            (Sequential(*model, BatchNorm(4)), r"float32 \(4,\) for '7.beta', got none"),
        ):
            other = copy.deepcopy(other)
            if not fresh:
                other.initialize(3)
            refused(path, other, match)
    refused(path, small(1).to(dtype=np.float64), "float64.*got float32")
    # The same arrays, but other layers between them.
    other = Sequential(
        *list(small(1))[:4], Activation(SIGN), Dropout(0.5, rescale=False), *list(small(1))[5:]
    )
    refused(path, other, "for '5.")
    refused(
        path, Sequential(Rescale(1, -100), *list(small(1))[1:]), "of the model that it has packed"
    )


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_latents_that_are_not_what_was_packed(saved, data):
    """With a right checksum: a sign is flipped, a norm changed, an array lost, renamed or doubled."""
    read = container.read(saved[1], "file")
    arrays = dict(read.arrays())
    name = data.draw(st.sampled_from(sorted(k for k in arrays if k.startswith("latent."))))
    how = data.draw(st.sampled_from(["lose", "rename", "add", "nan", "dtype", "shape", "value"]))
    old = arrays.pop(name)
    if how == "rename":
        arrays[name + "x"] = old
    elif how == "add":
        arrays |= {name: old, "latent.more": old}
    elif how == "nan":
        arrays[name] = np.full_like(old, np.nan)
    elif how == "dtype":
        arrays[name] = old.astype(np.float64)
    elif how == "shape":
        arrays[name] = old[None]
    elif how == "value":
        # Enough to change some bit: gammas, betas and means that turn, weights that flip.
        arrays[name] = -(old + 1) if "weight" not in name else -old
        if "running_var" in name:
            return  # which scales only
    load_bytes(container.write(read.metadata, arrays))  # the packed part is right
    if "gamma" in name and how == "value":
        return  # may be of a constant channel
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(container.write(read.metadata, arrays))
        refused(path, small(1), "latent")


# --- the page about the format ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader():
    (block,) = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)
    assert "minibnn" not in block.replace('"minibnn-packed"', "")
    namespace = {}
    exec(compile(block, DOC.name, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", [*images_models(), *range(5), "latent"])
def test_the_pages_reader(reader, name, tmp_path, rng):
    path = tmp_path / "model"
    if name == "latent":
        model, shape = every_array().initialize(0), (2, 3)
    else:
        model = small(norm=name) if isinstance(name, int) else on_images(name)
        shape = (10,) if isinstance(name, int) else (8, 9)
    packed = pack(model, shape)
    save_packed(packed, path, model=model if name == "latent" else None)
    images = rng.integers(0, 256, (30, *shape), np.uint8)
    np.testing.assert_array_equal(reader["scores"](path, images), packed.predict_scores(images))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        reader["read"](path)


def test_the_page_names_everything():
    text = DOC.read_text(encoding="utf-8")
    for model, shape in [(small(), (10,)), *((on_images(n), (8, 9)) for n in images_models())]:
        packed = pack(model, shape)
        for stage in packed.stages:
            assert f"| `{stage.kind}` |" in text
            assert all(f"`{name}`" in text for name in stage.arrays())
        for entry in packed.certificate["thresholds"]:
            assert all(f"`{name}`" in text for name in entry)
    metadata = set(container.read(container.write({"sha256": "", "minibnn": ""}, {}), "").metadata)
    assert all(f"`{name}`" in text for name in metadata | {"sha256", "architecture", "training"})
