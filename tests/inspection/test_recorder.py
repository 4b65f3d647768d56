"""The recorder: what enters and leaves each layer, in both directions."""

from __future__ import annotations

import numpy as np
from small_networks import net

from minibnn.inspection.recorder import Recorder


def test_the_recorder_notes_both_ways(backend):
    model = net().initialize(0).to(backend)
    recorder = Recorder(model)
    rng = np.random.default_rng(0)
    x = backend.asarray(rng.standard_normal((4, 15)).astype(np.float32))
    y = recorder.model.forward(x, train=True)
    dy = backend.asarray(rng.standard_normal(y.shape).astype(np.float32))
    recorder.model.backward(dy, need_dx=False)
    steps = recorder.steps
    assert [step.path for step in steps] == [str(i) for i in range(8)]
    assert steps[0].x is x
    assert steps[-1].y is y
    assert steps[-1].dy is dy
    assert all(a.y is b.x for a, b in zip(steps, steps[1:], strict=False))  # noqa: RUF007
    assert all(a.dy is b.dx for a, b in zip(steps[2:], steps[3:], strict=False))  # noqa: RUF007
    assert [step.dy is None for step in steps] == [True] * 2 + [False] * 6
    assert steps[2].dx is None, "nobody needs the first layer's"
    assert all(layer.saved is None for layer in model)
    recorder.clear()
    assert recorder.steps == []
