"""Weight quantizers whose backward needs the gradient of the whole batch."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from minibnn import AdaSTE, Conv2D, Dense, Radial, Sequential, SignSTE
from minibnn.distributed.deferred import Deferred, deferring, finish


def outside(shape, rng):
    """Latent weights of which many are outside of [-1, 1], where AdaSTE's slope depends on dy."""
    return 2 * rng.standard_normal(shape)


LAYERS = {
    "Dense": (lambda q: Dense(4, 3, weight_quantizer=q, weight_init=outside), (10, 4)),
    "Radial": (lambda q: Radial(4, 3, weight_quantizer=q, weight_init=outside), (10, 4)),
    "Conv2D": (lambda q: Conv2D(2, 3, 3, weight_quantizer=q, weight_init=outside), (10, 5, 5, 2)),
}


def gradient(layer, x, dy):
    layer.forward(x, train=True)
    layer.backward(dy, need_dx=False)
    return layer.weight.grad.copy()


@pytest.mark.parametrize("name", LAYERS)
def test_of_a_batch_in_parts_the_gradient_is_that_of_the_whole(name, rng):
    make, shape = LAYERS[name]
    layer = make(AdaSTE()).initialize(0, np.float64)
    x = rng.standard_normal(shape)
    dy = rng.standard_normal(layer.forward(x).shape)
    whole = gradient(layer, x, dy)
    parts = (slice(0, 3), slice(3, 10))
    with deferring([layer]):
        total = sum(gradient(layer, x[rows], dy[rows]) for rows in parts)
    layer.weight.grad[...] = total
    finish(layer)
    np.testing.assert_allclose(layer.weight.grad, whole, rtol=1e-10, atol=1e-12)
    # Without it, it is another one.
    assert abs(sum(gradient(layer, x[rows], dy[rows]) for rows in parts) - whole).max() > 0.1


def test_only_quantizers_that_are_not_linear_are_deferred(rng):
    model = Sequential(
        Dense(4, 5, weight_quantizer=SignSTE(clip=1.0)), Sequential(Dense(5, 3, weight_quantizer=AdaSTE()))
    ).initialize(0)  # fmt: skip
    first, second = model.layers[0], model.layers[1].layers[0]
    with suppress(KeyError), deferring([model]):
        assert first.weight_quantizer == SignSTE(clip=1.0)
        assert repr(second.weight_quantizer) == f"Deferred({AdaSTE()!r})"
        raise KeyError
    assert second.weight_quantizer == AdaSTE()
    assert second.weight.quantizer == AdaSTE()
    for layer in (first, second):
        layer.weight.grad[...] = rng.standard_normal(layer.weight.shape)
    before = first.weight.grad.copy()
    finish(model)
    assert (first.weight.grad == before).all()


def test_a_deferred_quantizer_has_the_values_of_its_own(rng):
    x = rng.standard_normal(20)
    deferred = Deferred(AdaSTE())
    for method in ("forward", "train_forward"):
        assert (getattr(deferred, method)(x) == getattr(AdaSTE(), method)(x)).all()
    assert deferred.backward(x, 3 * x) is x
