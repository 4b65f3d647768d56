"""The grid: every quantizer with every optimiser, once for each seed."""

from __future__ import annotations

import ast
import inspect
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import minibnn
from minibnn.backend import Backend
from minibnn.data import ImageDataset
from minibnn.layers import Activation, Layer, Sequential
from minibnn.layers.weighted import Weighted
from minibnn.optimizers import Adam, Bop, Optimizer, OptimizerGroup, split_parameters
from minibnn.schedules import Schedule
from minibnn.training import DivergedError
from minibnn.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Piece:
    """A class of minibnn and the arguments to make an object of it, as written by the user."""

    text: str
    kind: type
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def make(self, *first: Any) -> Any:
        """A new object; `first` stands before the user's arguments."""
        return self.kind(*first, *self.positional, **self.named)


def parse_piece(text: str, kind: type) -> Piece:
    """Read ``"SwishSign(beta=3)"`` or ``"ApproxSign"``: a class of minibnn and plain arguments.

    Args:
        text: a name, or a call whose arguments are numbers, strings, True, False or None.
        kind: what the class has to be: `Function` or `Optimizer`.

    Raises:
        ValueError: for text that is no such call, or a name that is no such class; it lists them.

    >>> from minibnn import Function
    >>> parse_piece("SwishSign(beta=3)", Function).make()
    SwishSign(beta=3)
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise SyntaxError
        positional = tuple(ast.literal_eval(a) for a in call.args)
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(
            f"expected a name or a call such as SwishSign(beta=3), got {text!r}"
        ) from None
    found: Any = getattr(minibnn, call.func.id, None)
    if not _is_concrete(found, kind):
        names = ", ".join(n for n in minibnn.__all__ if _is_concrete(getattr(minibnn, n), kind))
        raise ValueError(
            f"expected one of minibnn's {kind.__name__.lower()}s, got {call.func.id!r}; "
            f"there are: {names}"
        )
    return Piece(text.strip(), found, positional, named)


def _is_concrete(value: Any, kind: type) -> bool:
    return inspect.isclass(value) and issubclass(value, kind) and not inspect.isabstract(value)


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: what replaces the recipe's own pieces; None leaves them."""

    quantizer: Piece | None = None
    weight_quantizer: Piece | None = None
    optimizer: Piece | None = None

    def __str__(self) -> str:
        parts = [p.text for p in (self.quantizer, self.weight_quantizer, self.optimizer) if p]
        return " + ".join(parts) or "the recipe as it is"

    def applied_to(self, recipe: Recipe) -> Recipe:
        """The recipe with this entry's pieces in it."""
        changed = replace(recipe, build=lambda: self._replace_quantizers(recipe.build()))
        if self.optimizer is None:
            return changed
        options = dict(self.optimizer.named)
        rate = next(iter(self.optimizer.positional), options.pop("learning_rate", recipe.lr))
        kind = self.optimizer.kind

        def optimizer(model: Layer, schedule: Schedule) -> Optimizer:
            if kind is not Bop:
                return kind(model.parameters(), schedule, **options)  # type: ignore[no-any-return]
            binary, rest = split_parameters(model)
            bop = Bop(binary, **options)
            return OptimizerGroup(bop, Adam(rest, schedule)) if rest else bop

        return replace(changed, optimizer=optimizer, lr=float(rate))

    def _replace_quantizers(self, model: Sequential) -> Sequential:
        """Put the quantizers into a new model, in place.

        The activations replaced are those of one bit behind the first layer with weights (a
        binarised input stays what it is); the weights replaced are those of one bit.
        """
        behind_weights = False
        for layer in _leaves(model):
            if isinstance(layer, Weighted):
                behind_weights = True
                if self.weight_quantizer is not None and layer.weight_quantizer.bits == 1:
                    layer.weight_quantizer = self.weight_quantizer.make()
            elif (
                isinstance(layer, Activation)
                and behind_weights
                and self.quantizer is not None
                and layer.function.bits == 1
            ):
                layer.function = self.quantizer.make()
        return model


def _leaves(layer: Layer) -> list[Layer]:
    inside = [leaf for child in layer.children() for leaf in _leaves(child)]
    return inside or [layer]


def compare(
    recipe: Recipe,
    entries: Iterable[Entry],
    data: ImageDataset,
    *,
    seeds: int,
    device: str | Backend = "cpu",
    on_run: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Train every entry once for each seed, and note how it ended.

    For one seed all entries start from the same weights and see the same batches. They differ in
    their pieces alone. Seeds run in the outer loop, so that an interrupted comparison has
    compared all entries equally often.

    Args:
        recipe: the network and its training.
        entries: what to put in the place of its pieces.
        data: to choose with, a validation split: ``data.validation_split(10_000, rng)``.
        seeds: how many; 0, 1, 2, ... are used. Two make a spread, five a fair one.
        device: see `get_backend`.
        on_run: called after each run with the rows so far.

    Returns:
        A DataFrame with one row for each run: ``entry``, ``seed``, ``accuracy`` and ``loss`` on
        the data's test part and ``loss_train``, ``acc_train``, all after the last epoch,
        ``seconds``. A run that diverged counts as accuracy 0.

    Raises:
        ValueError: for no entries, an entry twice, or fewer than one seed.
    """
    import pandas as pd

    entries = list(entries)
    names = [str(entry) for entry in entries]
    if not entries or len(set(names)) < len(names):
        raise ValueError(f"compare: expected at least one entry, each once, got {names}")
    if seeds < 1:
        raise ValueError(f"compare: expected at least 1 seed, got {seeds}")
    rows: list[dict[str, Any]] = []
    for seed, entry in product(range(seeds), entries):
        start = time.perf_counter()
        changed = replace(entry.applied_to(recipe), held_out=0)
        try:
            _, history = changed.train(data, seed=seed, device=device, progress=False)
            if history.attrs["interrupted"]:
                raise KeyboardInterrupt
            last = history.iloc[-1]
            end = {
                "accuracy": last.acc_test,
                "loss": last.loss_test,
                "acc_train": last.acc_train,
                "loss_train": last.loss_train,
            }
        except DivergedError:
            end = {"accuracy": 0.0, "loss": math.inf, "acc_train": 0.0, "loss_train": math.inf}
        seconds = time.perf_counter() - start
        rows.append({"entry": str(entry), "seed": seed, **end, "seconds": seconds})
        if on_run is not None:
            on_run(pd.DataFrame(rows))
    return pd.DataFrame(rows)
