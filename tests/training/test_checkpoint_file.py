"""Checkpoints as files: whole or refused, and the one before is kept."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minibnn import Dense, Rescale, Sequential, SignSTE, pack, save_packed
from minibnn.training import checkpoint_file
from minibnn.training.checkpoint_file import (
    BEFORE,
    CHECKPOINT,
    CheckpointError,
    before,
    keep_before,
    read_checkpoint,
    write_checkpoint,
)
from minibnn.version import __version__

STATE = {
    "model": {"0": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}},
    "optimizer": {"steps": 7, "rate": float("inf"), "m": None},
    "history": {"columns": ["a", "b"], "rows": np.ones((1, 2))},
}
ABOUT = {"job": {"seed": 3}, "circumstances": {"the version": "1"}}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run.safetensors")


def numbered(number):
    return {"number": number, "array": np.full(3, number)}


def write(path, number):
    write_checkpoint(path, numbered(number), ABOUT)


def number_in(path):
    state, _ = read_checkpoint(path)
    return state["number"]


def names_in(path):
    return sorted(p.name for p in Path(path).parent.iterdir())


def test_a_round_trip(path):
    write_checkpoint(path, STATE, ABOUT)
    state, about = read_checkpoint(path)
    assert about == ABOUT
    assert state.keys() == STATE.keys()
    assert state["optimizer"] == STATE["optimizer"]
    assert state["history"]["columns"] == ["a", "b"]
    found, kept = state["model"]["0"]["weight"], STATE["model"]["0"]["weight"]
    assert (found.dtype, found.shape, found.tobytes()) == (kept.dtype, kept.shape, kept.tobytes())
    assert os.path.getsize(path) < 1500


def test_safetensors_reads_the_arrays(path):
    from safetensors.numpy import load_file

    write_checkpoint(path, STATE, ABOUT)
    assert load_file(path).keys() == {"model/0/weight", "history/rows"}


def test_the_one_before_is_kept(path):
    for number in (1, 2, 3):
        write(path, number)
    assert (number_in(path), number_in(path + BEFORE)) == (3, 2)
    assert names_in(path) == ["run.safetensors", "run.safetensors.before"]


def test_both_stay_beside_the_target_of_a_link(path, tmp_path):
    (tmp_path / "disk").mkdir()
    real = str(tmp_path / "disk" / "real")
    os.symlink(real, path)
    for number in (1, 2):
        write(path, number)
    assert os.path.islink(path)
    assert before(path) == real + BEFORE
    assert (number_in(real), number_in(before(path))) == (2, 1)
    assert names_in(path) == ["disk", "run.safetensors"]


def test_without_hard_links_a_whole_file_has_one_of_both_names(path, monkeypatch):
    def link(*names):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    write(path, 1)
    assert keep_before(path)
    assert (os.path.exists(path), number_in(path + BEFORE)) == (False, 1)
    for number in (2, 3, 4):
        write(path, number)
    assert (number_in(path), number_in(path + BEFORE)) == (4, 3)
    assert names_in(path) == ["run.safetensors", "run.safetensors.before"]


def test_without_hard_links_a_failed_write_puts_the_old_file_back(path, monkeypatch):
    def link(*names):
        raise OSError(errno.EPERM, "no links here")

    def replace(source, target):
        if source.endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    real = os.replace
    for number in (1, 2):
        write(path, number)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="Input/output error"):
        write(path, 3)
    assert number_in(path) == 2
    assert names_in(path) == ["run.safetensors"]


def test_what_a_kill_left_of_the_second_name_is_no_obstacle(path, tmp_path):
    write(path, 1)
    (tmp_path / ".run.safetensors.before.tmp").write_bytes(b"of a killed process")
    write(path, 2)
    assert (number_in(path), number_in(path + BEFORE)) == (2, 1)
    assert names_in(path) == ["run.safetensors", "run.safetensors.before"]


def test_a_state_that_no_file_can_hold_leaves_the_old_file(path):
    write(path, 1)
    with pytest.raises(TypeError, match=r"state 'model/0': .* one of type set"):
        write_checkpoint(path, {"model": {"0": {1, 2}}}, ABOUT)
    assert number_in(path) == 1
    assert names_in(path) == ["run.safetensors"]


def test_texts_larger_than_a_header_leave_the_old_file(path, monkeypatch):
    write(path, 1)
    monkeypatch.setattr(checkpoint_file, "CHECKPOINT", replace(CHECKPOINT, max_header=1000))
    with pytest.raises(CheckpointError, match="keep long texts and lists out of the states"):
        write_checkpoint(path, {"text": "x" * 1000}, ABOUT)
    assert number_in(path) == 1
    assert names_in(path) == ["run.safetensors"]


# --- What is refused ------------------------------------------------------------------------------


def test_a_flipped_bit_in_any_byte_is_refused_by_name(path):
    write_checkpoint(path, STATE, ABOUT)
    data = Path(path).read_bytes()
    for i in range(len(data)):
        damaged = bytearray(data)
        damaged[i] ^= 1 << i % 8
        Path(path).write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert str(caught.value).startswith(f"{path}: expected "), i


def test_a_file_that_is_cut_off_at_any_length_is_refused_by_name(path):
    write_checkpoint(path, STATE, ABOUT)
    data = Path(path).read_bytes()
    for length in [*range(20), *range(20, len(data), 7), len(data) - 1]:
        Path(path).write_bytes(data[:length])
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert str(caught.value).startswith(f"{path}: expected "), length
    Path(path).write_bytes(data + b"\0")
    with pytest.raises(CheckpointError, match="it is cut off, or something follows it"):
        read_checkpoint(path)


def packed_model(path):
    layers = [Rescale(1 / 255), Dense(8, 3, weight_quantizer=SignSTE())]
    model = Sequential(*layers).initialize(0)
    save_packed(pack(model, (8,)), path)


def model_file(path):
    from minibnn import save_model

    save_model(Sequential(Dense(8, 3)).initialize(0), path)


def foreign(path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, path)


def newer(path):
    from minibnn.container import to_bytes

    form = replace(CHECKPOINT, version=CHECKPOINT.version + 1)
    Path(path).write_bytes(to_bytes(form, {"minibnn": "9.9"}, {}))


OTHERS = {
    "empty": (lambda path: Path(path).write_bytes(b""), "it is cut off, or no safetensors"),
    "text": (lambda path: Path(path).write_text("epoch,loss\n" * 9), "no safetensors"),
    "packed": (packed_model, "got 'minibnn-packed'; use a file of fit"),
    "model": (model_file, "got 'minibnn-model'; use a file of fit"),
    "foreign": (foreign, "got none; use a file of fit"),
    "newer": (newer, r"use the minibnn that wrote it \('9.9'\) or a later one"),
    "pipe": (os.mkfifo, "expected a checkpoint, got a pipe"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
@pytest.mark.parametrize("kind", OTHERS)
def test_another_file_is_refused_by_name(path, kind):
    make, said = OTHERS[kind]
    make(path)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: expected ")


def test_a_folder_is_refused(path):
    os.mkdir(path)
    with pytest.raises(IsADirectoryError):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"about": "{}"},
        {"about": "[]", "state": "{}"},
        {"about": "{}", "state": "[]"},
        {"about": "{}", "state": '{"a":{"$":"array"}}'},
        {"about": "{}", "state": "{"},
    ],
)
def test_anybodys_texts_under_a_right_digest_are_refused(path, texts):
    from minibnn.container import to_bytes

    Path(path).write_bytes(to_bytes(CHECKPOINT, {"minibnn": __version__, **texts}, {}))
    with pytest.raises(CheckpointError, match=r"got something else .*; delete it to start"):
        read_checkpoint(path)


def test_the_new_file_is_on_the_disk_before_the_old_one_moves(path, monkeypatch):
    """Else a power cut could leave neither."""
    order, fsync, keep = [], os.fsync, checkpoint_file.keep_before
    write(path, 1)
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(
        checkpoint_file, "keep_before", lambda path: (order.append("keep"), keep(path))[1]
    )
    write(path, 2)
    assert order[:2] == ["fsync", "keep"]
