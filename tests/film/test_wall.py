"""The wall: which weight, which of its bits, and in what order they stand in a tile."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Flatten,
    Heaviside,
    MagnitudeAwareSign,
    Rescale,
    Residual,
    Sequential,
    SignSTE,
    Ternary,
    Thermometer,
)
from minibnn.film import wall as module
from minibnn.film.wall import find_bits, layout, wall_bits

SIGN = SignSTE()


class OneOrTwo(SignSTE):
    """Two values, both above zero."""

    def forward(self, x):
        return (super().forward(x) + 3) / 2


def dense(n, m, quantizer=SIGN):
    return Dense(n, m, weight_quantizer=quantizer)


def bits_of(*layers):
    return find_bits(Sequential(*layers).initialize(0))


def test_the_first_layer_of_two_values():
    found = bits_of(Flatten(), Dense(8, 4), dense(4, 4, Ternary()), dense(4, 3), dense(3, 2))
    assert (found.path, str(found.layer), found.low) == ("3.weight", "Dense(4 -> 3)", -1)
    assert found.weight.shape == (4, 3)
    inside = Residual(Sequential(dense(4, 4), BatchNorm(4), Activation(SIGN)))
    found = bits_of(Flatten(), inside)
    assert found.path.endswith("0.weight")
    assert str(found.layer) == "Dense(4 -> 4)"
    assert bits_of(Dense(8, 4), dense(4, 4, Ternary())) is None
    assert bits_of(dense(4, 4, OneOrTwo()), dense(4, 2)).path == "1.weight"
    assert bits_of(dense(4, 4, Heaviside())).low == 0
    assert bits_of(dense(4, 4, MagnitudeAwareSign())).low == -1


# Each layer, the shape of a sample, the tile, and which input stands at some of its places.
LAYOUTS = {
    "flattened images": (dense(6, 4), (2, 3), (2, 3), "2x3 pixels", [0, 1, 2, 3, 4, 5]),
    "a channel of its own": (dense(6, 4), (2, 3, 1), (2, 3), "2x3 pixels", [0, 1, 2, 3, 4, 5]),
    "colours": (dense(12, 4), (2, 3, 2), (2, 6), "2x3 pixels, 2 channels side by side",
                [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]),
    "codes of numbers": (dense(6, 4), (2,), (2, 3), "2 numbers, a row of 3 bits for each",
                         [0, 1, 2, 3, 4, 5]),
    "codes of series": (dense(12, 4), (3, 2), (6, 2), "6 numbers, a row of 2 bits for each",
                        list(range(12))),
    "numbers": (dense(7, 4), (7,), (3, 3), "7 inputs", list(range(7))),
    "unknown": (dense(2500, 4), None, (50, 50), "2,500 inputs", list(range(2500))),
    "one": (dense(1, 4), None, (1, 1), "1 inputs", [0]),
    "a window": (Conv2D(1, 5, (2, 3), weight_quantizer=SIGN), (9, 9, 1), (2, 3),
                 "a window of 2x3 pixels", [0, 1, 2, 3, 4, 5]),
    "a window of colours": (Conv2D(2, 5, (1, 2), weight_quantizer=SIGN), (9, 9, 2), (1, 4),
                            "a window of 1x2 pixels, 2 channels side by side", [0, 2, 1, 3]),
    "many channels": (Conv2D(8, 5, 2, weight_quantizer=SIGN), None, (6, 6), "32 inputs",
                      list(range(32))),
    "a series": (Conv1D(2, 5, 3, weight_quantizer=SIGN), (9, 2), (2, 3),
                 "a window of 3 steps, a row for each of 2 channels", [0, 2, 4, 1, 3, 5]),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_where_each_input_stands(case):
    layer, sample, tile, meaning, order = LAYOUTS[case]
    found = bits_of(layer)
    wall, places = layout(found, sample)
    assert (wall.tile, wall.meaning, places.tolist()) == (tile, meaning, order)
    assert wall.inputs == len(order)
    assert wall.shown == wall.units == found.weight.shape[-1]
    W = found.weight.data
    bits = np.unpackbits(wall_bits(W > 0, wall, places), count=wall.shown * wall.inputs)
    flat = W.reshape(-1, wall.units)
    for unit, row in enumerate(bits.reshape(wall.shown, -1)):
        assert row.tolist() == (flat[order, unit] > 0).tolist()


def test_pixels_of_a_picture_stand_where_they_are_in_it(rng):
    """A unit that looks at the green of one pixel has its bit in the second picture."""
    wall, order = layout(bits_of(dense(4 * 5 * 3, 2)), (4, 5, 3))
    looks = np.zeros((4, 5, 3, 2), bool)
    looks[2, 3, 1, 1] = True
    bits = np.unpackbits(wall_bits(looks.reshape(-1, 2), wall, order), count=120)
    assert np.argwhere(bits.reshape(2, *wall.tile)).tolist() == [[1, 2, 5 + 3]]


def test_a_code_in_front_of_the_first_layer():
    model = Sequential(Thermometer(3, 8), dense(24, 5)).initialize(0)
    wall, _ = layout(find_bits(model), (3,))
    assert wall.tile == (3, 8)
    wall, _ = layout(find_bits(Sequential(Rescale(1), dense(24, 5)).initialize(0)), (24,))
    assert wall.tile == (5, 5)


def test_a_wall_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_BITS", 100)
    wall, order = layout(bits_of(dense(30, 50)), None)
    assert (wall.shown, wall.units, wall.inputs) == (3, 50, 30)
    wall, order = layout(bits_of(dense(400, 50)), (20, 20))
    assert (wall.shown, wall.inputs, len(order)) == (1, 100, 100)
    assert wall_bits(np.ones((400, 50), bool), wall, order).nbytes == 13
