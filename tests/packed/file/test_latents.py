"""Latent weights in a file: training continues from them, and wrong ones are refused."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import bytes_of, every_array, load_bytes, same, small
from packed_models import SIGN, dense, ink

from minibnn import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Dropout,
    GlobalAveragePool2D,
    LogitCrossEntropy,
    PackedFileError,
    Rescale,
    Sequential,
    load_packed,
    pack,
    save_packed,
)
from minibnn.packed.file import container
from minibnn.packed.file.latents import load_latents


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
def test_training_continues(tmp_path, rng, dtype):
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
    """Direct feedback has no matrices yet; the file may lack them."""
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
    """Loading is refused, and the model does not change."""
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
    # The same arrays, with other layers between them.
    other = Sequential(
        *list(small(1))[:4], Activation(SIGN), Dropout(0.5, rescale=False), *list(small(1))[5:]
    )
    refused(path, other, "for '5.")
    refused(
        path, Sequential(Rescale(1, -100), *list(small(1))[1:]), "of the model that it has packed"
    )


def test_a_model_without_parameters_has_no_latents(tmp_path):
    def mean_of_signs(shift):
        return Sequential(Rescale(1, shift), Activation(SIGN), GlobalAveragePool2D())

    path, model = tmp_path / "model", mean_of_signs(-100)
    save_packed(pack(model, (4, 4, 3)), path, model=model)
    again = mean_of_signs(-100)
    assert load_latents(path, again) is again
    assert again.input_contract.shape == (4, 4, 3)
    refused(path, mean_of_signs(-128), "of the model that it has packed")


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_latents_that_are_not_what_was_packed(saved, data):
    """With a correct checksum: flipped signs, changed norms, lost, renamed or added arrays."""
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
        # Enough to change some bit.
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
