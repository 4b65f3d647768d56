"""`model.predict`: batches, devices, what the outputs say, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from devices import STRICT
from loss_cases import OwnLoss
from tasks_to_train import TASKS, Task, table

from minibnn import (
    BinaryCrossEntropy,
    DataLoader,
    Dense,
    Hinge,
    Huber,
    InputContract,
    Layer,
    LogitCrossEntropy,
    MeanSquaredError,
    Rescale,
    Sequential,
)
from minibnn.training.predict import predict

OUTPUTS = np.array([[2, 1, -3], [-1, 1, 4], [-3, -2, -1]], np.float32)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 100])
def test_outputs_in_batches_are_those_of_the_whole(batch_size, backend):
    model = Rescale(0.5).to(backend)
    y = model.predict(backend.asarray(OUTPUTS), batch_size=batch_size)
    assert isinstance(y, backend.array_type)
    np.testing.assert_array_equal(backend.to_host(y), OUTPUTS / 2)


def test_samples_on_the_host_give_outputs_on_the_host(device):
    model = Rescale(0.5).to(device)
    for batch_size in (2, None):
        y = model.predict(OUTPUTS, batch_size=batch_size)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, OUTPUTS / 2)
    with pytest.raises(TypeError, match=rf"on {device.name}; use model\.to\('{device.name}'\)"):
        Rescale(0.5).predict(device.asarray(OUTPUTS))


@pytest.mark.parametrize("batch_size", [2, None])
@pytest.mark.parametrize(
    ("loss", "columns", "said"),
    [
        (LogitCrossEntropy(), 3, [0, 2, 2]),
        (Hinge(), 3, [0, 2, 2]),
        (BinaryCrossEntropy(), 1, [1, 0, 0]),
        (BinaryCrossEntropy(), 3, [[1, 1, 0], [0, 1, 1], [0, 0, 0]]),
        (MeanSquaredError(), 1, [2, -1, -3]),
        (Huber(), 3, OUTPUTS.tolist()),
        (OwnLoss(), 1, OUTPUTS[:, :1].tolist()),
    ],
    ids=lambda v: repr(v) if hasattr(v, "task") else "",
)
def test_what_the_outputs_say(loss, columns, said, batch_size, backend):
    model = Rescale(1.0).to(backend)
    x = backend.asarray(np.ascontiguousarray(OUTPUTS[:, :columns]))
    y = backend.to_host(model.predict(x, batch_size=batch_size, loss=loss))
    assert y.tolist() == said
    host = model.predict(backend.to_host(x), batch_size=batch_size, loss=loss)
    assert host.tolist() == said


@pytest.mark.parametrize("name", TASKS)
def test_a_prediction_is_what_the_metric_counts(name):
    """For the squared error of classes they are the rows of which the greatest counts."""
    task = Task(name, "cpu")
    task.fit()
    x, targets = task.test.arrays
    outputs, said = task.model.predict(x), task.model.predict(x, loss=task.loss)
    its = task.loss.task(outputs, targets)
    if name == "classes by squared error":
        said = said.argmax(axis=1)
    np.testing.assert_array_equal(said, its.predict(outputs))
    assert said.shape == its.truth(targets).shape or name == "a user's loss"


def test_a_network_runs_in_evaluation_and_does_not_change():
    task = Task("a number", "cpu")
    task.fit(epochs=1)
    x, _ = table(700, 5)
    before = task.model.state()
    y = task.model.predict(x, batch_size=33)
    np.testing.assert_allclose(y, task.model(x), rtol=1e-5, atol=1e-6)
    assert all(layer.saved is None for layer in task.model)
    for path, value in before["1"].items():
        np.testing.assert_array_equal(task.model.state()["1"][path], value, err_msg=path)


class Widths(Layer):
    """Notes the batches that it gets; its outputs are large."""

    def __init__(self, width):
        self.width, self.batches = width, []

    def forward(self, x, *, train=False):
        self.batches.append(len(x))
        return x[:, :1] * np.ones(self.width, np.float32)

    def backward(self, dy, *, need_dx=True):
        raise NotImplementedError


def test_memory_is_bounded():
    x = np.ones((3000, 2), np.float32)
    for width, most in ((1, 1000), (2**15, 40)):
        model = Widths(width)
        model.predict(x[: 3 * most])
        assert max(model.batches) <= most
        assert sum(model.batches) - 1 == 3 * most  # one sample was measured
    model = Widths(1)
    model.predict(x, batch_size=700)
    assert model.batches == [700, 700, 700, 700, 200]


class Pairs(Widths):
    """Has no output for one sample alone."""

    def forward(self, x, *, train=False):
        if len(x) < 2:
            raise ValueError("expected pairs")
        return super().forward(x, train=train)


def test_a_layer_that_cannot_be_measured_has_batches_of_32():
    model = Pairs(1)
    model.predict(np.ones((64, 2), np.float32))
    assert model.batches == [32, 32]


def test_what_is_refused():
    model = Sequential(Rescale(1.0), Dense(3, 2)).initialize(0)
    for x, error, message in (
        (DataLoader((OUTPUTS,), 2), TypeError, r"got a DataLoader; use \.arrays\[0\]"),
        (OUTPUTS.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (OUTPUTS[:0], ValueError, r"expected at least 1 sample, got x of shape \(0, 3\)"),
        (np.float32(1), ValueError, "expected at least 1 sample"),
        (OUTPUTS[:, :2], ValueError, r"expected x of shape \(batch, 3\)"),
    ):
        with pytest.raises(error, match=message):
            model.predict(x)
    for options, message in (
        ({"batch_size": 0}, "expected batch_size of at least 1, got 0"),
        ({"batch_size": 1.5}, "expected batch_size of type int"),
        ({"loss": LogitCrossEntropy}, "expected loss of type Loss, got the class"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"predict: {message}"):
            model.predict(OUTPUTS, **options)
    with pytest.raises(ValueError, match="at least 2 outputs"):
        predict(Dense(3, 1).initialize(0), OUTPUTS, loss=LogitCrossEntropy())


def test_samples_are_prepared_as_those_for_training():
    model = Sequential(Rescale(1 / 255), Dense(3, 2)).initialize(0)
    model.set_input_contract(InputContract("uint8", (3,)))
    pixels = np.array([[0, 128, 255]] * 2, np.uint8)
    assert model.predict(pixels).shape == (2, 2)
    with pytest.raises(TypeError, match=r"predict: x: expected samples of uint8.*got float32"):
        model.predict((pixels / 255).astype(np.float32))
    with pytest.raises(ValueError, match=r"a batch of samples of shape \(3,\), got one; use x\["):
        model.predict(pixels[0])
    assert model.predict(pixels[0][None]).shape == (1, 2)


def test_only_the_result_comes_back_from_a_device():
    import strictdev

    model, x = Rescale(0.5).to(STRICT), STRICT.asarray(OUTPUTS)
    with strictdev.no_sync():
        model.predict(x, batch_size=2, loss=LogitCrossEntropy())
