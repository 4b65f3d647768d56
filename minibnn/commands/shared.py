"""What commands share: options, data, files, and texts."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable

from minibnn.atomic_file import require_writable
from minibnn.commands.terminal import log_line
from minibnn.commands.terminal import note as note
from minibnn.data import ImageDataset
from minibnn.data.folders import ENDINGS as IMAGE_ENDINGS
from minibnn.data.mnist import load_by_options
from minibnn.data.read import ENDINGS as DATA_ENDINGS
from minibnn.packed import Disagreements, PackedFileError, PackedModel, load_packed
from minibnn.packed.stages import CodeStage, Product, ThresholdStage
from minibnn.training.checkpoint import Checkpoint

MAKE_ONE = "python -m minibnn train -o FILE makes one"
# Files that end so are replaced only by others of their kind: data, and what the commands write.
MODEL, TABLE, FILM = ".safetensors", ".csv", ".film"
FORMS = {"c": ".h", "onnx": ".onnx", "html": ".html", "training-page": ".html"}
ENDINGS = {
    MODEL,
    TABLE,
    FILM,
    *FORMS.values(),
    *DATA_ENDINGS,
    *IMAGE_ENDINGS,
    ".gz",
    ".py",
    ".ipynb",
}


def describe(parser: argparse.ArgumentParser, description: str, epilog: str) -> None:
    """Set a command's description and epilog; their line breaks stay."""
    parser.description, parser.epilog = description, epilog
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the packed model to read."""
    parser.add_argument("file", metavar="FILE", help="a packed model, as train and pack write it")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option for the file to write."""
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="the file to write; one that is there is replaced")  # fmt: skip


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options for the data set and the device."""
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


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the options for checkpoints."""
    add = parser.add_argument
    # fmt: off
    add("--checkpoint", metavar="FILE", help="save the training there, to go on after a kill")
    add("--checkpoint-every", default="1epoch", metavar="N",
        help="how often: 200steps, 30s, 10min, 1epoch; default: %(default)s")
    add("--resume", action="store_true",
        help="go on from the checkpoint if it is there, and start if it is not: so the same "
        "command, repeated until it ends with 0, does the whole job")
    # fmt: on


def checkpoint(given: argparse.Namespace) -> Checkpoint | None:
    """The checkpoint that `add_checkpoint`'s options ask for.

    Raises:
        ValueError: for options that make no sense.
    """
    if given.checkpoint is None:
        if given.resume or given.checkpoint_every != "1epoch":
            option = "--resume" if given.resume else "--checkpoint-every"
            raise ValueError(
                f"{option}: expected a file to save the training in; add --checkpoint FILE"
            )
        return None
    return Checkpoint(given.checkpoint, given.checkpoint_every, resume=given.resume)


def load_data(given: argparse.Namespace) -> ImageDataset:
    """The images that `add_data`'s options ask for."""
    return load_by_options(given.dataset, given.data_dir, verify=not given.no_verify)


def read_packed(path: str) -> PackedModel:
    """The packed model in a file.

    Raises:
        PackedFileError: if the file cannot be read, or is not a packed model.
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


def check_output(path: str, ending: str, option: str = "-o") -> str:
    """Check before any work that a file can be written; return its path, with links followed.

    The write is tried with the same name and mode; it leaves and changes nothing. Prints a note if
    a file will be replaced.

    Args:
        path: the file, as the user named it.
        ending: of the names that such files have, ``.h`` say.
        option: which names the file.

    Raises:
        OSError: if it cannot be written, or is a device or a pipe.
        ValueError: if a file is there whose name ends as that of something else, such as data.
    """
    if os.path.isdir(path) or not os.path.basename(path):
        raise IsADirectoryError(f"{path}: expected a file to write, got a folder; add a name")
    real = os.path.realpath(path)
    if (os.path.exists(path) and not os.path.isfile(path)) or os.path.islink(real):
        raise OSError(
            f"{path}: expected a file to write, got a device, a pipe or a link to itself; "
            "choose another name"
        )
    there = os.path.splitext(real)[1].casefold()
    if os.path.exists(real) and there in ENDINGS and there != ending:
        raise ValueError(
            f"{path}: expected a new file, or one that ends in {ending} and may be replaced, got "
            f"one that ends in {there}; choose another name after {option}"
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


def note_interruption(epochs: int, of: int) -> None:
    """Note that a training was interrupted after so many epochs."""
    lost = "; nothing is saved" * (not epochs)
    note(f"interrupted after {epochs} of {several(of, 'epoch')}{lost}")


def note_disagreements(found: Disagreements) -> None:
    """Note where a model and its packed form differ, if they do."""
    if found.labels or not found.packed_is_right:
        note(str(found))
    if not found.packed_is_right:
        note(
            "*** The packed model is wrong: expected the bits and labels of exact arithmetic "
            f"wherever the two differ, got others ({found.unexplained:,} labels unexplained). "
            "This is an error in minibnn; please report it."
        )


def log_saved(name: str, packed: PackedModel, *, latents: bool) -> None:
    """Log the size of the file that has a packed model, perhaps with its latent weights."""
    beside = "with latent weights" if latents else "the bits only"
    log_line(
        f"{name}: {os.path.getsize(name):,} bytes, {beside}; "
        f"the packed model takes {packed.nbytes:,}"
    )


def same_file(path: str, other: str) -> bool:
    """Whether two paths lead to the same existing file."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def on_one_line(text: str) -> str:
    r"""Text from a file, with control and invisible characters escaped.

    >>> on_one_line("no\nline of its own")
    'no\\nline of its own'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def several(count: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {what}" + "s" * (count != 1)


def at_least(least: int) -> Callable[[str], int]:
    """An option's type: integers of at least `least`."""

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
    """An option's type: a positive, finite learning rate."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


def require_mnist(file: str, packed: PackedModel, command: str) -> None:
    """Raise ValueError if a model was trained on data of one's own, which has to be named."""
    source = packed.training.get("source")
    if isinstance(source, str):
        raise ValueError(
            f"{file}: expected the data to {command} it on, since it was trained on "
            f"{on_one_line(source)}, got none; name it: {command} {file} DATA"
        )


def require_another_file(output: str, *inputs: str | None, option: str = "-o") -> None:
    """Raise ValueError if a file to write is one of those to read, or lies in a folder of them.

    Args:
        output: the file to write.
        inputs: files or folders to read; None for none.
        option: which names the output.
    """
    real = os.path.realpath(output)
    for path in inputs:
        if path is None:
            continue
        source = os.path.realpath(path)
        inside = os.path.isdir(source) and real.startswith(os.path.join(source, ""))
        if real == source or inside or same_file(path, output):
            what = "a file outside of the folder" if inside else "another file than the one"
            raise ValueError(
                f"{output}: expected {what} that is read, {path}; choose another name after "
                f"{option}"
            )


def next_step(*words: str) -> str:
    """The line that says which command to type next.

    >>> next_step("inspect", "my model")
    "next: python -m minibnn inspect 'my model'"
    """
    return f"next: python -m minibnn {shlex.join(words)}"


def float_bytes(packed: PackedModel) -> int:
    """Bytes of the network in float32: weights, a threshold per bit, two numbers per class."""
    numbers = 2 * packed.classes
    for stage in packed.stages:
        if isinstance(stage, Product):
            numbers += stage.channels * stage.width
        elif isinstance(stage, ThresholdStage):
            numbers += len(stage.thresholds)
        elif isinstance(stage, CodeStage):
            numbers += len(stage.feature)
    return 4 * numbers
