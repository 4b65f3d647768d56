"""README's code, that of guides, and what people write next pass a strict type checker."""

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


GUIDES = ["training", "inspect", "chain-rule", "ship"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def test_code_of_users_passes(tmp_path):
    pytest.importorskip("mypy")
    pages = [ROOT / "README.md", *(ROOT / "docs" / "guides" / f"{name}.md" for name in GUIDES)]
    texts = ["\n\n".join(BLOCK.findall(page.read_text("utf-8"))) for page in pages]
    assert min(map(len, texts)) > 500
    names = [f"page_{page.stem.lower().replace('-', '_')}.py" for page in pages]
    for name, text in zip(names, texts, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "following.py").write_text(NEXT, encoding="utf-8")
    # Its own functions have no annotations; it gives one name to several objects.
    options = ["--strict", "--allow-untyped-defs", "--allow-redefinition"]
    mypy = [sys.executable, "-m", "mypy", *options, f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [*mypy, *names, "following.py"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "MYPYPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
