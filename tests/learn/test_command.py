"""``python -m minibnn learn``."""

from __future__ import annotations

import sys

import pytest
from learners import LOGISTIC, RIGHT, WRONG_SIGN

from minibnn.__main__ import main
from minibnn.learn import command
from minibnn.learn.exercise import exercises
from minibnn.learn.progress import NAME


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def learn(capsys, here):
    def learn(*words):
        code = main(["learn", *words])
        seen = capsys.readouterr()
        lines = seen.out.replace(str(here), "").splitlines()
        assert all(len(line) <= 80 for line in lines), seen.out
        assert "\x1b" not in seen.out
        return code, seen.out, seen.err

    return learn


@pytest.fixture
def mine(here):
    return here / "exercises" / f"{LOGISTIC.stem}.py"


def test_the_way_through_an_exercise(learn, mine):
    code, out, _ = learn()
    assert code == 0
    assert "next: python -m minibnn learn start 1.1\n" in out
    assert all(f"  {e.id:<5}{e.title[:40]}" in out for e in exercises())

    assert learn("start", "1.2")[0] == 0
    assert "return ...  # TODO: the first equation" in mine.read_text()

    code, out, _ = learn("check", "1.2")
    assert code == 1
    assert "0 of 3 points." in out
    assert "3 hints left" in out

    mine.write_text(WRONG_SIGN)
    code, out, _ = learn("check", "1.2")
    assert code == 1
    assert "This is exp(z) in place of exp(-z)." in out
    code, out, _ = learn("check")
    assert code == 1
    assert "exp(z) in place of exp(-z)" in out

    mine.write_text(RIGHT)
    code, out, _ = learn("check", "1.2")
    assert code == 0
    assert "3 of 3 points: all of them." in out
    assert "next: python -m minibnn learn start 1.3" in out

    mine.write_text(WRONG_SIGN)
    learn("check", "1.2")
    code, out, _ = learn("progress")
    assert " 1  One neuron by hand" in out
    total = sum(e.points for e in exercises())
    assert f"3 of {total} points, 0 hints seen." in out, "the best points stay"
    assert "right    3/3" in learn("list")[1]


def test_starting_again_leaves_the_work_alone(learn, mine):
    learn("start", "1.2")
    mine.write_text("my work")
    code, _, err = learn("start", "1.2")
    assert code == 2
    assert "got one, which stays as it is" in err
    assert mine.read_text() == "my work"
    assert learn("start", "1.2", "--to", "other place")[0] == 0


def test_the_folder_can_be_named_and_entered(learn, here, monkeypatch):
    _, out, _ = learn("start", "logistic", "--to", "my answers")
    assert "next: python -m minibnn learn check 1.2 --folder 'my answers'" in out
    path = here / "my answers" / f"{LOGISTIC.stem}.py"
    path.write_text(RIGHT)
    _, out, _ = learn("check", "1.2", "--folder", "my answers")
    assert "next: python -m minibnn learn start 1.3 --folder 'my answers'" in out
    path.write_text(WRONG_SIGN)
    _, out, _ = learn("check", "1.2", "--folder", "my answers")
    assert "python -m minibnn learn hint 1.2 --folder 'my answers'\n" in out
    path.write_text(RIGHT)
    assert learn("check", str(path))[0] == 0
    monkeypatch.chdir(here / "my answers")
    code, out, _ = learn("check", "1.2")
    assert code == 0
    assert "--folder" not in out


def test_a_file_elsewhere_is_checked_and_leaves_nothing_there(learn, here):
    (here / "handed in").mkdir()
    path = here / "handed in" / f"{LOGISTIC.stem}.py"
    path.write_text(RIGHT)
    code, out, _ = learn("check", str(path))
    assert code == 0
    assert "next" not in out, "what is next is unknown: no progress is there"
    path.write_text(WRONG_SIGN)
    code, out, _ = learn("check", str(path))
    assert code == 1
    assert f"next: python -m minibnn learn check '{path}'\n" in out
    assert "learn hint" not in out, "hints would begin a folder elsewhere"
    assert [p.name for p in path.parent.iterdir() if p.name != "__pycache__"] == [path.name]


def test_hints_come_one_by_one_and_then_the_solution(learn, here):
    hints = LOGISTIC.hints
    for seen in range(1, len(hints) + 1):
        code, _, err = learn("solution", "1.2")
        assert code == 2
        assert "all of its hints before its solution" in err
        _, out, _ = learn("hint", "1.2")
        shown = " ".join(out.split())
        assert all(hint in shown for hint in hints[:seen])
        assert not any(hint in shown for hint in hints[seen:])
    assert "These are all." in out
    assert "These are all." in learn("hint", "1.2")[1]
    code, out, _ = learn("solution", "1.2")
    assert code == 0
    assert out == RIGHT
    assert (here / "exercises" / NAME).exists()


def test_the_solution_after_all_points(learn, mine):
    learn("start", "1.2")
    mine.write_text(RIGHT)
    learn("check", "1.2")
    assert learn("solution", "1.2")[1] == RIGHT


def test_what_is_not_there(learn):
    assert learn("check", "1.2")[0] == 1
    assert learn("check")[0] == 1
    code, _, err = learn("start", "logistics")
    assert code == 2
    assert "did you mean logistic?" in err


def test_the_result_is_shown_even_if_the_progress_cannot_be_saved(learn, mine, here):
    learn("start", "1.2")
    mine.write_text(RIGHT)
    progress = here / "exercises" / NAME
    progress.write_text("nonsense")
    for words in (["check", "1.2"], ["check", str(mine)]):
        code, out, err = learn(*words)
        assert code == 2
        assert "3 of 3 points: all of them." in out
        assert "error: the progress was not saved: " in err
        assert "got something else; delete it, and check your files again" in err
    code, out, err = learn("check")
    assert code == 2
    assert "right    3/3" in out
    assert err.count("the progress was not saved: ") == 1
    progress.unlink()
    progress.mkdir()  # what even root cannot write as a file
    code, out, err = learn("check", "1.2")
    assert code == 1
    assert "3 of 3 points: all of them." in out
    assert "error: the progress was not saved: " in err
    progress.rmdir()
    assert learn("check", "1.2")[0] == 0


def test_a_class(learn, here):
    (here / "class" / "ann").mkdir(parents=True)
    (here / "class" / "ann" / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    code, out, _ = learn("class", "class", "-o", "results.csv")
    assert code == 0
    assert "results.csv has a row for the 1 learner." in out
    assert (here / "results.csv").read_text().startswith("learner,1.1 (4),")
    assert not (here / "class" / "ann" / NAME).exists()


def test_a_table_that_cannot_be_written_is_refused_before_the_checks(learn, here, monkeypatch):
    (here / "class" / "ann").mkdir(parents=True)
    (here / "class" / "ann" / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    monkeypatch.setattr(command, "check_class", None)
    code, out, err = learn("class", "class", "-o", "nowhere/results.csv")
    assert (code, out) == (1, "")
    assert "nowhere" in err


def test_a_class_shows_signs_of_life_to_a_person_or_if_it_takes_long(learn, here, monkeypatch):
    (here / "class" / "ann").mkdir(parents=True)
    (here / "class" / "ann" / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    (here / "class" / "ann" / "ch01_2_mine.py").write_text(RIGHT)
    _, out, err = learn("class", "class", "-o", "results.csv")
    assert err == ""
    assert "1 learner has notes" in out
    monkeypatch.setattr(command, "LONG", 0)
    assert learn("class", "class", "-o", "results.csv")[2] == "1 of 1: ann\n"
    monkeypatch.setattr(command, "LONG", 60)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert learn("class", "class", "-o", "results.csv")[2] == "1 of 1: ann\n"


def test_colours_only_for_a_person(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert command.paint("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert command.paint("x", "red") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert command.paint("x", "red") == "x"
