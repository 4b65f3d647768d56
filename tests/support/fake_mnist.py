"""A fake MNIST of thirty images, whose hashes the tests put in place of the published ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from minibnn.data import mnist, write_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def fake_arrays():
    rng = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 20), ("t10k", 10)):
        parts[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        parts[f"{part}-labels-idx1-ubyte"] = np.arange(count, dtype=np.uint8) % 10
    return parts


FAKE = fake_arrays()


def write_fake(folder, suffix=".gz", **changed):
    """Write the fake set; `changed` replaces arrays by file name, None leaves a file out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (FAKE | changed).items():
        if array is not None:
            write_idx(folder / f"{name}{suffix}", array)
    return folder


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_is_fake(data):
    parts = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    for got, expected in zip(parts, FAKE.values(), strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def start_python(code):
    command = [sys.executable, "-W", "error", "-c", code]
    root = str(Path(mnist.__file__).parents[2])
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_python(code):
    with start_python(code) as process:
        out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    return out
