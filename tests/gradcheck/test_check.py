"""The whole gradient check: what it takes, what it leaves alone, and real networks."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import values

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    DataLoader,
    Dense,
    Fill,
    FixedFeedback,
    Flatten,
    Layer,
    LogitCrossEntropy,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    Tanh,
    Uniform,
    check_gradients,
    load_sample,
)


def test_the_model_is_left_as_it_was():
    model = Sequential(Dense(4, 3, feedback=FixedFeedback()), BatchNorm(3)).initialize(0)
    before = [p.data.copy() for p in model.parameters()] + [b.data.copy() for b in model.buffers()]
    assert check_gradients(model, values(5, 4).astype(np.float32))
    after = [p.data for p in model.parameters()] + [b.data for b in model.buffers()]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.dtype == np.float32
    assert model[0].saved is None


def test_a_whole_binarised_network_through_its_loss():
    model = Sequential(
        Rescale(1 / 255),
        Dense(8, 6, weight_quantizer=SignSTE(clip=1.0)),
        Activation(SignSTE(clip=1.0)),
        Dense(6, 3, weight_quantizer=SignSTE()),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8), dtype=np.uint8)
    labels = np.arange(9) % 3
    report = check_gradients(model, pixels, loss=LogitCrossEntropy(), labels=labels)
    assert report, str(report)
    assert "x" not in [r.name for r in report.results], "pixels have no gradient"


def test_large_arrays_are_sampled():
    report = check_gradients(Dense(50, 40), values(3, 50), max_elements=20)
    assert report, str(report)
    assert [(r.checked, r.size) for r in report.results] == [(20, 2000), (20, 40), (20, 150)]


def test_a_trained_network_with_a_real_batch():
    """What the README shows: small gradients, a bias that batch norm makes idle, a large loss."""
    data = load_sample()
    model = Sequential(
        Flatten(), Rescale(1 / 255),
        Dense(784, 32, weight_quantizer=SignSTE(), weight_bound=1.0),
        BatchNorm(32), Activation(SignSTE(clip=1.0)),
        Dense(32, 10, weight_quantizer=SignSTE(), weight_bound=1.0), BatchNorm(10),
    ).initialize(0)  # fmt: skip
    loss, optimizer = LogitCrossEntropy(), Adam(model.parameters(), 0.01)
    for x, y in DataLoader((data.train_images, data.train_labels), 64, shuffle=True, rng=0):
        loss.forward(model.forward(x, train=True), y)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    for size in (8, 64):
        report = check_gradients(
            model, data.train_images[:size], loss=loss, labels=data.train_labels[:size],
            max_elements=60,
        )  # fmt: skip
        assert report, str(report)
    seed = Sequential(Flatten(), Rescale(1 / 255), Dense(784, 10, weight_quantizer=SignSTE()))
    x = data.train_images[:64]
    report = check_gradients(seed, x, loss=loss, labels=data.train_labels[:64], max_elements=60)
    assert report, str(report)


@pytest.mark.parametrize(("size", "seed"), [(8, 0), (8, 1), (64, 2)])
def test_right_networks_pass_though_clips_and_kinks_lie_near(size, seed):
    data = load_sample()
    x, labels = data.train_images[:size], data.train_labels[:size]

    def binary(n, m):
        return Dense(n, m, bias=False, weight_quantizer=SignSTE(), weight_init=Uniform(-1, 1))

    modern = Sequential(
        Flatten(), Rescale(2 / 255, -1),
        binary(784, 128), BatchNorm(128), Activation(SignSTE(clip=1.0)),
        binary(128, 64), BatchNorm(64), Activation(SignSTE(clip=1.0)), binary(64, 10), BatchNorm(10),
    )  # fmt: skip
    smooth = Sequential(
        Flatten(), Rescale(1 / 255),
        Dense(784, 128), BatchNorm(128), Activation(ReLU()), Dense(128, 10),
    )  # fmt: skip
    for model in (modern, smooth):
        report = check_gradients(
            model.initialize(seed), x, loss=LogitCrossEntropy(), labels=labels, max_elements=20
        )
        assert report, str(report)


def test_names_that_clash_are_refused():
    class Clash(Layer):
        def __init__(self):
            self.x = Parameter("w", (4,), Fill(1.0))

        def forward(self, x, *, train=False):
            self.saved = (x.shape, x)
            return x * self.x.data

        def backward(self, dy, *, need_dx=True):
            raise AssertionError

    with pytest.raises(ValueError, match="rename the parameter"):
        check_gradients(Clash(), values(5, 4))


@pytest.mark.parametrize("x", [np.array(1.0), np.zeros((0, 4))])
def test_no_batch(x):
    with pytest.raises(ValueError, match="expected a batch x"):
        check_gradients(Tanh(), x)


def test_no_elements():
    with pytest.raises(ValueError, match="expected max_elements of at least 1"):
        check_gradients(Tanh(), values(2, 2), max_elements=0)


def test_arrays_on_a_device(device):
    model = Dense(4, 3).initialize(0).to(device)
    x, labels = device.asarray(values(5, 4)), device.asarray(np.arange(5) % 3)
    assert check_gradients(model, x, loss=LogitCrossEntropy(), labels=labels)
    assert model.backend is device


def test_loss_without_labels():
    with pytest.raises(TypeError, match="loss and labels together"):
        check_gradients(Sequential(), values(5, 3), loss=LogitCrossEntropy())


class OneBuffer(LogitCrossEntropy):
    """A right loss that writes every gradient into the same array."""

    def forward(self, logits, labels):
        value = super().forward(logits, labels)
        self.buffer = getattr(self, "buffer", np.empty_like(logits))
        self.buffer[...] = super().backward()
        return value

    def backward(self):
        return self.buffer


class Transposed(LogitCrossEntropy):
    def backward(self):
        return super().backward().T


class InPlace(LogitCrossEntropy):
    def forward(self, logits, labels):
        logits -= 1
        return super().forward(logits, labels)


def test_losses_of_unusual_habits():
    x, labels = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    # By chance of the last labels asked for, a stale gradient is near the right one; not at 1e-9.
    assert check_gradients(Dense(4, 3), x, loss=OneBuffer(), labels=labels, tolerance=1e-9)
    with pytest.raises(ValueError, match=r"the outputs' shape \(6, 3\), got \(3, 6\)"):
        check_gradients(Dense(4, 3), x, loss=Transposed(), labels=labels)
    with pytest.raises(ValueError, match="the loss changed the outputs"):
        check_gradients(Dense(4, 3), x, loss=InPlace(), labels=labels)


def test_a_layer_that_takes_nothing_but_signs_is_not_asked_beside_them():
    class OnlySigns(Rescale):
        def forward(self, x, *, train=False):
            if not (abs(x) < 1.001).all():
                raise TypeError("signs")
            return super().forward(x, train=train)

    x = values(5, 4)
    x[0, 0] = 1.0  # at the clip: a kink, so that the functions' values are moved
    model = Sequential(Activation(SignSTE(clip=1.0)), OnlySigns(2.0), Dense(4, 3))
    report = check_gradients(model, x)
    assert report, str(report)
    assert report.results[-1].left_out == 1
