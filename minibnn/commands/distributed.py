"""The options of commands that run on several ranks."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout

from minibnn.commands.exit_codes import code_of
from minibnn.commands.options import in_options
from minibnn.distributed import Ranks
from minibnn.distributed.ranks import MICRO_BATCHES, TIMEOUT, with_traceback
from minibnn.signals import interrupted_code
from minibnn.training.together import AGREED

# Of the variables by which MPICH, Open MPI and their relatives tell a process of the others.
LAUNCHERS = ("PMI_", "OMPI_COMM_WORLD_")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    # fmt: off
    add("--distributed", choices=("exact", "sum"),
        help="train on all processes that mpirun starts. sum: the fastest way; exact: the number "
        "of processes changes no bit")
    add("--micro-batches", type=int, default=MICRO_BATCHES, metavar="N",
        help="of --distributed exact: the parts that each batch is computed in, at least the "
        "number of processes; default: %(default)s")
    add("--rank-timeout", type=float, default=TIMEOUT, metavar="SECONDS",
        help="how long a process waits for the others before it ends; default: %(default)g")
    # fmt: on


@contextmanager
def ranks_of(given: argparse.Namespace) -> Iterator[Ranks | None]:
    """A context with the ranks that the options ask for; all but rank 0 print nothing.

    Raises:
        ValueError: if mpirun has started several processes, and --distributed is missing: each of
            them would train for itself, and write the same file.
    """
    if given.distributed is None:
        if (launched := _launched("SIZE")) > 1:
            raise _once(
                f"train: expected --distributed with mpirun, got {launched} processes without it, "
                "which would train one model each; add --distributed exact"
            )
        yield None
        return
    try:
        ranks = Ranks(
            given.distributed, micro_batches=given.micro_batches, timeout=given.rank_timeout
        )
    except ValueError as error:
        raise _once(str(error)) from None
    with nullcontext() if ranks.first else _silence():
        try:
            with ranks.ending_together(*AGREED, tell=_tell):
                yield ranks
        except AGREED as error:  # rank 0 says it
            if ranks.first or isinstance(error, SystemExit):
                raise
            raise SystemExit(code_of(error)) from None


def writes(ranks: Ranks | None) -> bool:
    """Whether this process writes the result."""
    return ranks is None or ranks.first


@contextmanager
def _silence() -> Iterator[None]:
    """A context in which nothing is printed or logged."""
    logger = logging.getLogger("minibnn")  # its handler keeps the stream that it was made with
    logger.addFilter(_no_record)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        logger.removeFilter(_no_record)


def _no_record(record: logging.LogRecord) -> bool:
    return False


def _tell(error: BaseException) -> tuple[int, str]:
    """The command's exit code and message, if there is one."""
    if isinstance(error, KeyboardInterrupt):
        return interrupted_code(), "interrupted"
    code = code_of(error)
    if code is None:
        return with_traceback(error)
    return code, f"error: {in_options(str(error))}"


def _once(message: str) -> Exception | SystemExit:
    """An error that all processes raise and the first one reports."""
    return ValueError(message) if _launched("RANK", 0) == 0 else SystemExit(2)


def _launched(what: str, alone: int = 1) -> int:
    """How many processes the launcher has started, or which one this is."""
    return max(int(os.environ.get(name + what, alone)) for name in LAUNCHERS)
