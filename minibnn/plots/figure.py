"""A matplotlib figure. matplotlib is imported only here, and only when something is drawn."""

from __future__ import annotations

import importlib
import io
from typing import Any


def matplotlib_figure(**options: Any) -> Any:
    """Make a figure that notebooks show, or say how to install matplotlib."""
    try:
        # Figure, not pyplot: no global state and no window, also on a machine without a display.
        figure = importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    made = figure(**options)

    def png() -> bytes:
        buffer = io.BytesIO()
        made.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()

    made._repr_png_ = png  # what notebooks look for
    return made
