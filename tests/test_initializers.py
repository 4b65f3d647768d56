"""Initialisers: ranges, and the learning-rate scales that follow from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minibnn import (
    Fill,
    GlorotUniform,
    Uniform,
    glorot_lr_scale,
)


def test_glorot_uniform_fills_its_range(rng):
    W = GlorotUniform()((300, 100), rng)
    a = np.sqrt(6 / 400)
    assert -a <= W.min() < -0.99 * a
    assert 0.99 * a < W.max() <= a
    assert GlorotUniform()((3, 3, 8, 16), rng).max() <= np.sqrt(6 / (9 * 24))


def test_uniform_fills_its_range(rng):
    W = Uniform()((300, 100), rng)
    assert -1 <= W.min() < -0.99
    assert 0.99 < W.max() < 1


def test_lr_scales_of_the_published_network():
    scales = [glorot_lr_scale(*s) for s in ((784, 4096), (4096, 4096), (4096, 10))]
    assert [round(s, 1) for s in scales] == [57.0, 73.9, 52.3]


def test_fill_draws_nothing():
    rng = np.random.default_rng(0)
    assert (Fill(2.5)((3, 2), rng) == 2.5).all()
    assert rng.random() == np.random.default_rng(0).random()


# --- BinaryNet's rates ------------------------------------------------------------------------


def test_binarynets_scales():
    widths = [784, 4096, 4096, 4096, 10]
    scales = [glorot_lr_scale(n, m) for n, m in pairwise(widths)]
    assert [round(s, 1) for s in scales] == [57.0, 73.9, 73.9, 52.3]
