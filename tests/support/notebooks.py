"""A stand-in for Jupyter: the outputs of a cell, each with all that it has shown."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest


class Output:
    """One output of a cell."""

    def __init__(self, shown):
        self.shown = shown

    def update(self, content, *, raw):
        assert raw
        self.shown.append(content)


class Notebook:
    """The cell that runs."""

    def __init__(self):
        self.cells = []

    def display(self, content, *, raw, display_id):
        assert raw
        assert display_id is True
        self.cells.append([content])
        return Output(self.cells[-1])

    @property
    def outputs(self):
        """What a saved notebook keeps: the last content of each output."""
        return [shown[-1] for shown in self.cells]

    @property
    def texts(self):
        """All texts that were ever shown, in their order."""
        return [content["text/plain"] for shown in self.cells for content in shown]


@pytest.fixture
def notebook(monkeypatch):
    cell = Notebook()
    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=1)
    module.display = cell.display
    for name, fake in (("ipykernel", ModuleType("ipykernel")), ("IPython", ipython),
                       ("IPython.display", module)):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, fake)
    return cell
