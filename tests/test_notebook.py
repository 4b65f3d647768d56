"""What counts as a notebook, and outputs that are replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
from notebooks import notebook  # noqa: F401 (a fixture)

from minibnn.notebook import Place, in_notebook


def test_content_is_replaced(notebook):  # noqa: F811
    place = Place({"text/plain": "one"})
    other = Place({"text/plain": "A"})
    place.show({"text/plain": "two", "text/html": "<b>two</b>"})
    assert notebook.cells == [
        [{"text/plain": "one"}, {"text/plain": "two", "text/html": "<b>two</b>"}],
        [{"text/plain": "A"}],
    ]
    other.show({"text/plain": "B"})
    assert notebook.outputs == [
        {"text/plain": "two", "text/html": "<b>two</b>"}, {"text/plain": "B"},
    ]  # fmt: skip


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_a_script_or_a_prompt_is_no_notebook(notebook, shell):  # noqa: F811
    assert in_notebook()
    sys.modules["IPython"].get_ipython = lambda: shell
    assert not in_notebook()


def test_nothing_is_imported_to_find_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert not in_notebook()
    assert "ipykernel" not in sys.modules


CELLS = """
import numpy as np
from minibnn import *
x = np.random.default_rng(0).normal(size=(96, 8)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
model = Sequential(Dense(8, 4, weight_quantizer=SignSTE()), Dense(4, 2)).initialize(0)
data = DataLoader((x, y), 4, shuffle=True, rng=0)
options = {"loss": LogitCrossEntropy(), "optimizer": Adam(model.parameters())}
%%
history = fit(model, data, epochs=30, **options)
%%
history = fit(model, data, epochs=5, callbacks=[live_plot()], **options)
%%
model.summary((8,))
"""
RUN = """
import json, sys, nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(text) for text in sys.stdin.read().split("%%")]
book = nbformat.v4.new_notebook(cells=cells)
manager = KernelManager()
manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
NotebookClient(book, km=manager, timeout=120).execute()
print(json.dumps([cell.outputs for cell in book.cells]))
"""


def test_in_a_real_kernel_nothing_stacks_up():
    pytest.importorskip("nbclient", reason="no nbclient, which runs notebooks")
    pytest.importorskip("ipykernel", reason="no ipykernel")
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=CELLS, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    _, line, plot, table = json.loads(done.stdout.splitlines()[-1])
    assert [list(output["data"]) for output in line] == [["text/plain"]]
    assert line[0]["data"]["text/plain"].startswith("epoch 30/30: loss_train ")
    assert [sorted(output["data"]) for output in plot] == [
        ["image/png", "text/plain"], ["text/plain"],
    ]  # fmt: skip
    assert plot[0]["data"]["text/plain"] == "5 epochs"
    assert "<table" in table[0]["data"]["text/html"]
