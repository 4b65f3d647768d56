"""Only files are read: pipes and devices may have no end."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import fuzz_readers
import numpy as np
import pytest
from fuzz_readers import KINDS, READERS, one_round

from minibnn import ModelFileError, PackedFileError, load_packed, read_idx, write_idx
from minibnn.data import IdxFormatError
from minibnn.regular_file import SpecialFileError, open_regular

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX's")
ENDLESS = [
    kind
    for kind in KINDS
    if "pipe" in kind or "device" in kind or "process" in kind or "size" in kind
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused(tmp_path, kind, reader):
    error, path = one_round(tmp_path, np.random.default_rng(0), kind, reader)
    if reader != "inspect" and "size" not in kind:
        assert isinstance(error, IdxFormatError | ModelFileError | PackedFileError)
        thing = "a device" if kind == "make_device" else "a pipe"
        assert str(path) in str(error)
        assert f"got {thing}; copy what it gives into a file, and name that" in str(error)


def test_random_places():
    fuzz_readers.run(80)


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="no bash")
def test_process_substitution_is_answered_by_the_command(tmp_path):
    line = f"{sys.executable} -m minibnn inspect <(cat /dev/null)"
    done = subprocess.run(
        ["/bin/bash", "-c", line], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert "got a pipe; copy what it gives into a file, and name that" in done.stderr


def test_a_link_to_a_file_is_read(tmp_path):
    write_idx(tmp_path / "real", np.arange(3, dtype=np.uint8))
    (tmp_path / "link").symlink_to("real")
    assert read_idx(tmp_path / "link").tolist() == [0, 1, 2]


def test_zeros_behind_gzip_are_not_counted_one_by_one(tmp_path):
    path = tmp_path / "padded.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\3abc"))
    with path.open("ab") as file:
        file.truncate(2**40)
    with (
        fuzz_readers.time_limit(),
        pytest.raises(IdxFormatError, match=r"expected at most \d+ bytes of gzip"),
    ):
        read_idx(path)


def test_a_file_of_many_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**41)
    with (
        fuzz_readers.time_limit(),
        pytest.raises(PackedFileError, match="at most 2,147,483,648 bytes"),
    ):
        load_packed(path)


def test_a_file_is_opened_with_its_size(tmp_path):
    (tmp_path / "file").write_bytes(b"answer")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        file, size = open_regular(tmp_path / name)
        with file:
            assert (file.read(), size) == (b"answer", 6)
    (tmp_path / "empty").touch()
    file, size = open_regular(tmp_path / "empty")
    assert (file.read(), size) == (b"", 0)


def test_what_is_not_a_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a pipe"), ("/dev/null", "a device")):
        with pytest.raises(SpecialFileError) as caught:
            open_regular(path)
        assert (caught.value.kind, str(caught.value)) == (kind, kind)
    with pytest.raises(IsADirectoryError) as caught:
        open_regular(tmp_path)
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_pipe_that_takes_a_files_place_is_refused_too(tmp_path, monkeypatch):
    path = tmp_path / "it"
    path.write_bytes(b"answer")
    stat = os.stat

    def replaced(name):
        found = stat(name)
        path.unlink()
        os.mkfifo(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr("minibnn.regular_file.os.stat", replaced)
        with fuzz_readers.time_limit(), pytest.raises(SpecialFileError, match="a pipe"):
            open_regular(path)
