"""The lock on a file's name: one process at a time, whatever ends it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibnn import file_lock
from minibnn.file_lock import FileLock, LockedError

pytestmark = pytest.mark.skipif(file_lock.fcntl is None, reason="no flock on this system")

HOLD = """
import sys
from minibnn.file_lock import FileLock
lock = FileLock(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
lock.release()
"""

# A process that forks another one, which lives until its stdin ends.
FORK = """
import os, sys
from minibnn.file_lock import FileLock
lock = FileLock(sys.argv[1])
if os.fork() == 0:
    lock.release()  # as a block that is left would: this does nothing here
    print("forked", flush=True)
    sys.stdin.read()
    os._exit(0)
os.wait()
"""

# Each of two processes adds 1 to a number in a file, 25 times, while it has the lock.
RACE = """
import sys, time
from pathlib import Path
from minibnn.file_lock import FileLock, LockedError
path = Path(sys.argv[1])
sys.stdin.readline()
done = 0
while done < 25:
    try:
        lock = FileLock(path)
    except LockedError:
        time.sleep(0.0005)
        continue
    number = int(path.read_text())
    time.sleep(0.0005)
    path.write_text(str(number + 1))
    done += 1
    lock.release()
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_another_process_is_refused_with_the_number_of_the_first(tmp_path):
    path = tmp_path / "run.safetensors"
    with start(HOLD, path) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(LockedError) as refused:
            FileLock(path)
        assert refused.value.process == f"process {other.pid}"
        other.communicate("")
    FileLock(path).release()
    assert os.listdir(tmp_path) == []


def test_a_forked_process_neither_holds_nor_releases_the_lock(tmp_path):
    path = tmp_path / "run.safetensors"
    with start(FORK, path) as other:
        assert other.stdout.readline() == "forked\n"
        with pytest.raises(LockedError):
            FileLock(path)
        other.send_signal(signal.SIGKILL)  # the forked process lives on
        other.wait()
        FileLock(path).release()
        other.communicate("")


def test_a_killed_process_holds_no_lock(tmp_path):
    path = tmp_path / "run.safetensors"
    with start(HOLD, path) as other:
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert os.listdir(tmp_path) == [".run.safetensors.lock"]  # left behind, and locks nothing
        lock = FileLock(path)
        assert (tmp_path / ".run.safetensors.lock").read_text() == str(os.getpid())
        lock.release()
    assert os.listdir(tmp_path) == []


def test_the_same_process_is_refused_too(tmp_path):
    lock = FileLock(tmp_path / "a")
    with pytest.raises(LockedError, match=f"process {os.getpid()}"):
        FileLock(tmp_path / "a")
    FileLock(tmp_path / "b").release()
    lock.release()
    lock.release()  # twice is once
    FileLock(tmp_path / "a").release()


def test_a_link_locks_the_file_that_it_leads_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    lock = FileLock(tmp_path / "link")
    with pytest.raises(LockedError):
        FileLock(tmp_path / "folder" / "file")
    lock.release()


def test_two_processes_in_turn_lose_nothing(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    with start(RACE, path) as one, start(RACE, path) as other:
        for process in (one, other):
            process.stdin.write("\n")
            process.stdin.flush()
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert path.read_text() == "50"
    assert os.listdir(tmp_path) == ["count"]


def test_of_two_threads_one_gets_it(tmp_path):
    def attempt(_):
        try:
            return FileLock(tmp_path / "a")
        except LockedError:
            return None

    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            locks = [lock for lock in pool.map(attempt, range(2)) if lock]
            assert len(locks) == 1
            locks[0].release()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_its_holder_deletes_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """Between opening the file and locking it, the holder may end."""
    first, flock = FileLock(tmp_path / "a"), file_lock.fcntl.flock
    calls = []

    def late(file, how):
        calls.append(how)
        if len(calls) == 1:
            first.release()
        flock(file, how)

    monkeypatch.setattr(file_lock.fcntl, "flock", late)
    second = FileLock(tmp_path / "a")
    assert len(calls) == 2
    with pytest.raises(LockedError):
        FileLock(tmp_path / "a")
    second.release()


def test_a_lock_whose_file_was_deleted_leaves_the_next_ones_alone(tmp_path):
    first = FileLock(tmp_path / "a")
    (tmp_path / ".a.lock").unlink()
    second = FileLock(tmp_path / "a")
    first.release()
    with pytest.raises(LockedError):
        FileLock(tmp_path / "a")
    second.release()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("letter", ["x", "é", "𝄞"])
def test_names_of_every_length(letter, tmp_path):
    """As long as the file system allows, in bytes; names that end differently are different."""
    width = len(letter.encode())
    for size in (1, 200 // width, 240 // width, 255 // width - 1):
        names = [letter * size + end for end in "ab"]
        locks = [FileLock(tmp_path / name) for name in names]
        for name in names:
            with pytest.raises(LockedError):
                FileLock(tmp_path / name)
        for lock in locks:
            lock.release()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_files_is_an_os_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "missing" / "a")

    def refuse(path, *_):  # a read-only folder is none for root
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(file_lock.os, "open", refuse)
    with pytest.raises(PermissionError):
        FileLock(tmp_path / "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            FileLock(tmp_path / "a")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("where", ["file system", "system"])
def test_without_locks_nothing_is_locked(where, tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    locks = SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4)
    monkeypatch.setattr(file_lock, "fcntl", locks if where == "file system" else None)
    one, other = FileLock(tmp_path / "a"), FileLock(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    one.release()
    other.release()


def test_a_full_disk_leaves_the_number_out(tmp_path, monkeypatch):
    fdopen = os.fdopen

    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_lock.os, "fdopen", lambda *given: Full(fdopen(*given)))
    lock = FileLock(tmp_path / "a")
    with pytest.raises(LockedError, match="another process"):
        FileLock(tmp_path / "a")
    lock.release()
    assert os.listdir(tmp_path) == []
