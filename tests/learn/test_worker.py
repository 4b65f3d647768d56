"""Running a learner's file; in this process, as far as nothing can happen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from learners import BLANK, LOGISTIC, WRONG_SIGN

from minibnn.learn import worker
from minibnn.learn.worker import UnusableError, run_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def write(source):
        path = tmp_path / f"{LOGISTIC.stem}.py"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return str(path)

    return write


def test_names_and_holes_of_a_file(write):
    names, holes = run_file(write(BLANK))
    assert callable(names["logistic"])
    assert [len(lines) for lines in holes.values()] == [1, 1]
    assert names["__name__"] == LOGISTIC.stem, "code below `if __name__ == ...` does not run"


def test_a_file_may_import_its_neighbour(write, tmp_path):
    (tmp_path / "a_neighbour_of_mine.py").write_text("x = 3\n")
    names, _ = run_file(write("from a_neighbour_of_mine import x\n"))
    assert names["x"] == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:\n", "Python cannot read line 1: "),
        ("if 1:\n  x = (1\n", "line 2: '(' was never closed\n    x = (1\n        ^"),
        (b"\xff", "it is not text in UTF-8"),
        ("x = '\0'", "null bytes"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'\n  line 1, in <module>: import"),
        ("raise SystemExit(0)\n", "ends with an error:\nSystemExit"),
        ("def f():\n    return y\nf()\n", "'y' is not defined\n  line 3, in <module>: f()\n  line 2, in f"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_run(write, source, said):
    with pytest.raises(UnusableError) as caught:
        run_file(write(source))
    assert said in str(caught.value)
    assert "minibnn" not in str(caught.value)


def test_the_report_has_a_line_for_each_check_and_an_end(write, tmp_path):
    """In a process of its own: it limits itself."""
    report = tmp_path / "report"
    words = [LOGISTIC.id, write(WRONG_SIGN), "10", str(report), str(tmp_path / "stack")]
    done = subprocess.run(
        [sys.executable, "-c", f"from minibnn.learn.worker import main; main({words!r})"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    begun, first, second, end = map(json.loads, report.read_text().splitlines())
    assert begun == {"begun": True}
    assert first["line"]["points"] == 0
    assert second["line"]["points"] == 1
    assert end == {"end": []}


def test_a_check_that_fails_itself_is_told(write, tmp_path, monkeypatch):
    def fails(self, answer, holes):
        raise TypeError("no mistake of the learner's")

    monkeypatch.setattr(worker.Grader, "grade", fails)
    monkeypatch.setattr(worker, "_limit", lambda: None)
    report = tmp_path / "report"
    worker.main([LOGISTIC.id, write(WRONG_SIGN), "10", str(report), str(tmp_path / "stack")])
    _, failed, _ = map(json.loads, report.read_text().splitlines())
    said = "The check failed outside your functions, with TypeError: no mistake of the learner's\n"
    assert failed["trouble"].startswith(said)
    assert worker.DAMAGED in failed["trouble"]
