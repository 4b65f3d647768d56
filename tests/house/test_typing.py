"""README's code, and what people write next, pass a type checker in its strict mode."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEXT = """
import numpy as np

from minibnn import DataLoader, Dense, LogitCrossEntropy, Loss, Sequential, evaluate
from minibnn.backend import Array


class Half(Loss):
    def forward(self, outputs: Array, targets: Array) -> Array:
        self.saved = (outputs,)
        return outputs.mean() / 2

    def backward(self) -> Array:
        (outputs,) = self.take_saved()
        return 0 * outputs + 0.5 / outputs.size


model = Sequential(Dense(3, 4), Dense(4, 2)).initialize(0)
x, labels = np.zeros((2, 3), np.float32), np.array([0, 1])
print(model[1].weight.data.shape, model[1].weight.grad, [str(layer) for layer in model])
logits = model.forward(x, train=True)
loss = LogitCrossEntropy()
value = loss.forward(logits, labels, np.ones(2))
model.backward(loss.backward(), need_dx=False)
print(float(value), logits.argmax(axis=1), model(x).shape, model.predict(x, loss=loss).tolist())
metrics = evaluate(model, DataLoader((x, labels), 2), loss)
mean, accuracy = metrics
print(metrics.loss + metrics.accuracy + mean, loss.task(logits, labels).predict(logits))
"""


def test_code_of_users_passes(tmp_path):
    pytest.importorskip("mypy")
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.S | re.M)  # fmt: skip
    assert len(blocks) > 5
    (tmp_path / "readme.py").write_text("\n\n".join(blocks), encoding="utf-8")
    (tmp_path / "following.py").write_text(NEXT, encoding="utf-8")
    # Its own functions have no annotations; it gives one name to several objects.
    options = ["--strict", "--allow-untyped-defs", "--allow-redefinition"]
    mypy = [sys.executable, "-m", "mypy", *options, f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [*mypy, "readme.py", "following.py"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "MYPYPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
