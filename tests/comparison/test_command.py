"""``python -m minibnn compare``."""

from __future__ import annotations

import json
import os
import signal
import sys

import pandas as pd
import pytest
from comparison_runs import table
from fuzz_kills import descendants, gone, kill_and_resume, rows, start, words, workers
from fuzz_writer import killed_everywhere
from recipes_to_send import own_recipe

from minibnn import Adam, compare
from minibnn.__main__ import main
from minibnn.atomic_file import whole_file
from minibnn.comparison import command


def run(tmp_path, *arguments):
    common = ["--dataset", "sample", "--epochs", "1", "--out", str(tmp_path / "out")]
    return main(["compare", *common, *arguments])


def test_command(tmp_path, capsys):
    code = run(tmp_path, "--quantizers", "SignSTE(clip=1.0)", "ReLU", "--seeds", "2",
               "--optimizers", "Adam", "--held-out", "3000")  # fmt: skip
    printed = capsys.readouterr().out
    assert code == 0
    assert "modern on MNIST sample" in printed
    assert "3,000 training images held out" in printed
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoint.json", "comparison.png", "config.json", "runs.csv", "table.txt",
    ]  # fmt: skip
    assert (out / "table.txt").read_text() == printed
    runs = pd.read_csv(out / "runs.csv")
    assert runs.entry.to_list() == ["SignSTE(clip=1.0) + Adam", "ReLU + Adam"] * 2
    config = json.loads((out / "config.json").read_text())
    assert (config["seeds"], config["epochs"], config["held_out"]) == (2, 1, 3000)


def test_command_does_not_rank_one_seed(tmp_path, capsys):
    assert run(tmp_path, "--quantizers", "SignSTE(clip=1.0)", "ApproxSign", "--seeds", "1") == 0
    printed = capsys.readouterr().out
    assert "not ranked: one seed says nothing about noise" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantizers", "Sine"], "got 'Sine'"),
        (["--seeds", "0"], "at least 1 seed"),
        (["--held-out", "0"], "validation_split: expected count"),
        (["--epochs", "0"], "at least 1 epoch"),
        (["--jobs", "0"], "compare: expected --jobs of at least 1, got 0"),
        (["--jobs", "2", "--distributed"], "--jobs: expected none beside --distributed, got 2"),
        (["--quantizers", "SignSTE(clip='a')"], "SignSTE(clip='a'): "),
        (["--quantizers", "SignSTE(clip=-1)"], "expected clip to be a positive number"),
        (["--quantizers", "SignSTE(depth=1)"], "unexpected keyword argument 'depth'"),
    ],
)
def test_command_errors(tmp_path, capsys, arguments, message):
    assert run(tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "an earlier comparison there stays whole"


def test_the_command_knows_how_coarse_an_accuracy_is(tmp_path, capsys, monkeypatch):
    runs = table(ApproxSign=[0.5, 0.5], SwishSign=[0.5 + 1 / 666] * 2).assign(loss=0.0)
    monkeypatch.setattr(command, "compare", lambda *a, **k: runs)
    assert run(tmp_path, "--seeds", "2") == 0
    assert "666 training images held out" in (printed := capsys.readouterr().out)
    assert "not ranked: every difference lies inside the noise" in printed


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert run(tmp_path, "--seeds", "1") == 1
    assert "out" in capsys.readouterr().err


def test_a_diverged_run_is_told(tmp_path, capsys):
    options = ["--recipe", "seed", "--weight-quantizers", "Identity", "--optimizers", "SGD(1e30)"]
    assert run(tmp_path, *options, "--seeds", "1") == 0
    said = capsys.readouterr()
    assert "SGD(1e30), seed 0: diverged, counts as 0" in said.err
    assert said.out.endswith("1 run diverged and counts as 0\n")


def test_very_long_names_leave_room_for_the_picture(tmp_path):
    name = "SignSTE(clip=1." + "0" * 120 + ")"
    assert run(tmp_path, "--quantizers", name, "--seeds", "1") == 0  # a warning is an error here


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_keeps_the_runs_so_far(tmp_path, capsys, monkeypatch, finished):
    step, steps = Adam.step, []

    def interrupted(self, **options):
        steps.append(self)
        if len({id(optimizer) for optimizer in steps}) > finished:
            signal.raise_signal(signal.SIGINT)
        step(self, **options)

    out = tmp_path / "out"
    out.mkdir()
    for stale in ("runs.csv", "table.txt", "comparison.png"):
        (out / stale).write_text("of an earlier comparison")
    monkeypatch.setattr(Adam, "step", interrupted)
    assert run(tmp_path, "--quantizers", "SignSTE", "--seeds", "3") == 130
    said = capsys.readouterr()
    assert said.out == ""
    for earlier in ("runs.csv", "table.txt", "comparison.png"):
        assert (out / earlier).read_text() == "of an earlier comparison"
    if finished:
        new = out / "unfinished"
        assert f"interrupted; the runs so far are in {new / 'runs.csv'}" in said.err
        assert sorted(p.name for p in new.iterdir()) == ["config.json", "runs.csv"]
        assert len(json.loads((out / "checkpoint.json").read_text())["rows"]) == 1
        assert len(pd.read_csv(new / "runs.csv")) == 1
    else:
        assert "interrupted; no run was finished" in said.err
        assert len(list(out.iterdir())) == 3


def test_ctrl_c_while_the_picture_is_drawn(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "plot_comparison", interrupted)
    assert run(tmp_path, "--quantizers", "SignSTE", "--seeds", "1") == 130
    said = capsys.readouterr()
    runs = tmp_path / "out" / "runs.csv"
    assert f"interrupted; the runs so far are in {runs}" in said.err
    assert len(pd.read_csv(runs)) == 1


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
def test_a_kill_at_any_step_hurts_no_result(tmp_path, monkeypatch):
    def compare(*arguments, on_run, **options):
        runs = table(ApproxSign=[0.5, 0.5], SwishSign=[0.75, 0.5]).assign(loss=0.0, seconds=1.0)
        for count in range(1, len(runs) + 1):
            on_run(runs[:count])
        return runs

    def plot(runs, ranking, path, **options):
        with whole_file(path) as file:
            file.write(b"picture")

    def run_into(out):
        words = ["compare", "--dataset", "sample", "--seeds", "2", "--held-out", "100"]
        monkeypatch.chdir(out)  # the settings name the folder
        assert main([*words, "--out", "."]) == 0

    monkeypatch.setattr(command, "compare", compare)
    monkeypatch.setattr(command, "plot_comparison", plot)
    names = ["runs.csv", "table.txt", "comparison.png", "config.json"]
    assert killed_everywhere(tmp_path, run_into, names) > 40


def test_help_and_unknown_recipe(capsys):
    for arguments in (["--help"], ["compare", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    assert "SignSTE(clip=1.0)" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--recipe", "mordern"])
    assert stop.value.code == 2


PROC = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks into /proc")


@PROC
def test_killed_at_some_moments_it_ends_with_the_serial_rows(tmp_path):
    """Workers and the command itself; no process is left, and no finished run is repeated."""
    slow = own_recipe(tmp_path, seconds=0.2)
    serial, out = tmp_path / "serial", tmp_path / "out"
    assert main(words(serial, runs=8, recipe=slow)) == 0
    plan = [(1, "worker"), (2, "master"), (4, "master")]
    arguments = words(out, "--jobs", "2", runs=8, recipe=slow)
    assert kill_and_resume(out, arguments, plan) == ([-signal.SIGKILL, -signal.SIGKILL, 0], [])
    assert rows(out) == rows(serial)
    assert (out / "table.txt").read_text() == (serial / "table.txt").read_text()
    assert not (out / "unfinished").exists()


@PROC
def test_a_signal_to_all_processes_ends_them_as_it_ends_the_command(tmp_path):
    """As a batch queue sends it, and a terminal sends Ctrl-C."""
    slow = own_recipe(tmp_path, seconds=60)
    process = start(words(tmp_path / "out", "--jobs", "2", recipe=slow), start_new_session=True)
    while len(workers(process.pid)) < 2 or not (tmp_path / "threads").exists():
        assert process.poll() is None
    everything = descendants(process.pid)
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, gone(everything)) == (143, [])
    assert said.splitlines()[1:] == ["interrupted; no run was finished"]


@pytest.mark.skipif(os.name != "posix", reason="kills")
def test_a_run_that_fails_is_named_and_trained_when_resumed(tmp_path, capsys, caplog):
    path = own_recipe(tmp_path)
    (tmp_path / "fail").write_text("kill")
    two = ["--recipe", path, "--jobs", "2", "--seeds", "2"]
    assert run(tmp_path, *two) == 1
    assert "the recipe as it is, seed 1 failed: its process, " in caplog.text
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: compare: 2 of 2 runs failed: the recipe as it is, seed ")
    assert "was killed by SIGKILL" in last
    assert not (tmp_path / "out" / "table.txt").exists()
    (tmp_path / "fail").unlink()
    assert run(tmp_path, *two, "--resume") == 0
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2


def test_an_unfinished_comparison_is_not_lost(tmp_path, capsys, caplog, monkeypatch):
    def stop(*arguments, on_run, **options):
        def once(runs):
            on_run(runs)
            raise KeyboardInterrupt

        return compare(*arguments, on_run=once, **options)

    three = ["--quantizers", "SignSTE", "ApproxSign", "SwishSign", "--seeds", "1"]
    monkeypatch.setattr(command, "compare", stop)
    assert run(tmp_path, *three) == 130
    monkeypatch.undo()
    file = tmp_path / "out" / "checkpoint.json"
    before = file.read_bytes()
    capsys.readouterr()
    for others, said in (
        (three, "got one with 1 of 3 runs; go on from it with --resume, or delete it"),
        ([*three, "--resume", "--held-out", "500"], "training data 0: uint8"),
        ([*three[:-1], "2", "--resume"], "got 1 of another: seeds: 1 then, 2 now"),
    ):
        assert run(tmp_path, *others) == 2
        assert said in capsys.readouterr().err
        assert file.read_bytes() == before
    assert run(tmp_path, *three, "--resume") == 0
    assert f"{file}: resumed after 1 of 3 runs" in caplog.text
    assert capsys.readouterr().err.startswith("2/3  ApproxSign, seed 0: ")
    assert run(tmp_path, *three, "--resume") == 0
    assert "/3  " not in capsys.readouterr().err, "nothing is trained again"
    assert run(tmp_path, *three) == 0
    assert "1/3  SignSTE" in capsys.readouterr().err
