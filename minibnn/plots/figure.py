"""A matplotlib figure. matplotlib is imported only here, and only when something is drawn."""

from __future__ import annotations

import importlib
import io
import os
from typing import Any, BinaryIO

from minibnn.atomic_file import whole_file


def matplotlib_figure(**options: Any) -> Any:
    """Make a figure that notebooks show.

    Raises:
        ImportError: without matplotlib; the message says how to install it.
    """
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

    made._repr_png_ = png  # notebooks call this
    return made


def save_figure(figure: Any, path: str | os.PathLike[str] | BinaryIO | None, dpi: int) -> None:
    """Write a figure to a file, completely or not at all; None saves nothing.

    The file extension selects the format; a name without one gets ``.png``, as in matplotlib. An
    open binary file, such as `io.BytesIO`, gets a PNG at its current position.

    Raises:
        ValueError: if matplotlib does not write this format.
        OSError: if the file cannot be written.
    """
    if path is None:
        return
    if not isinstance(path, str | bytes | os.PathLike):
        figure.savefig(path, dpi=dpi, format="png")
        return
    name = os.fsdecode(path)
    kind = os.path.splitext(name)[1][1:]
    if not kind and (os.path.isfile(name) or not os.path.exists(name)):  # not of /dev/stdout
        name = f"{name.rstrip('.')}.png"
    picture = io.BytesIO()
    figure.savefig(picture, dpi=dpi, format=kind or "png")
    with whole_file(name) as file:
        file.write(picture.getvalue())
