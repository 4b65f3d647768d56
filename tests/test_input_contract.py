"""A model knows its training input, and packs only for that input."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    Flatten,
    InputContract,
    LogitCrossEntropy,
    MaxPool2D,
    PackError,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    confusion_matrix,
    disagreements,
    evaluate,
    fit,
    load_latents,
    pack,
    save_packed,
)

SHAPE = (4, 5)


def dense(n_in, n_out, **options):
    return Dense(n_in, n_out, weight_quantizer=SignSTE(), weight_bound=1.0, **options)


def network(*first, classes=3, seed=0):
    layers = [dense(20, 16), BatchNorm(16), Activation(SignSTE(clip=1.0)), dense(16, classes)]
    return Sequential(*first, *layers).initialize(seed)


@pytest.fixture
def images(rng):
    """Bytes that cover their whole range, and labels that depend on them."""
    x = rng.integers(0, 256, (200, *SHAPE), np.uint8)
    x[0, 0, :2] = 0, 255
    return x, (x.reshape(200, -1)[:, :3].astype(int).argmax(axis=1))


def scaled(x):
    return (x / 255).astype(np.float32)


def trained_by_fit(model, x, labels):
    loader = DataLoader((x, labels), 16, shuffle=True, rng=0)
    fit(model, loader, loader, loss=LogitCrossEntropy(),
        optimizer=Adam(model.parameters(), 0.01), epochs=2, progress=False)  # fmt: skip
    return model


def trained_by_hand(model, x, labels):
    """README's training loop."""
    loss, optimizer = LogitCrossEntropy(), Adam(model.parameters(), 0.01)
    for a, b in DataLoader((x, labels), 16):
        loss.forward(model.forward(a, train=True), b)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    return model


def trained_layer_by_layer(model, x, labels):
    """A loop over a list of layers, without a container."""
    loss, optimizer = LogitCrossEntropy(), Adam(model.parameters(), 0.01)
    for y, b in DataLoader((x, labels), 16):
        for layer in model:
            y = layer.forward(y, train=True)
        loss.forward(y, b)
        dy = loss.backward()
        for layer in reversed(model.layers):
            dy = layer.backward(dy)
        optimizer.step()
    return model


TRAININGS = [trained_by_fit, trained_by_hand, trained_layer_by_layer]


@pytest.mark.parametrize("train", TRAININGS)
def test_trained_on_bytes_packs_as_it_is(train, images):
    model = train(network(Flatten(), Rescale(2 / 255, -1)), *images)
    packed = pack(model) if train is not trained_layer_by_layer else pack(model, SHAPE)
    assert packed.input_shape == SHAPE
    found = disagreements(model, packed, images[0])
    assert (found.labels, found.unexplained) == (0, 0)


@pytest.mark.parametrize("train", TRAININGS)
@pytest.mark.parametrize(
    "prepare",
    [
        scaled,
        lambda x: x.astype(np.float32),  # not known to be whole numbers
        lambda x: x.astype(np.int16) - 128,
        lambda x: x.astype(np.uint16) * 257,
        lambda x: x.astype(np.int64) * 4,
        lambda x: (x // 2).astype(np.int8) - 64,
    ],
    ids=["/255", "float32", "int16", "uint16", "int64", "int8"],
)
def test_trained_on_something_else_does_not_pack(train, prepare, images):
    x, labels = images
    model = train(network(Flatten(), Rescale(1 / 255)), prepare(x), labels)
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)),
                   Sequential(*model), Sequential(Sequential(model[0], model[1]), *model.layers[2:])):  # fmt: skip
        for shape in (None, SHAPE):
            with pytest.raises(PackError, match=rf"bytes.* got one trained on {prepare(x).dtype}"):
                pack(copied, shape)


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint16, np.uint8])
def test_other_integers_pack_if_all_samples_are_bytes(dtype, images):
    """Only the values count, and `fit` has seen all of them."""
    x, labels = images
    model = trained_by_fit(network(Flatten(), Rescale(1 / 255)), x.astype(dtype), labels)
    same = trained_by_fit(network(Flatten(), Rescale(1 / 255)), x, labels)
    assert pack(model).sha256 == pack(same).sha256
    assert (model.input_contract.low, model.input_contract.high) == (0, 255)


def test_masks_of_true_and_false_are_bytes(images):
    x, labels = images
    model = trained_by_hand(network(Flatten(), Rescale(2, -1)), x > 127, labels)
    np.testing.assert_array_equal(
        pack(model).predict((x > 127).astype(np.uint8)), model.forward(x > 127).argmax(axis=1)
    )


def test_a_scaling_from_outside_put_in_front(images):
    """The error's hint: the trained layers receive the same numbers, so nothing changes."""
    x, labels = images
    model = trained_by_fit(network(Flatten()), scaled(x), labels)
    for whole in (Sequential(Rescale(1 / 255), model), Sequential(Rescale(1 / 255), *model)):
        packed = pack(whole)
        np.testing.assert_array_equal(packed.predict(x), model.forward(scaled(x)).argmax(axis=1))
    with pytest.raises(PackError, match=r"bytes, -1 to 1, got one trained on .* between 0 and 1"):
        pack(Sequential(Rescale(2 / 255, -1), model), SHAPE)


def test_features_of_all_sizes_are_no_bytes(rng):
    """Like the standardised features of breast_cancer: no Rescale of bytes gives these."""
    x = (rng.normal(0, 1, (200, 30)) * 3).astype(np.float32)
    labels = (x[:, 0] > 0).astype(int)
    layers = [dense(30, 8), BatchNorm(8), Activation(SignSTE(clip=1.0)), dense(8, 2)]
    model = trained_by_fit(Sequential(*layers).initialize(0), x, labels)
    for wrapped in (
        model,
        Sequential(Rescale(1 / 255), *model),
        Sequential(Rescale(1 / 255), model),
    ):
        with pytest.raises(PackError, match="got one trained on float32"):
            pack(wrapped, (30,))


@pytest.mark.parametrize("train", TRAININGS)
def test_trained_layers_behind_a_new_rescale(train, rng):
    """A hint to add a Rescale could lead to this mistake, with any loop, and without Flatten."""
    x = (rng.normal(0, 1, (200, *SHAPE)) * 3).astype(np.float32)
    model = train(network(Flatten()), x, (x[:, 0, 0] > 0).astype(int))
    for parts in (model.layers, model.layers[1:]):
        with pytest.raises(PackError, match="got one trained on float32"):
            pack(Sequential(Flatten(), Rescale(1 / 255), *parts), SHAPE)


def test_what_is_stated_counts(images):
    x, labels = images
    by_hand = trained_by_hand(network(Flatten()), scaled(x), labels)
    whole = Sequential(Rescale(1 / 255), by_hand)
    with pytest.raises(PackError, match="say so"):  # the range is unknown
        pack(whole, SHAPE)
    whole.input_contract = InputContract("uint8", SHAPE)
    np.testing.assert_array_equal(pack(whole).predict(x), by_hand.forward(scaled(x)).argmax(axis=1))
    floats = trained_by_fit(network(Flatten(), Rescale(1 / 255)), x.astype(np.float32), labels)
    with pytest.raises(PackError, match=r"as floats, say so: model\.input_contract"):
        pack(floats)
    floats.input_contract = InputContract("uint8", SHAPE)
    np.testing.assert_array_equal(pack(floats).predict(x), floats.forward(x).argmax(axis=1))


def test_the_latest_training_counts(images):
    x, labels = images
    model = network(Flatten(), Rescale(1 / 255))
    trained_by_fit(model, x, labels)
    trained_by_hand(model, scaled(x), labels)
    with pytest.raises(PackError, match="float32"):
        pack(model)
    trained_by_hand(model, x, labels)
    assert pack(model).input_shape == SHAPE
    model.initialize(0)
    assert model.input_contract is None


@pytest.mark.parametrize("front", [(), (Flatten(),), (Sequential(Flatten()),)])
def test_a_range_of_earlier_is_no_more(front, images):
    """`fit` has seen one range; a later loop may use any."""
    x, labels = images
    floats = scaled(x) if front else scaled(x).reshape(len(x), -1)
    model = trained_by_fit(network(*front), floats, labels)
    assert pack(Sequential(Rescale(1 / 255), model), SHAPE if front else floats.shape[1:])
    trained_by_hand(model, 3 * floats - 1, labels)
    with pytest.raises(PackError, match="got one trained on float32"):
        pack(Sequential(Rescale(1 / 255), model), SHAPE if front else floats.shape[1:])
    whole = trained_by_fit(network(Flatten(), Rescale(1 / 255)), x.astype(np.int16), labels)
    assert pack(whole)
    trained_by_hand(whole, 4 * x.astype(np.int16) - 300, labels)
    with pytest.raises(PackError, match="got one trained on int16"):
        pack(whole)


def test_the_shape_is_that_of_training(images):
    x, labels = images
    model = trained_by_hand(network(Flatten(), Rescale(1 / 255)), x, labels)
    assert pack(model, SHAPE).input_shape == SHAPE
    for other in ((20,), (5, 4)):
        with pytest.raises(
            PackError, match=r"input_shape \(4, 5\), .* leave it out: pack\(model\)"
        ):
            pack(model, other)


def test_no_shape_is_guessed():
    for model in (network(Flatten(), Rescale(1 / 255)), network(Rescale(1 / 255))):
        with pytest.raises(PackError, match=r"pack\(model, \(30,\)\) for rows"):
            pack(model)


def test_a_prefix_that_changes_shapes_leaves_the_shape_open(images):
    """The inner model's contract describes rows; their shape before is unknown."""
    x, labels = images
    rows = trained_by_hand(network(Rescale(1 / 255)), x.reshape(200, 20), labels)
    whole = Sequential(Flatten(), rows)
    with pytest.raises(PackError, match="expected input_shape"):
        pack(whole)
    assert pack(whole, SHAPE).input_shape == SHAPE
    assert pack(Sequential(Reshape((20,)), rows), (2, 10)).input_shape == (2, 10)


def test_layers_behind_a_product_say_nothing_of_the_input(images):
    """Layers that were trained on other floats may follow a first layer that was not."""
    hidden = np.where(np.random.default_rng(0).random((64, 16)) < 0.5, -1, 1).astype(np.float32)
    body = Sequential(dense(16, 3)).initialize(1)
    body.forward(hidden, train=True)
    first = network(Flatten(), Rescale(1 / 255)).layers[:5]
    assert pack(Sequential(*first, body), SHAPE).classes == 3


def test_a_trained_layer_behind_a_new_rescale_may_be_stated(images):
    """That the new Rescale equals the old one cannot be seen; the user has to state it."""
    x, labels = images
    model = trained_by_hand(network(Flatten(), Rescale(1 / 255)), x, labels)
    other = Sequential(Flatten(), Rescale(1 / 255), *model.layers[2:])
    with pytest.raises(PackError, match=r"say so: model\.input_contract = .*\(4, 5\)"):
        pack(other, SHAPE)
    other.input_contract = InputContract("uint8", SHAPE)
    assert pack(other).sha256 == pack(model).sha256


def test_direct_feedback_notes_it(images):
    x, labels = images
    model = DirectFeedback(
        Sequential(Flatten(), Rescale(1 / 255), dense(20, 16), Activation(SignSTE(clip=1.0))),
        dense(16, 3),
    ).initialize(0)
    trained_by_hand(model, scaled(x), labels)
    assert str(model.input_contract) == "float32 of shape (4, 5) (a training step)"
    with pytest.raises(PackError, match="float32"):
        pack(model)


def test_evaluation_notes_nothing(images):
    model = network(Flatten(), Rescale(1 / 255))
    model.forward(scaled(images[0]))
    assert model.input_contract is None


def test_a_failed_step_notes_nothing(images):
    model = network(Flatten(), Rescale(1 / 255))
    with pytest.raises(ValueError, match="expected x of shape"):
        model.forward(np.zeros((2, 3), np.uint8), train=True)
    assert model.input_contract is None


def test_test_samples_are_prepared_as_those_for_training(images):
    x, labels = images
    model = network(Flatten(), Rescale(1 / 255))
    train, test = DataLoader((x, labels), 16), DataLoader((scaled(x), labels), 16)
    with pytest.raises(TypeError, match=r"test samples of dtype uint8, .* got float32"):
        fit(model, train, test, loss=LogitCrossEntropy(),
            optimizer=Adam(model.parameters(), 0.01), epochs=1)  # fmt: skip
    assert model.input_contract is None


@pytest.mark.parametrize("train", TRAININGS[:2])
def test_evaluation_takes_what_training_took(train, images):
    """For a model of bytes, pixels from 0 to 1 are all dark."""
    x, labels = images
    model = train(network(Flatten(), Rescale(1 / 255)), x, labels)
    floats, integers = DataLoader((scaled(x), labels), 16), DataLoader((x.astype(int), labels), 16)
    for look in (lambda data: evaluate(model, data, LogitCrossEntropy()),
                 lambda data: confusion_matrix(model, data)):  # fmt: skip
        with pytest.raises(TypeError, match=r"trained on uint8 .*, got float32; prepare them"):
            look(floats)
        look(integers)  # the same numbers
    train(model, scaled(x), labels)  # to train further on other samples is no mistake
    assert evaluate(model, floats, LogitCrossEntropy()).accuracy > 0


def test_batches_that_a_loader_makes_itself_count(images):
    """The arrays are bytes, but the batches in training are not."""

    class Scaling(DataLoader):
        def batches(self, epoch):
            return ((scaled(x), labels) for x, labels in super().batches(epoch))

    x, labels = images
    model = network(Flatten(), Rescale(1 / 255))
    loader = Scaling((x, labels), 16)
    optimizer = Adam(model.parameters(), 0.01)
    fit(model, loader, loader, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    assert model.input_contract.dtype == np.float32
    with pytest.raises(PackError, match="float32"):
        pack(model)


def test_latent_weights_bring_it_along(images, tmp_path):
    x, labels = images
    model = trained_by_hand(network(Flatten(), Rescale(1 / 255)), x, labels)
    path = tmp_path / "model.safetensors"
    save_packed(pack(model), path, model=model)
    again = load_latents(path, network(Flatten(), Rescale(1 / 255), seed=1))
    assert again.input_contract.shape == SHAPE
    assert pack(again).sha256 == pack(model).sha256


def test_range_of_floats_is_that_of_all_samples(images):
    x, labels = images
    model = trained_by_fit(network(Flatten()), scaled(x), labels)
    assert str(model.input_contract) == (
        "float32 of shape (4, 5) between 0 and 1 (fit, 200 samples)"
    )
    assert InputContract.of(np.array([[np.nan], [1.0]]), "test").low is None


# --- one output -------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [False, True])
def test_one_output_says_one_of_two_classes(norm, rng):
    last = [dense(16, 1), BatchNorm(1)] if norm else [dense(16, 1)]
    model = Sequential(Rescale(1), dense(20, 16), Activation(SignSTE()), *last).initialize(0)
    packed = pack(model, (20,), class_names=["off", "on"])
    x = rng.integers(0, 256, (50, 20), np.uint8)
    expected = (model.forward(x)[:, 0] >= 0).astype(int)
    assert set(expected) == {0, 1}
    assert packed.predict(x).tolist() == expected.tolist()
    assert packed.predict(x[:1], names=True).tolist() == [["off", "on"][expected[0]]]
    assert packed.classes == 1
    assert pack(network(Rescale(1), classes=2), (20,)).classes == 2


# --- README -----------------------------------------------------------------------------------


def test_the_cnn_in_readme_packs():
    model = Sequential(
        Reshape((28, 28, 1)),
        Rescale(2 / 255, -1),
        Conv2D(1, 16, 3, bias=False, weight_quantizer=SignSTE()),
        MaxPool2D(2),
        BatchNorm(16),
        Activation(SignSTE(clip=1.0)),
        Conv2D(16, 16, 3, padding=1, padding_value=-1, bias=False, weight_quantizer=SignSTE()),
        MaxPool2D(13),
        BatchNorm(16),
        Flatten(),
        Dense(16, 10),
    ).initialize(0)
    packed = pack(model, (28, 28))
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28), np.uint8)
    off = abs(packed.logits(images) - model.forward(images)).max()
    assert 0 < off <= packed.bound == packed.bound_of_same_signs
