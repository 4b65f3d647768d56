"""A class of learners."""

from __future__ import annotations

import csv
import os
import sys

import pytest
from learners import BLANK, LOGISTIC, RIGHT, WRONG_SIGN, answer

from minibnn.learn import classroom
from minibnn.learn.classroom import Learner, check_class, class_table, results_csv, write_results
from minibnn.learn.exercise import exercises
from minibnn.learn.isolate import check_file


@pytest.fixture(scope="module")
def learners(tmp_path_factory):
    root = tmp_path_factory.mktemp("class")
    for name, text in {
        "ann": RIGHT, "bob": WRONG_SIGN, "Cleo, Dr": BLANK, "dan": answer("1", "1)"), "eve": WRONG_SIGN,
    }.items():  # fmt: skip
        (root / name).mkdir()
        (root / name / f"{LOGISTIC.stem}.py").write_text(text, encoding="utf-8")
    (root / "nobody").mkdir()
    (root / ".git").mkdir()
    (root / "readme.txt").write_text("no learner")
    (root / "nobody" / "exercises").mkdir()
    (root / "nobody" / "exercises" / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    (root / "nobody" / f"{LOGISTIC.stem} (1).py").write_text(RIGHT)
    (root / "nobody" / "ch99_1_else.py.txt").write_text("x")
    (root / "nobody" / "helper.py").write_text("x = 1")
    (root / "fay").mkdir()
    (root / "fay" / f"{LOGISTIC.stem}.py").write_text(RIGHT + "1 / 0\n")
    return check_class(root)


def test_points_of_all(learners):
    assert {learner.name: learner.points for learner in learners} == {
        "Cleo, Dr": 0, "ann": 3, "bob": 1, "dan": 0, "eve": 1, "fay": 0, "nobody": 0,
    }  # fmt: skip


def test_the_table_can_be_read_by_others(learners, tmp_path):
    path = tmp_path / "results.csv"
    write_results(learners, path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = {row["learner"]: row for row in csv.DictReader(file)}
    assert path.read_text(encoding="utf-8") == results_csv(learners)
    assert list(rows["ann"]) == [
        "learner", *(f"{e.id} ({e.points})" for e in exercises()),
        f"all ({sum(e.points for e in exercises())})", "mistakes", "notes",
    ]  # fmt: skip
    assert rows["bob"]["1.2 (3)"] == "1"
    assert rows["bob"]["1.1 (4)"] == ""
    assert rows["bob"]["mistakes"] == "1.2: exp(z) in place of exp(-z)"
    assert rows["dan"]["mistakes"].startswith("1.2: Python cannot read line")
    said = "1.2: Running the file ends with an error: ZeroDivisionError: division by zero"
    assert rows["fay"]["mistakes"] == said
    assert rows["nobody"]["1.2 (3)"] == ""
    assert rows["ann"]["notes"] == ""


def test_files_that_look_like_exercises_and_are_not_taken_are_noted(learners):
    (nobody,) = (learner for learner in learners if learner.name == "nobody")
    assert nobody.notes == (
        f"{LOGISTIC.stem} (1).py: not checked, the name is not {LOGISTIC.stem}.py",
        "ch99_1_else.py.txt: not checked, no exercise has this name",
        f"exercises/{LOGISTIC.stem}.py: not checked, it is not right in the learner's folder",
    )


def test_no_cell_is_a_formula(learners):
    rows = [Learner(name, {}, ("=2", "b")) for name in ("=1+1", "+1", "-1", "@x", "\t=1", "a=1")]
    cells = [row.split(",") for row in results_csv(rows).splitlines()[1:]]
    assert [row[0] for row in cells] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", "a=1"]
    assert cells[0][-1] == "'=2; b"


def test_what_the_class_finds_hard(learners):
    text = class_table(learners)
    assert "1.2  The logistic function and the logit" in text
    assert "    6     1    0.8/3" in text
    assert "  2 x exp(z) in place of exp(-z)" in text
    assert max(map(len, text.splitlines())) < 80


def test_a_folder_without_learners_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder for each learner"):
        check_class(tmp_path)


def test_whatever_one_file_does_the_others_are_checked(tmp_path, monkeypatch):
    files = {"ann": RIGHT, "bob": answer("open('../report', 'w').write('mine\\n')"), "dan": RIGHT}
    for name, text in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{LOGISTIC.stem}.py").write_text(text)

    def check(exercise, path):
        if path.parent.name == "dan":
            raise OSError(24, "Too many open files")
        return check_file(exercise, path)

    monkeypatch.setattr(classroom, "check_file", check)
    rows = {learner.name: learner for learner in check_class(tmp_path)}
    assert {name: row.points for name, row in rows.items()} == {"ann": 3, "bob": 0, "dan": 0}
    text = results_csv(list(rows.values()))
    assert "1.2: Your code has changed or deleted the report of the check" in text
    assert "1.2: The check failed: OSError: [Errno 24] Too many open files" in text


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_names_of_folders_may_be_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xef ann")
    folder.mkdir()
    (folder / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    rows = check_class(tmp_path)
    write_results(rows, tmp_path / "results.csv")
    assert "\n\\udcef ann,,3," in (tmp_path / "results.csv").read_text(encoding="utf-8")


def test_each_learner_is_told_when_done(tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    (tmp_path / "dan").mkdir()
    told = []
    check_class(tmp_path, told.append)
    assert told == ["1 of 3: ann", "2 of 3: bob", "3 of 3: dan"]


def test_a_folder_that_cannot_be_listed_is_noted(tmp_path, monkeypatch):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{LOGISTIC.stem}.py").write_text(RIGHT)
    walk = os.walk

    def refuses(folder, onerror):  # to any user, root too
        if folder.name == "bob":
            onerror(PermissionError(13, "Permission denied", str(folder)))
            return
        yield from walk(folder, onerror=onerror)

    monkeypatch.setattr(os, "walk", refuses)
    ann, bob = check_class(tmp_path)
    assert ann.points == 3
    assert (bob.results, bob.notes) == ({}, ("./: cannot be read, Permission denied",))
