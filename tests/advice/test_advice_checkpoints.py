"""The advice of checkpoints and states, followed: a training goes on to the same bytes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from advice import advised, shows
from checkpointed import Training, killed_after_save, network, same_bits
from clusters import clusters
from own_optimizers import WithoutState

from minibnn import (
    SGD,
    Adam,
    Buffer,
    Checkpoint,
    DataLoader,
    Dense,
    Fill,
    Layer,
    Parameter,
    RandomStream,
    Sequential,
)
from minibnn.container import to_bytes
from minibnn.optimizers import Descent
from minibnn.training import checkpoint_file
from minibnn.training.checkpoint_file import CHECKPOINT, read_checkpoint
from minibnn.training.progress import Progress

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and locks are POSIX's")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run.safetensors")


@pytest.fixture(scope="module")
def whole():
    """What the training ends with if nothing interrupts it."""
    return Training().fit().ending()


def killed(path, make=Training):
    """A training that is killed inside its second epoch."""
    with killed_after_save(4):
        make().fit(Checkpoint(path, "1step"))


def resumed(path, make=Training):
    return make().fit(Checkpoint(path, "1step", resume=True)).ending()


def goes_on(path, make):
    """Kill a training, resume it, and compare it with one that was not killed."""
    killed(path, make)
    same_bits(resumed(path, make), make().fit().ending())


# --- The file -------------------------------------------------------------------------------------


def test_how_often_is_written_as_the_hint_writes_it():
    with advised("training", "write '200steps', '30s', '10min' or '1epoch'") as caught:
        Checkpoint("run", "often")
    written = re.findall(r"'(\w+)'", caught.text.partition("; write ")[2])
    intervals = [Checkpoint("run", every).interval for every in written]
    assert intervals == [(200, "step"), (30, "s"), (600, "s"), (1, "epoch")]


def test_a_file_that_is_there_is_continued_or_deleted(path, whole):
    killed(path)
    with advised("training", "go on from it with Checkpoint(..., resume=True), or delete it"):
        Training().fit(Checkpoint(path))
    same_bits(resumed(path), whole)
    with advised("training", "or delete it"):
        Training().fit(Checkpoint(path))
    os.unlink(path)
    same_bits(Training().fit(Checkpoint(path)).ending(), whole)


@POSIX
def test_a_damaged_file_is_replaced_by_the_one_before(path, whole):
    killed(path)
    Path(path).write_bytes(Path(path).read_bytes()[:-1])
    with advised("training", "to go on from it: mv {} {}; mv {} {}") as hint:
        resumed(path)
    subprocess.run(["sh", "-c", hint.text.partition("go on from it: ")[2]], check=True)
    same_bits(resumed(path), whole)
    assert os.path.exists(path + ".damaged")


def test_what_a_signal_saved_goes_on(path, whole, caplog):
    def stop(history):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(SystemExit):
        Training().fit(Checkpoint(path), on_epoch=stop)
    shows("training", "Checkpoint(..., resume=True) goes on from there", caplog.text)
    caplog.clear()
    with pytest.raises(SystemExit):
        Training().fit(Checkpoint(path, resume=True), on_epoch=stop)
    shows("training", "run it again to go on", caplog.text)
    same_bits(Training().fit(Checkpoint(path, resume=True)).ending(), whole)


@POSIX
def test_a_pipe_is_no_checkpoint(path, whole):
    os.mkfifo(path)
    with advised("training", "choose another name"):
        Training().fit(Checkpoint(path))
    same_bits(Training().fit(Checkpoint(path + "2")).ending(), whole)


@POSIX
def test_the_other_training_is_ended_or_another_file_is_chosen(path, whole):
    code = (
        "import sys; from minibnn.file_lock import FileLock\n"
        "lock = FileLock(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            with advised("training", "end that one, or choose another file") as caught:
                Training().fit(Checkpoint(path))
            same_bits(Training().fit(Checkpoint(path + "2")).ending(), whole)
            number = int(re.search(r"process (\d+) is using", caught.text)[1])
            assert number == other.pid
            os.kill(number, signal.SIGTERM)
            other.wait(10)
        finally:
            other.kill()
    same_bits(Training().fit(Checkpoint(path)).ending(), whole)


def test_a_training_goes_on_with_its_own_data_or_into_another_file(path, whole):
    killed(path)
    with advised("training", "resume with the same data and settings, or choose another file"):
        Training(images=41).fit(Checkpoint(path, resume=True))
    Training(images=41).fit(Checkpoint(path + "2", resume=True))
    same_bits(resumed(path), whole)


def test_a_file_of_something_else_is_deleted(path, whole):
    Path(path).write_bytes(to_bytes(CHECKPOINT, {"about": "[]", "state": "{}"}, {}))
    with advised("training", "delete it to start the training anew"):
        Training().fit(Checkpoint(path, resume=True))
    os.unlink(path)
    same_bits(Training().fit(Checkpoint(path, resume=True)).ending(), whole)


def test_long_texts_stay_out_of_the_states(path, monkeypatch, caplog):
    class Diary:
        """What a user remembers of the epochs: a text for each, or their number."""

        def __init__(self, long):
            self.long, self.seen = long, 0

        def __call__(self, history):
            self.seen += 1

        def state(self):
            return {"seen": "x" * 30_000 if self.long else self.seen}

        def restore(self, state):
            self.seen = state["seen"]

    small = replace(CHECKPOINT, max_header=30_000)
    monkeypatch.setattr(checkpoint_file, "CHECKPOINT", small)
    Training().fit(Checkpoint(path), on_epoch=Diary(long=True))
    shows("training", "keep long texts and lists out of the states", caplog.text)
    assert not os.path.exists(path)
    caplog.clear()
    Training().fit(Checkpoint(path), on_epoch=Diary(long=False))
    assert caplog.text == ""
    assert read_checkpoint(path)[0]["on_epoch"] == {"seen": 2}


def test_a_history_belongs_to_its_model():
    history, other = Progress(["loss", "flips_0.weight"]), Progress(["loss", "flips_1.weight"])
    other.add([0.5, 0.25])
    with advised("training", "resume the training of the same model"):
        history.restore(other.state())
    same = Progress(["loss", "flips_1.weight"])
    same.restore(other.state())
    assert same.rows == [[0.5, 0.25]]


# --- What no state has ----------------------------------------------------------------------------


class Scaled(Layer):
    """Multiplies by a factor in training; what backward needs is in `saved`."""

    def factor(self, x):
        return np.abs(x)

    def forward(self, x, *, train=False):
        if not train:
            return x
        factor = self.factor(x)
        self.saved = (x.shape, factor)
        return x * factor

    def backward(self, dy, *, need_dx=True):
        (factor,) = self.take_saved(dy)
        return dy * factor


class Keeps(Scaled):
    """What backward needs is not in `saved`."""

    mask = None

    def forward(self, x, *, train=False):
        if not train:
            return x
        self.mask = np.abs(x)
        self.saved = (x.shape,)
        return x * self.mask

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy * self.mask


class Counts(Scaled):
    def __init__(self):
        self.calls = 0

    def factor(self, x):
        self.calls += 1
        return np.full_like(x, 1 / self.calls)


class CountsInItsState(Counts):
    def state(self):
        return {**super().state(), "calls": self.calls}

    def restore(self, state):
        super().restore(state)
        self.calls = state["calls"]


class Draws(Scaled):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def factor(self, x):
        return self.rng.random(x.shape, x.dtype)


class DrawsFromAStream(Scaled):
    def __init__(self):
        self.stream = RandomStream()

    def factor(self, x):
        return self.stream.uniform(self.backend, x.shape, x.dtype)


class Adds(Scaled):
    def __init__(self):
        self.total = np.zeros(8, np.float32)

    def factor(self, x):
        self.total += x.mean(axis=0)
        return 1 + self.total


class AddsToABuffer(Scaled):
    def __init__(self):
        self.total = Buffer("total")
        self.total.data = np.zeros(8, np.float32)

    def factor(self, x):
        self.total.data += x.mean(axis=0)
        return 1 + self.total.data


@pytest.mark.parametrize(
    ("lost", "kept"),
    [
        (Counts, CountsInItsState),
        (Draws, DrawsFromAStream),
        (Adds, AddsToABuffer),
        (Keeps, Scaled),
    ],
)
def test_what_training_changes_gets_a_place_in_a_state(path, lost, kept):
    def make(layer):
        return Training(build=lambda: Sequential(layer(), *network().layers))

    with advised(
        "training",
        "extend state() and restore() of its class (State in docs/extending.md), draw from a RandomStream, "
        "keep arrays in a Buffer, and what backward needs in saved",
    ) as caught:
        make(lost).fit(Checkpoint(path))
    assert f" of {lost.__name__}, which would be lost" in caught.text
    goes_on(path, lambda: make(kept))


def with_loader(kind):
    training = Training()
    training.train = kind(clusters(40, 1), 16, shuffle=True, rng=2)
    return training


def test_batches_depend_on_the_epochs_number_alone(path):
    class Drawing(DataLoader):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            self.own = np.random.default_rng(7)

        def order(self, epoch):
            return self.own.permutation(self.samples)

    class Numbered(DataLoader):
        def order(self, epoch):
            return np.random.default_rng([7, epoch]).permutation(self.samples)

    with advised(
        "training",
        "(a loader's order(epoch) and batches(epoch) run again when training goes on inside an "
        "epoch: let them depend on the epoch's number alone, as "
        "np.random.default_rng([seed, epoch]) does)",
    ) as caught:
        with_loader(Drawing).fit(Checkpoint(path))
    assert "got Drawing.own (" in caught.text
    goes_on(path, lambda: with_loader(Numbered))


def test_an_augmentation_draws_from_the_generator_that_it_gets(path):
    own = np.random.default_rng(7)

    def drawing(x, rng):
        return x + own.random(x.shape).astype(x.dtype)

    def given(x, rng):
        return x + rng.random(x.shape).astype(x.dtype)

    with advised(
        "training",
        "(augment runs again when training goes on: let it draw from the generator that it gets, "
        "and keep nothing from batch to batch)",
    ):
        with_loader(partial(DataLoader, augment=drawing)).fit(Checkpoint(path))
    goes_on(path, lambda: with_loader(partial(DataLoader, augment=given)))


def test_a_loader_overrides_batches(path):
    class Iterating(DataLoader):
        def __iter__(self):
            for x, labels in super().__iter__():
                yield x + 1, labels

    class Batching(DataLoader):
        def batches(self, epoch):
            for x, labels in super().batches(epoch):
                yield x + 1, labels

    with advised("data", "override batches(epoch) instead"):
        with_loader(Iterating).fit(Checkpoint(path))
    goes_on(path, lambda: with_loader(Batching))


# --- Optimisers -----------------------------------------------------------------------------------


class WithBoth(WithoutState):
    def state(self):
        return {"steps": self.steps}

    def restore(self, state):
        self.steps = state["steps"]


class SlowingDescent(Descent):
    def scalars(self, learning_rate, step):
        return (learning_rate / (step + 1),)

    def update(self, segment, scalars):
        (rate,) = scalars
        w, g = self.store.data[segment.where], self.store.grad[segment.where]
        self.backend.masked_write((w, w - rate * g))


def test_an_optimiser_gets_both_methods_or_derives_from_descent(path):
    def make(kind):
        training = Training()
        training.optimizer = kind(training.model.parameters(), 0.1)
        return training

    with advised("optimizers", "write both, or derive it from Descent, which has them"):
        make(WithoutState).fit(Checkpoint(path))
    for kind in (WithBoth, SlowingDescent):
        goes_on(f"{path}-{kind.__name__}", lambda kind=kind: make(kind))


def test_an_array_of_an_optimiser_is_renamed():
    class Named(SGD):
        def __init__(self, name):
            super().__init__(Dense(3, 2).initialize(0).parameters(), 0.1)
            setattr(self, name, np.zeros_like(self.store.data))

    with advised("optimizers", "rename it"):
        Named("rate").state()
    one, other = Named("rates"), Named("rates")
    one.rates[...] = 3
    other.restore(one.state())
    assert (other.rates == 3).all()


# --- States ---------------------------------------------------------------------------------------


class Mine(Scaled):
    """A layer with the parts that it is given, by name."""

    def __init__(self, **parts):
        vars(self).update(parts)


def test_parts_of_one_name_are_renamed():
    def mean():
        return Parameter("mean", (3,), Fill(0.0))

    with advised("layers", "rename one of them"):
        Mine(mean=mean(), running=Buffer("mean")).initialize(0).state()
    layer = Mine(mean=mean(), running=Buffer("running")).initialize(0)
    assert {"mean", "running"} <= layer.state().keys()

    with advised("state", "rename one of them"):
        Mine(noise=RandomStream(), _noise=RandomStream()).initialize(0).state()
    layer = Mine(noise=RandomStream(), _other=RandomStream()).initialize(0)
    assert {"noise", "other"} <= layer.state().keys()


def test_a_state_goes_into_what_was_made_in_the_same_way():
    model = Dense(4, 2)
    with advised("layers", "restore the state of a model that was made in the same way"):
        model.restore(Dense(3, 2).initialize(0).state())
    same = Dense(4, 2).initialize(0)
    model.restore(same.state())
    assert model.weight.data.tobytes() == same.weight.data.tobytes()

    def adam(features):
        return Adam(Dense(features, 2).initialize(0).parameters())

    one = adam(4)
    one.steps = 7
    state = one.state()
    with advised(
        "state",
        "restore it into the object that it was taken from, or into one made in the same way",
    ):
        adam(3).restore(state)
    one.steps = 0
    for optimizer in (one, adam(4)):
        optimizer.restore(state)
        assert optimizer.steps == 7
