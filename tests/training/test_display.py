"""What people see of a training: a bar in a terminal, lines in a file, a line in a notebook."""

from __future__ import annotations

import io
import re
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import strictdev
from clusters import binary_model, clusters
from devices import STRICT
from notebooks import notebook  # noqa: F401 (a fixture)

from minibnn import Adam, DataLoader, LogitCrossEntropy, fit
from minibnn.training import display
from minibnn.training.display import Bar, Display, Lines, NotebookLine, display_for


class Stream(io.StringIO):
    def __init__(self, tty=False):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


def run(epochs=2, backend="cpu", **options):
    model = binary_model(backend)
    data = DataLoader(clusters(96, 1), 32, shuffle=True, rng=2)
    return fit(
        model, data, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), 1e-2),
        epochs=epochs, **options,
    )  # fmt: skip


@pytest.fixture
def stderr(monkeypatch):
    def put(tty):
        stream = Stream(tty)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def test_a_log_file_has_one_readable_line_an_epoch(stderr):
    stream = stderr(tty=False)
    history = run(progress=True, validation=DataLoader(clusters(50, 3), 32))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    for i, line in enumerate(lines, start=1):
        row = history.loc[i]
        names = "loss_train", "loss_validation", "acc_train", "acc_validation"
        numbers = ", ".join(f"{name} {row[name]:.4g}" for name in names)
        assert re.fullmatch(rf"epoch {i}/2: {re.escape(numbers)} \(\d+\.\d s\)", line)
    assert "\r" not in stream.getvalue()


def test_what_was_not_measured_is_not_in_the_line(stderr):
    stream = stderr(tty=False)
    run(progress=True, evaluate_train=2)
    one, two = stream.getvalue().splitlines()
    assert re.fullmatch(r"epoch 1/2: loss [\d.]+ \([\d.]+ s\)", one)
    assert "loss_train" in two


def test_a_terminal_has_a_bar_with_the_loss_which_is_gone_in_the_end(stderr, monkeypatch):
    monkeypatch.setattr(display, "SECONDS", 0)
    stream = stderr(tty=True)
    run(validation=DataLoader(clusters(50, 3), 32))
    text = stream.getvalue()
    assert "epoch 2/2" in text
    assert re.search(r"loss \d+\.\d+", text)
    assert "acc_validation 0." in text
    assert text.rstrip(" ").endswith("\r"), "the bar was wiped out"
    assert "\n" not in text


def test_a_device_is_not_read_for_the_bar(stderr, monkeypatch):
    monkeypatch.setattr(display, "SECONDS", 0)
    stderr(tty=True)
    reads = []
    run(epochs=3, backend=STRICT, capture=False,
        on_epoch=lambda _: reads.append(strictdev.readbacks()))  # fmt: skip
    assert [b - a for a, b in pairwise(reads)] == [1, 1]


@pytest.mark.parametrize(
    ("tty", "wanted", "kind"),
    [(True, None, Bar), (False, None, Display), (False, True, Lines), (True, True, Bar),
     (True, False, Display), (False, False, Display)],
)  # fmt: skip
def test_what_suits_where_it_runs(tty, wanted, kind, stderr):
    stderr(tty)
    with display_for(3, 5, wanted) as shown:
        assert type(shown) is kind


def test_no_stderr_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert type(display_for(3, 5, True)) is Display
    assert type(display_for(3, 5, None)) is Display


class Tee:
    """What programs put in the place of stderr: it writes, and has no other method."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


@pytest.mark.parametrize("wanted", [True, None])
def test_a_stderr_that_can_only_write_gets_lines(wanted, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Tee())
    assert len(run(progress=wanted)) == 2
    assert sys.stderr.text.count("\n") == (2 if wanted else 0)


def test_a_log_file_of_another_encoding_gets_escapes(monkeypatch):
    def κ(predictions, targets):
        return predictions == targets

    file = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(file, encoding="ascii"))
    run(progress=True, metrics=[κ])
    assert file.getvalue().count(b"\\u03ba_train 0.") == 2


@pytest.mark.parametrize("wanted", [True, None])
def test_a_closed_stderr_stops_nothing(wanted, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    sys.stderr.close()
    assert len(run(progress=wanted)) == 2


def test_a_terminal_that_is_closed_stops_nothing(monkeypatch):
    class Closed(Stream):
        def write(self, text):
            raise OSError("no such terminal")

    for tty in (True, False):
        monkeypatch.setattr(sys, "stderr", Closed(tty))
        assert len(run(progress=True)) == 2


# --- Notebooks -----------------------------------------------------------------------------------


def test_a_notebook_keeps_a_line_of_the_last_epoch(notebook, stderr, monkeypatch):  # noqa: F811
    monkeypatch.setattr(display, "SECONDS", 0)
    stream = stderr(tty=False)
    run()
    assert any(re.match(r"epoch 1/2, batch 2/3; loss [\d.]+$", text) for text in notebook.texts)
    assert any("before: loss_train" in text for text in notebook.texts)
    lines = [text for text in notebook.texts if re.match(r"epoch ./2: loss_train .* s\)$", text)]
    assert [line[:10] for line in lines] == ["epoch 1/2:", "epoch 2/2:", "epoch 2/2:"]
    assert notebook.texts[-1] == lines[-1]
    assert stream.getvalue() == "", "no bar that would stay in the notebook"


@pytest.mark.parametrize(("after", "last"), [(2, ""), (5, "epoch 1/9: ")])
def test_a_training_that_fails_leaves_no_stale_line(after, last, notebook, monkeypatch):  # noqa: F811
    monkeypatch.setattr(display, "SECONDS", 0)

    class Failing:
        steps = 0

        def on_step(self, epoch, step):
            self.steps += 1
            if self.steps == after:
                raise KeyError("gone")

    with pytest.raises(KeyError):
        run(epochs=9, callbacks=[Failing()])
    assert notebook.texts[-1].startswith(last)
    assert bool(notebook.texts[-1]) == bool(last)


def test_a_script_in_which_a_kernel_is_only_imported_is_no_notebook(notebook, stderr):  # noqa: F811
    stderr(tty=False)
    sys.modules["IPython"].get_ipython = lambda: None
    assert type(display_for(3, 5, None)) is Display
    sys.modules["IPython"].get_ipython = lambda: SimpleNamespace(kernel=1)
    assert type(display_for(3, 5, None)) is NotebookLine
    assert type(display_for(3, 5, False)) is Display
