"""Plots. matplotlib is imported only when something is drawn."""

from minibnn.plots.function import draw_function, plot_function
from minibnn.plots.history import plot_history
from minibnn.plots.live import live_plot
from minibnn.plots.model import plot_confusion, plot_weight_bits

__all__ = [
    "draw_function",
    "live_plot",
    "plot_confusion",
    "plot_function",
    "plot_history",
    "plot_weight_bits",
]
