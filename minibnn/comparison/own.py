"""A comparison on data of one's own: what is trained, and on which parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minibnn.comparison.worker import RecipeCall
from minibnn.data import ImageDataset
from minibnn.data.errors import SamplesError
from minibnn.data.options import TEST, read_parts_of, require_classes
from minibnn.default_network import default_encoding, default_plan, default_recipe
from minibnn.recipes import recipe_named
from minibnn.training.recipe import Recipe


def own_comparison(
    path: str,
    reading: dict[str, Any],
    recipe: str | None,
    held_out: int | None,
    epochs: int | None = None,
) -> tuple[RecipeCall, ImageDataset]:
    """The call of the recipe, and the data: its test part are training samples that are held out.

    The source's own test part, or the fifth that `train` holds out, is left alone, so that no
    choice depends on it.

    Args:
        path: the source.
        reading: the arguments of `read_samples`.
        recipe: its name, or ``FILE.py:FUNCTION``; None for a default network.
        held_out: how many samples; None for a fifth.
        epochs: None for those of the recipe.

    Raises:
        DataError: for data that cannot be read, for targets that are numbers, and for a single
            class.
        ValueError: for another recipe, or as many samples held out as there are.
    """
    samples = read_parts_of(path, reading).train
    if samples.class_names is None:
        hint = "name another column: --target COLUMN, or take its numbers as classes: --classes"
        raise SamplesError(path, "classes to compare accuracies of", samples.target, hint)
    require_classes(path, samples)
    n = len(samples)
    if held_out is not None and not 0 < held_out < n:
        raise ValueError(
            f"--held-out: expected 1 to {n - 1} of {n} training samples, got {held_out}; leave it "
            "out for a fifth"
        )
    share = TEST if held_out is None else held_out / n
    train, test = samples.split(share, rng=np.random.default_rng(0))
    facts = train.x.shape, str(train.x.dtype), len(train.class_names or ())
    call = RecipeCall(_own_recipe, recipe, epochs, *facts)
    call()  # errors come now
    return call, ImageDataset(samples.name, train.x, train.y, test.x, test.y)


def _own_recipe(
    recipe: str | None, epochs: int | None, shape: tuple[int, ...], dtype: str, classes: int
) -> Recipe:
    """The recipe for samples of this shape, the first axis included."""
    n, *one = shape
    if recipe is None:
        encoding = default_encoding(tuple(one), dtype)
        made = default_recipe(tuple(one), classes, n, encoding=encoding)
    else:
        plan = default_plan(n)
        made = recipe_named(
            recipe,
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
        )
    return made if epochs is None else replace(made, epochs=epochs)
