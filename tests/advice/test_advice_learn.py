"""What `learn` advises, done: the command then works."""

from __future__ import annotations

import shlex
import shutil

import pytest
from advice import advised, shows
from learners import LOGISTIC, RIGHT

from minibnn import file_lock
from minibnn.__main__ import main
from minibnn.file_lock import FileLock
from minibnn.learn import check, progress
from minibnn.learn.classroom import check_class
from minibnn.learn.exercise import exercises, find
from minibnn.learn.progress import NAME, Folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def learn(capsys):
    def learn(*words):
        code = main(["learn", *words])
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return learn


def test_names_of_exercises(learn, here):
    with advised("learn", "did you mean {}?"):
        find("logistix")
    assert find("logistic")
    with advised("learn", 'write "{}"'):
        check(1.2, len)
    check("1.2", len)
    (here / "mine.py").write_text(RIGHT)
    code, text = learn("check", "mine.py")
    assert code == 2
    shows("learn", "a file's name says which exercise it is: name it as learn start does, such as {}.py", text)  # fmt: skip
    name = text.split("such as ")[-1].strip()
    assert name == f"{exercises()[0].stem}.py"
    (here / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    assert learn("check", f"{LOGISTIC.stem}.py")[0] == 0
    with advised("learn", "python -m minibnn learn lists them"):
        find("nothing like it")
    assert "1.2  The logistic function" in learn()[1]


def test_a_file_that_was_not_started(learn):
    for words in (["check", "1.2"], ["check"]):
        code, text = learn(*words)
        assert code == 1
        shows("learn", "begin with python -m minibnn learn start {}", text)
        started = text.split("learn start ")[1].strip()
    assert learn("start", "1.2")[0] == 0
    assert learn("start", started)[0] == 0
    assert "0 of 3 points" in learn("check", "1.2")[1]


def test_a_file_and_a_folder(learn):
    learn("start", "1.2", "--to", "mine")
    path = f"mine/{LOGISTIC.stem}.py"
    code, text = learn("check", path, "--folder", "mine")
    assert code == 2
    shows("learn", "leave --folder out, or name the exercise: {}", text)
    assert text.strip().endswith(": 1.2")
    assert "0 of 3 points" in learn("check", path)[1]
    assert "0 of 3 points" in learn("check", "1.2", "--folder", "mine")[1]


def test_a_file_that_is_there(learn):
    learn("start", "1.2")
    code, text = learn("start", "1.2")
    assert code == 2
    shows("learn", "go on with it, or write another starter elsewhere: --to FOLDER", text)
    assert learn("start", "1.2", "--to", "elsewhere")[0] == 0


def test_a_folder_that_is_a_file(learn, here):
    (here / "exercises").write_text("mine")
    code, text = learn("start", "1.2")
    assert code == 1
    assert "error: exercises: expected a folder, got a file; " in text
    shows("learn", "name another folder: --folder FOLDER", text)
    assert learn("start", "1.2", "--folder", "answers")[0] == 0


def test_the_solution_too_early(learn):
    code, text = learn("solution", "1.2")
    assert code == 2
    shows("learn", "see the hints first: python -m minibnn learn hint {}", text)
    for _ in LOGISTIC.hints:
        learn(*text.split("minibnn learn ")[-1].split())
    assert learn("solution", "1.2")[0] == 0


@pytest.mark.parametrize("folder", ["exercises", ".", "my answers"])
def test_progress_that_is_damaged(learn, here, folder):
    learn("start", "1.2", "--to", folder)
    (here / folder / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    (here / folder / NAME).write_text("nonsense")
    with advised("learn", "delete it, and check your files again: python -m minibnn learn check{}") as caught:  # fmt: skip
        Folder(folder).read()
    (here / folder / NAME).unlink()
    assert learn(*shlex.split(caught.text.split("minibnn learn ")[-1]))[0] == 0
    assert Folder(folder).of(LOGISTIC)["points"] == 3


def test_progress_that_cannot_be_saved(learn, here):
    learn("start", "1.2")
    (here / "exercises" / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    (here / "exercises" / NAME).unlink()
    (here / "exercises" / NAME).mkdir()
    _, text = learn("check", "1.2")
    shows("learn", "copy your answers into a folder that you may write to, and name it: --folder FOLDER", text)  # fmt: skip
    shutil.copytree(here / "exercises", here / "copy", ignore=shutil.ignore_patterns(NAME))
    assert learn("check", "1.2", "--folder", "copy")[0] == 0
    assert Folder("copy").of(LOGISTIC)["points"] == 3


@pytest.mark.skipif(file_lock.fcntl is None, reason="no flock on this system")
def test_progress_that_is_in_use(here, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    held = FileLock(here / NAME)
    with advised("learn", "end that one, or try again"):
        Folder(here).write(LOGISTIC)
    held.release()
    Folder(here).write(LOGISTIC)


def test_the_folder_of_a_class(here):
    learner = here / "class" / "ann"
    learner.mkdir(parents=True)
    (learner / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    with advised("learn", "name the folder that has the learners' folders"):
        check_class(learner)
    assert check_class(here / "class")[0].points == 3


def test_what_a_check_takes():
    with advised("learn", 'write check("1.2", my_function)'):
        check("1.2", 3)

    def my_function(p):
        return p

    assert not check("1.2", my_function)
