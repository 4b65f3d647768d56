"""The command line: usage errors, exit codes, help, and output that cannot be written."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from command_line import SAMPLE, with_paths

from minibnn import load_packed
from minibnn.__main__ import COMMANDS, main


@pytest.mark.skipif(sys.platform == "win32", reason="pipes work otherwise there")
@pytest.mark.parametrize("words", [["inspect", "FILE"], ["inspect", "FILE", "--json"]])
def test_an_end_of_reading_is_quiet(trained, words):
    """As behind `| head -1`, but always before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "minibnn", *with_paths(words, trained, "")],
        stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writing)
    assert (done.stderr, done.returncode) == ("", 141)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_the_output_is_an_error(trained):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "minibnn", "inspect", str(trained)],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="descriptors are POSIX's")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_was_closed_before_is_no_error(trained, closed):
    words = f"'{sys.executable}' -m minibnn inspect '{trained}' {closed}"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed == "2>&-")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "--data-dir", "x", "--dataset", "sample", "-o", "y"], 2, "leave out one of the two"),
        (["train", "--data-dir", "nowhere", "-o", "y"], 3, "MNIST is not complete in nowhere"),
        (["train", "--recipe", "binarynet", *SAMPLE, "-o", "y"], 2, "training images that it holds out"),
    ],
)  # fmt: skip
def test_other_errors(words, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "minibnn.commands.train.pack", lambda model, shape: None
    )  # binarynet takes seconds
    assert main(words) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["pact"], "invalid choice: 'pact'"),
        (["train"], "required: -o/--output"),
        (["train", "-o", "x", "--epochs", "0"], "--epochs: expected at least 1, got 0"),
        (["train", "-o", "x", "--epochs", "few"], "--epochs: expected a whole number, got 'few'"),
        (["train", "-o", "x", "--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["train", "-o", "x", "--lr", "nan"], "--lr: expected a positive number, got 'nan'"),
        (["train", "-o", "x", "--lr", "inf"], "--lr: expected a positive number, got 'inf'"),
        (["train", "-o", "x", "--lr", "0"], "--lr: expected a positive number, got '0'"),
        (["train", "-o", "x", "--recipe", "mordern"], "invalid choice: 'mordern'"),
        (["export", "c++", "x", "-o", "y"], "invalid choice: 'c++'"),
        (["evaluate"], "required: FILE"),
    ],
)
def test_wrong_usage(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_too_little_memory_is_said_in_one_line(monkeypatch, capsys):
    def run(given):
        raise MemoryError

    monkeypatch.setattr("minibnn.commands.inspect.run", run)
    assert main(["inspect", "any"]) == 1
    assert capsys.readouterr().err.startswith("error: expected more memory than there is; use a")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert re.search(r"^examples?:\n  python -m minibnn " + command, printed, re.MULTILINE)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_cannot_be_printed_is_written(trained, tmp_path, encoding):
    name = os.fsdecode("é".encode() + b"\xff") if os.name == "posix" else "é"
    done = subprocess.run(
        [sys.executable, "-m", "minibnn", "pack", trained, "-o", name],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"after" in done.stdout
    assert load_packed(tmp_path / name)


def test_ctrl_c_while_a_command_is_imported(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("minibnn.__main__.import_module", interrupted)
    assert main(["inspect", "any"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_is_there_at_once():
    """The list of commands imports none of them, nor NumPy."""
    code = (
        "import sys\n"
        "from minibnn.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n"
        "    print(*sorted(m for m in sys.modules if m.partition('.')[0] in ('minibnn', 'numpy')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stderr == ""
    *_, loaded = done.stdout.splitlines()
    own = "__main__ commands commands.exit_codes commands.terminal signals version"
    assert loaded.split() == ["minibnn", *(f"minibnn.{name}" for name in own.split())]
    for command in COMMANDS:
        assert f"\n    {command} " in done.stdout
