"""What is said about training on several ranks, done: they then train."""

from __future__ import annotations

import re

import numpy as np
import pytest
from advice import advised, shows
from own_tables import QUICK, table
from thread_ranks import communicators, on_ranks

from minibnn import (
    Adam,
    BatchNorm,
    Buffer,
    DataLoader,
    Dense,
    IterableLoader,
    Layer,
    LogitCrossEntropy,
    Ranks,
    Sequential,
    backend_of,
    fit,
)
from minibnn.__main__ import main
from minibnn.backend import batch_sum, over_whole_batch

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((24, 3)).astype(np.float32), np.arange(24) % 2


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    """Ranks that raise the same wait a little for rank 0."""
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    monkeypatch.setattr("minibnn.distributed.ranks.time.sleep", lambda seconds: None)


def trained(comm, *, layers=(), callbacks=(), loader=None, seed=0, mode="exact"):
    """Train on a rank; the parameters as bytes."""
    model = Sequential(Dense(3, 4), *layers, BatchNorm(4), Dense(4, 2)).initialize(seed)
    optimizer = Adam(model.parameters(), 0.01)
    loader = DataLoader((X, Y), 8) if loader is None else loader
    fit(
        model, loader, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=2,
        evaluate_train=None, callbacks=callbacks, comm=Ranks(mode, comm),
    )  # fmt: skip
    return optimizer.store.data.tobytes()


def both_train(function):
    """Two ranks train, and have the same values."""
    one, other = on_ranks(2, function)
    assert isinstance(one, bytes), one
    assert one == other


def test_more_ranks_than_micro_batches():
    comm = communicators(9)[0]
    with advised(
        "distributed/ranks.py",
        "start fewer, or pass micro_batches={} (another number gives other last bits)",
    ) as said:
        Ranks("exact", comm)
    assert Ranks("exact", communicators(8)[0]).size == 8
    number = re.search(r"pass micro_batches=(\d+)", said.text)[1]
    assert Ranks("exact", comm, micro_batches=int(number)).size == 9


def test_micro_batches_on_the_command_line(tmp_path, monkeypatch, capsys):
    data = table(tmp_path / "sensor.csv")
    words = ["train", str(data), *QUICK, "-o", str(tmp_path / "m.safetensors"), "--device", "cpu"]
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")  # as if mpirun had started two
    assert main(words) == 2
    shows("commands/distributed.py", "add --distributed exact", capsys.readouterr().err)
    monkeypatch.delenv("OMPI_COMM_WORLD_SIZE")
    assert main([*words, "--distributed", "exact"]) == 0

    shows("commands/options.py", "add --micro-batches", in_options_of_a_hint())
    assert main([*words, "--distributed", "exact", "--micro-batches", "9"]) == 0


def in_options_of_a_hint():
    """The hint of Ranks as a command says it."""
    from minibnn.commands.options import in_options

    with pytest.raises(ValueError, match="micro_batches=9") as caught:
        Ranks("exact", communicators(9)[0])
    return in_options(str(caught.value))


def test_something_else_than_a_communicator():
    with advised("distributed/ranks.py", "leave it out for all processes of mpirun"):
        Ranks("sum", "all")
    assert Ranks("sum").size == 1


class Centre(Layer):
    """x less its mean over the batch; `always`: whether every part asks for the whole mean."""

    def __init__(self, always):
        self.always = always
        self.calls = Buffer("calls")
        self.calls.data = np.zeros(1, np.float32)

    def forward(self, x, *, train=False):
        if not train:
            return x
        self.saved = (x.shape,)
        if self.always or float(x[0, 0]) > 0:
            n, sums = over_whole_batch(len(x), batch_sum(x))
            return x - sums / n
        return x - batch_sum(x) / len(x)

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy - backend_of(dy).xp.zeros_like(dy) if need_dx else None


def test_a_layer_that_adds_up_in_some_parts_only():
    (comm,) = communicators(1)
    with advised(
        "distributed/turns.py", "call over_whole_batch whatever the values of the samples are"
    ):
        trained(comm, layers=[Centre(always=False)])
    both_train(lambda comm: trained(comm, layers=[Centre(always=True)]))


class Nudge:
    """A callback that changes the model, on the ranks it is told."""

    def __init__(self, on):
        self.on = on

    def on_begin(self, model, history):
        self.model = model

    def on_epoch(self, history):
        if self.on:
            self.model[0].weight.data += 0.125


def test_callbacks_that_do_not_do_the_same():
    def one_of_them(comm):
        with advised(
            "training/together.py",
            "callbacks and layers must do the same on every rank, and draw from a RandomStream",
        ):
            trained(comm, callbacks=[Nudge(comm.rank == 1)])

    assert on_ranks(2, one_of_them) == [None, None]
    both_train(lambda comm: trained(comm, callbacks=[Nudge(True)]))


def test_ranks_that_start_differently():
    def another_seed(comm):
        with advised(
            "training/together.py",
            "start all of them with the same command, files and environment, on machines of one "
            "kind",
        ):
            trained(comm, seed=comm.rank)

    assert on_ranks(2, another_seed) == [None, None]
    both_train(trained)


def test_loaders_with_batches_of_their_own():
    def batches_of(seed):
        class Batches:
            def __iter__(self):
                order = np.random.default_rng(seed).permutation(24)
                return iter([(X[rows], Y[rows]) for rows in order.reshape(3, 8)])

            def __len__(self):
                return 3

        return IterableLoader(Batches())

    def their_own(comm):
        with advised(
            "training/data_parallel.py",
            "the loader must give every rank the same whole batches; draw from a generator that "
            "the epoch's number seeds",
        ):
            trained(comm, loader=batches_of(comm.rank))

    assert on_ranks(2, their_own) == [None, None]
    both_train(lambda comm: trained(comm, loader=batches_of(1)))
