"""Layers that are fitted to the training data: when, to what, and that they keep it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import strictdev
from captured_training import MODELS
from checkpointed import killed_after_save, same_bits
from coded_tables import coded, table, tail
from devices import STRICT

from minibnn import (
    Adam,
    Checkpoint,
    Concatenate,
    DataLoader,
    Dense,
    Dropout,
    Flatten,
    IterableLoader,
    LogitCrossEntropy,
    OneHotCode,
    Rescale,
    Residual,
    Sequential,
    Standardize,
    Thermometer,
    check_gradients,
    evaluate,
    fit,
    fit_codes,
    load_model,
    save_model,
)
from minibnn.encoding import base
from minibnn.state_file import flatten, to_json

KINDS = {
    "thermometer": lambda: Thermometer(3, 4),
    "uniform": lambda: Thermometer(3, 4, "uniform"),
    "one-hot": lambda: OneHotCode(3, 60),
    "standardize": lambda: Standardize(3),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def numbers(layer):
    """What it was fitted to, on the host."""
    return [layer.backend.to_host(b.data).copy() for b in layer.buffers()]


def assert_same(layer, other):
    for one, two in zip(numbers(layer), numbers(other), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def network(front=None, bits=12):
    front = [Standardize(3), Thermometer(3, 4)] if front is None else front
    return Sequential(*front, *tail(bits))


def train(model, data, epochs=2, **options):
    options = {"loss": LogitCrossEntropy(), "progress": False, **options}
    return fit(model, data, optimizer=Adam(model.parameters(), 0.01), epochs=epochs, **options)


def loader(x, labels, batch_size=16):
    return DataLoader((x, labels), batch_size, shuffle=True, rng=1)


# --- Fitting ----------------------------------------------------------------------------------


@each_kind
def test_before_it_is_fitted(kind):
    layer, (x, _) = KINDS[kind](), table()
    assert not layer.fitted
    for model in (layer, layer.initialize(0)):
        with pytest.raises(RuntimeError, match=r"expected it to be fitted .*; call fit_codes"):
            model.forward(x)
    assert layer.fit(x) is layer
    assert layer.fitted
    layer.forward(x)


@each_kind
def test_it_is_fitted_anew(kind):
    layer = KINDS[kind]().fit(table()[0])
    other = table(seed=1)[0]
    assert_same(layer.fit(other), KINDS[kind]().fit(other))


@each_kind
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int64", "float16", "float64"])
def test_numbers_of_any_dtype(kind, dtype):
    """They are those of the same numbers in float64."""
    x = table("int8")[0] % 2 if dtype == "bool" else abs(table("int8")[0])
    x = x.astype(dtype)
    assert_same(KINDS[kind]().fit(x), KINDS[kind]().fit(x.astype(np.float64)))


@each_kind
def test_axes_in_between_are_samples(kind):
    x = table(shape=(4, 3), rows=10)[0]
    assert_same(KINDS[kind]().fit(x), KINDS[kind]().fit(x.reshape(40, 3)))
    y = KINDS[kind]().fit(x).forward(x)
    assert y.shape[:2] == (10, 4)
    flat = KINDS[kind]().fit(x).forward(x.reshape(40, 3))
    np.testing.assert_array_equal(y.reshape(flat.shape), flat)


@each_kind
def test_fitting_on_a_device(kind, backend):
    x = table()[0]
    layer = KINDS[kind]().to(backend).fit(backend.asarray(x))
    assert isinstance(next(layer.buffers()).data, backend.array_type)
    assert_same(layer, KINDS[kind]().fit(x))


@pytest.mark.parametrize("rows", [2**16, 2**16 + 1, 2**17, 150_001])
def test_many_samples(rows):
    """Not more than 65,536 of them, at equal distances from the first on."""
    x = np.arange(rows, dtype=np.float64)[:, None]
    every = 1 if rows <= 2**16 else 2 if rows <= 2**17 else 3
    expected = np.mean([i for i in range(rows) if i % every == 0])
    np.testing.assert_allclose(Standardize(1).fit(x).mean.data, expected, rtol=1e-7)
    x[1] = np.nan if every > 1 else x[1]
    model = Sequential(Standardize(1), Thermometer(1, 2))
    fit_codes(model, x.astype(np.float32))
    np.testing.assert_allclose(model[0].mean.data, expected, rtol=1e-6)
    assert len(x[::every]) <= base.SAMPLES


def test_what_cannot_be_fitted_to():
    code = Thermometer(3, 2)
    for x, error, match in (
        (np.zeros((4, 2)), ValueError, "expected x of shape"),
        (np.zeros(3), ValueError, "expected x of shape"),
        (np.zeros((0, 3)), ValueError, "expected samples to fit to, got none"),
        (np.array([["a"] * 3]), TypeError, "expected numbers to fit to, got <U1"),
        (np.zeros((2, 3), complex), TypeError, "expected numbers to fit to, got complex128"),
        ([[1, 2, 3]], TypeError, "list"),
        (np.array([[1, np.nan, 2]]), ValueError, "only nan in feature 1; leave it out"),
    ):
        with pytest.raises(error, match=match):
            code.fit(x)
        assert not code.fitted


def test_what_forward_refuses():
    code = Thermometer(3, 2).fit(table()[0])
    for x, error in (
        (np.zeros((4, 2), np.float32), ValueError),
        (np.zeros((4, 2), np.int16), ValueError),
        (np.zeros(3, np.int16), ValueError),
        (np.zeros((4, 3)), TypeError),  # float64
        (np.zeros((4, 3), complex), TypeError),
        (strictdev.asarray(np.zeros((4, 3), np.float32)), TypeError),
    ):
        with pytest.raises(error):
            code.forward(x)


def test_codes_are_fitted_to_what_comes_to_them():
    x = table()[0]
    model = Sequential(
        Sequential(Standardize(3), Dropout(0.5)), Rescale(3, 1), Thermometer(3, 4), *tail(12)
    ).initialize(0)
    fit_codes(model, x)
    assert_same(model[0][0], Standardize(3).fit(x))
    inside = Rescale(3, 1).forward(model[0][0].forward(x))
    assert_same(model[2], Thermometer(3, 4).fit(inside))
    before = numbers(model)
    fit_codes(model, x + 5)  # they have values
    for one, two in zip(before, numbers(model), strict=True):
        np.testing.assert_array_equal(one, two)
    alone = Thermometer(3, 4)
    fit_codes(alone, x)
    assert_same(alone, Thermometer(3, 4).fit(x))
    fit_codes(Dense(3, 2), x)  # nothing to do, so the layer need not have values


@pytest.mark.parametrize("container", [
    lambda code: Residual(Sequential(code, Dense(12, 3))),
    lambda code: Concatenate(Dense(3, 2), Sequential(code, Dense(12, 3))),
])  # fmt: skip
def test_codes_in_other_containers_are_fitted_by_themselves(container):
    x, code = table()[0], Thermometer(3, 4)
    model = Sequential(container(code)).initialize(0)
    with pytest.raises(ValueError, match=r"in another container; .* layer.fit\(x\)"):
        fit_codes(model, x)
    code.fit(x)
    fit_codes(model, x)
    model.forward(x)


# --- Keeping ----------------------------------------------------------------------------------


@each_kind
def test_initialize_keeps_the_numbers_in_the_new_dtype(kind, backend):
    layer = KINDS[kind]().fit(table()[0]).to(backend)
    before = numbers(layer)
    for dtype in (np.float64, np.float32):
        layer.initialize(3, dtype)
        for one, two in zip(before, numbers(layer), strict=True):
            np.testing.assert_array_equal(two, one)
            assert two.dtype == dtype
        assert isinstance(next(layer.buffers()).data, backend.array_type)
    assert layer.fitted


@each_kind
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies(kind, copied):
    layer = KINDS[kind]().fit(table()[0])
    layer.forward(table()[0])
    other = copied(layer)
    assert_same(layer, other)
    assert other.fitted
    np.testing.assert_array_equal(other.forward(table()[0]), layer.forward(table()[0]))
    other.fit(table(seed=1)[0])
    assert any((a != b).any() for a, b in zip(numbers(layer), numbers(other), strict=True))
    assert not copied(KINDS[kind]()).fitted


@each_kind
@pytest.mark.parametrize("fitted_before", [False, True])
def test_state(kind, fitted_before):
    layer, other = KINDS[kind]().fit(table()[0]), KINDS[kind]()
    if fitted_before:
        other.fit(table(seed=1)[0])
        assert other.fitted
    other.restore(layer.state())
    assert_same(layer, other)
    assert other.fitted
    empty = KINDS[kind]()
    empty.restore(KINDS[kind]().state())
    assert not empty.fitted


@each_kind
def test_model_files(kind, tmp_path):
    model = network([KINDS[kind]()], bits={"one-hot": 180, "standardize": 3}.get(kind, 12))
    model.initialize(0)
    save_model(model, tmp_path / "unfitted")
    assert not load_model(tmp_path / "unfitted")[0].fitted
    fit_codes(model, table()[0])
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert_same(loaded, model)
    x = table(seed=2)[0]
    np.testing.assert_array_equal(loaded.forward(x), model.forward(x))


@each_kind
def test_moving(kind, device):
    layer = KINDS[kind]().fit(table()[0])
    there = copy.deepcopy(layer).to(device)
    assert there.fitted
    assert_same(layer, there)
    assert_same(layer, there.to("cpu"))


def test_they_count_as_part_of_the_model():
    model = coded()
    assert sum(b.data.size for b in model[0].buffers()) == 12
    assert list(model[0].parameters()) == []
    assert model[0].output_bits(32) == 1


# --- Training ---------------------------------------------------------------------------------


def test_fit_fits_them_to_the_training_samples():
    x, labels = table()
    model = network().initialize(0)
    train(model, loader(x, labels))
    expected = network().initialize(0)
    fit_codes(expected, x)
    assert_same(model[0], expected[0])
    assert_same(model[1], expected[1])
    before = copy.deepcopy(model[:2])
    other, more = table(seed=1)
    train(model, loader(other, more))  # they have values
    assert_same(model[0], before[0])
    assert_same(model[1], before[1])


@pytest.mark.parametrize("validation", ["fraction", "loader", "test"])
def test_validation_data_are_not_looked_at(validation):
    """Samples that are held out may be anything: the codes stay the same."""
    x, labels = table(rows=100)
    data = loader(x, labels)
    kept, held_out = data.split(0.2)
    own, other = (d.arrays[0] for d in (kept, held_out))
    assert len(own) == 80
    if validation == "fraction":
        options, given = {"validation": 0.2}, loader(x, labels)
    elif validation == "loader":
        options, given = {"validation": held_out}, kept
    else:
        options, given = {"test": held_out}, kept
    model = network().initialize(0)
    train(model, given, **options)
    expected = network().initialize(0)
    fit_codes(expected, own)
    assert_same(model[0], expected[0])
    assert_same(model[1], expected[1])
    whole = network().initialize(0)
    fit_codes(whole, np.concatenate([own, other]))
    assert (whole[0].mean.data != model[0].mean.data).all()


def test_batches_from_an_iterable_need_fit_codes_first():
    x, labels = table()
    batches = IterableLoader(lambda epoch: [(x[:30], labels[:30]), (x[30:], labels[30:])], 2)
    model = network().initialize(0)
    with pytest.raises(RuntimeError, match=r"call fit_codes\(model, x\) first"):
        train(model, batches)
    fit_codes(model, x)
    train(model, batches)


def test_an_unfitted_model_is_not_evaluated():
    data, model = loader(*table()), network().initialize(0)
    with pytest.raises(RuntimeError, match="expected it to be fitted"):
        evaluate(model, data, LogitCrossEntropy())
    assert not model[0].fitted


def ending(model, optimizer, data, history):
    parts = {"model": model, "optimizer": optimizer, "train": data}
    arrays, rest = flatten({name: part.state() for name, part in parts.items()})
    found = {name: a.tobytes() for name, a in arrays.items()}
    return found | {"rest": to_json(rest), "history": history.to_numpy().tobytes()}


@pytest.mark.parametrize("number", [1, 2, 5])
def test_resuming_ends_with_the_same_bytes(number, tmp_path):
    def run(path=None):
        model = network([Standardize(3), Thermometer(3, 4), Dropout(0.2)]).initialize(1)
        data = loader(*table())
        optimizer = Adam(model.parameters(), 0.01)
        history = fit(
            model, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=3, progress=False,
            checkpoint=None if path is None else Checkpoint(path, every="2steps", resume=True),
        )  # fmt: skip
        return ending(model, optimizer, data, history)

    whole = run()
    with killed_after_save(number):
        run(tmp_path / "run")
    assert same_bits(run(tmp_path / "run"), whole)


def test_a_device_trains_to_the_same_codes(device):
    x, labels = table()
    model = network().initialize(0).to(device)
    train(model, loader(x, labels))
    expected = network().initialize(0)
    fit_codes(expected, x)
    assert_same(model[0], expected[0])
    # The sums in Standardize are the same, so at most a rounding separates what comes behind.
    np.testing.assert_allclose(
        device.to_host(model[1].thresholds.data), expected[1].thresholds.data, rtol=1e-5, atol=1e-6
    )


def test_steps_read_nothing_back():
    """Whether it is fitted is asked once; see also the captured steps of this model."""
    assert "input codes" in MODELS
    x = STRICT.asarray(table()[0])
    model = network().initialize(0).to(STRICT)
    fit_codes(model, x)
    model.forward(x, train=True)
    with strictdev.no_sync():
        y = model.forward(x, train=True)
        model.backward(y, need_dx=False)


def test_gradient_check_of_a_coded_network(rng):
    x = rng.standard_normal((6, 3))
    front = [Standardize(3), Thermometer(3, 4), Flatten()]
    model = network(front).initialize(0, np.float64)
    fit_codes(model, x)
    report = check_gradients(model, x, rng=1)
    assert report, str(report)
