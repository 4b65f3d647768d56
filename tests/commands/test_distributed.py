"""Commands on several ranks."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from contextlib import contextmanager

import mpirun
import numpy as np
import pytest
from command_line import SAMPLE, refuses
from mpirun import Job, needs_mpirun

from minibnn import DivergedError, RanksDifferError
from minibnn.__main__ import main
from minibnn.commands import distributed
from minibnn.signals import gentle_ending
from minibnn.training.together import AllEndedError

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))

WITHOUT = argparse.Namespace(distributed=None)
EXACT = argparse.Namespace(distributed="exact", micro_batches=8, rank_timeout=60.0)


def table(path, samples=600):
    """Two classes, as arrays."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 6)).astype(np.float32)
    np.savez(path, x=x, y=(x[:, 0] > 0).astype(np.int64))
    return path


# --- In one process ---------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    """Whatever has started these tests."""
    for name in list(os.environ):
        if name.startswith(distributed.LAUNCHERS):
            monkeypatch.delenv(name)


def test_without_the_option_there_are_no_ranks():
    with distributed.ranks_of(WITHOUT) as ranks:
        assert ranks is None
        assert distributed.writes(ranks)


@pytest.mark.parametrize(("name", "number"), [("PMI_", "3"), ("OMPI_COMM_WORLD_", "12")])
def test_mpirun_without_the_option_is_refused_once(name, number, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv(f"{name}SIZE", number)
    monkeypatch.setenv(f"{name}RANK", "0")
    words = ["train", *SAMPLE, "-o", str(tmp_path / "out")]
    refuses(
        capsys, words, 2, f"expected --distributed with mpirun, got {number} processes without it"
    )
    monkeypatch.setenv(f"{name}RANK", "1")
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2
    assert capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_one_process_of_mpirun_needs_no_option(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "1")
    with distributed.ranks_of(WITHOUT) as ranks:
        assert ranks is None


def test_wrong_options_are_said_once(monkeypatch, capsys, tmp_path):
    words = [
        "train",
        *SAMPLE,
        "-o",
        str(tmp_path / "out"),
        "--distributed",
        "exact",
        "--micro-batches",
    ]
    refuses(capsys, [*words, "0"], 2, "micro_batches")
    refuses(
        capsys, [*words, "8", "--rank-timeout", "0"], 2, "expected a positive timeout in seconds"
    )
    monkeypatch.setenv("PMI_RANK", "1")
    with pytest.raises(SystemExit) as raised:
        main([*words, "0"])
    assert raised.value.code == 2
    assert capsys.readouterr() == ("", "")


def test_without_mpi4py(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    words = ["train", *SAMPLE, "-o", str(tmp_path / "out"), "--distributed", "sum"]
    refuses(capsys, words, 1, 'pip install "minibnn[mpi]" mpich')


def test_alone_it_trains_and_writes(tmp_path, capsys):
    data = table(tmp_path / "own.npz")
    for name in ("one", "two"):
        words = ["train", str(data), "--epochs", "1", "--device", "cpu", "--distributed", "exact"]
        assert main([*words, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "epoch  loss_train" in capsys.readouterr().out


class Second:
    """Ranks of which this is not the first."""

    first = False

    @contextmanager
    def ending_together(self, *agreed, tell):
        yield


@pytest.fixture
def second(monkeypatch):
    monkeypatch.setattr(distributed, "Ranks", lambda *args, **options: Second())


def test_other_ranks_print_and_log_nothing(second, capsys):
    logger = logging.getLogger("minibnn")
    handler = logging.StreamHandler(sys.stderr)  # keeps this stream, as that of the command does
    logger.addHandler(handler)
    try:
        with distributed.ranks_of(EXACT) as ranks:
            assert not distributed.writes(ranks)
            print("printed")  # noqa: T201
            print("printed", file=sys.stderr)  # noqa: T201
            logger.warning("logged")
        assert capsys.readouterr() == ("", "")
        logger.warning("logged later")
        assert capsys.readouterr().err == "logged later\n"
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DivergedError(1.0, 1, 1, None), 5),
        (RanksDifferError("they differ"), 2),
        (AllEndedError(143), 143),
    ],
)
def test_of_errors_that_all_raise_rank_0_tells(second, error, code, capsys):
    with pytest.raises(SystemExit) as raised, distributed.ranks_of(EXACT):
        raise error
    assert raised.value.code == code
    assert capsys.readouterr() == ("", "")
    with pytest.raises(KeyError), distributed.ranks_of(EXACT):
        raise KeyError  # of others, each its own


def test_what_is_told_of_an_error():
    assert distributed._tell(ValueError("pass micro_batches=4")) == (
        2,
        "error: add --micro-batches 4",
    )
    assert distributed._tell(KeyError("x"))[0] == 1
    assert "KeyError: 'x'" in distributed._tell(KeyError("x"))[1]
    assert distributed._tell(SystemExit(0))[0] == 1
    assert distributed._tell(KeyboardInterrupt()) == (130, "interrupted")
    with gentle_ending() as ending:
        ending.code = 143
        assert distributed._tell(KeyboardInterrupt()) == (143, "interrupted")


# --- By mpirun --------------------------------------------------------------------------------

TRAIN = ("-m", "minibnn", "train")
FAILS = """
import os
from minibnn import Activation, BatchNorm, Dense, Sequential, SignSTE, Thermometer

def network():
    if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1":
        raise OSError("no such thing on this machine")
    return Sequential(Thermometer(6, 8), Dense(48, 2, bias=False, weight_quantizer=SignSTE()), BatchNorm(2))
"""


@needs_mpirun
def test_diverging_training_ends_with_5_and_one_message(tmp_path):
    data = table(tmp_path / "own.npz")
    words = (*TRAIN, data, "--lr", "1e38", "-o", tmp_path / "out", "--distributed", "exact")
    ended = mpirun.run(2, *words)
    assert mpirun.is_code(ended, 5), ended.text
    assert ended.text.count("error: fit: the loss became ") == 1
    assert ended.text.count("device: cpu") == 1
    assert not (tmp_path / "out").exists()


@needs_mpirun
def test_an_error_before_the_training_on_one_rank(tmp_path):
    data, recipe = table(tmp_path / "own.npz"), tmp_path / "recipe.py"
    recipe.write_text(FAILS)
    words = (*TRAIN, data, "--recipe", f"{recipe}:network", "-o", tmp_path / "out")
    ended = mpirun.run(2, *words, "--distributed", "sum", "--rank-timeout", "60")
    assert mpirun.is_code(ended, 2), ended.text  # that of a wrong recipe
    assert ended.text.count("rank 1 of 2: error: ") == 1
    assert ended.text.count("no such thing on this machine") == 1
    assert not (tmp_path / "out").exists()


@needs_mpirun
def test_sigterm_to_one_rank_and_the_training_on_another_number(tmp_path):
    data = table(tmp_path / "own.npz")
    words = (*TRAIN, data, "--epochs", "6", "--hidden", "16", "--distributed", "exact", "-o")
    saving = ("--checkpoint", tmp_path / "run", "--checkpoint-every", "1step", "--resume")
    job = Job(3, *words, tmp_path / "out", *saving)
    deadline = time.monotonic() + mpirun.LONGEST
    while not (tmp_path / "run").exists() and job.process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send(signal.SIGTERM, 1)
    ended = job.end()
    assert mpirun.is_code(ended, 143), ended.text
    assert ended.text.count("SIGTERM: training is saved in ") == 1
    assert not (tmp_path / "out").exists()
    resumed = mpirun.run(2, *words, tmp_path / "out", *saving)
    assert resumed.code == 0, resumed.text
    assert main([*map(str, words[2:]), str(tmp_path / "whole")]) == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


@needs_mpirun
def test_without_a_checkpoint_a_signal_to_one_rank_is_that_of_all(tmp_path):
    """They finish the batch, and rank 0 saves what there is; the exit code is the signal's."""
    data = table(tmp_path / "own.npz")
    words = (*TRAIN, data, "--epochs", "100", "--hidden", "16", "--distributed", "sum")
    job = Job(2, *words, "-o", tmp_path / "out")
    for line in job.process.stdout:
        if line[:1].isdigit():  # some epochs are complete
            break
    job.send(signal.SIGTERM, 1)
    ended = job.end()
    assert mpirun.is_code(ended, 143), ended.text
    assert ended.text.count("interrupted after ") == 1
    assert (tmp_path / "out").exists()
