"""Files that a user named: opened, or refused."""

from __future__ import annotations

import os
import sys

import pytest

from minibnn.data import DatasetNotFoundError, SamplesError
from minibnn.data.files import open_source


def test_a_file_is_opened_and_closed(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with open_source(tmp_path / "a") as (file, size):
        assert (file.read(), size) == (b"abc", 3)
    assert file.closed


def test_a_file_that_is_too_large(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with (
        pytest.raises(SamplesError, match="at most 2 bytes, got 3"),
        open_source(tmp_path / "a", 2),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and devices there")
def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "a pipe"),
        ("/dev/zero", "a device"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(SamplesError, match=words), open_source(path):
            pass


def test_what_is_not_there(tmp_path):
    for name in ("none", "x" * 300, "a\0b"):
        with (
            pytest.raises(DatasetNotFoundError, match="check the name"),
            open_source(tmp_path / name),
        ):
            pass
