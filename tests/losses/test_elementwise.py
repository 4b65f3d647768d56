"""A user's losses of outputs and targets one by one: for numbers, and for classes."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import Weighted, every_value_loss, numbers

from minibnn import Sequential, check_gradients
from minibnn.losses import Classification, Regression, TargetLoss, ValueLoss


class LogCosh(ValueLoss):
    """``l = log cosh(y - t)``; one line, and everything else is there."""

    def each(self, y, t):
        return np.log(np.cosh(y - t)), np.tanh(y - t)


class ClassLogCosh(TargetLoss):
    """The same for classes."""

    def each(self, y, p):
        return np.log(np.cosh(y - p)), np.tanh(y - p)


def test_numbers(rng):
    y, t = rng.standard_normal((6, 1)), rng.standard_normal(6)
    loss = LogCosh()
    assert loss.forward(y, t) == pytest.approx(np.log(np.cosh(y.ravel() - t)).mean(), rel=1e-12)
    assert check_gradients(Sequential(), y, loss=loss, labels=t)
    assert check_gradients(Sequential(), y, loss=Weighted(loss, rng.random(6)), labels=t)
    assert type(loss.task(y, t)) is Regression


def test_classes(rng):
    y, labels = rng.standard_normal((6, 3)), rng.integers(0, 3, 6)
    loss = ClassLogCosh()
    assert check_gradients(Sequential(), y, loss=loss, labels=labels)
    assert check_gradients(Sequential(), y, loss=Weighted(loss, rng.random(6)), labels=labels)
    assert type(loss.task(y, labels)) is Classification


@every_value_loss
def test_gradients_of_every_value_loss_in_float32_have_its_dtype(loss, backend, rng):
    y, t = numbers(loss, (5, 3), rng)
    for kind in (np.float32, np.float64):
        value = loss.forward(backend.asarray(y), backend.asarray(t.astype(kind)))
        assert value.dtype == loss.backward().dtype == np.float32


@every_value_loss
def test_nothing_that_it_gets_is_changed(loss, rng):
    y, t = numbers(loss, (5, 3), rng)
    for weights in (None, np.ones(5, np.float32)):
        kept = [a if a is None else a.copy() for a in (y, t, weights)]
        loss.forward(y, t, weights)
        loss.backward()
        for a, before in zip((y, t, weights), kept, strict=True):
            np.testing.assert_array_equal(a, before)
        with pytest.raises(RuntimeError, match="backward needs a forward before it"):
            loss.backward()
