"""The file of finished runs."""

from __future__ import annotations

import json
import logging
import math
import os

import pytest

from minibnn import CheckpointError, WrongCheckpointError
from minibnn.comparison.finished import FinishedRuns

ROW = {"entry": "SignSTE", "seed": 0, "accuracy": 0.1 + 0.2, "loss": math.inf, "seconds": 1.5}
JOB = {"recipe": "modern", "entries": ["SignSTE", "Ternary"]}


def opened(path, *, resume=True, job=JOB, threads="1", total=3):
    return FinishedRuns(
        path, resume=resume, job=job, circumstances={"threads": threads}, total=total
    )


@pytest.fixture
def path(tmp_path):
    """A file of an unfinished comparison: runs 2 and 0 of three."""
    path = tmp_path / "checkpoint.json"
    with opened(path, resume=False) as file:
        file.add(2, {**ROW, "seed": 2})
        file.add(0, ROW)
    assert os.listdir(tmp_path) == ["checkpoint.json"]
    return path


def test_rows_come_back_to_the_last_bit(path):
    with opened(path) as file:
        assert file.rows == {0: ROW, 2: {**ROW, "seed": 2}}
        assert list(file.rows) == [0, 2]


def test_without_a_file_there_are_no_rows(tmp_path):
    with opened(tmp_path / "c.json") as file:
        assert file.rows == {}
    assert os.listdir(tmp_path) == [], "it is written with the first row"


def test_an_unfinished_comparison_is_not_replaced(path):
    before = path.read_bytes()
    with pytest.raises(WrongCheckpointError, match=r"got one with 2 of 3 runs; go on from it with"):
        opened(path, resume=False)
    with pytest.raises(
        WrongCheckpointError, match="got 2 of another: recipe: modern then, seed now"
    ):
        opened(path, job={**JOB, "recipe": "seed"})
    assert path.read_bytes() == before


def test_a_finished_comparison_is_replaced_by_another_one(path):
    with opened(path) as file:
        file.add(1, ROW)
    with opened(path) as file:
        assert len(file.rows) == 3
    for changes in ({"resume": False}, {"job": {"recipe": "seed"}}):
        with opened(path, **changes) as file:
            assert file.rows == {}
    with opened(path) as file:
        assert len(file.rows) == 3, "until the first row"
    with opened(path, resume=False) as file:
        file.add(0, ROW)
    assert len(json.loads(path.read_text())["rows"]) == 1


def test_other_circumstances_are_said(path, caplog):
    caplog.set_level(logging.INFO, "minibnn")
    with opened(path, threads="2"):
        pass
    assert "may be rounded otherwise: threads: 1 then, 2 now" in caplog.text
    assert "resumed after 2 of 3 runs" in caplog.text


def test_only_one_comparison_uses_it(path):
    pytest.importorskip("fcntl")
    with opened(path), pytest.raises(CheckpointError, match="is using; end that one"):
        opened(path)
    with pytest.raises(WrongCheckpointError):
        opened(path, resume=False)
    with opened(path):
        pass  # a refusal leaves no lock


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", '{"format":"minibnn-comparison"}', "{" * 9999,
        '{"format":"other","version":1,"job":{},"circumstances":{},"runs":1,"rows":[]}',
        '{"format":"minibnn-comparison","version":2,"job":{},"circumstances":{},"runs":1,"rows":[]}',
        '{"format":"minibnn-comparison","version":1,"job":{},"circumstances":{},"runs":1,"rows":[{}]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("resume", [True, False])
def test_damaged_files(tmp_path, content, resume):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match="delete it to start anew"):
        opened(path, resume=resume)
    assert path.read_text() == content


def test_no_file_but_a_folder(tmp_path):
    (tmp_path / "c.json").mkdir()
    with pytest.raises(IsADirectoryError):
        opened(tmp_path / "c.json")
