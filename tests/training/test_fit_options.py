"""`fit`'s options: what is evaluated and when, weights, metrics, clipping, loaders, resuming."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import strictdev
from checkpointed import killed_after_save
from clusters import binary_model, clusters
from devices import STRICT

from minibnn import (
    F1,
    SGD,
    Accuracy,
    Activation,
    Adam,
    BalancedAccuracy,
    Checkpoint,
    Cutout,
    DataLoader,
    Dense,
    EarlyStopping,
    Flatten,
    IterableLoader,
    LogitCrossEntropy,
    MeanSquaredError,
    PlainSteps,
    Rescale,
    Sequential,
    SignSTE,
    clip_gradients,
    evaluate,
    fit,
)

X, LABELS = clusters(300, 1)
OTHERS = clusters(101, 3)


def loader(*more, x=X, **options):
    return DataLoader((x, LABELS, *more), 32, shuffle=True, rng=2, **options)


def run(train=None, *given, backend="cpu", epochs=3, optimizer=None, loss=None, **options):
    model = options.pop("model", None) or binary_model(backend)
    optimizer = (optimizer or (lambda p: Adam(p, 1e-2)))(model.parameters())
    history = fit(
        model, train or loader(), *given, loss=loss or LogitCrossEntropy(), optimizer=optimizer,
        epochs=epochs, progress=False, **options,
    )  # fmt: skip
    return model, history


def values(model):
    return [model.backend.to_host(p.data).copy() for p in model.parameters()]


def assert_same(one, other):
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(a, b)


def measured(history):
    return [c for c in history.columns if not c.startswith("flips_")]


# --- What is evaluated ---------------------------------------------------------------------------


def test_the_data_give_the_columns_their_name():
    data = DataLoader(OTHERS, 32)
    (a, test), (b, keyword), (c, validation) = (
        run(None, data), run(test=data), run(validation=data),
    )  # fmt: skip
    assert measured(test) == ["loss_train", "loss_test", "acc_train", "acc_test"]
    assert measured(validation) == [c.replace("test", "validation") for c in measured(test)]
    pd.testing.assert_frame_equal(test, keyword)
    np.testing.assert_array_equal(test.to_numpy(), validation.to_numpy())
    assert_same(a, b)
    assert_same(a, c)


def test_without_validation():
    model, history = run()
    assert measured(history) == ["loss_train", "acc_train"]
    with_it, other = run(None, DataLoader(OTHERS, 32))
    assert_same(model, with_it)
    np.testing.assert_array_equal(history.loss_train, other.loss_train)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_the_training_set_is_evaluated_now_and_then(every):
    _, each = run(epochs=5)
    _, history = run(epochs=5, evaluate_train=every)
    assert measured(history) == ["loss"] * (every > 1) + ["loss_train", "acc_train"]
    due = history.index % every == 0
    np.testing.assert_array_equal(history.loss_train[due], each.loss_train[due])
    assert history.loss_train[~due].isna().all()


def test_nothing_is_evaluated_and_the_loss_is_that_of_the_steps(backend):
    with_it, each = run(backend=backend)
    model, history = run(backend=backend, evaluate_train=None)
    assert measured(history) == ["loss"]
    assert_same(model, with_it)
    again = binary_model(backend)
    steps = PlainSteps(again, LogitCrossEntropy(), Adam(again.parameters(), 1e-2))
    batches = loader().to(backend)
    means = [float(backend.to_host(steps.epoch(batches)).mean()) for _ in range(3)]
    np.testing.assert_allclose(history.loss, means, rtol=1e-12)
    np.testing.assert_array_equal(history.filter(like="flips"), each.filter(like="flips"))


def test_one_read_back_an_epoch_whatever_is_asked_for():
    counts = []
    run(
        loader(np.ones(300, np.float32)), validation=DataLoader(OTHERS, 32), backend=STRICT,
        epochs=4, on_epoch=lambda _: counts.append(strictdev.readbacks()), clip_norm=1.0,
        class_weight="balanced", metrics=[Accuracy(), BalancedAccuracy(), F1()],
    )  # fmt: skip
    assert np.diff(counts).tolist() == [1, 1, 1]


def test_a_fraction_is_held_out():
    data = loader()
    model, history = run(data, validation=0.2)
    training, validation = loader().split(0.2)
    by_hand, other = run(training, validation=validation)
    pd.testing.assert_frame_equal(history, other)
    assert_same(model, by_hand)
    assert (data.samples, data.epoch) == (300, 3)
    # two calls of two epochs are one of four
    again, whole = loader(), loader()
    one, other = binary_model(), binary_model()
    optimizer = Adam(one.parameters(), 1e-2)
    for _ in range(2):
        fit(one, again, validation=0.2, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=2)
    run(whole, validation=0.2, epochs=4, model=other)
    assert_same(one, other)


def test_metrics_are_columns():
    def distance(predictions, targets):
        return abs(predictions - targets)

    data = DataLoader(OTHERS, 32)
    model, history = run(validation=data, metrics=[BalancedAccuracy(), distance])
    assert measured(history) == [
        "loss_train", "loss_validation", "balanced_acc_train", "balanced_acc_validation",
        "distance_train", "distance_validation",
    ]  # fmt: skip
    found = evaluate(model, data, LogitCrossEntropy(), metrics=[distance, BalancedAccuracy()])
    assert found.balanced_accuracy == history.balanced_acc_validation.iloc[-1]
    assert found.distance == history.distance_validation.iloc[-1] == pytest.approx(
        abs(model.predict(OTHERS[0]).argmax(axis=1) - OTHERS[1]).mean()
    )  # fmt: skip
    _, none = run(metrics=[])
    assert measured(none) == ["loss_train"]


# --- Weights -------------------------------------------------------------------------------------


def plain_model():
    """Without batch norm, which sees all samples, whatever they weigh."""
    return Sequential(Dense(2, 4), Activation(SignSTE(clip=1.0)), Dense(4, 2)).initialize(0)


def dyadic(model):
    """Values that multiply and add without rounding."""
    for p in model.parameters():
        p.data[...] = np.round(p.data * 4) / 4
    return model


def test_weight_2_is_the_sample_twice_and_weight_0_its_absence():
    """Exactly, where nothing is rounded: by fractions of powers of two."""
    x = np.array([[1, -2], [0.5, 1], [-1, 3], [2, 0.25]], np.float32)
    t = np.array([[1, 0], [0, 1], [0.5, 2], [7, 9]], np.float32)
    weighted = DataLoader((x, t, np.array([2, 1, 1, 0])), 4)
    rows = [0, 0, 1, 2]
    repeated = DataLoader((x[rows], t[rows]), 4)
    results = []
    for data in (weighted, repeated):
        model, history = run(
            data, model=dyadic(plain_model()), loss=MeanSquaredError(), epochs=2,
            optimizer=lambda p: SGD(p, 0.25), evaluate_train=1,
        )  # fmt: skip
        results.append((values(model), history.to_numpy()))
    (a, first), (b, second) = results
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_sample_weights_in_general(class_weight):
    rng = np.random.default_rng(0)
    w = rng.integers(0, 4, 300)
    rows = np.repeat(np.arange(300), w)
    x = X.astype(np.float64)
    weighted = DataLoader((x, LABELS, w), 300)
    repeated = DataLoader((x[rows], LABELS[rows]), len(rows))
    results = []
    for data in (weighted, repeated):
        model = Dense(X.shape[1], 3).initialize(0, np.float64)
        _, history = run(data, model=model, epochs=10, optimizer=lambda p: SGD(p, 0.1),
                         metrics=[Accuracy(), F1(), BalancedAccuracy()],
                         class_weight=class_weight)  # fmt: skip
        results.append((values(model), history.to_numpy()))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9)


def test_class_weights_are_sample_weights():
    table = np.array([3.0, 1.0, 0.5])
    one, history = run(class_weight={0: 3, 2: 0.5})
    other, _ = run(loader(table[LABELS]))
    assert_same(one, other)
    # but they do not count in an evaluation
    found = evaluate(one, loader(), LogitCrossEntropy())
    assert history.loss_train.iloc[-1] == pytest.approx(found.loss, rel=1e-12)
    counts = np.bincount(LABELS)
    balanced, _ = run(class_weight="balanced")
    by_hand, _ = run(class_weight={k: 300 / (3 * n) for k, n in enumerate(counts)})
    assert_same(balanced, by_hand)
    # and they multiply weights of samples
    w = np.random.default_rng(0).random(300)
    both, _ = run(loader(w), class_weight={0: 3, 2: 0.5})
    product, _ = run(loader(w * table[LABELS]))
    assert_same(both, product)


def test_clipping_is_that_of_a_loop_of_ones_own():
    model, _ = run(clip_norm=0.1, epochs=1)
    again = binary_model()
    optimizer, loss = Adam(again.parameters(), 1e-2), LogitCrossEntropy()
    for x, labels in loader():
        loss.forward(again.forward(x, train=True), labels)
        again.backward(loss.backward(), need_dx=False)
        assert clip_gradients(optimizer, 0.1) > 0.1
        optimizer.step()
    assert_same(model, again)


# --- Loaders -------------------------------------------------------------------------------------


def batches_of(epoch):
    return list(loader().batches(epoch))


def test_an_iterable_trains_as_the_arrays_do(backend):
    one, history = run(validation=DataLoader(OTHERS, 32), backend=backend, evaluate_train=None,
                       capture=False if backend.host else None)  # fmt: skip
    streamed = IterableLoader(batches_of, 10)
    told = nullcontext()
    if not backend.host:
        told = pytest.warns(UserWarning, match="IterableLoader makes its batches itself")
    with told:
        other, found = run(
            streamed, validation=IterableLoader([OTHERS]), backend=backend, evaluate_train=None
        )
    assert_same(one, other)
    np.testing.assert_allclose(history.to_numpy(), found.to_numpy(), rtol=1e-6)
    assert streamed.epoch == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((np.full(5, 3),), r"labels: expected labels in 0\.\.2, got 3"),
        ((LABELS[:5], np.full(5, -1.0)), "train, weights: expected finite weights of at least 0"),
    ],
)
def test_batches_of_an_iterable_are_checked_before_a_device_has_them(wrong, message, device):
    batches = [*batches_of(0)[:3], (X[:5], *wrong)]
    with (
        pytest.warns(UserWarning, match="makes its batches itself"),
        pytest.raises(ValueError, match=message),
    ):
        run(IterableLoader(batches), backend=device)


def test_a_batch_of_an_iterable_may_weigh_nothing():
    batches = [(X[:32], LABELS[:32], np.zeros(32)), (X[32:64], LABELS[32:64], np.ones(32))]
    _, history = run(IterableLoader(batches))
    assert np.isfinite(history.loss_train).all()


def test_the_check_of_an_iterable_on_a_device_stays_there(device):
    loader = IterableLoader([(X[:32], LABELS[:32])])
    model = binary_model(device)
    evaluate(model, loader.to(device), LogitCrossEntropy())
    assert loader.check is not None
    evaluate(model.to("cpu"), loader.to("cpu"), LogitCrossEntropy())
    assert loader.check is None


def images():
    return np.random.default_rng(0).integers(0, 256, (300, 4, 4)).astype(np.uint8)


def net():
    return Sequential(Flatten(), Rescale(1 / 255), Dense(16, 3)).initialize(0)


def test_augmented_samples_are_trained_on_and_the_contract_is_known():
    data = loader(x=images(), augment=Cutout(2))
    model, history = run(data, model=net(), epochs=2)
    plain, _ = run(loader(x=images()), model=net(), epochs=2)
    assert (model[2].weight.data != plain[2].weight.data).any()
    assert model.input_contract.bytes_only
    found = evaluate(model, loader(x=images()), LogitCrossEntropy())
    assert history.loss_train.iloc[-1] == pytest.approx(found.loss, rel=1e-9)


# --- Resuming ------------------------------------------------------------------------------------


class Source:
    """An iterable with a state."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        while True:
            rows = np.arange(32 * self.at, 32 * self.at + 32) % 300
            self.at += 1
            yield X[rows], LABELS[rows]

    def state(self):
        return {"at": self.at}

    def restore(self, state):
        self.at = state["at"]


class Collecting:
    """A callback with a state, which sets a learning rate from it."""

    def __init__(self):
        self.seen = []

    def on_begin(self, model, history):
        self.optimizer = model.optimizer

    def on_epoch(self, history):
        self.seen.append(float(history.iloc[-1, 0]))
        self.optimizer.learning_rate = 0.01 / len(self.seen)

    def state(self):
        return {"seen": np.array(self.seen)}

    def restore(self, state):
        self.seen = state["seen"].tolist()


def collecting(*callbacks):
    return [Collecting(), *callbacks]


RESUMED = {
    "weights and clipping": lambda: {
        "train": loader(np.linspace(0, 2, 300)), "clip_norm": 0.2, "class_weight": "balanced",
    },
    "augmented": lambda: {"train": loader(x=X.reshape(300, 4, 2),
                                          augment=Cutout(1)), "build": True},
    "a fraction": lambda: {"validation": 0.2, "evaluate_train": 2},
    "only steps": lambda: {"evaluate_train": None},
    "an iterable": lambda: {"train": IterableLoader(Source(), 10), "evaluate_train": None},
    "early stopping": lambda: {
        "validation": DataLoader(OTHERS, 32), "callbacks": [EarlyStopping("acc_validation", 1)],
    },
    "callbacks": lambda: {"callbacks": collecting()},
}  # fmt: skip


def training(name, checkpoint=None):
    options = RESUMED[name]()
    model = binary_model()
    if options.pop("build", False):
        model = Sequential(Flatten(), Dense(8, 3)).initialize(0)
    optimizer = Adam(model.parameters(), 1e-2)
    if options.get("callbacks"):
        vars(model)["optimizer"] = optimizer
    train = options.pop("train", None) or loader()
    history = fit(
        model, train, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=4, progress=False,
        checkpoint=checkpoint, **options,
    )  # fmt: skip
    return model, optimizer, history


def same(one, other):
    (model, optimizer, history), (again, its, found) = one, other
    pd.testing.assert_frame_equal(history, found, check_exact=True)
    assert history.attrs == found.attrs
    assert_same(model, again)
    for name in ("_m", "_v"):
        np.testing.assert_array_equal(getattr(optimizer, name), getattr(its, name))


@pytest.mark.parametrize("saves", [1, 3, 6])
@pytest.mark.parametrize("name", RESUMED)
def test_it_is_resumed_to_the_same_bytes(name, saves, tmp_path):
    path, whole = str(tmp_path / "run.safetensors"), training(name)
    with killed_after_save(saves):
        training(name, Checkpoint(path, "4steps"))
    same(training(name, Checkpoint(path, "4steps", resume=True)), whole)
    # and once more, when there is nothing left to do
    same(training(name, Checkpoint(path, "4steps", resume=True)), whole)


def test_an_iterable_without_a_state_is_resumed_at_the_beginning_of_an_epoch(tmp_path):
    def make(checkpoint=None):
        model = binary_model()
        optimizer = Adam(model.parameters(), 1e-2)
        history = fit(
            model, IterableLoader(batches_of, 10), loss=LogitCrossEntropy(), optimizer=optimizer,
            epochs=3, evaluate_train=None, checkpoint=checkpoint,
        )  # fmt: skip
        return model, optimizer, history

    path = str(tmp_path / "run.safetensors")
    for every in ("4steps", "10min"):
        with pytest.raises(ValueError, match=r"expected batches with state\(\) and .*'1epoch'"):
            make(Checkpoint(path, every))
    with killed_after_save(2):
        make(Checkpoint(path, "1epoch"))
    same(make(Checkpoint(path, "1epoch", resume=True)), make())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip_norm": 2.0}, "clip_norm: None then, 2.0 now"),
        ({"class_weight": "balanced"}, "class_weight: None then, balanced now"),
        ({"callbacks": [EarlyStopping("loss_train", 1)]}, "callbacks"),
        ({"validation": 0.1}, "validation data"),
        (
            {"evaluate_train": 2},
            "columns of the history: none then, loss now; resume with the same",
        ),
    ],
)
def test_another_training_is_not_resumed(change, said, tmp_path):
    path = str(tmp_path / "run.safetensors")
    run(checkpoint=Checkpoint(path), epochs=1)
    with pytest.raises(ValueError, match=said):
        run(checkpoint=Checkpoint(path, resume=True), **change)


def test_class_weights_of_equal_numbers_are_the_same_training(tmp_path):
    path = str(tmp_path / "run.safetensors")
    run(checkpoint=Checkpoint(path), epochs=1, class_weight={0: 2, 1: 0.5})
    equal = {np.int64(1): np.float32(0.5), 0: 2.0}
    model, _ = run(checkpoint=Checkpoint(path, resume=True), epochs=2, class_weight=equal)
    assert_same(model, run(epochs=2, class_weight=equal)[0])
    with pytest.raises(ValueError, match=r"class_weight, 0: 2\.0 then, 3\.0 now"):
        run(checkpoint=Checkpoint(path, resume=True), epochs=3, class_weight={0: 3, 1: 0.5})
