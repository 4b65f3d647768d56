"""What counts as a notebook, and outputs that are replaced."""

from __future__ import annotations

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
