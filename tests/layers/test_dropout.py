"""Dropout: what it drops, what it keeps, and that its draws replay."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import Dense, Dropout, Sequential


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(("rescale", "kept"), [(True, 4 / 3), (False, 1.0)])
def test_what_is_kept_and_what_is_dropped(rescale, kept):
    layer = Dropout(0.25, rescale=rescale).initialize(0)
    y = layer.forward(ones(500, 400), train=True)
    np.testing.assert_array_equal(np.unique(y), np.float32([0, kept]))
    # 200,000 draws: one standard deviation of the dropped part is 0.001.
    assert abs((y == 0).mean() - 0.25) < 0.005
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    np.testing.assert_array_equal(layer.backward(dy), dy * y)


def test_evaluation_is_the_identity_or_the_mean():
    x = np.float32([[1, -2], [0.5, 4]])
    assert Dropout(0.25).initialize(0).forward(x) is x
    np.testing.assert_array_equal(Dropout(0.25, rescale=False).forward(x), 0.75 * x)


def test_a_rate_of_zero_is_the_identity_and_needs_no_seed():
    layer, x = Dropout(0), ones(2, 3)
    assert layer.forward(x, train=True) is x
    assert layer.backward(x) is x
    assert layer.stream.count == 0


def test_each_draw_is_new_and_replays():
    layer, x = Dropout(0.5).initialize(3), ones(10, 10)
    first, second = (layer.forward(x, train=True) for _ in range(2))
    assert (first != second).any()
    layer.stream.count = 0
    np.testing.assert_array_equal(layer.forward(x, train=True), first)


def test_halves_of_a_batch_drop_what_the_whole_drops():
    x = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    layer = Dropout(0.5).initialize(0)
    whole = layer.forward(x, train=True)
    halves = []
    for first in (0, 4):
        layer.stream.count, layer.stream.first_sample = 0, first
        halves.append(layer.forward(x[first : first + 4], train=True))
    np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_a_seed_gives_one_mask_and_two_layers_have_different_ones():
    masks = []
    for _ in range(2):
        model = Sequential(Dropout(0.5), Dropout(0.5)).initialize(4)
        masks += [layer.forward(ones(10, 10), train=True) for layer in model]
    np.testing.assert_array_equal(masks[0], masks[2])
    np.testing.assert_array_equal(masks[1], masks[3])
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_mask_hides_no_fault(bad):
    x = np.full((10, 10), bad, np.float32)
    with np.errstate(invalid="ignore"):
        y = Dropout(0.5).initialize(0).forward(x, train=True)
    assert not np.isfinite(y).any()


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, float("nan")])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match=r"Dropout: expected a rate in \[0, 1\), got"):
        Dropout(rate)


def test_training_needs_a_seed():
    with pytest.raises(RuntimeError, match=r"call model.initialize\(rng\) first"):
        Dropout(0.5).forward(ones(2, 2), train=True)


def test_it_reads_like_its_code():
    assert repr(Dropout(0.5)) == "Dropout(0.5)"
    assert repr(Dropout(0.2, rescale=False)) == "Dropout(0.2, rescale=False)"


def test_nothing_waits_for_the_device(device):
    if device.name != "strict":
        pytest.skip("only the stand-in counts read-backs")
    import strictdev

    model = Sequential(Dense(4, 4), Dropout(0.5)).initialize(0).to(device)
    x = device.asarray(ones(3, 4))
    with strictdev.no_sync():
        model.backward(model.forward(x, train=True))
