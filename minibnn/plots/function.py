"""Plot a function and the derivative used in training."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np

from minibnn.checks import finite
from minibnn.functions import Function
from minibnn.plots.figure import matplotlib_figure, save_figure

POINTS = 2401  # of the grid; odd, so that its middle is a point


def plot_function(
    f: Function,
    path: str | os.PathLike[str] | BinaryIO | None = None,
    *,
    limits: tuple[float, float] = (-3, 3),
) -> Any:
    """Draw a function and the derivative that training uses.

    Left: ``y = f(x)`` and, dashed, the surrogate. Right: ``f.backward`` for dy = 1, and for dy = -1
    if it differs. Jumps are gaps in the line. A function that uses the mean or maximum of its
    argument gets all x of the picture as one channel.

    Args:
        f: for instance ``SwishSign()``.
        path: where to save the picture (.png, .svg, .pdf), or an open binary file, which gets a
            PNG; None saves nothing.
        limits: the range of x.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        TypeError: if `f` is not a `Function`.
        ValueError: if the limits do not increase.
        ImportError: without matplotlib.
    """
    if not isinstance(f, Function):
        raise TypeError(f"plot_function: expected an object of class Function, got {f!r}")
    try:
        low, high = limits
    except (TypeError, ValueError):
        raise TypeError(f"plot_function: expected limits such as (-3, 3), got {limits!r}") from None
    limits = finite("plot_function", "limits", low), finite("plot_function", "limits", high)
    if not limits[0] < limits[1]:
        raise ValueError(f"plot_function: expected limits that increase, got {limits}")
    figure = matplotlib_figure(figsize=(9, 3.6), layout="constrained")
    draw_function(figure, f, limits)
    save_figure(figure, path, dpi=150)
    return figure


def draw_function(figure: Any, f: Function, limits: tuple[float, float]) -> None:
    """Draw the picture of `plot_function` into a figure or subfigure."""
    x = np.linspace(*limits, POINTS)[:, None]
    one = np.ones_like(x)
    y, surrogate = f.forward(x), f.surrogate_at(x, one)(x)
    slope, slope_back = f.backward(one, x), -f.backward(-one, x)

    value, gradient = figure.subplots(1, 2)
    if not np.array_equal(y, surrogate):
        value.plot(x, _with_gaps(surrogate), "--", color="tab:orange", label="surrogate")
    value.plot(x, _with_gaps(y), color="tab:blue", label="forward")
    margin = 0.6 * np.ptp(y) or 1.0  # an unbounded surrogate would flatten the function
    value.set_ylim(
        max(y.min() - margin, min(y.min(), surrogate.min()) - 0.1 * margin),
        min(y.max() + margin, max(y.max(), surrogate.max()) + 0.1 * margin),
    )
    value.set_ylabel("y")

    gradient.plot(x, _with_gaps(slope), color="tab:green", label="dy = 1")
    if not np.array_equal(slope, slope_back):
        gradient.plot(x, _with_gaps(slope_back), ":", color="tab:red", label="-dx for dy = -1")
        gradient.legend(frameon=False, loc="lower center")
    low, high = min(0.0, slope.min(), slope_back.min()), max(slope.max(), slope_back.max())
    gap = 0.05 * (high - low) or 1.0
    gradient.set_ylim(low - gap, high + gap)  # includes 0, so that a constant looks constant
    gradient.set_ylabel("dx for dy = 1")
    for axes in (value, gradient):
        axes.set_xlim(limits)
        axes.set_xlabel("x")
        axes.grid(alpha=0.3)
    value.legend(frameon=False)
    figure.suptitle(repr(f))


def _with_gaps(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`y` with nan where it jumps, so that no line is drawn there.

    A jump is a difference far above both neighbouring differences; steep slopes and kinks are not.
    """
    y = y.copy()
    d = abs(np.diff(y[:, 0]))
    beside = np.maximum(np.append(d[1:], 0), np.append(0, d[:-1]))
    y[1:][d > 8 * beside + 1e-9] = np.nan
    return y
