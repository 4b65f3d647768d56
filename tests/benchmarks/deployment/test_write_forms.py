"""benchmarks/deployment/write_forms.py: folded floats, and forms left out."""

from __future__ import annotations

import sys

import numpy as np

from deployment.write_forms import fold, write_forms
from minibnn import load_sample, pack
from minibnn.recipes import RECIPES


def test_folded_floats_are_the_packed_network():
    """Thresholds of both directions, sums on a threshold, and constant channels."""
    model = RECIPES["modern"]().build().initialize(0)
    rng = np.random.default_rng(0)
    for part in model.parameters():
        if part.name == "gamma":
            part.data[...] = rng.choice([-1, 0, 1, 0.01], part.data.shape)
        elif part.name == "beta":
            part.data[...] = rng.choice([-1, 0, 1], part.data.shape)
    packed = pack(model, (28, 28))
    x = load_sample().test_images.reshape(-1, 784).astype(np.float32)
    bits = [packed.after(load_sample().test_images, stages) for stages in (2, 4)]
    *hidden, (W, b) = fold(packed)
    assert packed.stages[1].falling.any()
    for (weights, biases), expected in zip(hidden, bits, strict=True):
        y = x @ weights.T + biases
        assert (abs(y) >= 0.5).all()
        np.testing.assert_array_equal(y > 0, expected == 1)
        x = np.copysign(np.float32(1), y)
    np.testing.assert_allclose(
        x @ W.T + b, packed.logits(load_sample().test_images), rtol=1e-4, atol=1e-4
    )


def test_forms_left_out_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    model = RECIPES["modern"]().build().initialize(0)
    left_out = write_forms(tmp_path, model, pack(model, (28, 28)), load_sample())
    texts = sorted(text for text in left_out.values() if "no C compiler" not in text)
    assert [text.partition(" left out: ")[0] for text in texts] == [
        "ONNX Runtime, floats",
        "ONNX Runtime, integers",
    ]
