"""Train all runs of a comparison, and collect their results."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.backend import Backend, get_backend
from minibnn.checks import boolean, integer
from minibnn.comparison.finished import FinishedRuns
from minibnn.comparison.grid import Entry, Row, Run, require_usable, runs_of
from minibnn.comparison.jobs import Pool, Processes, in_parallel, threads_each
from minibnn.comparison.worker import WorkerError, payload_of
from minibnn.data import DataLoader, ImageDataset
from minibnn.training.job import circumstances, describe_job
from minibnn.training.recipe import Recipe
from minibnn.version import __version__

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3  # failures in a message
THREADS = "the number of threads of BLAS, for matrix products"  # as `circumstances` calls it


class FailedRunsError(RuntimeError):
    """Some runs of a comparison have failed; the others were trained.

    Attributes:
        runs: the table of the others.
        failures: why each run failed, by the run as text.
    """

    def __init__(self, runs: pd.DataFrame, failures: Mapping[str, str]) -> None:
        shown = [f"{run}: {why}" for run, why in failures.items()][:SHOWN]
        more = len(failures) - len(shown)
        text = "; ".join([*shown, *([f"and {more} more"] if more else [])])
        total = len(runs) + len(failures)
        super().__init__(f"compare: {len(failures)} of {total} runs failed: {text}")
        self.runs = runs
        self.failures = dict(failures)


def compare(
    recipe: Recipe | Callable[[], Recipe],
    entries: Iterable[Entry],
    data: ImageDataset,
    *,
    seeds: int,
    device: str | Backend = "cpu",
    on_run: Callable[[pd.DataFrame], None] | None = None,
    jobs: int | Pool = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """Train each entry once for each seed, and collect the results.

    With the same seed, all entries start from the same weights and see the same batches; only
    their pieces differ. The outer loop is over seeds, so that an interrupted comparison has trained
    all entries equally often.

    The table is the same for any number of jobs, but for the seconds, as far as training does not
    depend on the number of BLAS threads (``docs/reproducibility.md``).

    Args:
        recipe: the network and its training, or a function that makes it.
        entries: what replaces its pieces.
        data: a data set; for choosing, a validation split: ``data.validation_split(10_000, rng)``.
        seeds: the number of seeds: 0, 1, 2, ... At least two give a spread; five are better.
        device: see `get_backend`.
        on_run: called after each run with all rows so far, the newest last; their index is their
            place in the result.
        jobs: how many runs are trained at a time. With more than one, each is in a process of its
            own, which shares the processors with the others. Recipe and data are sent to each
            process once, so the recipe needs a pickled form; a function at the top of a file has
            one, such as ``RECIPES["modern"]``. Or what `mpi_jobs` gives.
        checkpoint: a file for the finished runs; it is written after each of them.
        resume: whether to go on from that file, if there is one. Without it, a file of an
            unfinished comparison is an error.

    Returns:
        A DataFrame with one row for each run. Its columns are ``entry``, ``seed``, ``accuracy`` and
        ``loss`` (on the data's test part), ``loss_train`` and ``acc_train``, all after the last
        epoch, and ``seconds``. A run that diverged counts as accuracy 0.

    Raises:
        ValueError: as from `require_usable`, before the first run; also for a recipe that cannot be
            sent to other processes.
        WrongCheckpointError: for a checkpoint of another comparison, or one that is there without
            ``resume=True``.
        FailedRunsError: if runs raised an error, or their processes were killed. All others have
            been trained, and are in the checkpoint.
        RuntimeError: if the process of a job cannot begin.
        KeyboardInterrupt: after Ctrl-C; `on_run` has received all finished runs.

    >>> import numpy as np
    >>> from minibnn import load_sample
    >>> from minibnn.recipes import seed
    >>> data = load_sample().validation_split(3500, np.random.default_rng(0))
    >>> runs = compare(seed, [Entry()], data, seeds=1)
    >>> runs.entry.to_list(), bool(runs.accuracy[0] > 0.1)
    (['the recipe as it is'], True)
    """
    import pandas as pd

    entries = list(entries)
    made = recipe if isinstance(recipe, Recipe) else recipe()
    require_usable(made, entries, seeds)
    backend = get_backend(device)
    runs = runs_of(entries, seeds)
    pool = _pool(jobs, len(runs))
    saved: AbstractContextManager[FinishedRuns | None] = nullcontext()
    if checkpoint is not None:
        saved = FinishedRuns(
            checkpoint,
            resume=boolean("compare", "resume", resume),
            job={
                "version of minibnn": __version__,
                "entries": [str(entry) for entry in entries],
                "seeds": seeds,
                **_describe(made, data, backend),
            },
            circumstances={
                **circumstances(backend),
                THREADS: str(pool.threads if pool else threads_each(1)),
            },
            total=len(runs),
        )
    with saved as file:
        rows = dict(file.rows) if file else {}

        def table() -> pd.DataFrame:
            return pd.DataFrame(list(rows.values()), index=list(rows))

        failures: dict[str, Exception] = {}
        left = [run for run in runs if run.number not in rows]
        # Closed, so that an error here ends the processes at once.
        with closing(_results(left, pool, recipe, made, data, backend)) as results:
            for run, result in results:
                if isinstance(result, Exception):
                    failures[str(run)] = result
                    logging.getLogger("minibnn").warning("%s failed: %s", run, _line(result))
                    continue
                rows[run.number] = result
                if file:
                    file.add(run.number, result)
                if on_run is not None:
                    on_run(table())
    if failures:
        texts = {run: _line(error) for run, error in failures.items()}
        raise FailedRunsError(table().sort_index(), texts) from next(iter(failures.values()))
    return table().sort_index()


def _pool(jobs: int | Pool, runs: int) -> Pool | None:
    """The processes; None for this one."""
    if isinstance(jobs, Pool):
        return jobs
    number = min(integer("compare", "jobs", jobs, least=1), runs)
    return Processes(number) if number > 1 else None


def _results(
    runs: list[Run],
    pool: Pool | None,
    recipe: Recipe | Callable[[], Recipe],
    made: Recipe,
    data: ImageDataset,
    backend: Backend,
) -> Generator[tuple[Run, Row | Exception], None, None]:
    """Each run with its row, or with why it failed, as they come."""
    if pool is not None and runs:
        logging.getLogger("minibnn").info("%s", pool)
        with pool.begin(payload_of(recipe, data, backend)) as submit:
            yield from in_parallel(runs, submit, pool.number)
        return
    for run in runs:
        try:
            yield run, run.train(made, data, backend)
        except Exception as error:
            yield run, error


def _describe(recipe: Recipe, data: ImageDataset, backend: Backend) -> dict[str, Any]:
    """What the rows depend on, besides entries, seeds and version."""
    rng = np.random.default_rng(0)
    model = recipe.build().initialize(rng)
    arrays = (data.train_images, data.train_labels)
    train = DataLoader(arrays, recipe.batch_size, shuffle=True, drop_last=True, rng=rng)
    test = DataLoader((data.test_images, data.test_labels), recipe.batch_size)
    schedule = recipe.decay(recipe.learning_rate, recipe.epochs, len(train))
    optimizer = recipe.optimizer(model, schedule)
    return {
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "device": backend.name,
        **describe_job(model, recipe.loss(), optimizer, train, ("test", test)),
    }


def _line(error: Exception) -> str:
    return str(error) if isinstance(error, WorkerError) else f"{type(error).__name__}: {error}"
