"""Folders of images, one for each class; Pillow reads the files.

All images must have one size and one kind of colour, or the caller says what to make of them:
nothing is scaled or converted without being asked.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibnn.checks import shape
from minibnn.data.errors import DatasetNotFoundError, SamplesError
from minibnn.data.files import MOST_BYTES, open_source
from minibnn.data.samples import Samples

__all__ = ["ENDINGS", "folder_samples", "subfolders"]

_Any = np.ndarray[Any, Any]
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none of them runs a program
_IGNORED = ("thumbs.db", "desktop.ini", "__macosx")  # which systems leave in folders
_MOST_PIXELS = 2**26
_MOST_FILE_BYTES = 2**28
_COLOURS = {"grey": ("L", "1"), "rgb": ("RGB",)}
_MODES = {"grey": "L", "rgb": "RGB"}


def folder_samples(
    path: str | os.PathLike[str],
    *,
    target: bool | None = None,
    size: tuple[int, int] | None = None,
    colour: str | None = None,
) -> Samples:
    """The images in the folders of a folder; each folder is a class, and its name the class's.

    Hidden files are left out. A picture that a camera marked as turned is turned.

    Args:
        path: the folder.
        target: False for a folder of images without classes, right in it.
        size: (height, width) that all images are scaled to, without regard to their proportions.
        colour: ``"grey"`` or ``"rgb"``, which all images are converted to.

    Shapes:
        x (n, height, width) uint8 for grey, (n, height, width, 3) for colours.

    Raises:
        DatasetNotFoundError: there is no such folder.
        SamplesError: there are no images, one is damaged, or they differ in size or colour.
        ImportError: Pillow is not installed.
    """
    name = os.fspath(path)
    if colour is not None and colour not in _COLOURS:
        raise ValueError(f"read_samples: expected colour 'grey' or 'rgb', got {colour!r}")
    if size is not None:
        size = _height_and_width(size)
    classes, files, labels = _files(name, unlabelled=target is False)
    sizes, modes = _heads(files)
    sides, told = _one_size(name, files, sizes, size)
    kind_of_colour = _one_colour(name, files, modes, colour)
    depth = () if kind_of_colour == "grey" else (3,)
    bytes_ = len(files) * math.prod(sides) * (3 if depth else 1)
    if bytes_ > MOST_BYTES:
        got = f"{bytes_} for {len(files)} images of {sides[0]}x{sides[1]}"
        hint = "state a smaller size (size=, --size)"
        raise SamplesError(name, f"at most {MOST_BYTES} bytes of pixels", got, hint)
    x = np.empty((len(files), *sides, *depth), np.uint8)
    for i, file in enumerate(files):
        x[i] = _pixels(file, sides if size else None, kind_of_colour)
    kind = f"{len(x)} images of {sides[0]}x{sides[1]}, {kind_of_colour}, {told}"
    kind += f"in {len(classes)} folders" if classes else "without classes"
    short = os.path.basename(os.path.abspath(name))
    if not classes:
        return Samples.of(x, name=short, kind=kind)
    return Samples.of(x, np.array(labels), name=short, class_names=classes, kind=kind)


def subfolders(path: str) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones.

    Raises:
        DatasetNotFoundError: the folder cannot be read.
    """
    return [entry.name for entry in _entries(path) if entry.is_dir()]


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            found = [e for e in entries if not e.name.startswith(".")]
    except OSError as error:
        raise DatasetNotFoundError(
            f"{path}: expected a folder that can be read, got {error.strerror}; check the name"
        ) from None
    return sorted((e for e in found if e.name.casefold() not in _IGNORED), key=lambda e: e.name)


def _files(name: str, *, unlabelled: bool) -> tuple[list[str], list[str], list[int]]:
    """The classes, the files of images, and the number of each one's class."""
    here = [e for e in _entries(name) if e.name.casefold().endswith(ENDINGS) and not e.is_dir()]
    folders = subfolders(name)
    if unlabelled:
        if not here:
            hint = "name the folder that they are in"
            raise SamplesError(name, "images in the folder", "none", hint)
        return [], [entry.path for entry in here], []
    if here:
        got = f"{here[0].name!r} beside {len(folders)} folders"
        raise SamplesError(name, "images in folders, one for each class", got, "move it into one")
    if len(folders) < 2:
        got = ", ".join(map(repr, folders)) or "no folder"
        hint = "make a folder for each class, and move its images there"
        raise SamplesError(name, "two folders of images or more, one for each class", got, hint)
    files, labels = [], []
    for label, folder in enumerate(folders):
        own = _entries(os.path.join(name, folder))
        where = os.path.join(name, folder)
        for entry in own:
            if entry.is_dir() or not entry.name.casefold().endswith(ENDINGS):
                what = "the folder" if entry.is_dir() else "the file"
                hint = "remove it, or convert it to PNG"
                raise SamplesError(where, "nothing but images", f"{what} {entry.name!r}", hint)
            files.append(entry.path)
            labels.append(label)
        if not own:
            raise SamplesError(where, "images of this class", "none", "remove the folder")
    return folders, files, labels


def _heads(files: list[str]) -> tuple[list[tuple[int, int]], list[str]]:
    """Height and width, and the mode of each image."""
    sizes, modes = [], []
    for file in files:
        with _opened(file) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # turned by a quarter
                width, height = height, width
            sizes.append((height, width))
            modes.append(image.mode)
    return sizes, modes


def _one_size(
    name: str, files: list[str], sizes: list[tuple[int, int]], size: tuple[int, int] | None
) -> tuple[tuple[int, int], str]:
    """The size of all images, and what was done to them, in words."""
    counts = Counter(sizes)
    if size is not None:
        height, width = size
        scaled = sum(count for one, count in counts.items() if one != (height, width))
        return (height, width), f"{scaled} of them scaled to that, "
    if len(counts) > 1:
        (most, many), *_ = counts.most_common(1)
        other = next(i for i, one in enumerate(sizes) if one != most)
        expected = f"images of one size, {most[0]}x{most[1]} as {many} of them"
        got = f"{sizes[other][0]}x{sizes[other][1]} in {files[other]}"
        height, width = most
        hint = f"size=({height}, {width}) (--size {height} {width}) scales all to that"
        raise SamplesError(name, expected, got, hint)
    return sizes[0], ""


def _height_and_width(size: tuple[int, int]) -> tuple[int, int]:
    sizes = shape("read_samples", "size", size, such_as="(32, 32)")
    if len(sizes) != 2 or math.prod(sizes) > _MOST_PIXELS:
        raise ValueError(
            f"read_samples: expected size to be a height and a width with at most {_MOST_PIXELS} "
            f"pixels, got {sizes}"
        )
    return sizes[0], sizes[1]


def _one_colour(name: str, files: list[str], modes: list[str], colour: str | None) -> str:
    if colour is not None:
        return colour
    found = [next((c for c, own in _COLOURS.items() if mode in own), mode) for mode in modes]
    for i, one in enumerate(found):
        if one not in _COLOURS or one != found[0]:
            expected = "images that all are grey, or all rgb with 8 bits"
            got = (
                f"{found[0]} in {files[0]}, and {one} in {files[i]}"
                if i
                else f"{one} in {files[i]}"
            )
            hint = 'colour="grey" or colour="rgb" (--colour) converts all'
            raise SamplesError(name, expected, got, hint)
    return found[0]


def _pixels(file: str, size: tuple[int, int] | None, colour: str) -> _Any:
    """The pixels of an image, (height, width) or (height, width, 3)."""
    from PIL import Image, ImageOps

    with _opened(file) as image:
        if image.mode[0] in "IF":  # 16 or 32 bits, whose range Pillow would cut off
            hint = "save it with 8 bits"
            raise SamplesError(file, "8 bits for each colour", f"mode {image.mode}", hint)
        turned = ImageOps.exif_transpose(image)
        if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
            turned = turned.convert("RGBA")
            if np.asarray(turned)[:, :, 3].min() < 255:
                hint = "save it on a background"
                raise SamplesError(
                    file, "an image without transparency", "pixels of alpha below 255", hint
                )
        turned = turned.convert(_MODES[colour])
        if size is not None and turned.size != (size[1], size[0]):
            turned = turned.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(turned)


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """The image in a file; what goes wrong with it inside is an error about this file."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ImportError("folders of images need Pillow: pip install pillow") from error
    with open_source(file, _MOST_FILE_BYTES) as (stream, size):
        if not size:
            raise SamplesError(file, "an image", "an empty file", "remove it, or save it again")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is repaired, and of sizes, checked below
                with Image.open(stream, formats=_FORMATS) as image:
                    width, height = image.size
                    if width * height > _MOST_PIXELS:
                        expected = f"at most {_MOST_PIXELS} pixels"
                        hint = "scale it down before"
                        raise SamplesError(file, expected, f"{height}x{width}", hint)
                    if (frames := getattr(image, "n_frames", 1)) > 1:
                        got = f"{frames}"
                        raise SamplesError(file, "one picture", got, "save one of them alone")
                    yield image
        except SamplesError:
            raise
        except Exception as error:  # Pillow's readers fail in many ways
            said = str(error).replace(repr(stream), "").strip()
            got = f"{type(error).__name__}: {said}"
            hint = "remove it, or save it again"
            raise SamplesError(file, "an image that can be read", got, hint) from None
