"""What all commands do with the files that they read and write."""

from __future__ import annotations

import os

import pytest
from command_line import READERS, link, refuses, with_paths
from fuzz_writer import KilledError, failing, snapshot

from minibnn.__main__ import main
from minibnn.commands import shared


@pytest.mark.parametrize("command", READERS)
def test_files_that_are_no_packed_models(trained, tmp_path, capsys, command):
    out = tmp_path / "out"
    foreign, damaged = tmp_path / "foreign.safetensors", tmp_path / "damaged.safetensors"
    foreign.write_text("no model\n")
    data = bytearray(trained.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    for file, said in (
        (tmp_path / "nowhere", "no such file; python -m minibnn train -o FILE makes one"),
        (tmp_path, "got a folder; name a file in it"),
        (foreign, "no safetensors"),
        (damaged, "damaged"),
    ):
        refuses(capsys, with_paths(READERS[command], file, out), 3, f"{file}: expected ")
        main(with_paths(READERS[command], file, out))
        assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_may_not_be_read(trained, capsys, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(shared, "load_packed", refused)
    refuses(capsys, ["inspect", str(trained)], 3, "got Permission denied; make the file readable")


@pytest.mark.parametrize("command", ["pack", "export", "train"])
def test_places_that_cannot_be_written(trained, tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)  # no hour of it first
    inside = tmp_path / "none" / "out"
    for out, said in ((tmp_path, "got a folder; add a name"), (inside, "got none; make it first")):
        refuses(capsys, with_paths(READERS[command], trained, out), 1, said)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    out = tmp_path / "out"
    refuses(capsys, with_paths(READERS[command], trained, out), 1, "a folder to write in")
    assert not out.exists()


LONG = "n" * 255


@pytest.mark.usefixtures("few")
@pytest.mark.skipif(os.name != "posix", reason="names and modes are POSIX's")
@pytest.mark.parametrize("command", ["pack", "export", "train"])
def test_the_exact_write_is_tried_before(trained, tmp_path, capsys, monkeypatch, command):
    """The name, the mode and the folder; without leaving or hurting anything."""
    for name, mode, said in (
        (LONG + "n", None, "File name too long"),
        ("old", 0o444, "read-only; make it writable (chmod u+w), or choose another name"),
    ):
        out = tmp_path / name
        if mode:
            out.write_bytes(b"old")
            out.chmod(mode)
        before = snapshot(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("minibnn.training.recipe.fit", pytest.fail)
            refuses(capsys, with_paths(READERS[command], trained, out), 1, said)
        assert snapshot(tmp_path) == before
    out = tmp_path / LONG
    words = with_paths(READERS[command], trained, out)
    assert main(words + ["--epochs", "1"] * (command == "train")) == 0
    assert out.stat().st_size > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([LONG, "old"])


@pytest.mark.usefixtures("few")
@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
@pytest.mark.parametrize("command", ["pack", "export", "train"])
@pytest.mark.parametrize("step", ["open", "flock", "fsync", "replace"])
def test_a_kill_leaves_the_old_output(trained, tmp_path, capsys, monkeypatch, command, step):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(0o640)
    words = with_paths(READERS[command], trained, out) + ["--epochs", "1"] * (command == "train")
    number = 2 if step in ("open", "flock") else 1  # the first is of the trial
    number += step == "open"  # and one opens the model
    with failing(step, number, KilledError(), dead=True), pytest.raises(KilledError):
        main(words)
    assert out.read_bytes() == b"old"
    assert main(words) == 0
    assert out.stat().st_size > 1000
    assert out.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("command", ["pack", "export"])
@pytest.mark.parametrize("by", ["name", "link", "hard link"])
def test_the_model_is_not_written_over(trained, tmp_path, capsys, command, by):
    file = tmp_path / "digits.safetensors"
    file.write_bytes(trained.read_bytes())
    out = {"name": lambda: file, "link": lambda: link(tmp_path / "other", file)}.get(by)
    if out is None:
        (tmp_path / "other").hardlink_to(file)
    out = out() if out else tmp_path / "other"
    said = "got the same; choose another name after -o"
    refuses(capsys, with_paths(READERS[command], file, out), 2, said)
    assert file.read_bytes() == out.read_bytes() == trained.read_bytes()


@pytest.mark.parametrize("command", ["pack", "export", "train"])
def test_only_files_are_replaced(trained, tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    loop = tmp_path / "loop"
    link(loop, loop)
    places = [loop]  # and no real device: where this fails, it would be gone
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        places += [tmp_path / "fifo", link(tmp_path / "to it", tmp_path / "fifo")]
    for out in places:
        words = with_paths(READERS[command], trained, out)
        refuses(capsys, words, 1, f"{out}: expected a file to write, got a device, a pipe or")


@pytest.mark.parametrize(
    ("command", "ending"), [("pack", ".safetensors"), ("export", ".h"), ("train", ".safetensors")]
)
def test_files_of_another_kind_are_not_replaced(
    trained, tmp_path, capsys, monkeypatch, command, ending
):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    names = (
        "a.csv",
        "b.NPZ",
        "c.png",
        "d.idx.gz",
        "e.py",
        "f.onnx",
        "g.html",
        "h.h",
        "i.safetensors",
    )
    for name in names:
        out = tmp_path / name
        out.write_text("mine")
        if name.endswith(ending):
            continue
        words = with_paths(READERS[command], trained, out)
        said = f"{out}: expected a new file, or one that ends in {ending} and may be replaced, got"
        refuses(capsys, words, 2, said)
        assert out.read_text() == "mine"
    to_data = link(tmp_path / f"to data{ending}", tmp_path / "a.csv")
    refuses(capsys, with_paths(READERS[command], trained, to_data), 2, "one that ends in .csv;")
    assert (tmp_path / "a.csv").read_text() == "mine"


@pytest.mark.parametrize("command", ["pack", "export"])
def test_files_of_the_same_kind_and_of_no_kind_are_replaced(trained, tmp_path, capsys, command):
    for name in ({"pack": "a.SAFETENSORS", "export": "a.h"}[command], "a.bin", "a"):
        out = tmp_path / name
        out.write_text("old")
        assert main(with_paths(READERS[command], trained, out)) == 0
        assert f"{out} is there and will be replaced" in capsys.readouterr().err
        assert out.stat().st_size > 1000


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("command", ["pack", "export", "train"])
@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(trained, tmp_path, capsys, command, there):
    real = tmp_path / "folder" / "real"
    real.parent.mkdir()
    if there:
        real.write_text("old")
    out = link(tmp_path / "out", real)
    words = with_paths(READERS[command], trained, out)
    assert main(words + ["--epochs", "1"] * (command == "train")) == 0
    assert out.is_symlink()
    assert real.stat().st_size > 1000
    assert f"{out}" in capsys.readouterr().out
