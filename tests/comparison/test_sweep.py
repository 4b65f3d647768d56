"""All runs of a comparison: here or in other processes, interrupted and resumed."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from dataclasses import replace

import pytest
from recipes_to_send import few_digits, own_recipe

from minibnn import FailedRunsError, Function, WrongCheckpointError, compare, parse_piece
from minibnn.comparison import sweep
from minibnn.comparison.grid import Entry, Run
from minibnn.comparison.worker import RecipeCall, WorkerStartError
from minibnn.recipes import RECIPES, recipe_named

DATA = few_digits()
RECIPE = replace(RECIPES["modern"](), epochs=1)
NAMES = ("SignSTE(clip=1.0)", "ApproxSign", "SwishSign")
ENTRIES = [Entry(parse_piece(name, Function)) for name in NAMES]


def same(runs):
    return runs.drop(columns="seconds").to_csv()


@pytest.fixture(scope="module")
def expected():
    return same(compare(RECIPE, ENTRIES, DATA, seeds=2))


@pytest.fixture
def call(tmp_path):
    return RecipeCall(recipe_named, own_recipe(tmp_path))


def test_the_grid_runs_every_entry_for_every_seed():
    seen = []
    runs = compare(RECIPE, ENTRIES[:2], DATA, seeds=2, on_run=lambda r: seen.append(len(r)))
    assert runs.entry.to_list() == [*NAMES[:2]] * 2
    assert runs.seed.to_list() == [0, 0, 1, 1]
    assert seen == [1, 2, 3, 4]
    assert runs.accuracy.between(0.05, 1).all()


def test_bad_grids():
    with pytest.raises(ValueError, match="at least one entry"):
        compare(RECIPE, [], DATA, seeds=1)
    with pytest.raises(ValueError, match="each entry once, got twice: ApproxSign"):
        compare(RECIPE, ENTRIES[1:2] * 2, DATA, seeds=1)
    with pytest.raises(ValueError, match="at least 1 seed"):
        compare(RECIPE, ENTRIES, DATA, seeds=0)
    with pytest.raises(ValueError, match="at least 1 epoch"):
        compare(replace(RECIPE, epochs=0), ENTRIES, DATA, seeds=1)
    wrong = Entry(parse_piece("SignSTE(depth=1)", Function))
    with pytest.raises(ValueError, match=r"SignSTE.*unexpected keyword argument 'depth'"):
        compare(RECIPE, [*ENTRIES, wrong], DATA, seeds=1, on_run=pytest.fail)
    with pytest.raises(ValueError, match="compare: expected jobs"):
        compare(RECIPE, ENTRIES, DATA, seeds=1, jobs=0, on_run=pytest.fail)
    with pytest.raises(ValueError, match=r"pass the function that makes it"):
        compare(RECIPE, ENTRIES, DATA, seeds=1, jobs=2, on_run=pytest.fail)


@pytest.mark.skipif(os.name != "posix", reason="kills")
def test_processes_that_are_killed_and_raise_and_what_is_left_is_trained_later(tmp_path, caplog):
    """The rows are those of a serial comparison, in its order."""
    call = RecipeCall(recipe_named, own_recipe(tmp_path, seconds=0.3))
    caplog.set_level(logging.INFO, "minibnn")
    expected = same(compare(call, ENTRIES, DATA, seeds=2))
    file, newest, killed = tmp_path / "c.json", [], []

    def on_run(runs):
        newest.append(int(runs.index[-1]))
        assert len(json.loads(file.read_text())["rows"]) == len(runs) == len(newest)
        if len(runs) == 1:  # all are busy: those that come next are killed or raise
            (tmp_path / "fail").write_text("no network today")
            for process in multiprocessing.active_children():
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)

    with pytest.raises(
        FailedRunsError, match=r"compare: [45] of 6 runs failed: .*and [12] more"
    ) as some:
        compare(call, ENTRIES, DATA, seeds=2, jobs=2, on_run=on_run, checkpoint=file)
    said = set(some.value.failures.values())
    assert "ValueError: no network today" in said
    assert any(f"its process, {killed[0]}, was killed by SIGKILL" in text for text in said)
    kept = [line for line in expected.splitlines(True) if line[0] in [",", *map(str, newest)]]
    assert same(some.value.runs) == "".join(kept)
    assert not multiprocessing.active_children()
    assert "2 jobs at a time, BLAS threads of each: " in caplog.text
    for run, why in some.value.failures.items():
        assert f"{run} failed: {why}" in caplog.text

    (tmp_path / "fail").unlink()
    trained = []
    runs = compare(
        call, ENTRIES, DATA, seeds=2, jobs=2, checkpoint=file, resume=True,
        on_run=lambda runs: trained.append(int(runs.index[-1])),
    )  # fmt: skip
    assert sorted([*newest, *trained]) == [0, 1, 2, 3, 4, 5], "each once"
    assert same(runs) == expected
    runs = compare(
        call, ENTRIES, DATA, seeds=2, jobs=2, checkpoint=file, resume=True, on_run=pytest.fail
    )
    assert same(runs) == expected


@pytest.mark.skipif(os.name != "posix", reason="signals work otherwise there")
@pytest.mark.parametrize("moment", ["waiting", "in on_run"])
def test_ctrl_c_ends_the_processes(tmp_path, moment):
    call = RecipeCall(recipe_named, own_recipe(tmp_path, seconds=60 if moment == "waiting" else 0))

    def ctrl_c():
        while not (tmp_path / "threads").exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    def on_run(runs):
        raise KeyboardInterrupt

    if moment == "waiting":
        threading.Thread(target=ctrl_c).start()
    with pytest.raises(KeyboardInterrupt) as kept:  # with all that its traceback refers to
        compare(call, ENTRIES, DATA, seeds=2, jobs=2, on_run=on_run)
    assert not multiprocessing.active_children()
    del kept


def test_a_process_that_cannot_begin_ends_the_comparison(tmp_path, call):
    call()
    (tmp_path / "slow.py").write_text("import nothing_of_this_name")
    with pytest.raises(WorkerStartError, match="No module named 'nothing_of_this_name'"):
        compare(call, ENTRIES, DATA, seeds=2, jobs=2)


def test_a_run_that_raises_here_does_not_end_the_others(monkeypatch, expected):
    train = Run.train

    def fail_at_seed_1(self, *arguments):
        if self.seed == 1:
            raise ZeroDivisionError(f"of {self}")
        return train(self, *arguments)

    monkeypatch.setattr(Run, "train", fail_at_seed_1)
    with pytest.raises(FailedRunsError, match="3 of 6 runs failed") as failed:
        compare(RECIPE, ENTRIES, DATA, seeds=2)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert failed.value.failures["ApproxSign, seed 1"] == (
        "ZeroDivisionError: of ApproxSign, seed 1"
    )
    assert same(failed.value.runs) == "".join(expected.splitlines(True)[:4])


def few(count):
    return replace(
        DATA, train_images=DATA.train_images[:count], train_labels=DATA.train_labels[:count]
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": few(150)}, "training data 0: "),
        ({"recipe": replace(RECIPE, epochs=2)}, "epochs: 1 then, 2 now"),
        ({"recipe": replace(RECIPE, learning_rate=0.25)}, "learning_rate, start: 0.005 then, 0.25 now"),
        ({"recipe": replace(RECIPE, batch_size=50)}, "batch_size: 100 then, 50 now"),
        ({"recipe": replace(RECIPES["seed"](), epochs=1)}, "recipe: modern then, seed now"),
        ({"entries": ENTRIES[1:]}, "entries: 3 then, 2 now"),
        ({"entries": [*ENTRIES[1:], ENTRIES[0]]}, "entries 0: "),
        ({"seeds": 3}, "seeds: 2 then, 3 now"),
        ({"version": "0.0"}, "version of minibnn: "),
    ],
)  # fmt: skip
def test_the_file_of_another_comparison_is_refused(tmp_path, monkeypatch, changes, named):
    file = tmp_path / "c.json"

    def stop(runs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(RECIPE, ENTRIES, DATA, seeds=2, checkpoint=file, on_run=stop)
    before = file.read_bytes()
    monkeypatch.setattr(sweep, "__version__", changes.pop("version", sweep.__version__))
    arguments = {"recipe": RECIPE, "entries": ENTRIES, "data": DATA, "seeds": 2} | changes
    with pytest.raises(WrongCheckpointError, match="got 1 of another: ") as refused:
        compare(**arguments, checkpoint=file, resume=True, on_run=pytest.fail)
    assert named in str(refused.value)
    assert file.read_bytes() == before


def test_other_threads_are_said(tmp_path, caplog, monkeypatch, expected):
    file = tmp_path / "c.json"

    def stop(runs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "threads_each", lambda processes: 64)
    with pytest.raises(KeyboardInterrupt):
        compare(RECIPE, ENTRIES, DATA, seeds=2, checkpoint=file, on_run=stop)
    monkeypatch.undo()
    runs = compare(RECIPE, ENTRIES, DATA, seeds=2, checkpoint=file, resume=True)
    assert same(runs) == expected
    assert "the number of threads of BLAS, for matrix products: 64 then, " in caplog.text
