"""Jupyter: whether the program runs in a notebook, and outputs that are replaced in place."""

from __future__ import annotations

import sys

__all__ = ["Place", "in_notebook"]


def in_notebook() -> bool:
    """Whether this is a cell of a notebook, not a script that happens to import a kernel."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class Place:
    """A place below a notebook's cell. What is shown there replaces what was shown before.

    Args:
        content: what stands there at first, by its MIME type: ``{"text/plain": "..."}``.
    """

    def __init__(self, content: dict[str, str]) -> None:
        from IPython.display import display

        self._handle = display(content, raw=True, display_id=True)

    def show(self, content: dict[str, str]) -> None:
        """Replace the content."""
        self._handle.update(content, raw=True)
