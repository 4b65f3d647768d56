"""A process that trains runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from recipes_to_send import few_digits, own_recipe

from minibnn.backend import CPU
from minibnn.comparison import worker as module
from minibnn.comparison.grid import Entry, Run
from minibnn.comparison.worker import (
    RecipeCall,
    Worker,
    WorkerError,
    WorkerStartError,
    payload_of,
)
from minibnn.recipes import RECIPES, recipe_named

DATA = few_digits()
RUN = Run(0, Entry(), 3)


def without_seconds(row):
    return {name: value for name, value in row.items() if name != "seconds"}


@contextlib.contextmanager
def worker(call, threads=1):
    made = Worker(payload_of(call, DATA, CPU), threads)
    try:
        yield made
    finally:
        made.kill()
        made.join()


def the_process():
    (child,) = multiprocessing.active_children()
    return child.pid


def test_a_run_gives_the_row_that_it_gives_here_whatever_happens_in_between(tmp_path):
    """One process trains, raises, trains again, ignores Ctrl-C, and is killed; the next trains."""
    call = RecipeCall(recipe_named, own_recipe(tmp_path))
    expected = without_seconds(RUN.train(call(), DATA, CPU))
    with worker(call, threads=3) as trains:
        assert without_seconds(trains.run(RUN)) == expected
        first = the_process()
        assert (tmp_path / "threads").read_text() == "3 3"

        (tmp_path / "fail").write_text("no network today")
        with pytest.raises(WorkerError, match=r"^ValueError: no network today\n") as caught:
            trains.run(RUN)
        assert "in network" in caught.value.__notes__[0], "with its traceback"
        (tmp_path / "fail").unlink()

        if os.name == "posix":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(first, number)
        assert without_seconds(trains.run(RUN)) == expected
        assert the_process() == first

        (tmp_path / "fail").write_text("exit")
        with pytest.raises(WorkerError, match=f"its process, {first}, ended with exit code 7"):
            trains.run(RUN)
        (tmp_path / "fail").unlink()
        assert without_seconds(trains.run(RUN)) == expected
        second = the_process()
        if os.name == "posix":
            (tmp_path / "fail").write_text("kill")
            with pytest.raises(WorkerError, match=f"its process, {second}, was killed by SIGKILL"):
                trains.run(RUN)
            (tmp_path / "fail").unlink()
            assert without_seconds(trains.run(RUN)) == expected
            (child,) = multiprocessing.active_children()
            os.kill(child.pid, signal.SIGKILL)  # between two runs
            child.join()
            assert without_seconds(trains.run(RUN)) == expected
    assert not multiprocessing.active_children()
    with pytest.raises(WorkerError, match="all is over"):
        trains.run(RUN)


def test_a_process_that_cannot_begin(tmp_path):
    text = own_recipe(tmp_path)
    call = RecipeCall(recipe_named, text)
    call()
    Path(text.rpartition(":")[0]).write_text("raise KeyError('gone')")
    with worker(call) as trains, pytest.raises(WorkerStartError, match="KeyError: 'gone'"):
        trains.run(RUN)


def test_a_process_that_the_system_does_not_start(monkeypatch):
    def refuse(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", refuse)
    said = r"a process could not begin: .*temporarily unavailable"
    with worker(RECIPES["seed"]) as trains, pytest.raises(WorkerStartError, match=said):
        trains.run(RUN)


def test_when_all_is_over_the_process_is_killed(tmp_path):
    call = RecipeCall(recipe_named, own_recipe(tmp_path, seconds=60))
    begun = time.monotonic()
    with worker(call) as trains, pytest.raises(WorkerError):
        trains.run(RUN, lambda: bool(multiprocessing.active_children()))
    assert time.monotonic() - begun < 30


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with module._environment(3):
        assert [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL")] == ["3", "3"]
    assert dict(os.environ) == before


PARENT = """
import multiprocessing, sys, threading, time
from recipes_to_send import few_digits
from minibnn.backend import CPU
from minibnn.comparison.grid import Entry, Run
from minibnn.comparison.worker import RecipeCall, Worker, payload_of
from minibnn.recipes import recipe_named

if __name__ == "__main__":
    worker = Worker(payload_of(RecipeCall(recipe_named, sys.argv[1]), few_digits(), CPU), 1)
    threading.Thread(target=worker.run, args=(Run(0, Entry(), 0),), daemon=True).start()
    while not multiprocessing.active_children():
        time.sleep(0.01)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks into /proc")
def test_it_ends_with_the_process_that_started_it(tmp_path):
    from fuzz_kills import gone

    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    paths = [str(Path(__file__).parents[1] / "support"), *sys.path]
    parent = subprocess.Popen(
        [sys.executable, str(script), own_recipe(tmp_path, seconds=60)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    child = int(parent.stdout.readline())
    while not (tmp_path / "threads").exists():  # it trains
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    assert gone([child]) == []
    parent.stdout.close()


def test_a_call_makes_its_recipe_once_and_is_sent_without_it():
    made = []

    def make(name):
        made.append(name)
        return RECIPES[name]()

    call = RecipeCall(make, "seed")
    assert call() is call()
    assert made == ["seed"]
    again = pickle.loads(pickle.dumps(RecipeCall(recipe_named, "modern")))
    assert again().name == "modern"


def test_a_recipe_without_a_pickled_form():
    with pytest.raises(ValueError, match=r"sent to other processes, got Recipe\('modern', .*local"):
        payload_of(RECIPES["modern"](), DATA, CPU)
    recipe, data, device = pickle.loads(payload_of(RECIPES["finn-tfc"], DATA, CPU))
    assert (recipe().name, device) == ("finn-tfc", "cpu")
    np.testing.assert_array_equal(data.train_images, DATA.train_images)
