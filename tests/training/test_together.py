"""What `fit` does beside its steps: alone, or together on several ranks."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from types import ModuleType

import numpy as np
import pytest
from clusters import binary_model, clusters
from own_optimizers import WithoutState
from thread_ranks import Killed, communicators, on_ranks

import minibnn.training.job as described
import minibnn.training.together as module
from minibnn import (
    Adam,
    Checkpoint,
    DataLoader,
    EarlyStopping,
    IterableLoader,
    LogitCrossEntropy,
    Ranks,
    RanksDifferError,
    fit,
)
from minibnn.signals import Interrupt, gentle_ending
from minibnn.training.together import AllEndedError, Alone, Together, together

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))


class Job:
    """A small training, which can be made different on one rank."""

    def __init__(self, **other):
        self.__dict__ |= {
            "data": 0, "model": 0, "seed": 1, "rate": 0.01, "epochs": 2, "loss": LogitCrossEntropy(),
            "batch": 20, "validation": None, "options": {}, "optimizer": None, "mode": "exact",
        }  # fmt: skip
        self.__dict__ |= other

    def fit(self, comm):
        x, labels = clusters(60, self.data)
        self.network = binary_model(seed=self.model)
        train = DataLoader((x, labels), self.batch, shuffle=True, rng=self.seed)
        validation = (
            None if self.validation is None else DataLoader(clusters(20, self.validation), 20)
        )
        make = self.optimizer or (lambda parameters: Adam(parameters, self.rate))
        ranks = comm and Ranks(
            self.mode, comm, **({} if self.mode == "sum" else {"micro_batches": 4})
        )
        self.history = fit(
            self.network, train, validation=validation, loss=self.loss,
            optimizer=make(self.network.parameters()), epochs=self.epochs, progress=False, comm=ranks,
            **self.options,
        )  # fmt: skip
        return self


def with_one_different(*, size=3, same=None, **other):
    """What each rank ends with, if the last one is made with other arguments."""

    def work(comm):
        job = Job(**(same or {}) | (other if comm.rank == size - 1 else {}))
        return job.fit(comm)

    return on_ranks(size, work)


def differs(errors):
    """What all of them say that differs."""
    (message,) = {str(error) for error in errors if isinstance(error, RanksDifferError)}
    assert [type(error) for error in errors] == [RanksDifferError] * len(errors)
    return message


DIFFERENT = {
    "data": ({"data": 5}, "training data: "),
    "values": ({"model": 5}, "the starting values of the model: "),
    "seed": ({"seed": 5}, "the starting values of the training batches: "),
    "rate": ({"rate": 0.02}, '"learning_rate": 0.02, '),
    "epochs": ({"epochs": 3}, "epochs: 2 on ranks 0, 1, 3 on rank 2"),
    "batch": ({"batch": 10}, '"batch_size": 20'),
    "loss": ({"loss": LogitCrossEntropy(label_smoothing=0.1)}, "loss: "),
    "validation": ({"validation": 5}, "validation data: "),
    "clip_norm": ({"options": {"clip_norm": 1.0}}, "clip_norm: none on ranks 0, 1, 1.0 on rank 2"),
    "class_weight": ({"options": {"class_weight": {0: 2.0}}}, "class_weight: none on ranks 0, 1"),
    "evaluate_train": (
        {"options": {"evaluate_train": None}},
        "evaluate_train: 1 on ranks 0, 1, null",
    ),
    "every 2nd epoch": (
        {"options": {"evaluate_train": 2}},
        "evaluate_train: 1 on ranks 0, 1, 2 on rank 2",
    ),
    "mode": ({"mode": "sum"}, '"mode": "exact"'),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_named_on_all_ranks_before_the_first_step(name):
    other, said = DIFFERENT[name]
    message = differs(with_one_different(**other))
    assert message.startswith("fit: expected the same on all 3 ranks, got different ones: ")
    assert said in message
    assert " on ranks 0, 1, " in message
    assert message.endswith(
        "; start all of them with the same command, files and environment, on machines of one kind"
    )


def test_the_numbers_that_differ_are_shown_of_long_settings():
    message = differs(with_one_different(rate=0.0125))
    assert '_rate": 0.0125, ' in message
    assert '_rate": 0.01, ' in message


def test_metrics_and_a_checkpoint_on_one_rank(tmp_path):
    from minibnn import F1

    assert "columns of the history: " in differs(with_one_different(options={"metrics": [F1()]}))
    saved = {"checkpoint": Checkpoint(tmp_path / "run.safetensors")}
    assert "a checkpoint: false on ranks 0, 1, true on rank 2" in differs(
        with_one_different(options=saved)
    )
    assert not list(tmp_path.iterdir())


def test_other_code_on_one_rank(tmp_path, monkeypatch):
    """The classes that take part are read from their files, which machines may have their own of."""
    for rank in range(3):
        path = tmp_path / str(rank) / "own.py"
        path.parent.mkdir()
        path.write_text("# other" if rank == 2 else "# one")
        loaded = ModuleType(f"own_{rank}")
        loaded.__file__ = str(path)
        monkeypatch.setitem(sys.modules, loaded.__name__, loaded)

    def work(comm):
        own = type("Own", (LogitCrossEntropy,), {"__module__": f"own_{comm.rank}"})
        return Job(loss=own()).fit(comm)

    assert "the code: sha256 " in differs(on_ranks(3, work))


@pytest.mark.parametrize(
    "what", ["the processor's kind", "the device", "the number of threads of BLAS"]
)
def test_ranks_of_several_kinds(what, monkeypatch):
    """exact refuses them; sum takes over rank 0's values after each epoch."""
    numbers = {}  # of the ranks, by their threads

    def rank():
        return numbers.get(threading.get_ident(), 0)

    real = described.circumstances
    monkeypatch.setattr(
        described,
        "circumstances",
        lambda backend: {**real(backend), what: "xy"[rank()]},
    )

    def work(comm, mode):
        numbers[threading.get_ident()] = comm.rank
        mine = Job(mode=mode)

        def drift():
            mine.network.layers[0].weight.data[0, 0] += 1e-3

        mine.options = {"callbacks": [Acts(drift, comm, step=2)]}
        mine.fit(comm)
        return [
            p.data.tobytes() for p in mine.network.parameters()
        ], mine.history.to_numpy().tobytes()

    message = differs(on_ranks(2, lambda comm: work(comm, "exact")))
    assert f"{what}: x on rank 0, y on rank 1" in message
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = on_ranks(2, lambda comm: work(comm, "sum"))
    assert first == second
    (warning,) = [w for w in caught if "processors or BLAS threads differ" in str(w.message)]
    assert "after each epoch all take over rank 0's values" in str(warning.message)
    assert warning.filename == __file__  # where fit was called


def test_other_versions_are_refused_in_both_modes(monkeypatch):
    numbers, real = {}, described.circumstances
    monkeypatch.setattr(
        described,
        "circumstances",
        lambda backend: {
            **real(backend), "the version of NumPy": f"2.{numbers[threading.get_ident()]}"
        },
    )  # fmt: skip

    def work(comm, mode):
        numbers[threading.get_ident()] = comm.rank
        return Job(mode=mode).fit(comm)

    for mode in ("sum", "exact"):
        message = differs(on_ranks(2, lambda comm, mode=mode: work(comm, mode)))
        assert "the version of NumPy: 2.0 on rank 0, 2.1 on rank 1" in message


# --- In training ------------------------------------------------------------------------------


class Acts:
    """A callback that does something on one rank, after an epoch or after a step."""

    def __init__(self, act, comm, rank=1, epoch=2, step=None):
        self.act, self.mine, self.epoch, self.step = act, comm.rank == rank, epoch, step

    def on_epoch(self, history):
        return (
            self.act() if self.mine and self.step is None and len(history) == self.epoch else None
        )

    def on_step(self, epoch, step):
        return self.act() if self.mine and (epoch, step) == (self.epoch, self.step) else None


def acting(act, **where):
    """What each rank ends with, if one of them does this."""

    def work(comm):
        job = Job(epochs=4)
        job.options = {"callbacks": [Acts(lambda: act(job), comm, **where)]}
        return job.fit(comm)

    return on_ranks(3, work)


def test_a_callback_that_changes_the_model_on_one_rank_is_found_after_the_epoch():
    def act(job):
        job.network.layers[0].weight.data[0, 0] *= -1

    message = differs(acting(act, epoch=2, step=1))
    assert message.startswith("fit, after epoch 2: expected the same on all 3 ranks")
    assert "the model: crc32 " in message
    assert " on ranks 0, 2, crc32 " in message
    assert "callbacks and layers must do the same on every rank" in message
    assert differs(acting(act, epoch=2)).startswith("fit, after epoch 3: ")


def test_so_is_one_that_changes_the_optimiser():
    def work(comm):
        job = Job(epochs=3)
        made = []
        job.optimizer = lambda parameters: made.append(Adam(parameters, 0.01)) or made[0]

        def change():
            made[0].steps += 1

        job.options = {"callbacks": [Acts(change, comm, epoch=1)]}
        return job.fit(comm)

    assert "the optimiser: crc32 " in differs(on_ranks(3, work))


@pytest.mark.parametrize("where", [{"epoch": 2}, {"epoch": 2, "step": 2}], ids=["epoch", "step"])
def test_if_a_callback_stops_one_rank_all_stop(where):
    found = acting(lambda job: True, **where)
    assert [len(job.history) for job in found] == [2 if "step" not in where else 1] * 3
    assert [job.history.attrs["stopped"] for job in found] == [True] * 3


def test_callbacks_that_do_the_same_everywhere():
    def work(comm):
        job = Job(epochs=6)
        job.options = {
            "callbacks": [EarlyStopping("loss_train", patience=1, larger_is_better=True)]
        }
        return job.fit(comm).history.to_numpy().tolist()

    one, *others = on_ranks(3, work)
    assert len(one) < 6
    assert others == [one] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_on_one_rank_ends_all(number, monkeypatch):
    """After the same step."""
    steps = []
    real = module.Together.agree

    def agree(self, interrupt, stopped):
        if self.ranks.rank == 2:
            steps.append(1)
            interrupt.requested = number if len(steps) > 5 else 0
        return real(self, interrupt, stopped)

    monkeypatch.setattr(module.Together, "agree", agree)
    with gentle_ending() as ending:
        found = on_ranks(3, lambda comm: Job(epochs=50).fit(comm))
    lengths = [len(job.history) for job in found]
    assert lengths == [1] * 3  # three steps, and one agreement after the epoch; then two steps
    assert [job.history.attrs["interrupted"] for job in found] == [True] * 3
    # The command's exit code is that of the signal on all ranks, of Ctrl-C 130 anyway.
    assert ending.code == (128 + number if number == signal.SIGTERM else 0)


def test_with_a_checkpoint_all_ranks_exit(monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO", "minibnn")
    path = tmp_path / "run.safetensors"
    real = module.Together.agree

    def agree(self, interrupt, stopped):
        interrupt.requested = signal.SIGTERM if self.ranks.rank == 1 else 0
        return real(self, interrupt, stopped)

    def job(comm):
        return Job(options={"checkpoint": Checkpoint(path, "1steps", resume=True)}, epochs=3).fit(
            comm
        )

    monkeypatch.setattr(module.Together, "agree", agree)
    for error in on_ranks(3, job):
        assert isinstance(error, AllEndedError)
        assert error.code == 143
    assert path.exists()
    monkeypatch.setattr(module.Together, "agree", real)
    resumed = on_ranks(2, job)  # on another number
    whole = Job(epochs=3).fit(communicators(1)[0])
    for its in resumed:
        for p, q in zip(its.network.parameters(), whole.network.parameters(), strict=True):
            assert p.data.tobytes() == q.data.tobytes()
        assert its.history.to_numpy().tobytes() == whole.history.to_numpy().tobytes()
    assert [record.getMessage() for record in caplog.records if "resumed" in record.getMessage()]


def test_only_rank_0_reads_the_checkpoint(tmp_path):
    """Machines need no common folder; the others need none at all."""
    paths = [tmp_path / str(rank) / "run.safetensors" for rank in range(3)]
    paths[0].parent.mkdir()

    def work(comm, epochs):
        checkpoint = Checkpoint(paths[comm.rank], resume=True)
        return Job(options={"checkpoint": checkpoint}, epochs=epochs).fit(comm)

    on_ranks(3, lambda comm: work(comm, 2))
    assert [path.exists() for path in paths] == [True, False, False]
    resumed = on_ranks(3, lambda comm: work(comm, 4))
    assert [len(job.history) for job in resumed] == [4] * 3
    for p, q in zip(*(job.network.parameters() for job in resumed[1:]), strict=True):
        assert p.data.tobytes() == q.data.tobytes()


@pytest.mark.parametrize("other", [{"mode": "sum"}, {"mode": "exact", "micro_batches": 4}, None])
def test_a_checkpoint_of_another_way_to_add_up_is_refused(tmp_path, other):
    from minibnn.training import WrongCheckpointError

    def train(ranks):
        model = binary_model()
        return fit(
            model, DataLoader(clusters(60, 0), 20), loss=LogitCrossEntropy(),
            optimizer=Adam(model.parameters(), 0.01), epochs=2, progress=False, comm=ranks,
            checkpoint=Checkpoint(tmp_path / "run.safetensors", resume=True),
        )  # fmt: skip

    train(Ranks("exact"))
    with pytest.raises(WrongCheckpointError, match="distributed"):
        train(other and Ranks(**other))


def test_sum_is_the_training_of_one_process_to_a_checkpoint(tmp_path):
    """It differs in rounding alone."""

    def train(ranks, epochs):
        model = binary_model()
        return fit(
            model, DataLoader(clusters(60, 0), 20), loss=LogitCrossEntropy(),
            optimizer=Adam(model.parameters(), 0.01), epochs=epochs, progress=False, comm=ranks,
            checkpoint=Checkpoint(tmp_path / "run.safetensors", resume=True),
        )  # fmt: skip

    train(None, 1)
    with pytest.warns(
        UserWarning, match=r"its last bits will differ .*: the number of ranks: None then, 1"
    ):
        assert len(train(Ranks("sum"), 2)) == 2


def test_an_error_on_one_rank_ends_all(monkeypatch):
    monkeypatch.setattr("minibnn.distributed.ranks.time.sleep", lambda seconds: None)

    def act(job):
        raise ValueError("on purpose")

    assert acting(act, epoch=1, step=2) == [Killed(None), Killed(1), Killed(None)]


def test_arguments_that_are_wrong_on_one_rank_only_end_all():
    assert with_one_different(options={"capture": True}) == [Killed(None), Killed(None), Killed(1)]


def test_an_optimiser_without_a_state():
    found = on_ranks(2, lambda comm: Job(optimizer=WithoutState).fit(comm))
    one, other = (job.network.layers[0].weight.data for job in found)
    assert one.tobytes() == other.tobytes()


def test_a_loader_without_a_state():
    class Own(DataLoader):
        def __iter__(self):
            return self.batches(0)

    def work(comm):
        model = binary_model()
        train = Own(clusters(60, 0), 20)
        return fit(
            model, train, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), 0.01), epochs=1,
            comm=Ranks("sum", comm), progress=False,
        )  # fmt: skip

    one, other = on_ranks(2, work)
    assert one.equals(other)


def test_a_metric_whose_sums_cannot_just_be_added():
    """See rank_cases: R2 is the same on any number of ranks, and as in one process."""
    from rank_cases import CASES

    one = CASES["numbers"]().fit().history
    for found in on_ranks(3, lambda comm: CASES["numbers"]().fit(Ranks("exact", comm)).history):
        np.testing.assert_allclose(found.r2_validation, one.r2_validation, rtol=1e-4)


# --- The context ------------------------------------------------------------------------------


def test_alone():
    with together(None) as company:
        assert type(company) is Alone
        assert (company.first, company.ranks, company.settings()) == (True, None, {})
        assert company.steps("steps", changing=True) == "steps"
        with Interrupt() as interrupt:
            assert company.agree(interrupt, False) is False
            assert company.agree(interrupt, True) is True
            interrupt.requested = 15
            assert company.signal(interrupt) == 15


def test_a_communicator_of_mpi4py_is_for_sum():
    def work(comm):
        with together(comm) as company:
            return company.ranks.mode, company.first, company.settings(), company.circumstances()

    here = {"the number of ranks": "2"}
    assert on_ranks(2, work) == [("sum", True, {}, here), ("sum", False, {}, here)]


def test_what_ranks_are_recorded_in_a_checkpoint():
    together_of = {mode: Together(Ranks(mode)) for mode in ("sum", "exact")}
    assert together_of["sum"].settings() == {}
    assert together_of["sum"].circumstances() == {"the number of ranks": "1"}
    expected = {"distributed": {"mode": "exact", "batch_norm": "batch", "micro_batches": 8}}
    assert together_of["exact"].settings() == expected
    assert together_of["exact"].circumstances() == {}


def test_what_is_no_communicator():
    with pytest.raises(TypeError, match="fit: expected comm of type"), together(4):
        pass


@pytest.mark.parametrize("file", [None, "archive.zip/own.py"])
def test_classes_without_a_file_do_not_count(file, monkeypatch):
    """As those of a notebook."""
    loaded = ModuleType("own_module_of_a_test")
    if file is not None:
        loaded.__file__ = file
    monkeypatch.setitem(sys.modules, loaded.__name__, loaded)
    own = type("Own", (LogitCrossEntropy,), {"__module__": loaded.__name__})
    assert module._digest_of_code([own()]) == module._digest_of_code([])


def test_a_loader_whose_batches_differ_on_one_rank():
    def work(comm):
        model = binary_model()

        def batches(epoch):
            rng = np.random.default_rng([epoch, comm.rank // 2])
            for _ in range(3):
                rows = rng.integers(0, 60, 20)
                yield tuple(a[rows] for a in clusters(60, 0))

        return fit(
            model, IterableLoader(batches, 3), loss=LogitCrossEntropy(), epochs=1, progress=False,
            optimizer=Adam(model.parameters(), 0.01), comm=Ranks("sum", comm),
        )  # fmt: skip

    assert "a batch: 20 samples, crc32 " in differs(on_ranks(3, work))
