"""Checks of weights: where each begins to warn, and what is no fault."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from diagnosed_models import X, build, dense, diagnosed, loader, severities, shifted_away, sound

from minibnn import Activation, BatchNorm, Dense, Function, SignSTE, Uniform
from minibnn.diagnosis.weights import CLIPPED_SHARE, STARVED_SHARE


@dataclass
class OneWay(Function):
    """A sign that stops the gradients which would carry a value further outside."""

    bits = 1

    def forward(self, x):
        return SignSTE().forward(x)

    def backward(self, dy, x):
        return dy * ~((x >= 1) & (dy < 0) | (x <= -1) & (dy > 0))


def test_weights_at_an_edge_that_lets_them_back_are_not_starved(backend):
    layers = sound()
    layers[3] = Dense(
        21, 15, bias=False, weight_quantizer=OneWay(), weight_init=Uniform(-2, 2), weight_bound=1.0
    )
    model = build(layers, backend)
    model[3].weight.data[...] = model[3].weight.data.clip(-1, 1)  # half of them at the edge
    assert diagnosed(model).findings == ()


def test_a_starved_unit_counts_with_the_weights_of_constant_inputs(backend):
    x = X.copy()
    x[:, :4] = -1.0
    model, _ = shifted_away()
    found = {f.kind: f.figure for f in diagnosed(model.to(backend), loader(x)).findings}
    assert found["starved"] == pytest.approx(1 / 21)


@pytest.mark.parametrize(("width", "found"), [(51, True), (101, False)])  # 2.0%, 0.99%
def test_one_starved_unit(width, found):
    layers = [dense(12, width), BatchNorm(width), Activation(SignSTE(clip=1.0)), dense(width, 3)]
    model = build(layers)
    model[1].beta.data[0] = 40.0
    assert severities(diagnosed(model), "starved") == [("warning", "0.weight")] * found
    assert found == (1 / width > STARVED_SHARE)


@pytest.mark.parametrize(("outside", "found"), [(14, False), (18, True)])  # of 315: 4.4%, 5.7%
def test_a_few_weights_outside_their_clip(outside, found):
    layers = sound()
    layers[3] = Dense(21, 15, bias=False, weight_quantizer=SignSTE(clip=1.0))
    model = build(layers)
    model[3].weight.data.ravel()[:outside] = 1.5
    assert severities(diagnosed(model), "clipped") == [("warning", "3.weight")] * found
    assert found == (outside / (21 * 15) > CLIPPED_SHARE)


def test_weights_of_inputs_that_never_change_are_not_called_clipped():
    x = X.copy()
    x[:, :4] = -1.0
    layers = sound()
    layers[0] = Dense(12, 21, bias=False, weight_quantizer=SignSTE(clip=1.0))
    model = build(layers)
    model[0].weight.data[:4] = 1.5
    assert diagnosed(model, loader(x)).findings == ()
