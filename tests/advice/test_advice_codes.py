"""Advice about input codes, and about packing them, followed: the model trains, packs, is right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from advice import advised
from coded_tables import coded, table, tail

from minibnn import (
    Activation,
    Adam,
    Concatenate,
    DataLoader,
    Dense,
    Flatten,
    InputContract,
    LogitCrossEntropy,
    OneHotCode,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
    Standardize,
    Thermometer,
    disagreements,
    fit,
    fit_codes,
    pack,
)
from minibnn.layers import Layer
from minibnn.packed.compile.codes import code_stage

NAMESPACE = {
    "InputContract": InputContract, "OneHotCode": OneHotCode, "Thermometer": Thermometer,
    "Activation": Activation, "SignSTE": SignSTE, "fit_codes": fit_codes, "pack": pack, "np": np,
}  # fmt: skip


def trained(*layers, dtype="float32", shape=(3,)):
    """A model after two epochs, and its samples."""
    model = Sequential(*layers).initialize(0)
    x, labels = table(dtype, shape=shape)
    train(model, x, labels)
    return model, x


def train(model, x, labels):
    data = DataLoader((x, labels), 16, shuffle=True, rng=0)
    optimizer = Adam(model.parameters(), 0.01)
    fit(model, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=2, progress=False)


def ships(model, x):
    """The packed model, which gives the model's labels."""
    packed = pack(model)
    found = disagreements(model, packed, x)
    assert found.packed_is_right
    assert found.labels == 0
    np.testing.assert_array_equal(packed.predict(x), model.forward(x).argmax(1))
    return packed


# --- fitting --------------------------------------------------------------------------------------


def test_a_code_is_fitted_first():
    x, labels = table()
    model = Sequential(Thermometer(3, 4), *tail(12)).initialize(0)
    with advised("encoding", "call fit_codes(model, x) first; fit does, with a DataLoader"):
        model.forward(x)
    fit_codes(model, x)
    model.forward(x)
    model = Sequential(Thermometer(3, 4), *tail(12)).initialize(0)
    train(model, x, labels)
    model.forward(x)


def test_a_feature_of_nan_is_left_out():
    x = table()[0]
    x[:, 1] = np.nan
    with advised("encoding", "leave it out") as caught:
        Thermometer(3, 2).fit(x)
    left_out = int(re.search(r"in feature (\d)", caught.text)[1])
    Thermometer(2, 2).fit(np.delete(x, left_out, axis=1))


def test_infinite_samples_are_left_out_or_coded():
    x = table()[0]
    x[3, 2] = np.inf
    with advised("encoding", "leave infinite samples out, or use a Thermometer in its place"):
        Standardize(3).fit(x)
    Standardize(3).fit(x[~np.isinf(x).any(axis=1)])
    assert np.isfinite(Thermometer(3, 2).fit(x).forward(x)).all()


def test_equal_parts_of_infinity_become_parts_of_equally_many():
    x = table()[0]
    x[3, 2] = -np.inf
    with advised("encoding", 'use spacing="quantile"'):
        Thermometer(3, 2, spacing="uniform").fit(x)
    Thermometer(3, 2, spacing="quantile").fit(x)


def test_more_categories_or_a_thermometer():
    x = np.arange(24).reshape(8, 3)
    with advised(
        "encoding",
        "write OneHotCode({}, {}), or give numbers that are no categories to a Thermometer",
    ) as caught:
        OneHotCode(3, 5).fit(x)
    code = eval(re.search(r"write (OneHotCode\(\d, \d\))", caught.text)[1], NAMESPACE)
    assert (code.fit(x).forward(x) > 0).sum() == x.size
    Thermometer(3, 5).fit(x)


def test_large_categories_get_new_numbers():
    x = np.array([[2**24 + 1, 5], [2**24, 5]])
    with advised("encoding", "number them anew: x = np.unique(x, return_inverse=True)[1]"):
        OneHotCode(2, 3).fit(x)
    x = np.unique(x, return_inverse=True)[1]
    assert (OneHotCode(2, 3).fit(x).forward(x) > 0).sum() == 4


@pytest.mark.parametrize("container", [Residual, lambda block: Concatenate(block, Flatten())])
def test_a_code_in_another_container_is_fitted_by_itself(container):
    x, layer = table()[0], Thermometer(3, 4)
    model = container(Sequential(layer, Dense(12, 3))).initialize(0)
    with advised("encoding", "fit it to its own inputs: layer.fit(x)"):
        fit_codes(model, x)
    layer.fit(x)
    fit_codes(model, x)
    model.forward(x)


# --- packing --------------------------------------------------------------------------------------


def test_a_code_is_fitted_before_it_is_packed():
    model = Sequential(Thermometer(3, 4), *tail(12)).initialize(0)
    model.input_contract = InputContract("float32", (3,))
    with advised("packed", "call fit_codes(model, x), and train the model"):
        pack(model)
    x, labels = table()
    fit_codes(model, x)
    train(model, x, labels)
    ships(model, x)


def test_impossible_deviations_are_fitted_again():
    model, x = trained(Standardize(3), Thermometer(3, 4), *tail(12))
    model[0].std.data[1] = 0
    with advised("packed", "fit it again: fit(x)"):
        pack(model)
    model[0].fit(x)
    ships(model, x)


@pytest.mark.parametrize("choice", [0, 1])
def test_scaled_features_get_a_code_before_they_are_summed(choice):
    model, x = trained(Standardize(3), *tail(3))
    with advised(
        "packed", "put Thermometer({}, 8) or Activation(SignSTE()) before it, and train that"
    ) as caught:
        pack(model)
    expressions = re.search(r"put (.*) or (.*) before it, and train that", caught.text).groups()
    code = eval(expressions[choice], NAMESPACE)
    new, x = trained(Standardize(3), code, *tail((24, 3)[choice]))
    ships(new, x)


def test_only_inputs_are_standardised():
    inside = Sequential(*tail(12)[:2]), Standardize(9), *tail(12)[2:]
    model, x = trained(Thermometer(3, 4), *inside)
    with advised("packed", "leave it out, or put it first"):
        pack(model)
    model, x = trained(Thermometer(3, 4), *inside[:1], *inside[2:])
    ships(model, x)
    model, x = trained(Standardize(3), Thermometer(3, 4), *inside[:1], *inside[2:])
    ships(model, x)


def test_only_inputs_are_coded():
    first = tail(12)[:3]
    model, x = trained(Thermometer(3, 4), *first, Thermometer(9, 1), *tail(9))
    with advised("packed", "leave it out: only inputs are coded"):
        pack(model)
    model, x = trained(Thermometer(3, 4), *first, *tail(9))
    ships(model, x)


def test_features_are_standardised_before_they_are_mixed():
    rest = (Thermometer(6, 2), *tail(12))
    model, x = trained(Standardize(3), Reshape((6,)), *rest, shape=(2, 3))
    with advised("packed", "put it first"):
        pack(model)
    model, x = trained(Reshape((6,)), Standardize(6), *rest, shape=(2, 3))
    ships(model, x)


def test_layers_in_front_keep_the_order():
    class Size(Layer):
        def forward(self, x, *, train=False):
            return abs(x)

        def backward(self, dy, *, need_dx=True): ...

    x = table()[0]
    code = Thermometer(3, 4).fit(x)
    with advised("packed", "put Standardize or Rescale there"):
        code_stage("layer 1", (3,), "float32", [Size()], code)
    for layer in (Standardize(3).fit(x), Rescale(0.1)):
        stage = code_stage("layer 1", (3,), "float32", [layer], code)
        np.testing.assert_array_equal(stage.run(x) > 0, code.forward(layer.forward(x)) > 0)


def test_a_coded_model_that_does_not_know_its_input():
    """By a training loop of one's own; the layer in front may not say it either."""
    for model in (coded(), Sequential(*coded())):
        model.input_contract = None
        model[0].input_contract = None
        with advised(
            "packed", "say it: model.input_contract = InputContract('float32', {}); pack(model)"
        ) as caught:
            pack(model, (3,))
        exec(caught.text.split("say it: ")[1], {**NAMESPACE, "model": model})
        ships(model, table()[0])
        pack(model)
    model.input_contract = None  # without a shape, it is taken from the code
    with advised(
        "packed", "say it: model.input_contract = InputContract('float32', {}); pack(model)"
    ) as caught:
        pack(model)
    exec(caught.text.split("say it: ")[1], {**NAMESPACE, "model": model})
    ships(model, table()[0])
    inner = Sequential(*coded()[1:])  # trained on signs, which says nothing about the whole's input
    inner.input_contract = InputContract("float32", (12,), -1, 1)
    whole = Sequential(coded()[0], inner)
    whole[0].input_contract = None
    with advised(
        "packed", "say it: model.input_contract = InputContract('float32', {}); pack(model)"
    ):
        pack(whole)


def test_samples_have_the_features_of_the_code():
    model = coded()
    model.input_contract = InputContract("float32", (30,))
    with advised(
        "packed", "say what they are: model.input_contract = InputContract({}, ({},)); pack(model)"
    ) as caught:
        pack(model)
    exec(caught.text.split("say what they are: ")[1], {**NAMESPACE, "model": model})
    ships(model, table()[0])


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16", "bool"])
def test_integers_of_other_dtypes(dtype):
    layers = lambda: (Standardize(3), Thermometer(3, 4), *tail(12))  # noqa: E731
    given, labels = table("uint8")
    given = (given > 40).astype(dtype) if dtype == "bool" else given.astype(dtype)
    model = Sequential(*layers()).initialize(0)
    train(model, given, labels)
    with advised("packed", "train it on x.astype({})") as caught:
        pack(model)
    x = given.astype(re.search(r"x\.astype\('(\w+)'\)", caught.text)[1])
    np.testing.assert_array_equal(x, given)
    model = Sequential(*layers()).initialize(0)
    train(model, x, labels)
    ships(model, x)


def test_doubles_are_trained_as_singles():
    x, labels = table("float64")
    model = Sequential(Standardize(3), Thermometer(3, 4), *tail(12)).initialize(0, np.float64)
    train(model, x, labels)
    with advised("packed", "train it on x.astype({})") as caught:
        pack(model)
    assert "x.astype('float32')" in caught.text
    model, x = trained(Standardize(3), Thermometer(3, 4), *tail(12))
    ships(model, x.astype("float32"))


# --- using ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "name"), [("int16", "uniform thermometer"), ("int8", "one-hot"),
                                             ("float32", "thermometer")])  # fmt: skip
def test_samples_of_the_packed_dtype(dtype, name):
    packed, x = pack(coded(name)), table(dtype)[0]
    with advised("packed", "if they are such numbers, use x.astype({})") as caught:
        packed.predict(x.astype(np.float64))
    given = x.astype(np.float64)
    found = packed.predict(eval(re.search(r"use (x.astype\(.*\))", caught.text)[1], {"x": given}))
    np.testing.assert_array_equal(found, packed.predict(x))


def test_names_are_strings():
    names = [3, 4, 5]
    with advised("packed", "write [str(n) for n in names]"):
        pack(coded(), class_names=names)
    assert pack(coded(), class_names=[str(n) for n in names]).class_names == ("3", "4", "5")
    with advised("packed", "write [str(n) for n in names]"):
        pack(coded(), feature_names=names)


def test_names_are_given_when_the_model_is_packed():
    model, x = coded(), table()[0]
    with advised("packed", "write pack(model, class_names=[...])"):
        pack(model).predict(x, names=True)
    packed = pack(model, class_names=["low", "middle", "high"])
    assert set(packed.predict(x, names=True).tolist()) <= {"low", "middle", "high"}
