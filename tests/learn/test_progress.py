"""The learner's folder and the file with the progress in it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from learners import LOGISTIC

from minibnn import file_lock
from minibnn.file_lock import FileLock
from minibnn.learn import progress
from minibnn.learn.exercise import exercises
from minibnn.learn.progress import DEFAULT, NAME, Folder, ProgressError
from minibnn.learn.result import Line, Result


def result(points):
    return Result("1.2", "x", (Line("a", points, 3),))


def test_the_best_points_stay(tmp_path):
    folder = Folder(tmp_path / "new" / "folder")
    assert not folder.begun()
    assert folder.of(LOGISTIC) == {"points": 0, "hints": 0, "checks": 0}
    for points in (1, 3, 2):
        folder.record(LOGISTIC, result(points))
    folder.write(LOGISTIC, hints=2)
    assert folder.begun()
    assert folder.of(LOGISTIC) == {"points": 3, "hints": 2, "checks": 3}
    stored = json.loads((folder.path / NAME).read_text())
    assert stored["format"] == 1
    assert list(stored["exercises"]) == ["1.2"]


def test_which_folder_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(Folder().path) == DEFAULT
    Folder(".").record(LOGISTIC, result(1))
    assert str(Folder().path) == "."
    assert Folder("there").file(LOGISTIC).as_posix() == "there/ch01_2_logistic.py"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"exercises": [1]}',
        '{"exercises": {"1.2": 3}}',
        '{"exercises": {"1.2": {"points": 1}}}',
    ],
)
def test_a_damaged_file_is_told(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ProgressError, match="expected the progress that minibnn wrote"):
        Folder(tmp_path).read()


@pytest.mark.skipif(file_lock.fcntl is None, reason="no flock on this system")
def test_commands_at_once_lose_nothing(tmp_path):
    code = (
        "import sys; from minibnn.learn.progress import Folder\n"
        "from minibnn.learn.exercise import find\n"
        "exercise, folder = find(sys.argv[1]), Folder(sys.argv[2])\n"
        "print(flush=True); sys.stdin.read()\n"
        "for _ in range(10):\n    folder.see_hint(exercise)"
    )
    ids = [e.id for e in exercises()[:2]] * 2
    commands = [[sys.executable, "-c", code, id, str(tmp_path)] for id in ids]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(c, stdin=pipe, stdout=pipe) for c in commands]
    for process in processes:
        process.stdout.readline()  # all are ready
    for process in processes:
        process.stdin.close()
    for process in processes:
        assert process.wait() == 0
        process.stdout.close()
    found = Folder(tmp_path).read()
    assert list(found) == sorted(set(ids))
    for exercise in exercises()[:2]:
        assert found[exercise.id]["hints"] == len(exercise.hints)
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


@pytest.mark.skipif(file_lock.fcntl is None, reason="no flock on this system")
def test_a_command_waits_for_another_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    held = FileLock(tmp_path / NAME)
    with pytest.raises(ProgressError, match="expected a file that no other command is changing"):
        Folder(tmp_path).write(LOGISTIC)
    held.release()
    Folder(tmp_path).write(LOGISTIC)
    assert Folder(tmp_path).begun()


def test_what_to_do_about_a_damaged_file_names_the_folder(tmp_path, monkeypatch):
    """Without its progress, no command takes the current folder for a learner's."""
    monkeypatch.chdir(tmp_path)
    for path, end in ((DEFAULT, "check"), (".", "check --folder ."), ("a b", "--folder 'a b'")):
        (tmp_path / path).mkdir(exist_ok=True)
        (tmp_path / path / NAME).write_text("nonsense")
        with pytest.raises(ProgressError, match=f"{end}$"):
            Folder(path).read()


@pytest.mark.skipif(file_lock.fcntl is None, reason="no flock on this system")
def test_an_error_names_the_file_that_the_learner_knows(tmp_path):
    (tmp_path / f".{NAME}.lock").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        Folder(tmp_path).write(LOGISTIC)
    assert caught.value.filename == str(tmp_path / NAME)
