"""The option --film of `train`: a film of the training, for `export training-page`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from minibnn.backend import Array, Backend
from minibnn.commands import distributed, shared
from minibnn.commands.terminal import log_line
from minibnn.distributed import Ranks
from minibnn.film import TrainingFilm
from minibnn.optimizers.diverged import DivergedError
from minibnn.training.checkpoint_file import before


def add_film(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument("--film", metavar="FILE", help="write what happens in the network, frame "
        "by frame, from which export training-page makes a page")  # fmt: skip


def require_film(given: argparse.Namespace, *others: str | None) -> None:
    """Check before any work that the film can be written.

    Args:
        given: the command line.
        others: files that are read; None for none.

    Raises:
        ValueError: if it is another file of the command.
        OSError: if it cannot be written.
    """
    if given.film is None:
        return
    written = [("-o", given.output), ("--checkpoint", given.checkpoint)]
    if given.checkpoint is not None:
        written.append(("--checkpoint", before(given.checkpoint)))
    for option, path in written:
        if path is not None and os.path.realpath(path) == os.path.realpath(given.film):
            raise ValueError(
                f"--film: expected another file than {option}, got {given.film}; choose another "
                "name after --film"
            )
    shared.require_another_file(given.film, *others, option="--film")
    shared.check_output(given.film, shared.FILM, "--film")


@contextmanager
def filming(
    given: argparse.Namespace, samples: Array, backend: Backend, ranks: Ranks | None = None
) -> Iterator[list[object]]:
    """A context with the callbacks that take the film, if there is one.

    On a GPU a frame is taken after each epoch only, so that its steps stay captured. If the
    training diverges, the film so far is written, too.

    Args:
        given: the command line.
        samples: to train on.
        backend: of the training.
        ranks: that train together; the first one writes the film.
    """
    if given.film is None:
        yield []
        return
    path = given.film if distributed.writes(ranks) else None
    film = TrainingFilm(path, samples, within_epochs=backend.host)
    try:
        yield [film]
    except DivergedError:
        if path is not None:
            film.save()
            _say(path, film)
        raise
    if path is not None:
        _say(path, film)


def _say(path: str, film: TrainingFilm) -> None:
    frames = shared.several(len(film.film.steps), "frame")
    page = f"{os.path.splitext(path)[0]}.html"
    log_line(f"{path}: {os.path.getsize(path):,} bytes, a film of {frames}")
    log_line(shared.next_step("export", "training-page", path, "-o", page))
