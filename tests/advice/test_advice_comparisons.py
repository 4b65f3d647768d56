"""What comparisons in several processes say to do, done."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from advice import advised, shows
from recipes_to_send import few_digits, own_recipe

from minibnn import Entry, compare
from minibnn.__main__ import main
from minibnn.comparison.finished import FinishedRuns
from minibnn.recipes import RECIPES, recipe_named

DATA = few_digits()
RECIPE = replace(RECIPES["seed"](), epochs=1)
SHORT = ["--recipe", "seed", "--dataset", "sample", "--epochs", "1", "--seeds", "2"]


def runs(recipe=RECIPE, **options):
    return compare(recipe, [Entry()], DATA, seeds=2, **options)


def stop(rows):
    raise KeyboardInterrupt


@pytest.fixture
def unfinished(tmp_path):
    """The file of a comparison that was interrupted after its first run."""
    file = tmp_path / "checkpoint.json"
    with pytest.raises(KeyboardInterrupt):
        runs(checkpoint=file, on_run=stop)
    return file


def test_a_damaged_file(unfinished):
    unfinished.write_bytes(unfinished.read_bytes()[:-9])
    with advised("comparison", "delete it to start anew"):
        runs(checkpoint=unfinished, resume=True)
    unfinished.unlink()
    assert len(runs(checkpoint=unfinished, resume=True)) == 2


def test_an_unfinished_comparison(unfinished):
    with advised("comparison", "go on from it with compare(..., resume=True), or delete it"):
        runs(checkpoint=unfinished)
    trained = []
    assert len(runs(checkpoint=unfinished, resume=True, on_run=trained.append)) == 2
    assert len(trained) == 1
    unfinished.unlink()
    assert len(runs(checkpoint=unfinished, on_run=trained.append)) == 2
    assert len(trained) == 3


def test_the_file_of_another_comparison(unfinished, tmp_path):
    other = replace(RECIPE, batch_size=50)
    with advised("comparison", "resume with the same data and settings, or choose another folder"):
        runs(other, checkpoint=unfinished, resume=True)
    assert len(runs(other, checkpoint=tmp_path / "other.json", resume=True)) == 2
    assert len(runs(checkpoint=unfinished, resume=True)) == 2


def test_a_file_in_use(unfinished, tmp_path):
    pytest.importorskip("fcntl")
    alone = {"resume": True, "job": {}, "circumstances": {}, "total": 1}
    with FinishedRuns(tmp_path / "c.json", **alone):
        with advised("comparison", "end that one, or choose another folder"):
            runs(checkpoint=tmp_path / "c.json")
        assert len(runs(checkpoint=tmp_path / "other.json")) == 2
    assert len(runs(checkpoint=tmp_path / "c.json")) == 2


def test_a_recipe_that_cannot_be_sent():
    with advised(
        "comparison", 'pass the function that makes it, as in compare(RECIPES["modern"], ...)'
    ):
        runs(RECIPES["modern"](), jobs=2)
    here, there = (runs(RECIPES["modern"], jobs=jobs).drop(columns="seconds") for jobs in (1, 2))
    assert here.equals(there)


def test_a_script_that_each_process_would_run_again(tmp_path):
    script = tmp_path / "script.py"
    lines = [
        "from minibnn import Entry, compare",
        "from minibnn.recipes import RECIPES",
        "from recipes_to_send import few_digits",
        "compare(RECIPES['seed'], [Entry()], few_digits(), seeds=2, jobs=2)",
    ]
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([support, *sys.path])}

    def run():
        command = [sys.executable, str(script)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    script.write_text("\n".join(lines))
    done = run()
    assert done.returncode == 1
    said = done.stderr
    shows("comparison", 'in a script, call compare inside if __name__ == "__main__":', said)
    script.write_text("\n".join([*lines[:3], 'if __name__ == "__main__":', f"    {lines[3]}"]))
    done = run()
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="kills")
def test_runs_that_failed(tmp_path, capsys):
    text = own_recipe(tmp_path)
    recipe_named(text)
    (tmp_path / "fail").write_text("kill")
    words = ["compare", *SHORT, "--recipe", text, "--jobs", "2", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    shows(
        "comparison",
        "what is finished is kept: the same command with --resume trains only the rest",
        capsys.readouterr().err,
    )
    (tmp_path / "fail").unlink()
    assert main([*words, "--resume"]) == 0


def test_mpirun_says_how_many(tmp_path, capsys):
    words = ["compare", *SHORT, "--out", str(tmp_path / "out"), "--distributed"]
    assert main([*words, "--jobs", "2"]) == 2
    said = capsys.readouterr().err
    shows("comparison", "start as many with mpirun -n {}", said)
    pytest.importorskip("mpi4py.futures", exc_type=(ImportError, RuntimeError))
    if shutil.which("mpirun") is None:
        pytest.skip("no mpirun")
    launcher = shlex.split(said.partition("start as many with ")[2])
    done = subprocess.run(
        [*launcher, sys.executable, "-m", "minibnn", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "2 jobs at a time" in done.stderr


def test_mpi_without_threads(tmp_path, monkeypatch):
    pytest.importorskip("mpi4py.futures", exc_type=(ImportError, RuntimeError))
    words = ["compare", *SHORT, "--out", str(tmp_path / "out"), "--distributed"]
    monkeypatch.setenv("MPI4PY_RC_THREAD_LEVEL", "single")

    def run():
        command = [sys.executable, "-m", "minibnn", *words]
        return subprocess.run(command, capture_output=True, text=True)

    done = run()
    assert done.returncode == 1
    shows(
        "comparison",
        "unset MPI4PY_RC_THREAD_LEVEL and MPI4PY_RC_THREADS, or use another library of MPI",
        done.stderr,
    )
    monkeypatch.delenv("MPI4PY_RC_THREAD_LEVEL")
    done = run()
    assert done.returncode == 0, done.stderr
