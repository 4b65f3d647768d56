"""What several commands have in common: options, data, files, and words."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from minibnn.atomic_file import require_writable
from minibnn.data import ImageDataset
from minibnn.data.mnist import load_by_options
from minibnn.packed import PackedFileError, PackedModel, load_packed
from minibnn.packed.stages import Product, ThresholdStage

MAKE_ONE = "python -m minibnn train -o FILE makes one"


def describe(parser: argparse.ArgumentParser, description: str, epilog: str) -> None:
    """Give a command its text, with line breaks as they are."""
    parser.description, parser.epilog = description, epilog
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def add_file(parser: argparse.ArgumentParser) -> None:
    """The packed model that a command reads."""
    parser.add_argument("file", metavar="FILE", help="a packed model, as train and pack write it")


def add_output(parser: argparse.ArgumentParser) -> None:
    """The file that a command writes."""
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="the file to write; one that is there is replaced")  # fmt: skip


def add_data(parser: argparse.ArgumentParser) -> None:
    """Which images, and where the computing happens."""
    add = parser.add_argument
    # fmt: off
    add("--dataset", default="auto", choices=("auto", "mnist", "sample"),
        help="default: auto, MNIST or, if there is none, the bundled sample")
    add("--data-dir", metavar="DIR", help="folder with the four MNIST files, plain or .gz; "
        "default: $MINIBNN_DATA, else the user's cache, filled by download")
    add("--no-verify", action="store_true",
        help="take a drop-in set such as Fashion-MNIST: any images of 28x28 in 10 classes")
    add("--device", default="auto", choices=("auto", "cpu", "gpu"),
        help="default: auto, the GPU if it works and else the CPU")
    # fmt: on


def load_data(given: argparse.Namespace) -> ImageDataset:
    """The images that `add_data`'s options ask for."""
    return load_by_options(given.dataset, given.data_dir, verify=not given.no_verify)


def read_packed(path: str) -> PackedModel:
    """The packed model in a file.

    Raises:
        PackedFileError: for any file that gives none, also one that cannot be read.
    """
    if os.path.isdir(path):
        raise PackedFileError(f"{path}: expected a packed model, got a folder; name a file in it")
    try:
        return load_packed(path)
    except FileNotFoundError:
        raise PackedFileError(
            f"{path}: expected a packed model, got no such file; {MAKE_ONE}"
        ) from None
    except OSError as error:
        raise PackedFileError(
            f"{path}: expected a packed model, got {error.strerror}; make the file readable"
        ) from None


def check_output(path: str) -> str:
    """Before any work: the file to write, which is where `path` leads if it is a link.

    The write is tried as it will be done, with this name and mode; nothing is left or changed. Says
    so if a file will be replaced.

    Raises:
        OSError: if it cannot be written, or is no file but a device or a pipe.
    """
    if os.path.isdir(path) or not os.path.basename(path):
        raise IsADirectoryError(f"{path}: expected a file to write, got a folder; add a name")
    real = os.path.realpath(path)
    if (os.path.exists(path) and not os.path.isfile(path)) or os.path.islink(real):
        raise OSError(
            f"{path}: expected a file to write, got a device, a pipe or a link to itself; "
            "choose another name"
        )
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path}: expected a folder {folder}, got none; make it first")
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"{path}: expected a folder to write in; choose another than {folder}"
        )
    require_writable(real)
    if os.path.exists(path):
        note(f"{path} is there and will be replaced")
    return real


def same_file(path: str, other: str) -> bool:
    """Whether two paths lead to one file that is there."""
    return os.path.exists(other) and os.path.samefile(path, other)


def note(text: str) -> None:
    """Say something beside the results."""
    print(text, file=sys.stderr)


def on_one_line(text: str) -> str:
    r"""Text from a file, in which what would move the cursor or hide is escaped.

    >>> on_one_line("no\nline of its own")
    'no\\nline of its own'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def several(count: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {what}" + "s" * (count != 1)


def at_least(least: int) -> Callable[[str], int]:
    """Whole numbers for an option, from `least` on."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"expected at least {least}, got {value}")
        return value

    return number


def learning_rate(text: str) -> float:
    """A learning rate for an option."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


def float_bytes(packed: PackedModel) -> int:
    """The same network in float32: its weights, one number a threshold, and two for each class."""
    numbers = 2 * packed.classes
    for stage in packed.stages:
        if isinstance(stage, Product):
            numbers += stage.channels * stage.width
        elif isinstance(stage, ThresholdStage):
            numbers += len(stage.thresholds)
    return 4 * numbers
