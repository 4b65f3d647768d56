"""How `fit` saves a training: the saver of its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minibnn.checks import require
from minibnn.data.epochs import Loader
from minibnn.state import has_state
from minibnn.training.callbacks import Callbacks
from minibnn.training.together import Alone

if TYPE_CHECKING:
    from minibnn.training.checkpoint import Checkpoint, Saver

CALLBACKS, TRAIN = "callbacks", "training batches"  # names of parts


def settings_of(**settings: Any) -> dict[str, Any]:
    """The settings of `fit` that are not their defaults, None, as they are compared."""
    from minibnn.description import describe_loosely  # slow to import

    return {k: describe_loosely(v) for k, v in settings.items() if v is not None}


@contextmanager
def saving(
    checkpoint: Checkpoint | None,
    parts: dict[str, Any],
    validation: tuple[str, Loader] | None,
    settings: dict[str, Any],
    company: Alone,
) -> Iterator[Saver | Follower | None]:
    """The saver of a checkpoint, with what it has saved put back into the parts.

    Args:
        checkpoint: the user's, or None.
        parts: what has a state, by name.
        validation: the data for evaluation, and what the user calls them.
        settings: of `fit`, as far as they decide the result and are not their defaults.
        company: the ranks that train together: rank 0 reads and writes the file.
    """
    if checkpoint is None:
        yield None
        return
    from minibnn.training.checkpoint import Checkpoint

    if isinstance(checkpoint, str):
        raise TypeError(
            f"fit: expected a Checkpoint, got {checkpoint!r}; write Checkpoint({checkpoint!r})"
        )
    require("fit", "checkpoint", checkpoint, Checkpoint)
    from minibnn.training.checkpoint import ON_EPOCH
    from minibnn.training.job import circumstances, describe_job
    from minibnn.training.unrecorded import UnrecordedState

    model, loss, optimizer, train = (parts[name] for name in ("model", "loss", "optimizer", TRAIN))
    if checkpoint.interval.unit != "epoch":
        train.require_continues()
    callbacks: Callbacks = parts[CALLBACKS]
    # A recipe's own `on_epoch` may have the user's inside.
    on_epoch = parts.get(ON_EPOCH)
    sets_arguments = callbacks.keep or has_state(getattr(on_epoch, "on_epoch", on_epoch))
    if callbacks.callbacks:
        settings = {**settings, CALLBACKS: callbacks.describe()}
    if not company.first:
        follower = Follower()
        company.follow(parts)
        yield follower
        return
    with checkpoint.running(
        parts,
        {**describe_job(model, loss, optimizer, train, validation), **settings},
        {**circumstances(model.backend), **company.circumstances()},
        UnrecordedState(model, loss, optimizer, train, arguments=not sets_arguments),
    ) as saver:
        company.lead(parts, saver.restore())
        yield saver


class Follower:
    """The saver of a rank that does not write: rank 0 does."""

    def note_step(self) -> None:
        """Rank 0 looks."""

    def due(self, *, steps: int = 0, epochs: int = 0) -> bool:
        """Never."""
        return False

    def save(self) -> None:
        """Rank 0 saves."""

    def say_how_to_go_on(self, number: int) -> None:
        """Rank 0 says it."""
