"""Saving: one model, one file; and what could not be loaded is named before anything is written."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from cases import CASES, Fold
from model_files import OWN, PAIRS, Halving, Scale, everything, pair, saved_bytes

from minibnn import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Conv2D,
    Dense,
    Fill,
    Function,
    Layer,
    ModelFileError,
    Parameter,
    Sequential,
    SignSTE,
    StochasticSign,
    load_model,
    save_model,
)
from minibnn.optimizers import Descent
from minibnn.recipes import RECIPES


@pytest.mark.parametrize("name", PAIRS)
def test_one_model_gives_the_same_bytes(name, tmp_path):
    one, two = (saved_bytes(tmp_path / "model", *pair(name)) for _ in range(2))
    assert one == two
    loaded = load_model(tmp_path / "model", optimizer=True, classes=OWN)
    assert saved_bytes(tmp_path / "again", *loaded) == one


def test_a_device_gives_the_bytes_of_the_host(device, tmp_path):
    here, there = (pair("modern, Adam", device=place)[0].to("cpu") for place in ("cpu", device))
    for p, q in zip(there.parameters(), here.parameters(), strict=True):
        p.data[...] = q.data  # sums differ in their order
    for b, c in zip(there.buffers(), here.buffers(), strict=True):
        b.data[...] = c.data
    there.to(device)
    assert saved_bytes(tmp_path / "a", there) == saved_bytes(tmp_path / "b", here)
    assert load_model(tmp_path / "a", device=device).backend is device


def test_saving_changes_nothing(tmp_path):
    model, optimizer = pair("noisy, SGD")
    before = everything(model, optimizer)
    save_model(model, tmp_path / "model", optimizer=optimizer)
    assert everything(model, optimizer) == before
    optimizer.require_intact()


def test_the_library_reads_it(tmp_path):
    from safetensors import safe_open

    model, optimizer = pair("modern, Adam")
    save_model(model, tmp_path / "model", optimizer=optimizer)
    with safe_open(tmp_path / "model", "numpy") as file:
        assert file.metadata()["format"] == "minibnn-model"
        np.testing.assert_array_equal(file.get_tensor("model/2/weight"), model[2].weight.data)
        assert file.get_tensor("optimizer/v").shape == optimizer.store.data.shape


class Own(Layer):
    """Its constructor's argument is no attribute."""

    def __init__(self, features):
        self.scale = Parameter("scale", (features,), Fill(1.0))

    forward = backward = Scale.forward


class Doubling(Own):
    """Its attribute is not the argument."""

    def __init__(self, features):
        super().__init__(2 * features)
        self.features = 2 * features


class Picky(Own):
    """Its constructor does not accept what its attribute becomes."""

    def __init__(self, features):
        super().__init__(3)
        if features != "three":
            raise ValueError("three, please")
        self.features = 3


class Halved(Descent):
    """Its rate is not the argument."""

    def __init__(self, parameters, factor):
        super().__init__(parameters, 0.1)
        self.factor = factor / 2

    update = SGD.update


class Stateless(Function):
    """It differs from the sign in nothing but its class."""

    forward = backward = surrogate = SignSTE.forward


def with_extra():
    layer = Dense(3, 2)
    layer.extra = Parameter("extra", (2,), Fill(0.0))
    return Sequential(layer)


def with_shared_stream():
    function = StochasticSign()
    return Sequential(Activation(function), Activation(function))


def with_replaced_gamma():
    layer = BatchNorm(3)
    layer.gamma = Parameter("gamma", (3,), Fill(1.0), lr_scale=2.0)
    return layer


def with_uneven_padding():
    layer = Conv2D(1, 1, 3, stride=2)
    layer.padding = ((1, 0), (0, 0))
    return layer


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Sequential(Dense(2, 2), Own(2)), r"model\.layers\[1\]: expected an attribute 'features' of Own"),
        (lambda: Sequential(Dense(2, 2, weight_init=lambda s, r: np.zeros(s))),
         r"model\.layers\[0\]\.weight_init: expected an object that a file can name, got <function"),
        (with_shared_stream, r"model\.layers\[1\]\.function: expected an object of its own, got the one that is "
                             r"also model\.layers\[0\]\.function; make"),
        (lambda: Sequential(Doubling(2)), r"model\.layers\[0\]\.features: .*got 8 from 4; write a method arguments"),
        (lambda: Sequential(Picky("three")), r"model\.layers\[0\]: expected arguments that Picky .*please; let the"),
        (with_extra, r"model: expected parts as the constructors make them, got another 0\.extra; write a class"),
        (with_replaced_gamma, "got another gamma; write a class"),
        (with_uneven_padding, "model: expected arguments that Conv2D accepts, got TypeError.*; let the"),
        (lambda: Sequential(type("Dense", (Dense,), {})(2, 2)), "a Dense besides minibnn's; rename yours"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_model_that_could_not_be_made_again_is_refused(make, says, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match=says):
        save_model(make().initialize(0), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: SGD(p, lambda t: 0.1), r"optimizer\.learning_rate: expected an object that a file can name"),
        (lambda p: Halved(p, 4.0), r"optimizer\.factor: .* got 1\.0 from 2\.0; write a method arguments"),
        (lambda p: Adam(Dense(2, 2).initialize(0).parameters()), "the optimiser of this model, got one of .*'weight'"),
    ],
    ids=range(3),
)  # fmt: skip
def test_an_optimizer_that_could_not_be_made_again_is_refused(make, says, tmp_path):
    model = Dense(3, 2).initialize(0)
    optimizer = make(model.parameters())
    with pytest.raises(TypeError, match=says):
        save_model(model, tmp_path / "model", optimizer=optimizer)
    assert list(tmp_path.iterdir()) == []


class OfQuantized(SGD):
    """It takes quantized weights only."""

    def __init__(self, parameters, learning_rate):
        parameters = list(parameters)
        if any(p.quantizer is None or p.bound != 1 for p in parameters):
            raise ValueError("bounded, quantized weights, please")
        super().__init__(parameters, learning_rate)


def test_an_optimizer_may_look_at_its_parameters(tmp_path):
    model = Dense(3, 2, weight_quantizer=SignSTE(), weight_bound=1.0, bias=False).initialize(0)
    optimizer = OfQuantized(model.parameters(), 0.1)
    save_model(model, tmp_path / "model", optimizer=optimizer)
    _, again = load_model(tmp_path / "model", optimizer=True, classes=[OfQuantized])
    assert type(again) is OfQuantized


def test_other_things_are_refused(tmp_path):
    model = Dense(3, 2).initialize(0)
    with pytest.raises(TypeError, match="save_model: expected model of type Layer, got SignSTE"):
        save_model(SignSTE(), tmp_path / "model")
    with pytest.raises(TypeError, match="save_model: expected optimizer of type Optimizer, got 0"):
        save_model(model, tmp_path / "model", optimizer=0.1)
    optimizer = Adam(model.parameters())
    model.initialize(1)
    with pytest.raises(RuntimeError, match="moved or replaced"):
        save_model(model, tmp_path / "model", optimizer=optimizer)
    half = Sequential(model, Dense(2, 2))
    with pytest.raises(ValueError, match=r"got none for 1\.weight; call model\.initialize\(rng\)"):
        save_model(half, tmp_path / "model")
    half[1].initialize(0, np.float64)
    with pytest.raises(
        ValueError, match=r"dtype float32, got float64 in 1\.weight; choose one with"
    ):
        save_model(half, tmp_path / "model")
    save_model(half.to(dtype=np.float64), tmp_path / "model")


class Diary(Scale):
    """Its state is longer than a header."""

    def state(self):
        return {**super().state(), "log": "x" * 2**23}


def test_a_file_that_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(
        ModelFileError, match=r"of at most 4,194,304 bytes, .*; use fewer layers, and"
    ):
        save_model(Diary(2).initialize(0), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    data = saved_bytes(path, Dense(3, 2).initialize(0))

    def write(file, *rest):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("minibnn.model_file.save.container.write", write)
    with pytest.raises(OSError, match="No space left"):
        save_model(Dense(3, 2).initialize(1), path)
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layer_comes_back(case, dtype, tmp_path):
    layer = case.make().initialize(3, dtype)
    x = np.random.default_rng(0).standard_normal((4, *case.shape)).astype(dtype)
    layer.forward(x, train=True)
    save_model(layer, tmp_path / "model")
    again = load_model(tmp_path / "model", classes=[Fold])
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    assert (again.dtype, again.input_contract) == (layer.dtype, layer.input_contract)
    assert everything(again) == everything(layer)
    for train in (False, True):
        one, two = (m.forward(x, train=train) for m in (layer, again))
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_comes_back(name, tmp_path):
    model = RECIPES[name]().build()
    if name not in ("binarynet", "binaryconnect"):  # which have millions of weights
        model.initialize(0)
    save_model(model, tmp_path / "model")
    assert everything(load_model(tmp_path / "model")) == everything(model)


@pytest.mark.parametrize("case", CASES[::5], ids=lambda case: case.name)
def test_a_model_without_values_comes_back_without(case, tmp_path):
    save_model(case.make(), tmp_path / "model")
    one, two = case.make(), load_model(tmp_path / "model", classes=[Fold])
    assert all(p.data is None for p in two.parameters())
    assert everything(two) == everything(one)
    assert everything(two.initialize(5)) == everything(one.initialize(5))


def test_a_stateful_schedule_is_saved(tmp_path):
    model = Dense(3, 2).initialize(0)
    optimizer = SGD(model.parameters(), Halving(0.5))
    optimizer.schedule(1)
    save_model(model, tmp_path / "model", optimizer=optimizer)
    _, again = load_model(tmp_path / "model", optimizer=True, classes=[Halving])
    assert again.schedule.rate == optimizer.schedule.rate == 0.25


def test_the_file_is_little_more_than_its_arrays(tmp_path):
    model = Dense(300, 100).initialize(0)
    optimizer = Adam(model.parameters())
    data = saved_bytes(tmp_path / "model", model, optimizer)
    weights = sum(p.data.nbytes for p in model.parameters())
    assert 3 * weights < len(data) < 1.02 * 3 * weights
