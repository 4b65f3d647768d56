"""``python -m minibnn train DATA``: train on data of your own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from minibnn.atomic_file import UnsyncedError
from minibnn.backend import Backend, get_backend
from minibnn.commands import distributed, shared
from minibnn.commands.epoch_rows import EpochRows
from minibnn.commands.filming import filming, require_film
from minibnn.commands.measured import measured_line, measures
from minibnn.commands.rescue import rescue
from minibnn.commands.terminal import log_line
from minibnn.data import DataLoader
from minibnn.data.options import (
    Parts,
    read_parts_of,
    reading_of,
    require_classes,
    require_no_mnist_options,
)
from minibnn.data.samples import Samples
from minibnn.default_network import (
    ENCODINGS,
    default_encoding,
    default_plan,
    default_recipe,
)
from minibnn.distributed import Ranks
from minibnn.encoding import fit_codes
from minibnn.functions import Identity
from minibnn.input_contract import InputContract
from minibnn.layers import Dense, Layer, Sequential
from minibnn.losses import LogitCrossEntropy, MeanSquaredError
from minibnn.packed import PackedModel, PackError, disagreements, pack, save_packed
from minibnn.recipes import recipe_named
from minibnn.signals import INTERRUPTED
from minibnn.target_scale import TargetScale
from minibnn.training.early_stopping import EarlyStopping
from minibnn.training.fit import fit
from minibnn.training.recipe import Recipe

OPTIONS = ("test", "hidden", "encoding", "bits", "validation", "class_weight")
ROWS = 20  # of the printed table, about
CATEGORIES = 256  # most of a column


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only data of one's own has."""
    add = parser.add_argument_group("training on DATA").add_argument
    # fmt: off
    add("--hidden", type=_width, nargs="+", metavar="N",
        help="widths of the default network's hidden layers; default: 256")
    add("--encoding", choices=ENCODINGS,
        help="how the default network takes numbers; default: bytes for images, else thermometer")
    add("--bits", type=shared.at_least(1), metavar="N",
        help="of the thermometer, for each number; default: 8")
    add("--validation", type=_share, metavar="SHARE",
        help="hold out this share of the training part too, 0.2 say, and keep the epoch with the "
        "least loss on it")
    add("--class-weight", nargs="+", metavar="W",
        help="balanced, by which all classes weigh the same, or weights: sick=5 well=1")
    add("--test", metavar="FILE",
        help="the test part; default: the data's own, if it has one, else a fifth")
    # fmt: on


def _width(text: str) -> int:
    try:
        return shared.at_least(1)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write DATA before --hidden") from None


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, got {text!r}")
    return value


def run(path: str, given: argparse.Namespace, ranks: Ranks | None = None) -> int:
    """Read, train, pack, test, save."""
    _check_options(path, given)
    checkpoint = shared.checkpoint(given)
    output = given.output
    if distributed.writes(ranks):
        output = shared.check_output(output, shared.MODEL)
    reading = reading_of(given)
    parts = read_parts_of(path, reading, given.test)
    require_classes(path, parts.train)
    recipe, how = _recipe(given, parts.train)
    weights = _class_weights(given.class_weight, parts.train.class_names)
    _require_packable(recipe, parts.train)
    backend = get_backend(given.device)
    seed = 0 if given.seed is None else given.seed
    targets = _targets_in_words(parts.train)
    log_line(f"{path}: {parts.train.kind}{targets}")
    log_line(f"{how}, {shared.several(recipe.epochs, 'epoch')}, seed {seed}, {backend.name}")
    log_line(f"test part: {parts.chosen} ({shared.several(len(parts.test.x), 'sample')})")
    with filming(given, parts.train.x, backend, ranks) as callbacks:
        model, history = _train(
            recipe, parts.train, given.validation, seed, backend, weights, callbacks, checkpoint,
            ranks,
        )  # fmt: skip
    interrupted = bool(history.attrs["interrupted"])
    if interrupted:
        shared.note_interruption(len(history), recipe.epochs)
        if not len(history):
            return INTERRUPTED
    if not distributed.writes(ranks):
        return INTERRUPTED if interrupted else 0
    try:
        packed = pack(model, **_names(parts.train))
        tested, packed_is_right = _test(model, packed, parts)
        figures = {
            "source": parts.train.name,
            "kind": parts.train.kind,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in reading.items()},
            "recipe": recipe.name,
            **_choices(given, recipe, parts.train),
            "epochs": len(history),
            "lr": recipe.learning_rate,
            "seed": seed,
            "test_part": parts.chosen,
            **tested,
            "data_sha256": parts.sha256,
        }
        latents = None if given.no_latents else model
        save_packed(packed, output, training=figures, model=latents)
    except UnsyncedError:  # it is saved
        raise
    except BaseException:
        rescue(model, given.output, "your network")
        raise
    shared.log_saved(given.output, packed, latents=latents is not None)
    log_line(shared.next_step("evaluate", given.output, path))
    return INTERRUPTED if interrupted else 0 if packed_is_right else 1


def _check_options(path: str, given: argparse.Namespace) -> None:
    """Raise ValueError for options that exclude each other, before anything is read."""
    require_no_mnist_options(given)
    script = given.recipe.rpartition(":")[0] if given.recipe and ":" in given.recipe else None
    shared.require_another_file(given.output, path, given.test, script)
    if given.checkpoint is not None:
        shared.require_another_file(
            given.checkpoint, path, given.test, script, option="--checkpoint"
        )
    require_film(given, path, given.test, script)
    if given.source is not None:
        raise ValueError(
            "--from: expected a recipe on MNIST, which can go on, got data of your own; train anew "
            "with more --epochs"
        )
    for name in ("hidden", "encoding", "bits"):
        if given.recipe is not None and getattr(given, name) is not None:
            raise ValueError(
                f"--{name}: expected the default network, which it changes, got --recipe "
                f"{given.recipe}; leave out --{name}"
            )
    if given.bits is not None and given.encoding in ("bytes", "one-hot"):
        raise ValueError(
            f"--bits: expected a thermometer, got --encoding {given.encoding}; leave out --bits"
        )


def _targets_in_words(samples: Samples) -> str:
    """The first classes, for the end of a line."""
    if samples.class_names is None:
        return ""
    names, more = samples.class_names[:5], len(samples.class_names) - 5
    listed = ", ".join(map(shared.on_one_line, names)) + f" and {more} more" * (more > 0)
    return f": {listed}"


def _recipe(given: argparse.Namespace, train: Samples) -> tuple[Recipe, str]:
    """What to train, and a line about it."""
    shape, dtype = train.x.shape[1:], train.x.dtype
    numbers = train.class_names is None
    outputs = _outputs(train)
    changes = {k: v for k in ("epochs", "learning_rate") if (v := getattr(given, k)) is not None}
    count = round(len(train.x) * (1 - (given.validation or 0)))
    if given.recipe is not None:
        plan = default_plan(count)
        recipe = recipe_named(
            given.recipe,
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
            loss=MeanSquaredError if numbers else LogitCrossEntropy,
        )
        return replace(recipe, **changes), f"recipe {given.recipe}"
    options = _network_options(given, train)
    encoding = options["encoding"]
    if encoding == "bytes" and dtype != np.uint8:
        raise ValueError(
            f"--encoding bytes: expected whole numbers from 0 to 255 (uint8), got {dtype}; use "
            "--encoding thermometer"
        )
    if encoding == "one-hot":
        options["categories"] = _most_categories(train)
    recipe = default_recipe(shape, outputs, count, numbers=numbers, **options)
    hidden = " ".join(map(str, options.get("hidden", (256,))))
    how = f"default network, encoding {encoding}, hidden {hidden}"
    return replace(recipe, **changes), how


def _outputs(train: Samples) -> int:
    if train.class_names is not None:
        return len(train.class_names)
    y = np.asarray(train.y)
    return 1 if y.ndim == 1 else y.shape[1]


def _network_options(given: argparse.Namespace, train: Samples) -> dict[str, Any]:
    """The arguments of the default network that are not its own defaults."""
    x = train.x
    options: dict[str, Any] = {"encoding": given.encoding or default_encoding(x.shape[1:], x.dtype)}
    if given.hidden is not None:
        options["hidden"] = tuple(given.hidden)
    if given.bits is not None:
        options["bits"] = given.bits
    return options


def _choices(given: argparse.Namespace, recipe: Recipe, train: Samples) -> dict[str, Any]:
    """What was chosen about the network, to keep in the file."""
    found: dict[str, Any] = {}
    if given.recipe is None:
        options = _network_options(given, train)
        found |= {"encoding": options["encoding"], "hidden": list(options.get("hidden", (256,)))}
        if options["encoding"] in ("thermometer", "uniform"):
            found["bits"] = options.get("bits", 8)
    if given.validation is not None:
        found["validation"] = given.validation
    if given.class_weight is not None:
        found["class_weight"] = " ".join(given.class_weight)
    return found


def _most_categories(train: Samples) -> int:
    x = train.x
    rows = x.reshape(-1, x.shape[-1])
    counts = [len(np.unique(column[~np.isnan(column.astype(float))])) for column in rows.T]
    worst = int(np.argmax(counts))
    if counts[worst] > CATEGORIES:
        column = train.feature_names[worst] if train.feature_names else str(worst)
        raise ValueError(
            f"--encoding one-hot: expected at most {CATEGORIES} categories in a column, got "
            f"{counts[worst]} in {column!r}; use --encoding thermometer"
        )
    return max(counts)


def _class_weights(words: list[str] | None, names: tuple[str, ...] | None) -> Any:
    """The weights for `fit`: None, "balanced", or weights by class number."""
    if words is None:
        return None
    if names is None:
        raise ValueError(
            "--class-weight: expected classes, got a target of numbers; leave out --class-weight"
        )
    if words == ["balanced"]:
        return "balanced"
    found: dict[int, float] = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not equals or name not in names or not 0 <= weight < float("inf"):
            raise ValueError(
                f"--class-weight: expected balanced, or CLASS=WEIGHT with a class of the data, got "
                f"{word!r}; use one of {', '.join(names[:20])}"
            )
        found[names.index(name)] = weight
    return found


def _names(train: Samples) -> dict[str, Any]:
    """The names that the packed model keeps."""
    return {"feature_names": train.feature_names, "class_names": train.class_names}


def _require_packable(recipe: Recipe, train: Samples) -> None:
    """Pack the untrained network, to find errors before the training."""
    x = train.x
    model = recipe.build().initialize(0)
    hint = "leave out --recipe, which trains a default network, or change the recipe"
    try:
        fit_codes(model, x)
        model.set_input_contract(InputContract.of(x, "the training part"))
        packed = pack(model)
    except (PackError, ValueError, TypeError) as error:
        raise PackError(
            f"the recipe {recipe.name} cannot be packed with this data, so it is not trained: "
            f"{error}; {hint}"
        ) from None
    outputs = _outputs(train)
    if packed.classes != outputs and not (packed.classes == 1 and outputs == 2):
        each = "each class" if train.class_names is not None else "each number to predict"
        raise ValueError(
            f"the recipe {recipe.name}: expected {outputs} outputs, one for {each}, got "
            f"{packed.classes}; {hint}"
        )


def _train(
    recipe: Recipe,
    train: Samples,
    validation: float | None,
    seed: int,
    backend: Backend,
    class_weight: Any,
    callbacks: list[object],
    checkpoint: Any,
    ranks: Ranks | None,
) -> tuple[Sequential, Any]:
    """The trained model and its history."""
    rng = np.random.default_rng(seed)
    part = None
    if validation is not None:
        train, part = train.split(validation, rng=rng, stratify=train.class_names is not None)
    model = recipe.build().initialize(rng)
    scale = _scale_of(model, train)
    inside = scale.inside if scale is not None else np.asarray
    batch = min(recipe.batch_size, len(train.x))
    loader = DataLoader((train.x, inside(train.y)), batch, shuffle=True, drop_last=True, rng=rng)
    held_out = None if part is None else DataLoader((part.x, inside(part.y)), batch)
    model.to(backend)
    schedule = recipe.decay(recipe.learning_rate, recipe.epochs, len(loader))
    every = max(1, recipe.epochs // ROWS)
    rows = EpochRows(_columns(train, part is not None), every)
    rows.head()
    if checkpoint is not None:
        checkpoint = checkpoint.of(recipe=recipe.name, seed=seed, epochs=recipe.epochs)
    stops = [] if part is None else [EarlyStopping("loss_validation", patience=recipe.epochs)]
    history = fit(
        model,
        loader,
        validation=held_out,
        loss=recipe.loss(),
        optimizer=recipe.optimizer(model, schedule),
        epochs=recipe.epochs,
        class_weight=class_weight,
        callbacks=[*callbacks, *stops],
        on_epoch=rows,
        evaluate_train=every,
        checkpoint=checkpoint,
        comm=ranks,
    )
    rows(history)  # if nothing was left to do
    if stops and stops[0].best_epoch:
        log_line(f"the values are those of epoch {stops[0].best_epoch}")
    if scale is not None:
        scale.put_into(model[-1])
    return model, history


def _columns(train: Samples, validated: bool) -> list[str]:
    stems = ("loss", "acc" if train.class_names is not None else "mae")
    parts = ("train", "validation") if validated else ("train",)
    return [f"{stem}_{part}" for stem in stems for part in parts]


def _scale_of(model: Sequential, train: Samples) -> TargetScale | None:
    """The scale of targets that are numbers, if the last layer can take it."""
    if train.class_names is not None or not _is_real(model[-1]):
        return None
    return TargetScale(train.y)


def _is_real(layer: Layer) -> bool:
    """Whether a layer has real weights and a bias, which can scale its outputs."""
    if not isinstance(layer, Dense) or layer.bias is None:
        return False
    return isinstance(layer.weight_quantizer, Identity) and layer.weight.bound is None


def _test(model: Layer, packed: PackedModel, parts: Parts) -> tuple[dict[str, Any], bool]:
    """Test the model and its packed form; the figures to keep, and whether the bits are right."""
    test = parts.test
    x = model.backend.asarray(test.x)
    found = measures(packed, test, x, model.backend)
    log_line(f"on {shared.several(len(test.x), 'test sample')}: {measured_line(found)}")
    figures: dict[str, Any] = {**found, "test_samples": len(test.x)}
    if test.class_names is None:
        return figures, True
    differ = disagreements(model, packed, x)
    figures["labels_differ"] = differ.labels
    shared.note_disagreements(differ)
    return figures, differ.packed_is_right
