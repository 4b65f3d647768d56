"""The plot of a running training: what it draws, where, how often, and that it resumes."""

from __future__ import annotations

import base64
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from clusters import binary_model, clusters
from devices import STRICT
from histories import HISTORY
from notebooks import notebook  # noqa: F401 (a fixture)

from minibnn import (
    Activation,
    Adam,
    Checkpoint,
    DataLoader,
    Dense,
    LogitCrossEntropy,
    Sequential,
    SignSTE,
    fit,
    live_plot,
)
from minibnn.plots import live
from minibnn.plots.live import LivePlot, draw_training

matplotlib = pytest.importorskip("matplotlib")
PNG = b"\x89PNG"
WEIGHTS = ["1.weight", "4.weight"]


def train(*callbacks, epochs=3, model=None, backend="cpu", **options):
    model = binary_model(backend) if model is None else model
    data = DataLoader(clusters(96, 1), 32, shuffle=True, rng=2)
    return model, fit(
        model, data, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), 1e-2),
        epochs=epochs, callbacks=list(callbacks), **options,
    )  # fmt: skip


class Drawn:
    """Keeps what was drawn, instead of drawing it."""

    def __init__(self, monkeypatch, seconds=0.0):
        self.calls, self.now = [], 0.0

        def draw(figure, history, weights, distances):
            self.calls.append((len(history), list(weights), np.array(distances)))
            self.now += seconds

        monkeypatch.setattr(live, "draw_training", draw)
        monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: self.now))


class MeanWeights:
    """The mean of |W| of each weight after each epoch, and before the first."""

    def __init__(self):
        self.found = []

    def on_begin(self, model, history):
        self.weights = [p.data for _, p, _ in model.named_quantized()]
        self.on_epoch(history)

    def on_epoch(self, history):
        self.found.append([float(abs(W).mean(dtype=np.float64)) for W in self.weights])


def test_it_draws_after_each_epoch_what_was_measured_then(monkeypatch):
    drawn, means = Drawn(monkeypatch), MeanWeights()
    model, _ = train(means, live_plot())
    assert [len(call[2]) for call in drawn.calls] == [2, 3, 4]
    assert [call[0] for call in drawn.calls] == [1, 2, 3]
    for _, weights, distances in drawn.calls:
        assert weights == [path for path, _, _ in model.named_quantized()]
        np.testing.assert_array_equal(distances, means.found[: len(distances)])


def test_the_distances_of_a_device_are_read_once_an_epoch(monkeypatch):
    drawn = Drawn(monkeypatch)
    train(live_plot(), backend=STRICT)
    host = Drawn(monkeypatch)
    train(live_plot())
    np.testing.assert_allclose(drawn.calls[-1][2], host.calls[-1][2], rtol=1e-5)


def test_drawing_takes_a_part_of_the_time_and_the_last_epoch_is_drawn(monkeypatch):
    """An epoch takes 1 s here and a picture 5 s, after which 15 s pass without one."""
    drawn = Drawn(monkeypatch, seconds=5)

    class Second:
        def on_epoch(self, history):
            drawn.now += 1

    train(Second(), live_plot(), epochs=20)
    assert [call[0] for call in drawn.calls] == [1, 16, 20]


def test_the_four_plots():
    table = HISTORY.assign(**{"flips_1.weight": [0.3, 0.1], "flips_4.weight": [0.2, 0.05]})
    figure = matplotlib.figure.Figure()
    draw_training(figure, table, WEIGHTS, [[0.5, 0.6], [0.4, 0.7], [0.3, 0.8]])
    lines = [
        [(line.get_label(), line.get_xdata().tolist(), line.get_ydata().tolist())
         for line in axes.lines]
        for axes in figure.axes
    ]  # fmt: skip
    assert lines == [
        [("train", [1, 2], [2.0, 1.0]), ("test", [1, 2], [2.1, 1.2])],
        [("train", [1, 2], [0.5, 0.8]), ("test", [1, 2], [0.4, 0.7])],
        [("1.weight", [1, 2], [0.3, 0.1]), ("4.weight", [1, 2], [0.2, 0.05])],
        [("1.weight", [0, 1, 2], [0.5, 0.4, 0.3]), ("4.weight", [0, 1, 2], [0.6, 0.7, 0.8])],
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss", "accuracy", "share of weights flipped", "mean |W|, distance from zero",
    ]  # fmt: skip
    assert [axes.get_ylim()[0] for axes in figure.axes[2:]] == [0, 0]


def test_a_network_of_floats_and_a_loss_without_a_metric():
    figure = matplotlib.figure.Figure()
    draw_training(figure, HISTORY[["loss_train"]], [], [[], []])
    assert [bool(axes.axison) for axes in figure.axes] == [True, False, False, False]
    model = Sequential(Dense(8, 4), Activation(SignSTE()), Dense(4, 3)).initialize(0)
    train(live_plot(), model=model, epochs=1)


def test_a_notebook_has_one_picture_which_is_replaced(notebook, monkeypatch):  # noqa: F811
    monkeypatch.setattr(live, "SHARE", 0)
    train(live_plot(), progress=False)
    (shown,) = notebook.cells
    assert [content["text/plain"] for content in shown[1:]] == ["1 epoch", "2 epochs", "3 epochs"]
    pictures = [base64.b64decode(content["image/png"]) for content in shown[1:]]
    assert all(picture.startswith(PNG) for picture in pictures)
    assert len(set(pictures)) == 3
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    ), "no second picture by the notebook's own"


@pytest.fixture
def pyplot(monkeypatch):
    """pyplot of a machine with a screen, or without one: ``framework`` None."""
    module = ModuleType("matplotlib.pyplot")
    module.framework, module.log = "tk", []

    def figure(**options):
        made = matplotlib.figure.Figure(**options)
        made.canvas.required_interactive_framework = module.framework
        made.show = lambda: module.log.append("show")
        made.canvas.draw = lambda: module.log.append(f"{len(made.axes)} axes")
        return made

    module.figure = figure
    module.close = lambda figure: module.log.append("close")
    module.pause = lambda seconds: module.log.append("pause")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", module)
    return module


def test_a_script_with_a_screen_has_one_window(pyplot, monkeypatch):
    monkeypatch.setattr(live, "SHARE", 0)
    train(live_plot())
    assert pyplot.log == ["show", *["4 axes", "pause"] * 3]


def test_a_script_without_a_screen_has_none(pyplot, tmp_path):
    pyplot.framework = None
    train(live_plot(tmp_path / "live.png"))
    assert pyplot.log == ["close"]
    assert (tmp_path / "live.png").read_bytes().startswith(PNG)


class Steps:
    count = 0

    def on_step(self, epoch, step):
        self.count += 1


def test_a_file_that_cannot_be_written_is_found_before_the_training(tmp_path):
    steps = Steps()
    with pytest.raises(FileNotFoundError, match="make it first"):
        train(steps, live_plot(tmp_path / "nowhere" / "live.png"))
    assert steps.count == 0


def test_without_matplotlib_the_error_comes_before_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    steps = Steps()
    with pytest.raises(ImportError, match="pip install matplotlib"):
        train(steps, live_plot())
    assert steps.count == 0


def test_a_resumed_training_goes_on_with_its_plots(tmp_path, monkeypatch):
    drawn = Drawn(monkeypatch)
    train(live_plot())
    whole = drawn.calls[-1]
    drawn.calls.clear()
    path = tmp_path / "run"
    train(live_plot(tmp_path / "a.png"), epochs=1, checkpoint=Checkpoint(path))
    # Where the picture goes is no part of the job.
    train(live_plot(tmp_path / "b.png"), checkpoint=Checkpoint(path, resume=True))
    assert [call[0] for call in drawn.calls] == [1, 2, 3]
    np.testing.assert_array_equal(drawn.calls[-1][2], whole[2])


def test_a_second_training_begins_anew(monkeypatch):
    drawn, plot = Drawn(monkeypatch), live_plot()
    model, _ = train(plot)
    train(plot, model=model, epochs=1)
    assert [len(call[2]) for call in drawn.calls] == [2, 3, 4, 2]
    assert repr(plot) == "LivePlot()"
    assert isinstance(plot, LivePlot)
