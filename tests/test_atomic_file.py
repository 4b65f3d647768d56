"""The writer of all files: what it replaces, and what it does not change."""

from __future__ import annotations

import ast
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import fuzz_writer
import numpy as np
import pytest
from fuzz_writer import KilledError, failing, snapshot

import minibnn
from minibnn import (
    Dense,
    Rescale,
    Sequential,
    SignSTE,
    export_c,
    export_html,
    export_onnx,
    pack,
    plot_function,
    save_packed,
    write_idx,
)
from minibnn.atomic_file import UnsyncedError, require_writable, whole_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes are POSIX's")
ROOT = Path(__file__).parents[1]


def put(path, content=b"new"):
    with whole_file(path) as file:
        file.write(content)


# --- every writer of the package --------------------------------------------------------------


@pytest.fixture(scope="module")
def packed():
    layers = [Rescale(1 / 255), Dense(784, 2, weight_quantizer=SignSTE())]
    return pack(Sequential(*layers).initialize(0), (784,))


WRITERS = {
    "whole_file": lambda path, packed: put(path),
    "write_idx": lambda path, packed: write_idx(path, np.zeros(3, np.uint8)),
    "save_packed": lambda path, packed: save_packed(packed, path),
    "export_c": lambda path, packed: export_c(packed, path),
    "export_html": lambda path, packed: export_html(packed, path),
    "export_onnx": lambda path, packed: export_onnx(packed, path),
    "plot_function": lambda path, packed: plot_function(SignSTE(), path),
}


@pytest.fixture(params=WRITERS)
def writer(request, packed):
    needed = {"export_onnx": "onnx", "plot_function": "matplotlib"}
    if request.param in needed:
        pytest.importorskip(needed[request.param])
    return lambda path: WRITERS[request.param](path, packed)


def test_a_link_stays_and_its_file_keeps_its_mode(writer, tmp_path):
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    real.chmod(0o600)
    link.symlink_to(real)
    writer(link)
    assert link.is_symlink()
    assert real.read_bytes() not in (b"", b"old")
    assert real.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 2


def test_a_read_only_file_is_refused(writer, tmp_path):
    path = tmp_path / "old.png"
    path.write_bytes(b"old")
    path.chmod(0o444)
    before = snapshot(tmp_path)
    with pytest.raises(
        PermissionError, match=r"read-only; make it writable \(chmod u\+w\), or choose"
    ) as caught:
        writer(path)
    assert str(path) in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["pipe", "pipe.png"])
def test_a_pipe_is_written_into(writer, tmp_path, name):
    path, received = tmp_path / name, []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()), daemon=True)
    reader.start()
    writer(path)
    reader.join(20)
    assert received[0]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_device_stays_a_device(writer, tmp_path):
    """A device of our own: if this fails, it is lost."""
    path = tmp_path / "null.png"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_bytes(b"")
    except OSError:
        pytest.skip("no devices can be made here")
    writer(path)
    assert stat.S_ISCHR(path.stat().st_mode)


def test_a_file_system_that_cannot_sync_folders_is_no_failed_save(writer, tmp_path):
    path = tmp_path / "new.png"
    refused = OSError(errno.EINVAL, "of a folder")
    with failing("fsync", 2, refused):
        writer(path)
    assert path.stat().st_size > 0


@pytest.mark.parametrize("step", ["open", "flock", "fsync", "replace"])
def test_a_kill_leaves_the_old_file_and_the_next_write_sweeps_up(writer, tmp_path, step):
    path = tmp_path / "old.png"
    path.write_bytes(b"old")
    with failing(step, error=KilledError(), dead=True), pytest.raises(KilledError):
        writer(path)
    assert path.read_bytes() == b"old"
    writer(path)
    assert path.read_bytes() != b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]


def writes_a_file(call):
    """Whether a call writes to a named file without `whole_file`."""
    name, text = ast.unparse(call.func), ast.unparse(call)
    if name in ("open", "os.fdopen", "gzip.open"):
        modes = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode")]
        return bool(set("wxa+") & set("".join(map(ast.unparse, modes))))
    if name.endswith((".write_text", ".write_bytes", ".tofile")):
        return True
    if name.endswith((".to_csv", ".to_json")):
        return bool(call.args)
    return name.startswith(("np.save", "numpy.save")) and "file" not in text


def test_nothing_else_in_the_package_writes_files():
    calls = [
        (path.relative_to(ROOT), node)
        for folder in ("minibnn", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("atomic_file.py", "regular_file.py", "file_lock.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    writing = [f"{path}: {ast.unparse(call)}" for path, call in calls if writes_a_file(call)]
    # Into nowhere, and between a learner's process and its parent, in a folder of their own.
    own = ("minibnn/commands/distributed.py: open(os.devnull", "minibnn/learn/isolate.py: ",
           "minibnn/learn/worker.py: ")  # fmt: skip
    assert [text for text in writing if not text.startswith(own)] == []
    pictures = {path.name for path, call in calls if ast.unparse(call.func).endswith(".savefig")}
    # save_figure saves; live_plot draws into memory, for a notebook
    assert pictures == {"figure.py", "live.py"}


# --- the writer itself ------------------------------------------------------------------------


def test_random_writes():
    kinds = fuzz_writer.run(300)
    assert len(kinds) == 15


HOLD = """
import sys
from minibnn.atomic_file import whole_file
with whole_file(sys.argv[1]) as file:
    file.write(b"of the child")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process in the middle of a write."""
    path = tmp_path / "file"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "writing\n"
    yield process, path
    process.kill()
    process.communicate()


def test_a_writer_does_not_sweep_up_anothers_file(holder):
    process, path = holder
    put(path)
    assert path.read_bytes() == b"new"
    assert len(list(path.parent.iterdir())) == 2
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert path.read_bytes() == b"of the child"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_was_writing_is_swept_up(holder):
    process, path = holder
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert len(list(path.parent.iterdir())) == 1
    put(path)
    assert list(path.parent.iterdir()) == [path]


def test_files_of_others_stay(tmp_path):
    names = [
        ".file.tmp",
        ".file.0123456.tmp",
        ".file.0123abcg.tmp",
        ".other.0123abcd.tmp",
        "file.0123abcd.tmp",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".file.0123abcd.tmp").mkdir()  # no file
    put(tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [*names, ".file.0123abcd.tmp", "file"]
    )


def test_a_file_that_is_swept_up_before_its_lock_is_made_again(tmp_path, monkeypatch):
    import fcntl

    real, taken = fcntl.flock, []

    def too_late(file, how):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    put(tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="no /proc")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to", ["file", "pipe"])
def test_an_open_file_is_written_where_it_stands(tmp_path, name, to):
    code = (
        "import sys; from minibnn.atomic_file import require_writable, whole_file\n"
        "print('before', flush=True); require_writable(sys.argv[1])\n"
        "with whole_file(sys.argv[1]) as file: file.write(b'within\\n')\n"
        "print('after', flush=True)"
    )
    command = [sys.executable, "-c", code, name]
    if to == "pipe":
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    else:
        with open(tmp_path / "out", "wb") as out:
            subprocess.run(command, cwd=ROOT, stdout=out, check=True)
        printed = (tmp_path / "out").read_bytes()
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert printed == b"before\nwithin\nafter\n"


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    for path in (tmp_path / "none" / "file", tmp_path / ("x" * 256)):
        for write in (put, require_writable):
            with pytest.raises(OSError, match=r"expected a folder|name too long") as caught:
                write(path)
            assert caught.value.filename == str(path)
    for path in (tmp_path, f"{tmp_path}/", f"{tmp_path}/new/", f"{tmp_path}/."):
        with pytest.raises(IsADirectoryError, match="expected a file to write, got a folder"):
            put(path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist_is_made_first(writer, tmp_path):
    path = tmp_path / "none" / "file.png"
    for link, target in ((tmp_path / "link.png", path), (path, None)):
        if target:
            link.symlink_to(target)
        with pytest.raises(FileNotFoundError) as caught:
            writer(link)
        said = f"[Errno 2] expected a folder {path.parent}, got none; make it first: '{path}'"
        assert str(caught.value) == said
    path.parent.mkdir()
    writer(path)
    assert path.stat().st_size


def test_a_file_that_only_its_owner_may_replace_is_named(tmp_path, monkeypatch):
    """In a folder such as /tmp, where only `os.replace` fails."""

    def replace(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(PermissionError) as caught:
        put(tmp_path / "file")
    assert str(caught.value) == f"[Errno 1] Operation not permitted: '{tmp_path / 'file'}'"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
def test_the_owner_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    put(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.parametrize("step", [("fsync", 2), ("open", 2)])
@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EACCES", "EPERM", "EBADF", "ENOSYS"])
def test_what_a_file_system_cannot_do_with_folders_is_no_error(tmp_path, step, code):
    path = tmp_path / "file"
    with failing(*step, OSError(getattr(errno, code), "of a folder")):
        put(path)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("step", [("fsync", 2), ("open", 2)])
@pytest.mark.parametrize("code", ["EIO", "ENOSPC", "EDQUOT"])
def test_a_disk_that_fails_to_record_the_name_is_an_error(tmp_path, step, code):
    path, number = tmp_path / "file", getattr(errno, code)
    path.write_bytes(b"old")
    with failing(*step, OSError(number, os.strerror(number))), pytest.raises(UnsyncedError) as said:
        put(path)
    assert str(said.value) == (
        f"[Errno {number}] the new file is in place, but may not survive a power cut: "
        f"{os.strerror(number)} in fsync of its folder; check the disk: '{path}'"
    )
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"new", [path])


def test_a_full_disk_leaves_the_old_file(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = (
        f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
        f"from minibnn.atomic_file import whole_file\n"
        f"try:\n    with whole_file({str(path)!r}) as file: file.write(bytes(2000))\n"
        f"except OSError as error: print(error.errno, error.filename)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{errno.EFBIG} {path}\n", "")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_the_package_has_one_version_of_this():
    assert minibnn.atomic_file.whole_file is whole_file
