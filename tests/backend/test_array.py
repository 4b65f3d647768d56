"""Arrays whose class means more than their values are refused, wherever arrays come in."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    Dropout,
    Flatten,
    Hinge,
    ImageDataset,
    LogitCrossEntropy,
    MaxPool2D,
    MeanSquaredError,
    Radial,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    backend_of,
    check_gradients,
    disagreements,
    export_c,
    one_cold,
    one_hot,
    pack,
    write_idx,
)
from minibnn.backend import CPU, require_plain


def masked(a):
    """A masked array whose first value is masked."""
    mask = np.zeros(a.shape, bool)
    mask.flat[0] = True
    return np.ma.masked_array(a, mask)


def matrix(a):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(a)


class Metres(np.ndarray):
    """Computes differently from a plain array."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        raise NotImplementedError


X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
IMAGES = np.ones((6, 4, 4, 1), np.float32)
LABELS = np.arange(6) % 2
BYTES = np.zeros((6, 2, 2), np.uint8)


def packable():
    model = Sequential(Flatten(), Rescale(1 / 255), Dense(4, 2, weight_quantizer=SignSTE()))
    return model.initialize(0)


def packed():
    return pack(packable(), (2, 2))


def layer(made, x):
    made.initialize(0)
    return (lambda x: made.forward(x)), x


def backward(dy):
    made = Dense(4, 4).initialize(0)
    made.forward(X, train=True)
    made.backward(dy)


ENTRANCES = {
    "require_plain": (require_plain, X),
    "backend_of": (backend_of, X),
    "asarray": (CPU.asarray, X),
    "to_host": (lambda a: backend_of(a).to_host(a), X),
    "loader": (lambda x: DataLoader((x, LABELS), 2), X),
    "loader, labels": (lambda y: DataLoader((X, y), 2), LABELS),
    "dataset": (lambda x: ImageDataset("d", x, LABELS, BYTES, LABELS), BYTES),
    "dataset, labels": (lambda y: ImageDataset("d", BYTES, LABELS, BYTES, y), LABELS),
    "one_hot": (lambda y: one_hot(y, 2), LABELS),
    "one_cold": (one_cold, X),
    "write_idx": (lambda a: write_idx("/nowhere/a.idx", a), BYTES),
    "dense": layer(Dense(4, 2), X),
    "radial": layer(Radial(4, 2), X),
    "conv": layer(Conv2D(1, 2, 3), IMAGES),
    "pool": layer(MaxPool2D(2), IMAGES),
    "norm": layer(BatchNorm(4), X),
    "activation": layer(Activation(ReLU()), X),
    "sign": layer(Activation(SignSTE()), X),
    "dropout": layer(Dropout(0.5), X),
    "flatten": layer(Flatten(), BYTES),
    "reshape": layer(Reshape((4,)), BYTES),
    "rescale": layer(Rescale(1.0), BYTES),
    "sequential": layer(Sequential(Flatten(), Dense(4, 2)), X),
    "backward": (backward, X),
    **{
        f"{type(loss).__name__}, {what}": pair
        for loss in (LogitCrossEntropy(), Hinge(), MeanSquaredError())
        for what, pair in (
            ("logits", (lambda z, loss=loss: loss.forward(z, LABELS), X)),
            ("labels", (lambda y, loss=loss: loss.forward(X, y), LABELS)),
            ("rows", (lambda y, loss=loss: loss.forward(X, y), abs(X) / abs(X).sum(1)[:, None])),
        )
    },
    "initialiser": (lambda a: Dense(4, 2, weight_init=lambda *_: a).initialize(0), X[:4, :2]),
    "check_gradients": (lambda x: check_gradients(Dense(4, 2), x), X),
    "predict": (lambda x: packed().predict(x), BYTES),
    "predict_scores": (lambda x: packed().predict_scores(x), BYTES),
    "disagreements": (lambda x: disagreements(packable(), packed(), x), BYTES),
    "export_c": (lambda x: export_c(packed(), "/nowhere/a.h", images=x), BYTES),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_masks_are_not_ignored(entrance):
    take, plain = ENTRANCES[entrance]
    with pytest.raises(TypeError, match=r"got a numpy masked array.*a\.filled\(value\)"):
        take(masked(plain))


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_hint_works(entrance):
    take, plain = ENTRANCES[entrance]
    try:
        take(masked(plain).filled(plain.flat[0]))
    except OSError:
        assert entrance in ("write_idx", "export_c")  # which found everything else in order


@pytest.mark.parametrize("entrance", [p for p, (_, plain) in ENTRANCES.items() if plain.ndim == 2])
@pytest.mark.parametrize("kind", [matrix, lambda a: a.view(Metres)], ids=["matrix", "units"])
def test_classes_that_compute_differently(entrance, kind):
    take, plain = ENTRANCES[entrance]
    with pytest.raises(TypeError, match=r"got a (matrix|Metres).*convert it with numpy\.asarray"):
        take(kind(plain))


def test_classes_that_compute_as_arrays_do(tmp_path):
    class Named(np.ndarray):
        pass

    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    mapped[...] = X
    expected = Dense(4, 2).initialize(0).forward(X)
    for a in (mapped, X.view(Named)):
        np.testing.assert_array_equal(Dense(4, 2).initialize(0).forward(a), expected)
        assert len(DataLoader((a, LABELS), 2)) == 3
