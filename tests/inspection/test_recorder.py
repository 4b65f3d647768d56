"""The recorder: what enters and leaves each layer, in both directions."""

from __future__ import annotations

import numpy as np
from cases import residual_net
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


def test_branches_are_noted_with_what_they_combine(rng):
    model = residual_net().initialize(0)
    recorder = Recorder(model)
    x = rng.standard_normal((4, 6, 6, 1)).astype(np.float32)
    y = recorder.model.forward(x, train=True)
    recorder.model.backward(np.ones_like(y), need_dx=False)
    steps = {step.path: step for step in recorder.steps}
    branch = ["block.0", "block.1", "block.2"]
    pooled = [[*(f"3.{i}.{b}" for b in [*branch, "shortcut"]), f"3.{i}"] for i in (0, 1)]
    assert list(steps) == [
        "0", *(f"1.{b}" for b in branch), "1", "2", *pooled[0], *pooled[1], "3", "4", "5",
    ]  # fmt: skip
    residual, inside = steps["1"], steps["1.block.2"]
    np.testing.assert_array_equal(residual.y, inside.y + residual.x)
    assert residual.x is steps["1.block.0"].x is steps["0"].y
    np.testing.assert_array_equal(residual.dx, steps["1.block.0"].dx + residual.dy)
    both = steps["3.0"].y, steps["3.1"].y
    np.testing.assert_array_equal(steps["3"].y, np.concatenate(both, axis=-1))
    assert steps["3"].x is steps["3.1.block.0"].x is steps["2"].y
