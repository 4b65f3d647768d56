"""Folders of images by class."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from minibnn.data import DatasetNotFoundError, SamplesError, read_parts, read_samples
from minibnn.data.folders import folder_samples, subfolders

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 4, 5, 3), np.uint8)


def save(path, pixels, **options):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).save(path, **options)


def fill(folder, pixels=PIXELS, ending="png"):
    for i, one in enumerate(pixels):
        save(folder / ("dog", "cat")[i % 2] / f"{i}.{ending}", one)
    return folder


@pytest.mark.parametrize("ending", ["png", "PNG", "bmp", "tif", "ppm"])
def test_a_class_for_each_folder(tmp_path, ending):
    samples = read_samples(fill(tmp_path / "pets", ending=ending))
    assert samples.name == "pets"
    assert samples.class_names == ("cat", "dog")
    assert samples.y.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(samples.x, PIXELS[[1, 3, 5, 0, 2, 4]])
    assert samples.kind == "6 images of 4x5, rgb, in 2 folders"


def test_grey_images_have_no_axis_of_colours(tmp_path):
    samples = read_samples(fill(tmp_path, PIXELS[..., 0]))
    np.testing.assert_array_equal(samples.x, PIXELS[[1, 3, 5, 0, 2, 4], ..., 0])
    save(tmp_path / "cat" / "9.png", PIXELS[0, ..., 0] > 99)  # black and white
    assert set(np.unique(read_samples(tmp_path).x[3])) == {0, 255}


def test_size_and_colour_are_stated(tmp_path):
    fill(tmp_path)
    save(tmp_path / "cat" / "9.png", PIXELS[0, :3, :, 0])
    samples = read_samples(tmp_path, size=(4, 5), colour="rgb")
    assert samples.x.shape == (7, 4, 5, 3)
    np.testing.assert_array_equal(samples.x[0], PIXELS[1])  # these stay as they are
    assert samples.kind == "7 images of 4x5, rgb, 1 of them scaled to that, in 2 folders"
    assert read_samples(tmp_path, size=(8, 6), colour="grey").x.shape == (7, 8, 6)
    flat = np.full((6, 40, 50, 3), 77, np.uint8)
    assert (read_samples(fill(tmp_path / "flat", flat), size=(3, 3)).x == 77).all()


def test_other_kinds_of_colour(tmp_path):
    image = pytest.importorskip("PIL.Image")
    fill(tmp_path)
    image.fromarray(PIXELS[0]).convert("RGBA").save(tmp_path / "cat" / "8.png")
    image.fromarray(PIXELS[0] // 128 * 255).convert("P").save(tmp_path / "cat" / "9.png")
    samples = read_samples(tmp_path, colour="rgb")
    np.testing.assert_array_equal(samples.x[3], PIXELS[0])
    assert samples.x.shape == (8, 4, 5, 3)


def test_pictures_that_a_camera_marked_as_turned(tmp_path):
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    for name in ("cat", "dog"):
        save(tmp_path / name / "0.png", PIXELS[0], exif=exif)
    samples = read_samples(tmp_path)
    np.testing.assert_array_equal(samples.x[0], np.rot90(PIXELS[0], -1))


def test_hidden_files_are_left_out_and_nothing_else(tmp_path):
    fill(tmp_path)
    for name in (".DS_Store", "cat/.hidden.png", "cat/Thumbs.db", "README.txt", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    assert len(read_samples(tmp_path)) == 6
    assert subfolders(str(tmp_path)) == ["cat", "dog"]


def test_images_without_classes(tmp_path):
    fill(tmp_path)
    samples = read_samples(tmp_path / "cat", target=False)
    assert (samples.x.shape, samples.target) == ((3, 4, 5, 3), "no target")
    assert samples.kind == "3 images of 4x5, rgb, without classes"


def test_parts_in_folders(tmp_path):
    fill(tmp_path / "train")
    save(tmp_path / "val" / "dog" / "0.png", PIXELS[0])
    save(tmp_path / "val" / "cat" / "0.png", PIXELS[1])
    train, test = read_parts(tmp_path)
    assert (len(train), len(test)) == (6, 2)
    save(tmp_path / "val" / "emu" / "0.png", PIXELS[0])
    with pytest.raises(SamplesError, match="class 'emu'"):
        read_parts(tmp_path)


def test_arguments(tmp_path):
    fill(tmp_path)
    with pytest.raises(ValueError, match="'grey' or 'rgb'"):
        folder_samples(tmp_path, colour="gray")
    for wrong in ((10**5, 10**5), (5,), (4, 5, 3)):
        with pytest.raises(ValueError, match="a height and a width"):
            folder_samples(tmp_path, size=wrong)
    with pytest.raises(ValueError, match="at least 1"):
        folder_samples(tmp_path, size=(0, 5))
    with pytest.raises(TypeError, match="a tuple of integers"):
        folder_samples(tmp_path, size=32)
    with pytest.raises(DatasetNotFoundError, match="check the name"):
        folder_samples(tmp_path / "none")
    with pytest.raises(DatasetNotFoundError, match="check the name"):
        subfolders(str(tmp_path / "none"))


def test_without_pillow_it_says_what_to_install(tmp_path, monkeypatch):
    fill(tmp_path)
    real = builtins.__import__

    def without(name, *rest):
        if name == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install pillow"):
        read_samples(tmp_path)
