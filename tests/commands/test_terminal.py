"""Output of commands whose terminal, pipe or disk goes away."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys

import pytest
from command_line import SAMPLE

from minibnn import load_packed
from minibnn.commands import terminal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="terminals are POSIX's")


def train(path, *options, epochs=1):
    words = ["train", "--recipe", "seed", *SAMPLE, "--epochs", str(epochs), "-o", str(path)]
    return [sys.executable, "-W", "error", "-m", "minibnn", *words, *options]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The file of a training whose output is read."""
    path = tmp_path_factory.mktemp("expected") / "digits"
    subprocess.run(train(path), check=True, capture_output=True)
    return path.read_bytes()


# --- The log is lost, the model is not ------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">/dev/full", ["the log cannot be written (No space left on device); training goes on"]),
        (">&-", []),
        (">/dev/full 2>/dev/full", []),
        (">&- 2>&-", []),
        ("| true", ["the log cannot be written (Broken pipe); training goes on"]),
    ],
)
def test_a_log_that_is_lost_loses_no_model(tmp_path, expected, redirection, said):
    path = tmp_path / "digits"
    words = " ".join(f"'{word}'" for word in train(path))
    shell = f"({words}; echo $? >code) | true"  # which ends before the first line
    if redirection != "| true":
        shell = f"{words} {redirection}; echo $? >code"
    done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "code").read_text() == "0\n"
    assert [line[: len(s)] for line, s in zip(done.stderr.splitlines(), said, strict=True)] == said
    assert path.read_bytes() == expected


def test_without_stderr_nothing_of_it_goes_to_stdout(tmp_path, expected):
    path = tmp_path / "digits"
    path.write_bytes(b"")  # "is there and will be replaced" goes to stderr
    words = " ".join(f"'{word}'" for word in train(path))
    done = subprocess.run(["sh", "-c", f"{words} 2>&-"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "will be replaced" not in done.stdout
    assert done.stdout.startswith("MNIST sample")
    assert path.read_bytes() == expected


class Broken(io.StringIO):
    """A stream that fails once its descriptor is not nowhere."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        reading, self.descriptor = os.pipe()
        os.close(reading)

    def fileno(self):
        return self.descriptor

    def flush(self):
        if not os.path.samestat(os.fstat(self.descriptor), os.stat(os.devnull)):
            raise OSError(self.number, os.strerror(self.number))


def test_a_lost_log_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    for _ in range(3):
        terminal.log_line("epoch")
    said = capsys.readouterr().err
    assert said == (
        "the log cannot be written (No space left on device); training goes on without it\n"
    )
    assert terminal.flush() is None


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_flush_tells_how_stdout_failed(monkeypatch, name):
    monkeypatch.setattr(sys, name, Broken(errno.EPIPE))
    failed = terminal.flush()
    assert isinstance(failed, BrokenPipeError) == (name == "stdout")
    assert terminal.flush() is None


def test_closed_streams_take_no_text(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    terminal.note("to nobody")
    assert terminal.flush() is None
    assert capsys.readouterr().out == ""


# --- Terminals ------------------------------------------------------------------------------------


def lines_of(output):
    """What is left on the terminal's lines: what follows the last return to the first column."""
    lines = output.decode().replace("\r\n", "\n").split("\n")
    return [line.rsplit("\r", 1)[-1] for line in lines]


def test_the_log_and_the_bar_have_lines_of_their_own(tmp_path):
    from terminals import in_terminal

    output, code, sound = in_terminal(train(tmp_path / "digits", epochs=2))
    assert (code, sound) == (0, True)
    assert b"epoch 2/2: " in output
    lines = lines_of(output)
    assert [bool(re.fullmatch(r"[12]( +\d\.\d{3}){4}", line)) for line in lines[2:4]] == [True] * 2
    assert lines[-1] == ""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_a_sound_terminal(tmp_path, name):
    from terminals import in_terminal

    path, number = tmp_path / "run", signal.Signals[name]
    command = train(tmp_path / "digits", "--checkpoint", str(path), epochs=100_000)
    output, code, sound = in_terminal(command, until=b"epoch 2/", then=number)
    assert (code, sound) == (128 + number, True)
    *_, message, prompt = lines_of(output)
    assert message.startswith(f"{name}: training is saved in {path} after 1 epoch")
    assert message.endswith("the same command with --resume goes on")
    assert prompt == ""
    assert b"\x1b[?25l" not in output, "the cursor is never hidden"
    assert b"Traceback" not in output


@pytest.mark.parametrize("saving", [True, False])
def test_a_terminal_that_vanishes_loses_no_epoch(tmp_path, saving):
    from terminals import in_terminal

    path, run = tmp_path / "digits", tmp_path / "run"
    command = train(path, *(["--checkpoint", str(run)] if saving else []), epochs=100_000)
    _, code, _ = in_terminal(command, until=b"epoch 2/", then="close")
    assert code == 129
    if saving:
        assert run.exists()
    else:
        assert load_packed(path).training["epochs"] == 1
