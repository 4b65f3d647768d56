"""The learner's folder and the file with the progress in it."""

from __future__ import annotations

import json

import pytest
from learners import LOGISTIC

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
