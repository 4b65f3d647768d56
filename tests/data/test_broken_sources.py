"""Broken tables, arrays, images and IDX files: each has an error of its own, and nothing hangs."""

from __future__ import annotations

import sys
import tracemalloc

import broken_sources
import pytest
from broken_sources import write

from minibnn.data import DataError, read_parts, read_samples

HAS_PILLOW = True
try:
    import PIL  # noqa: F401
except ModuleNotFoundError:
    HAS_PILLOW = False

CASES = broken_sources.tables() | broken_sources.arrays_of_numpy() | broken_sources.idx_files()
IMAGES = broken_sources.folders() if HAS_PILLOW else {}


def error_of(case, folder, monkeypatch):
    """The error of reading a source, which is the only thing in the folder."""
    if case.path.startswith("p.") and sys.platform == "win32":
        pytest.skip("no pipes here")
    write(folder, case.files)
    monkeypatch.chdir(folder)
    before = sorted(path for path in folder.rglob("*"))
    read = read_parts if case.parts else read_samples
    with pytest.raises(DataError) as caught:
        read(case.path, **case.options)
    assert sorted(path for path in folder.rglob("*")) == before  # nothing is written
    return caught.value


def check(name, case, folder, monkeypatch):
    tracemalloc.start()
    try:
        text = str(error_of(case, folder, monkeypatch))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for word in case.words:
        assert word in text, text
    assert "expected " in text
    assert len(text) < 500
    assert most < 64 << 20, "memory grows with the file, not with what it declares"


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_own_error(name, tmp_path, monkeypatch):
    check(name, CASES[name], tmp_path, monkeypatch)


@pytest.mark.parametrize("name", IMAGES or ["none"])
def test_each_fault_of_images_has_its_own_error(name, tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    check(name, IMAGES[name], tmp_path, monkeypatch)


def test_no_two_faults_are_told_alike(tmp_path, monkeypatch):
    assert len(CASES) >= 60
    told = {}
    for name, case in (CASES | IMAGES).items():
        folder = tmp_path / name.replace(" ", "_").replace("/", "_")
        text = str(error_of(case, folder, monkeypatch))
        assert text not in told or {name, told[text]} == {"empty table", "blank lines"}, name
        told[text] = name


def test_pickle_is_never_loaded(tmp_path, monkeypatch):
    import pickle

    import numpy as np

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_here"), "w"))

    objects = np.empty(2, object)
    objects[:] = [Evil(), Evil()]
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=objects)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npz", "a.npy", "a.pkl"):
        with pytest.raises(DataError):
            read_samples(tmp_path / name)
    assert not (tmp_path / "was_here").exists()


def mutated(content, rng):
    """The bytes with a few of them changed, removed or put in."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = int(rng.integers(0, len(content) + 1))
        kind = rng.integers(3)
        if kind == 0:
            content[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            del content[at : at + int(rng.choice([1, 2, 30]))]
        else:
            content[at:at] = rng.choice([b",", b"\n", b'"', b"1e999", b"nan", b"\xff", b"9" * 20])
    return bytes(content)


@pytest.mark.parametrize("seed", range(8))
def test_random_faults_end_in_samples_or_in_an_error_about_data(seed, tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(seed)
    X, Y = broken_sources.X, broken_sources.Y
    sources = {
        "t.csv": broken_sources.TABLE.encode() * 2,
        "a.npz": broken_sources.npz(x=X, y=Y, feature_names=["a", "b"]),
        "a.npy": broken_sources.npy(np.column_stack([X, Y])),
        "a-images.idx": broken_sources.idx(broken_sources.PIXELS),
    }
    write(tmp_path, {"a-labels.idx": broken_sources.idx(broken_sources.LABELS)})
    if HAS_PILLOW:
        for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP"):
            mode = "L" if kind == "GIF" else "RGB"
            sources[f"d/b/{kind}.png"] = broken_sources.png(9, 9, mode=mode, kind=kind)
        write(tmp_path, {"d": {"a": {"0.png": broken_sources.png(9, 9)}, "b": {}}})
    outcomes = []
    for _ in range(60):
        for name, content in sources.items():
            path = tmp_path / name
            path.write_bytes(mutated(content, rng))
            try:
                if name.startswith("d/"):
                    read_samples("d", size=(4, 4), colour="rgb")
                else:
                    read_samples(name).describe()
                outcomes.append(True)
            except DataError:
                outcomes.append(False)
            if name.startswith("d/"):
                path.unlink()
    assert {True, False} == set(outcomes)
