"""StochasticSign: its draws, their mean, replay and seeds."""

from __future__ import annotations

import numpy as np
import pytest

import minibnn
from minibnn import (
    Activation,
    AdaSTE,
    Dense,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    check_gradients,
)

# --- The one that draws -----------------------------------------------------------------------


def stochastic(seed=0, **settings):
    f = StochasticSign(**settings)
    f.initialize(np.random.default_rng(seed))
    return f


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_of_the_draws_is_x(dtype, backend):
    x = np.array([-3, -1, -0.5, -0.0, 0.25, 0.9, 1, 3], dtype)
    draws = 40_000
    there = backend.asarray(np.tile(x, (draws, 1)))
    y = backend.to_host(stochastic().train_forward(there))
    assert y.dtype == dtype
    np.testing.assert_array_equal(abs(y), 1)
    mean = y.mean(axis=0, dtype=np.float64)
    # Four standard deviations of the mean; at and beyond the edges nothing is random.
    slack = 4 * np.sqrt(np.maximum(1 - x.astype(float) ** 2, 0) / draws)
    assert (abs(mean - np.clip(x, -1, 1)) <= slack).all(), mean


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_certain_values_are_certain_also_for_the_outermost_draws(u, monkeypatch):
    f = stochastic()
    monkeypatch.setattr(f.stream, "uniform", lambda backend, shape, dtype: np.full(shape, u, dtype))
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(
            f.train_forward(np.array([-2, -1, 1, 2], dtype)), [-1, -1, 1, 1]
        )


def test_draws_are_independent_of_each_other():
    y = stochastic().train_forward(np.zeros((200, 200)))
    # Neighbours in a row, in a column, and the next draw: correlations within 4 / sqrt(40,000).
    assert abs((y[:, 1:] * y[:, :-1]).mean()) < 0.02
    assert abs((y[1:] * y[:-1]).mean()) < 0.02
    f = stochastic()
    first, second = f.train_forward(np.zeros((200, 200))), f.train_forward(np.zeros((200, 200)))
    assert abs((first * second).mean()) < 0.02


def test_a_seed_replays_and_every_draw_is_new(backend, rng):
    x = rng.uniform(-1, 1, (20, 10)).astype(np.float32)
    f, there = stochastic(), backend.asarray(x)
    first, second = (backend.to_host(f.train_forward(there)) for _ in range(2))
    assert (first != second).any()
    f.stream.count = 0
    np.testing.assert_array_equal(backend.to_host(f.train_forward(there)), first)
    np.testing.assert_array_equal(stochastic().train_forward(x), first)  # the CPU's draws
    assert (stochastic(seed=1).train_forward(x) != first).any()


def test_evaluation_and_backward_draw_nothing(rng):
    x = rng.uniform(-2, 2, (20, 10))
    f = stochastic(clip=1.0)
    np.testing.assert_array_equal(f.forward(x), SignSTE().forward(x))
    f.backward(np.ones_like(x), x)
    assert f.stream.count == 0
    assert (f.train_forward(x) != f.forward(x)).any()
    assert f.stream.count == 1


def test_a_layer_seeds_its_functions_draws():
    model = Sequential(
        Dense(4, 4, weight_quantizer=StochasticSign()), Activation(StochasticSign())
    ).initialize(0)
    seeds = [model[0].weight_quantizer.stream.seed, model[1].function.stream.seed]
    assert None not in seeds
    assert seeds[0] != seeds[1]


def test_drawing_before_initialize_says_what_to_call():
    f = StochasticSign()
    f.forward(np.zeros(3))
    with pytest.raises(RuntimeError, match=r"StochasticSign\(clip=None\): expected a seed.*rng"):
        f.train_forward(np.zeros(3))
    with pytest.raises(RuntimeError, match="expected a seed"):
        Activation(StochasticSign()).forward(np.zeros((2, 3), np.float32), train=True)


def test_gradient_check_seeds_a_copy_only(monkeypatch):
    layer = Activation(StochasticSign(clip=1.0))
    assert check_gradients(layer, np.random.default_rng(0).standard_normal((5, 4)))
    assert layer.function.stream.seed is None
    layer.initialize(0)
    seed = layer.function.stream.seed
    monkeypatch.delattr(minibnn.RandomStream, "initialize")  # the check must not draw again
    assert check_gradients(layer, np.random.default_rng(0).standard_normal((5, 4)))
    assert (layer.function.stream.seed, layer.function.stream.count) == (seed, 0)


def test_gradient_check_where_nothing_comes_back():
    """No backward runs below the first parameters, so there is no dy to anchor AdaSTE at."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4), dtype=np.uint8)
    model = Sequential(Rescale(4 / 255, -2.0), Activation(AdaSTE()), Dense(4, 3))
    assert check_gradients(model, pixels)
