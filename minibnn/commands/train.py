"""``python -m minibnn train``: train a recipe, pack and save the model."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from functools import partial
from typing import Any

from minibnn.atomic_file import UnsyncedError
from minibnn.backend import get_backend
from minibnn.commands import distributed, shared, train_own
from minibnn.commands.epoch_rows import EpochRows
from minibnn.commands.filming import add_film, filming, require_film
from minibnn.commands.rescue import rescue
from minibnn.commands.terminal import log_line
from minibnn.data import DataLoader, ImageDataset
from minibnn.data.options import add_data, add_reading, data_of, require_no_reading
from minibnn.distributed import Ranks
from minibnn.layers import Layer
from minibnn.losses.metrics import Accuracy
from minibnn.packed import (
    PackedFileError,
    PackedModel,
    PackError,
    disagreements,
    load_latents,
    pack,
    packed_file_info,
    save_packed,
)
from minibnn.recipes import RECIPES, recipe_named, recipe_text
from minibnn.signals import INTERRUPTED
from minibnn.training.checkpoint_file import before as checkpoint_before
from minibnn.training.evaluate import evaluate
from minibnn.training.progress import columns_of
from minibnn.training.recipe import Recipe

COLUMNS = columns_of([Accuracy()])  # all recipes classify
DESCRIPTION = """\
Train a network on your own data, or a recipe on MNIST, and save the packed model with figures about
its training. The latent weights are saved too, for `train --from`. --no-latents leaves them out,
and `pack` removes them later."""
EPILOG = """\
examples:
  python -m minibnn train sensor.csv -o sensor.safetensors
  python -m minibnn train sensor.csv --target state --hidden 128 64 -o sensor.safetensors
  python -m minibnn train photos/ --size 32x32 --colour rgb -o photos.safetensors
  python -m minibnn train -o digits.safetensors
  python -m minibnn train --recipe larq-cnn --epochs 2 --dataset sample -o cnn.safetensors
  python -m minibnn train --from digits.safetensors --epochs 3 --lr 1e-3 -o digits.safetensors
  python -m minibnn train -o digits.safetensors --film digits.film

Of your own data a fifth is held out for the test, each class by its share, unless the data has a
test part or --test names one. Without --recipe, a default network is trained.

Going on (on MNIST) starts from the latent weights and batch norm's statistics. The optimiser starts
anew, and so does the learning rate, which decays over the new epochs. Ctrl-C ends the training
after the batch in hand, and saves the model as it is, if an epoch is complete; a second Ctrl-C
saves nothing. SIGTERM and SIGHUP do the same. With --checkpoint, all three save the training there
instead:
  python -m minibnn train -o digits.safetensors --checkpoint run.safetensors --resume
is the whole job, however often it is killed, if it is repeated until it ends with 0. The result is
the same to the last bit. A checkpoint can be deleted when its job is done.
If a trained model cannot be packed or saved, its arrays go to OUT.rescued.npz or, if that cannot be
written, to the folder for temporary files: numpy.load reads them. The recipes are plain code in
minibnn/recipes.py."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    add = parser.add_argument
    # fmt: off
    add_data(parser, "your own data: a table (.csv, .tsv), arrays (.npz), a folder of images by "
        "class, or an IDX set; default: MNIST")
    add("--recipe", type=recipe_text, metavar="NAME",
        help=f"one of {', '.join(RECIPES)}, or FILE.py:FUNCTION, which returns a Sequential or a "
        "Recipe; default: modern, or with --from the file's own; on DATA, a default network")
    add("--from", dest="source", metavar="FILE", help="go on training this file's model")
    add("--epochs", type=shared.at_least(1), metavar="N",
        help="default: the recipe's own; 10 for seed and modern")
    add("--lr", dest="learning_rate", type=shared.learning_rate, metavar="RATE",
        help="at the start; default: the recipe's own")
    add("--seed", type=shared.at_least(0), metavar="N",
        help="of every random draw; default: 0, or with --from the file's own")
    add("--no-latents", action="store_true",
        help="save the bits only: a small file, from which no training can go on")
    # fmt: on
    add_film(parser)
    shared.add_checkpoint(parser)
    distributed.add_options(parser)
    shared.add_data(parser)
    shared.add_output(parser)
    train_own.add_options(parser)
    add_reading(parser)


def run(given: argparse.Namespace) -> int:
    """Train, pack, save."""
    with distributed.ranks_of(given) as ranks:
        return _run_on(ranks, given)


def _run_on(ranks: Ranks | None, given: argparse.Namespace) -> int:
    if (data := data_of(given)) is not None:
        _require_other_files(given)
        return train_own.run(data, given, ranks)
    require_no_reading(given, *train_own.OPTIONS)
    return _run(given, ranks)


def _run(given: argparse.Namespace, ranks: Ranks | None) -> int:
    """Train a recipe on MNIST, pack, save."""
    checkpoint = shared.checkpoint(given)
    _require_other_files(given)
    path = given.output
    if distributed.writes(ranks):
        path = shared.check_output(path, shared.MODEL)
        require_film(given, given.source)
    before = _figures(given.source)
    if checkpoint is not None and given.source is not None:
        checkpoint.job["--from, its sha256"] = packed_file_info(given.source).sha256
    name, seed = _recipe_name(given, before), _seed(given, before)
    epochs_before = _whole_number(given.source, before, "epochs", "train from a file of `train`")
    changes = {k: v for k in ("epochs", "learning_rate") if (v := getattr(given, k)) is not None}
    recipe = replace(recipe_named(name), **changes)
    if recipe.held_out and before and seed != before.get("seed"):
        raise ValueError(
            f"--seed: expected the file's own ({before.get('seed')}), got {seed}: it draws which "
            f"images {name} holds out, and others would have been trained on"
        )
    start = None if given.source is None else partial(_restore, path=given.source)
    _require_packable(recipe, start, given.source, before)
    backend = get_backend(given.device)
    data = shared.load_data(given)
    log_line(f"{data.name}, {name} recipe, seed {seed}, {backend.name}")
    rows = EpochRows(COLUMNS)
    rows.head()
    with filming(given, data.train_images, backend, ranks) as callbacks:
        model, history = recipe.train(data, seed=seed, device=backend, on_epoch=rows, start=start,
                                      callbacks=callbacks, checkpoint=checkpoint,
                                      comm=ranks)  # fmt: skip
    rows(history)  # if nothing was left to do
    interrupted = bool(history.attrs["interrupted"])
    if interrupted:
        shared.note_interruption(len(history), recipe.epochs)
        if not len(history):
            return INTERRUPTED
    if not distributed.writes(ranks):
        return INTERRUPTED if interrupted else 0
    try:
        packed = pack(model)
        tested, packed_is_right = _test(model, packed, data, recipe)
        figures = {
            "recipe": name,
            "seed": seed,
            "epochs": len(history) + epochs_before,
            "lr": recipe.learning_rate,
            "dataset": data.name,
            **tested,
        }
        latents = None if given.no_latents else model
        save_packed(packed, path, training=figures, model=latents)
    except UnsyncedError:  # it is saved
        raise
    except BaseException:
        rescue(model, given.output, f"RECIPES[{name!r}]().build()")
        raise
    shared.log_saved(given.output, packed, latents=latents is not None)
    return INTERRUPTED if interrupted else 0 if packed_is_right else 1


def _figures(source: str | None) -> dict[str, Any]:
    """The training figures of the file to go on from."""
    if source is None:
        return {}
    packed = shared.read_packed(source)
    if not packed_file_info(source).latent_bytes:
        raise PackedFileError(
            f"{source}: expected latent weights to go on from, got the bits only; use the file "
            "before `pack`, or train without --no-latents"
        )
    return packed.training


def _require_other_files(given: argparse.Namespace) -> None:
    """Raise ValueError if a command that is repeated after a kill would find other files."""
    if given.checkpoint is None:
        return
    checkpoint = os.path.realpath(given.checkpoint)
    for option, path in (("-o", given.output), ("--from", given.source)):
        if path is not None and os.path.realpath(path) in (
            checkpoint,
            checkpoint_before(checkpoint),
        ):
            raise ValueError(
                f"--checkpoint: expected another file than {option}, also with .before at its end, "
                f"got {given.checkpoint}; choose another name after --checkpoint"
            )
    source = given.source and os.path.realpath(given.source)
    if source == os.path.realpath(given.output):
        raise ValueError(
            "--output: with --checkpoint, expected another file than --from has, so that the "
            "command can be repeated, got the same; choose another name after -o"
        )


def _recipe_name(given: argparse.Namespace, before: dict[str, Any]) -> str:
    if given.recipe is not None or given.source is None:
        return given.recipe or "modern"
    name = before.get("recipe")
    if type(name) is not str or name not in RECIPES:
        raise PackedFileError(
            f"{given.source}: expected figures that name the recipe it was trained by, got "
            f"{name!r}; name it with --recipe"
        )
    return name


def _seed(given: argparse.Namespace, before: dict[str, Any]) -> int:
    if given.seed is not None:
        return int(given.seed)
    return _whole_number(given.source, before, "seed", "name one with --seed")


def _whole_number(source: str | None, before: dict[str, Any], name: str, hint: str) -> int:
    """A training figure of the file, or 0 if absent; checked, since anybody can write a file."""
    value = before.get(name, 0)
    if type(value) is not int or value < 0:
        raise PackedFileError(
            f"{source}: expected a whole number from 0 on as {name} in its figures, got {value!r}; "
            f"{hint}"
        )
    return value


def _restore(model: Layer, path: str) -> None:
    """Give a new model a file's latent weights and statistics."""
    load_latents(path, model)


def _require_packable(
    recipe: Recipe, start: Any, source: str | None, before: dict[str, Any]
) -> None:
    """Pack the untrained network, to find errors before the training.

    Raises:
        PackError: if it has no packed form.
        PackedFileError: if the file to go on from has the values of another network.
    """
    model = recipe.build().initialize(0)
    if start is not None:
        try:
            start(model)
        except PackedFileError:
            known = before.get("recipe") not in (None, recipe.name)
            hint = "leave out --recipe" if known else "name the recipe it was trained by: --recipe"
            raise PackedFileError(
                f"{source}: expected the latent weights of the recipe {recipe.name}, got those of "
                f"another network; {hint}"
            ) from None
    try:
        pack(model, (28, 28))  # the images of all recipes
    except PackError as error:
        raise PackError(
            f"the recipe {recipe.name} cannot be packed, so it is not trained here: {error}; "
            f"to train it all the same: python examples/mnist.py --recipe {recipe.name}"
        ) from None


def _test(
    model: Layer, packed: PackedModel, data: ImageDataset, recipe: Recipe
) -> tuple[dict[str, float | int], bool]:
    """Test the model and its packed form; the figures to save, and whether the bits are right."""
    loader = DataLoader((data.test_images, data.test_labels), recipe.batch_size)
    loss, accuracy = evaluate(model, loader.to(model.backend), recipe.loss())
    images = model.backend.asarray(data.test_images)
    labels = model.backend.to_host(packed.predict(images))
    right = float((labels == data.test_labels).mean())
    found = disagreements(model, packed, images)
    log_line(f"on {shared.several(len(images), 'test image')}: float {accuracy:.4f} "
          f"(loss {loss:.4f}), packed {right:.4f}, another label {found.labels:,}")  # fmt: skip
    shared.note_disagreements(found)
    figures = {
        "accuracy": right,
        "float_accuracy": accuracy,
        "float_loss": round(loss, 6),
        "labels_differ": found.labels,
        "test_images": len(images),
    }
    return figures, found.packed_is_right
