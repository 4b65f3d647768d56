"""Packed models of whole networks: predictions, digests, `verify`, and wrong arguments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from coded_tables import FRONTS, coded, named, of_numbers, table
from packed_checks import moved
from packed_models import SIGN, dense, images_models
from wide_models import in_float64, near_changes, random_model, same_signs

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Flatten,
    MaxPool2D,
    PackError,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    disagreements,
    load_sample,
    pack,
)
from minibnn.packed import costs
from minibnn.packed import model as packed_model
from minibnn.packed.stages import ThresholdStage
from minibnn.recipes import RECIPES


def small_larq():
    def conv(c_in, c_out):
        return Conv2D(c_in, c_out, 3, bias=False, weight_quantizer=SIGN, weight_bound=1.0)

    return Sequential(
        Reshape((28, 28, 1)), Rescale(2 / 255, -1),
        conv(1, 8), MaxPool2D(2), BatchNorm(8, scale=False), Activation(SignSTE(clip=1.0)),
        conv(8, 8), MaxPool2D(2), BatchNorm(8, scale=False), Activation(SignSTE(clip=1.0)),
        Flatten(), dense(200, 10), BatchNorm(10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    """Networks after an epoch on the bundled digits."""
    data = load_sample()
    recipes = {name: RECIPES[name]() for name in ("seed", "modern", "finn-tfc", "direct-feedback")}
    recipes["larq"] = RECIPES["larq-cnn"]()
    object.__setattr__(recipes["larq"], "build", small_larq)
    models = {k: r.train(data, epochs=1, progress=False)[0] for k, r in recipes.items()}
    return models, data.test_images


@pytest.mark.parametrize("name", ["seed", "modern", "finn-tfc", "direct-feedback", "larq"])
def test_trained_networks_give_the_same_labels(trained, name):
    models, images = trained
    model = models[name]
    packed = pack(model, (28, 28))
    differ = int((packed.predict(images) != model.forward(images).argmax(1)).sum())
    found = disagreements(model, packed, images)
    assert (found.labels, found.unexplained) == (differ, 0)
    for layer in found.layers:
        assert layer.packed_right == layer.values
    if differ == 0:
        np.testing.assert_allclose(
            packed.logits(images), model.forward(images), rtol=1e-5, atol=1e-5
        )
    assert packed.scores.fits_int32
    by = [entry["by"] for entry in packed.certificate["thresholds"]]
    assert set(by[1:]) <= {"enumeration"}
    assert by[0] == ("enumeration" if name == "finn-tfc" else "exact")
    assert packed.verify(model) == packed.certificate


def test_the_digest_is_of_the_network_alone(trained):
    models, _ = trained
    packed = pack(models["modern"], (28, 28))
    assert packed.sha256 == replace(packed, training={"accuracy": 0.5}).sha256
    found = {
        packed.sha256,
        pack(models["seed"], (28, 28)).sha256,
        pack(models["larq"], (28, 28)).sha256,
    }
    for i, name in ((0, "weights"), (1, "thresholds"), (4, "weights"), (5, "B"), (5, "offset")):
        found.add(moved(packed, i, name, 3, 1).sha256)
    turned = replace(packed.stages[1], falling=~packed.stages[1].falling)
    found.add(replace(packed, stages=(packed.stages[0], turned, *packed.stages[2:])).sha256)
    assert len(found) == 9


def test_permuted_hidden_units_change_nothing(trained, rng):
    models, images = trained
    model = models["modern"]
    scores = pack(model, (28, 28)).predict_scores(images)
    order = rng.permutation(128)
    dense1, norm, _, dense2 = list(model)[2:6]
    for array in (norm.gamma, norm.beta, norm.running_mean, norm.running_var):
        array.data[...] = array.data[order]
    dense1.weight.data[...] = dense1.weight.data[:, order]
    dense2.weight.data[...] = dense2.weight.data[order]
    np.testing.assert_array_equal(pack(model, (28, 28)).predict_scores(images), scores)


def some(rng, shape, count):
    """Images by chance, some of them of extreme values."""
    images = rng.integers(0, 256, (count, *shape), np.uint8)
    images[: count // 4] = rng.choice([0, 255], (count // 4, *shape))
    images[0], images[1] = 0, 255
    return images


def packed_or_not(model, shape):
    try:
        return pack(model, shape), ""
    except PackError as error:
        return None, str(error)


@pytest.mark.parametrize("hundred", range(4))
def test_random_networks_keep_their_bounds(hundred):
    """Against float64, except where that may itself round a sign to the other side."""
    packed_ones = exact = compared = agreed = 0
    for seed in range(100 * hundred, 100 * hundred + 100):
        rng = np.random.default_rng(seed)
        model, shape = random_model(rng)
        images, double = some(rng, shape, 48), in_float64(model)
        y = double.forward(images)
        packed, refusal = packed_or_not(model, shape)
        if packed is None:  # it ends in signs, and has no outputs to compare
            assert "expected one value for each class, got bits" in refusal, seed
            continue
        assert packed.verify(model) == packed.certificate
        off = abs(packed.logits(images) - y).max(axis=1)
        taken = ~near_changes(double, images)
        packed_ones, compared = packed_ones + 1, compared + int(taken.sum())
        if packed.bound is None:
            exact += 1
            assert packed.bound_of_same_signs is None
            assert (off[taken] <= 1e-6 * max(1, abs(y).max())).all(), seed
            continue
        assert packed.bound_of_same_signs <= packed.bound
        assert (off[taken] <= packed.bound).all(), seed
        same = taken & same_signs(double, packed, images)
        agreed += int(same.sum())
        assert (off[same] <= packed.bound_of_same_signs).all(), seed
    assert packed_ones > 85
    assert 10 < exact < 50
    assert compared > 0.75 * 48 * packed_ones
    assert agreed > 0.5 * 48 * (packed_ones - exact)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_give_the_same_scores_on_a_device(device, seed):
    rng = np.random.default_rng(seed)
    model, shape = random_model(rng)
    images, packed = some(rng, shape, 16), pack(model, shape)
    there = device.asarray(images)
    for method in ("predict", "predict_scores", "logits"):
        theirs = getattr(packed, method)(there)
        assert type(theirs) is device.array_type
        np.testing.assert_array_equal(device.to_host(theirs), getattr(packed, method)(images))


@pytest.mark.parametrize("name", ["modern", "larq"])
def test_devices_give_the_same(trained, device, name):
    models, images = trained
    packed = pack(models[name], (28, 28))
    there = device.asarray(images[:40])
    for method in ("predict", "predict_scores", "logits"):
        ours = getattr(packed, method)(images[:40])
        theirs = getattr(packed, method)(there)
        assert type(theirs) is device.array_type
        np.testing.assert_array_equal(device.to_host(theirs), ours)


def test_a_model_on_a_device_is_packed_and_stays_there(device, rng):
    model = Sequential(
        Rescale(2 / 255, -1), dense(9, 8), BatchNorm(8), Activation(SIGN), dense(8, 3)
    )
    model.initialize(rng)
    images = rng.integers(0, 256, (50, 9), np.uint8)
    scores = pack(model, (9,)).predict_scores(images)
    packed = pack(model.to(device), (9,))
    np.testing.assert_array_equal(packed.predict_scores(images), scores)
    assert model.backend is device
    found = disagreements(model, packed, device.asarray(images))
    assert (found.images, found.unexplained) == (50, 0)


def test_packing_leaves_the_model_alone(trained):
    models, images = trained
    model = models["seed"]
    before = [p.data.copy() for p in model.parameters()]
    y = model.forward(images[:5])
    packed = pack(model, (28, 28))
    packed.verify(model)
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))
    np.testing.assert_array_equal(model.forward(images[:5]), y)
    model[2].weight.data[...] *= -1  # the packed model does not depend on it any more
    np.testing.assert_array_equal(packed.logits(images[:5]), y)
    model[2].weight.data[...] *= -1


@pytest.mark.parametrize("batch", [0, 1, 255, 257])
def test_batches_of_any_size(trained, batch):
    models, images = trained
    for name in ("seed", "larq", "finn-tfc"):
        packed = pack(models[name], (28, 28))
        assert packed.predict(images[:batch]).shape == (batch,)
        whole = packed.predict_scores(images[:300])
        np.testing.assert_array_equal(packed.predict_scores(images[:batch]), whole[:batch])


def test_large_windows_go_in_smaller_chunks(monkeypatch, rng):
    model = Sequential(*images_models()["two"]).initialize(rng)
    packed = pack(model, (8, 9))
    images = rng.integers(0, 256, (20, 8, 9), np.uint8)
    whole = packed.predict_scores(images)
    seen = []
    run = packed.stages[0].__class__.run
    monkeypatch.setattr(
        packed.stages[0].__class__, "run", lambda s, x: (seen.append(len(x)), run(s, x))[1]
    )
    # Not quite enough for 8 images.
    monkeypatch.setattr(packed_model, "SCRATCH", 8 * costs.total(packed.stages).bytes - 1)
    np.testing.assert_array_equal(packed.predict_scores(images), whole)
    assert set(seen) == {7, 6}
    monkeypatch.setattr(packed_model, "SCRATCH", 1)
    np.testing.assert_array_equal(packed.predict_scores(images[:2]), whole[:2])


def test_images_are_checked(trained):
    packed = pack(trained[0]["seed"], (28, 28))
    with pytest.raises(TypeError, match="uint8, got float32"):
        packed.predict(np.zeros((1, 28, 28), np.float32))
    with pytest.raises(ValueError, match=r"\(batch, 28, 28\), got \(28, 28\)"):
        packed.predict(np.zeros((28, 28), np.uint8))
    with pytest.raises(TypeError, match="NumPy or CuPy"):
        packed.logits([[0]])
    assert repr(packed).startswith("PackedModel((28, 28): dense threshold dense threshold dense")


# --- Coded inputs and names -----------------------------------------------------------------------


@pytest.mark.parametrize("name", FRONTS)
def test_coded_inputs_give_the_models_labels(name, backend):
    _, dtype, shape, _ = FRONTS[name]
    model = coded(name)
    packed = pack(model)
    assert (packed.input_shape, packed.input_dtype) == (shape, dtype)
    x = table(dtype, 300, shape, seed=3)[0]
    if dtype == "float32":
        missing = 0 if name == "standardised sign" else np.nan  # see the next test
        x[:9] = np.array([missing, np.inf, -np.inf, 0, -0.0, 1e-45, 3e38, -3e38, 1], dtype)[:, None]
    with np.errstate(all="ignore"):
        expected = model.forward(x)
    there, host = backend.asarray(x), backend.to_host
    np.testing.assert_array_equal(host(packed.predict(there)), expected.argmax(1))
    logits = host(packed.logits(there))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    found = disagreements(model, packed, x)
    assert (found.labels, found.bits, found.unexplained) == (0, 0, 0)
    assert packed.verify(model) == packed.certificate


def test_a_missing_value_before_a_sign():
    """The float model's sign of nan is nan; a bit has no such value, and is 0."""
    model = coded("standardised sign")
    packed = pack(model)
    x = table()[0][:1]
    x[0, 1] = np.nan
    signs = model[1].forward(model[0].forward(x))
    assert np.isnan(signs).tolist() == [[False, True, False]]
    assert packed.after(x, 1).tolist() == [[int(signs[0, 0] > 0), 0, int(signs[0, 2] > 0)]]


def test_verify_finds_another_code():
    model = coded("one-hot")
    packed = pack(model)
    for name, change in (("feature", 1), ("low", 1), ("high", -1)):
        with pytest.raises(PackError, match="expected the model's code stage, got another"):
            moved(packed, 0, name, 0, change).verify(model)
    with pytest.raises(PackError):
        packed.verify(coded("one-hot", seed=1))


def test_the_dtype_of_samples_is_checked():
    for name in ("thermometer", "uniform thermometer", "one-hot", "thermometer of bytes"):
        packed = pack(coded(name))
        own = packed.input_dtype
        for dtype in {"uint8", "int8", "int16", "int32", "float32", "float64", "bool"} - {own}:
            with pytest.raises(TypeError, match=f"of dtype {own}, got {dtype}; "):
                packed.predict(np.zeros((2, 3), dtype))
        packed.predict(np.zeros((2, 3), own))
        with pytest.raises(ValueError, match=r"\(batch, 3\), got \(2, 4\)"):
            packed.predict(np.zeros((2, 4), own))


def test_names_of_classes(backend):
    packed, x = named(), table(rows=50)[0]
    labels = packed.predict(x)
    found = packed.predict(backend.asarray(x), names=True)
    assert type(found) is np.ndarray
    assert found.tolist() == [["low", "µ", ""][label] for label in labels]
    assert len(set(found.tolist())) > 1
    assert packed.predict(x[:0], names=True).shape == (0,)
    assert packed.feature_names == ("reading 0", "reading 1", "reading 2")
    with pytest.raises(ValueError, match="expected a model that knows the names of its classes"):
        replace(packed, class_names=None).predict(x, names=True)
    assert packed.sha256 != pack(coded()).sha256 != replace(packed, class_names=None).sha256


@pytest.mark.parametrize("which", ["class_names", "feature_names"])
def test_names_that_are_wrong(which):
    for names in (["a", "b"], ["a", "b", "c", "d"], ["a", "a", "b"], [], ()):
        with pytest.raises(ValueError, match=f"pack: expected 3 different {which}, got"):
            pack(coded(), **{which: names})
    for names in ("abc", [1, 2, 3], ["a", "b", None], [b"a", b"b", b"c"]):
        with pytest.raises(TypeError, match=f"pack: expected {which} as strings"):
            pack(coded(), **{which: names})
    texts = np.array(["a", "b", "c"])  # NumPy's strings are strings
    assert getattr(pack(coded(), **{which: texts}), which) == ("a", "b", "c")


def test_names_of_a_model_of_bytes(trained):
    packed = pack(trained[0]["seed"], (28, 28), class_names=list("0123456789"))
    images = trained[1][:20]
    assert packed.predict(images, names=True).tolist() == [str(n) for n in packed.predict(images)]


def test_verify_finds_every_difference(trained):
    models, _ = trained
    model = models["modern"]
    packed = pack(model, (28, 28))
    for parameter in model.parameters():
        kept = parameter.data.copy()
        if parameter.name == "weight":
            parameter.data[0, 1] *= -1
        elif parameter.name == "gamma":
            parameter.data[1] *= -1
        else:
            parameter.data[1] += 1
        with pytest.raises(PackError):
            packed.verify(model)
        parameter.data[...] = kept
    packed.verify(model)
    assert isinstance(packed.stages[3], ThresholdStage)
    for i, name, channel, change in (
        (3, "thresholds", 5, 2), (3, "thresholds", 5, -2), (3, "falling", 5, True),
        (1, "thresholds", 7, 1), (1, "thresholds", 7, -1),
    ):  # fmt: skip
        with pytest.raises(PackError, match=f"channel {channel}"):
            moved(packed, i, name, channel, change).verify(model)
    with pytest.raises(PackError, match="expected"):
        packed.verify(models["finn-tfc"])
    first, stage, *rest = packed.stages
    short = {name: array[:-1] for name, array in stage.arrays().items()}
    for wrong in (
        replace(stage, **short),
        replace(stage, in_shape=(64, 2), out_shape=(64, 2)),
        first,
    ):
        with pytest.raises(PackError, match="verify: expected thresholds as stage 1"):
            replace(packed, stages=(first, wrong, *rest)).verify(model)


def test_other_wrong_arguments():
    model = Sequential(Flatten(), Rescale(1), dense(4, 2))
    with pytest.raises(RuntimeError, match="initialize"):
        pack(model, (4,))
    model.initialize(0)
    with pytest.raises(TypeError, match="input_shape such as"):
        pack(model, 4)
    with pytest.raises(ValueError, match="sizes of at least 1 in input_shape"):
        pack(model, (2, 0))
    with pytest.raises(TypeError, match="expected a model, got str"):
        pack("model")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_numbers_are_scores_divided_by_a_power_of_two(outputs, backend):
    model = of_numbers(outputs)
    packed = pack(model, numbers=True, feature_names=["a", "b", "c"])
    x = table(rows=300, seed=3)[0]
    numbers = backend.to_host(packed.predict(backend.asarray(x)))
    scores = packed.predict_scores(x)
    assert packed.scores.shift != 0
    expected = scores / 2.0**packed.scores.shift
    np.testing.assert_array_equal(numbers, expected[:, 0] if outputs == 1 else expected)
    theirs = model.predict(x)
    assert np.ptp(theirs) > 100
    assert abs(expected - theirs).max() <= packed.bound < 5
    np.testing.assert_allclose(packed.logits(x), expected, rtol=1e-5)
    assert abs(scores).max() < 2**31
    assert packed.verify(model) == packed.certificate
    with pytest.raises(PackError, match="another"):
        moved(packed, len(packed.stages) - 1, "B", 0, 2**20).verify(model)


def test_numbers_are_another_model_than_classes():
    model = of_numbers(3)
    classes, numbers = pack(model), pack(model, numbers=True)
    assert not classes.numbers
    assert numbers.sha256 != classes.sha256 == pack(model, numbers=False).sha256
    with pytest.raises(ValueError, match="got both; leave class_names out, or numbers"):
        pack(model, numbers=True, class_names=["a", "b", "c"])
    with pytest.raises(TypeError, match="numbers"):
        pack(model, numbers="yes")
    with pytest.raises(ValueError, match="names of its classes"):
        numbers.predict(table()[0], names=True)
