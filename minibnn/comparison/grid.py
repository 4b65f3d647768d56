"""The grid: each quantizer with each optimiser, once for each seed; one run of it."""

from __future__ import annotations

import ast
import inspect
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

from minibnn import functions, optimizers
from minibnn.backend import Backend
from minibnn.checks import integer
from minibnn.data import ImageDataset
from minibnn.functions import SignSTE, activation_bits, weight_bits
from minibnn.layers import Activation, Dense, Layer, Sequential
from minibnn.layers.weighted import Weighted
from minibnn.optimizers import Adam, Bop, Optimizer, OptimizerGroup, split_parameters
from minibnn.schedules import Schedule
from minibnn.training import DivergedError
from minibnn.training.recipe import Recipe

# What is known of a finished run, by the names of the table's columns.
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """A class of minibnn, and the arguments that the user wrote for it."""

    text: str
    kind: type
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def make(self, *first: Any) -> Any:
        """Make a new object; `first` comes before the user's arguments.

        Raises:
            ValueError: if the class does not take the arguments; the message names the piece.
        """
        try:
            return self.kind(*first, *self.positional, **self.named)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.text}: {error}") from error


def parse_piece(text: str, kind: type) -> Piece:
    """Parse a class of minibnn with plain arguments: ``"SwishSign(beta=3)"``, ``"ApproxSign"``.

    Args:
        text: a name, or a call whose arguments are numbers, strings, True, False or None.
        kind: the base class, `Function` or `Optimizer`.

    Raises:
        ValueError: if the text is not such a call, or not such a class; the message lists these
            classes.

    >>> from minibnn import Function
    >>> parse_piece("SwishSign(beta=3)", Function).make()
    SwishSign(beta=3)
    """
    text = " ".join(text.split())  # one line in every table
    try:
        node = ast.parse(text, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name) or not all(k.arg for k in call.keywords):
            raise SyntaxError
        positional = tuple(ast.literal_eval(a) for a in call.args)
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(
            "expected a name, or a call with plain arguments such as SwishSign(beta=3), "
            f"got {text!r}"
        ) from None
    known = {n: getattr(room, n) for room in (functions, optimizers) for n in room.__all__}
    found: Any = known.get(call.func.id)
    if not _is_concrete(found, kind):
        names = ", ".join(name for name, value in known.items() if _is_concrete(value, kind))
        raise ValueError(
            f"expected one of minibnn's {kind.__name__.lower()}s, got {call.func.id!r}; "
            f"there are: {names}"
        )
    return Piece(text, found, positional, named)


def _is_concrete(value: Any, kind: type) -> bool:
    """Whether a class can be called with plain arguments; `OptimizerGroup` needs optimisers."""
    if not inspect.isclass(value) or inspect.isabstract(value) or value is OptimizerGroup:
        return False
    return issubclass(value, kind)


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: what replaces the recipe's own pieces. None keeps them."""

    quantizer: Piece | None = None
    weight_quantizer: Piece | None = None
    optimizer: Piece | None = None

    def __str__(self) -> str:
        parts = [p.text for p in (self.quantizer, self.weight_quantizer, self.optimizer) if p]
        return " + ".join(parts) or "the recipe as it is"

    def applied_to(self, recipe: Recipe) -> Recipe:
        """The recipe with this entry's pieces."""
        changed = replace(recipe, build=lambda: self._replace_quantizers(recipe.build()))
        if self.optimizer is None:
            return changed
        piece = self.optimizer
        if piece.kind is Bop:
            return replace(changed, optimizer=partial(_bop_and_adam, piece))
        named = dict(piece.named)
        rates = [
            *piece.positional[:1],
            *([named.pop("learning_rate")] if "learning_rate" in named else []),
        ]
        if len(rates) > 1:
            raise ValueError(f"{piece.text}: expected one learning rate, got two: {rates}")
        rate = rates[0] if rates else recipe.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
            raise ValueError(f"{piece.text}: expected a positive learning rate, got {rate!r}")
        rest = replace(piece, positional=piece.positional[1:], named=named)

        def optimizer(model: Layer, schedule: Schedule) -> Optimizer:
            made: Optimizer = rest.make(model.parameters(), schedule)
            return made

        return replace(changed, optimizer=optimizer, learning_rate=float(rate))

    def require_usable(self, recipe: Recipe) -> None:
        """Raise ValueError before the first run if a piece cannot be used.

        Each piece is created once; the optimiser gets a model of one weight.
        """
        changed = self.applied_to(recipe)
        weights = self.weight_quantizer.make() if self.weight_quantizer else SignSTE()
        tiny = Sequential(Dense(1, 1, weight_quantizer=weights)).initialize(0)
        changed.optimizer(tiny, changed.decay(changed.learning_rate, changed.epochs, 1))
        found_by_kind = _replaceable(recipe.build())
        for piece, found, what in zip(
            (self.quantizer, self.weight_quantizer),
            found_by_kind,
            ("activations", "weights"),
            strict=True,
        ):
            if piece is not None:
                piece.make()
                if not found:
                    raise ValueError(
                        f"{piece.text}: expected {what} of one bit to replace, but the recipe "
                        f"{recipe.name!r} has none; leave them out, or choose another recipe"
                    )

    def _replace_quantizers(self, model: Sequential) -> Sequential:
        """Replace the quantizers of a new model, in place.

        This replaces quantizers of weights of one bit, and of activations of one bit after the
        first layer with weights (a binarised input stays).
        """
        activations, weights = _replaceable(model)
        if self.quantizer is not None:
            for activation in activations:
                activation.function = self.quantizer.make()
        if self.weight_quantizer is not None:
            for layer in weights:
                layer.weight_quantizer = self.weight_quantizer.make()
        return model


def _bop_and_adam(bop: Piece, model: Layer, schedule: Schedule) -> Optimizer:
    binary, rest = split_parameters(model)
    if not binary:
        raise ValueError(
            f"{bop.text}: expected weights of one bit, which it flips, got none; compare it "
            "without weight quantizers of more bits"
        )
    made: Optimizer = bop.make(binary)
    return OptimizerGroup(made, Adam(rest, schedule)) if rest else made


def _replaceable(model: Layer) -> tuple[list[Activation], list[Weighted]]:
    """The activations and the layers whose quantizers an entry replaces."""
    activations: list[Activation] = []
    weights: list[Weighted] = []
    after_weights = False
    for layer in _leaves(model):
        if isinstance(layer, Weighted):
            after_weights = True
            if (
                weight_bits(layer.weight_quantizer, len(layer.weight.shape), layer.weight.shape[-1])
                == 1
            ):
                weights.append(layer)
        elif (
            isinstance(layer, Activation) and after_weights and activation_bits(layer.function) == 1
        ):
            activations.append(layer)
    return activations, weights


def _leaves(layer: Layer) -> list[Layer]:
    inside = [leaf for child in layer.children() for leaf in _leaves(child)]
    return inside or [layer]


def require_usable(recipe: Recipe, entries: list[Entry], seeds: int) -> None:
    """Raise unless the grid can be run.

    Raises:
        ValueError: if there are no entries, the same entry twice, no seed or epoch, or a piece
            with wrong arguments or nothing to replace.
    """
    names = [str(entry) for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"compare: expected each entry once, got twice: {', '.join(twice)}")
    if not entries:
        raise ValueError("compare: expected at least one entry, got none")
    for count, what in ((seeds, "seed"), (recipe.epochs, "epoch")):
        if integer("compare", f"the number of {what}s", count) < 1:
            raise ValueError(f"compare: expected at least 1 {what}, got {count}")
    for entry in entries:
        entry.require_usable(recipe)


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Attributes:
        number: its place, from 0: the outer loop is over seeds, so that an interrupted comparison
            has trained all entries about equally often.
        entry: what replaces the recipe's pieces.
        seed: of all random numbers.
    """

    number: int
    entry: Entry
    seed: int

    def __str__(self) -> str:
        return f"{self.entry}, seed {self.seed}"

    def train(self, recipe: Recipe, data: ImageDataset, device: str | Backend) -> Row:
        """Train; return the run's row of the table. If it diverges, its accuracy is 0.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            Exception: whatever the training raises.
        """
        start = time.perf_counter()
        changed = replace(self.entry.applied_to(recipe), held_out=0)
        try:
            _, history = changed.train(data, seed=self.seed, device=device, progress=False)
            if history.attrs["interrupted"]:
                raise KeyboardInterrupt
            last = history.iloc[-1]
            end = {
                "accuracy": float(last.acc_test),
                "loss": float(last.loss_test),
                "acc_train": float(last.acc_train),
                "loss_train": float(last.loss_train),
            }
        except DivergedError:
            end = {"accuracy": 0.0, "loss": math.inf, "acc_train": 0.0, "loss_train": math.inf}
        seconds = time.perf_counter() - start
        return {"entry": str(self.entry), "seed": self.seed, **end, "seconds": seconds}


def runs_of(entries: list[Entry], seeds: int) -> list[Run]:
    """All runs, in their order."""
    pairs = product(range(seeds), entries)
    return [Run(number, entry, seed) for number, (seed, entry) in enumerate(pairs)]
