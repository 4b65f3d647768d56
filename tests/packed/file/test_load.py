"""Files with a correct digest and wrong content: arrays, certificates and metadata."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import fuzz_packed_files
import numpy as np
import pytest
from packed_files import bytes_of, changed, load_bytes, small
from packed_models import SIGN, dense

from minibnn import (
    Activation,
    Dense,
    MagnitudeAwareSign,
    PackedFileError,
    Rescale,
    Sequential,
    load_latents,
    pack,
)
from minibnn.packed.description import to_json
from minibnn.packed.file import container
from minibnn.packed.file.load import load_packed, packed_file_info


def parts(path):
    """A file's metadata and arrays."""
    read = container.read(Path(path).read_bytes(), "file")
    return read.metadata, read.arrays()


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


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "digits"
    path.write_bytes(b"short")
    for load in (load_packed, packed_file_info, lambda p: load_latents(p, small())):
        with pytest.raises(PackedFileError, match=f"{re.escape(str(path))}: expected a whole"):
            load(path)


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
                continue  # see the certificate's test below
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
    wrong += [{"thresholds": [{**entry, "by": "exact"}]}]  # compares fewer values
    for value in wrong:
        with pytest.raises(PackedFileError, match="expected a certificate of these thresholds"):
            load_bytes(changed(saved[0], of(value)))


def test_certificates_after_pixels(tmp_path, rng):
    """Float layers get rounded sums there, so enumeration is impossible."""
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


def test_json_inside_has_one_form_too(programs, tmp_path):
    """Spaces, order, escapes, duplicate names, numbers in another form, and fields with defaults."""
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


def test_files_that_are_changed_anywhere():
    """`fuzz_packed_files.py` tries any number of them."""
    loaded = fuzz_packed_files.run(600, seed=1)
    assert 20 < loaded < 300
