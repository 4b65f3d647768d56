"""The dense layers at the end of a packed model, which run as one operation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from packed_files import on_images
from packed_models import SIGN, dense, ink

from minibnn import Activation, Rescale, Sequential, pack
from minibnn.backend import CPU
from minibnn.packed.dense_tail import dense_tail
from minibnn.packed.inference import dense_layers


def dense_model(first):
    layers = dense(12, 7), Activation(SIGN), dense(7, 5), Activation(SIGN), dense(5, 3)
    return pack(Sequential(*first, *layers).initialize(0), (12,)), (12,)


MODELS = {
    "bits": lambda: (*dense_model(ink()), 1, 3),
    "pixels": lambda: (*dense_model([Rescale(1 / 255)]), 0, 3),
    "after a convolution": lambda: (pack(on_images("plain"), (8, 9)), (8, 9), 2, 1),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_tail_gives_the_accumulators_of_its_stages(name, rng):
    packed, shape, first, products = MODELS[name]()
    images = rng.integers(0, 256, (20, *shape), np.uint8)
    found, layers = dense_tail(packed, packed.stages, CPU)
    assert found == first
    assert len(layers.layers) == products
    assert layers.pixels == (first == 0)
    got = CPU.run(dense_layers, packed.after(images, first), layers)
    np.testing.assert_array_equal(got, packed.after(images, len(packed.stages) - 1))
    assert dense_tail(packed, packed.stages, CPU)[1] is layers  # kept


def test_a_model_that_ends_in_a_convolution_has_none():
    packed = pack(on_images("conv last"), (8, 9))
    assert dense_tail(packed, packed.stages, CPU) == (len(packed.stages) - 1, None)


@pytest.mark.parametrize(
    ("at", "source", "first"), [(None, None, 1), (5, 2, 6), (4, 1, 5), (3, 0, 5), (1, 0, 3)]
)
def test_the_tail_has_no_stage_with_sources(at, source, first, rng):
    """From such a stage on, or behind it, if no whole pair is left."""
    layers = [*ink(), dense(7, 7)]
    for _ in range(2):
        layers += [Activation(SIGN), dense(7, 7)]
    packed = pack(Sequential(*layers).initialize(0), (7,))
    if at is not None:
        stages = list(packed.stages)
        stages[at] = replace(stages[at], sources=(source,))
        packed = replace(packed, stages=tuple(stages))
    found, _ = dense_tail(packed, packed.stages, CPU)
    images = rng.integers(0, 256, (20, 7), np.uint8)
    expected = packed.after(images, len(packed.stages))
    np.testing.assert_array_equal(packed.predict_scores(images), expected)
    assert found == first
