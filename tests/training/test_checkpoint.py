"""`fit` with a checkpoint: the same bytes after any kill, and no failure of a write stops it."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from checkpointed import STEPS, Training, killed_after_save, network, same_bits
from clusters import clusters
from few_images import few_images
from notebooks import notebook  # noqa: F401 (a fixture)

from minibnn import (
    SGD,
    Adam,
    Checkpoint,
    CheckpointError,
    DataLoader,
    Dense,
    DivergedError,
    LogitCrossEntropy,
    Sequential,
    SquaredHinge,
    WrongCheckpointError,
    fit,
)
from minibnn.atomic_file import UnsyncedError
from minibnn.recipes import RECIPES
from minibnn.state_file import flatten
from minibnn.training import checkpoint, evaluations
from minibnn.training.checkpoint import Interval, Saver
from minibnn.training.checkpoint_file import BEFORE, read_checkpoint

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and links are POSIX's")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run.safetensors")


@pytest.fixture
def said(caplog):
    """The messages of minibnn's log so far."""
    caplog.set_level(logging.INFO, "minibnn")
    return lambda level=logging.WARNING: [
        record.getMessage() for record in caplog.records if record.levelno >= level
    ]


@pytest.fixture(scope="module")
def whole():
    return Training().fit().ending()


def killed(path, saves, every="1step", **options):
    """A training that is killed after so many checkpoints."""
    with killed_after_save(saves):
        Training(**options).fit(Checkpoint(path, every))


def resumed(path, every="1step", **options):
    return Training().fit(Checkpoint(path, every, resume=True), **options)


def files(path):
    return sorted(p.name for p in Path(path).parent.iterdir())


BOTH = ["run.safetensors", "run.safetensors.before"]


# --- Intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("200steps", (200, "step")),
        ("1step", (1, "step")),
        ("1 epoch", (1, "epoch")),
        (" 3  epochs ", (3, "epoch")),
        ("2.0epochs", (2, "epoch")),
        ("30s", (30, "s")),
        ("0.5s", (0.5, "s")),
        ("10min", (600, "s")),
        ("1.5h", (5400, "s")),
        ("9" * 400 + "s", (sys.float_info.max, "s")),
    ],
)
def test_intervals(text, interval):
    assert Interval.parse(text) == interval


@pytest.mark.parametrize(
    "text",
    ["", "10", "steps", "0steps", "0s", "0.5steps", "1.5epochs", "-1s", "1e3steps", "5m", "5 mins",
     "1step 2", "nan s", "inf s", "1 s s", "1STEP", "1ss", 10, None, 5.0],
)  # fmt: skip
def test_other_intervals_are_refused(text):
    with pytest.raises(ValueError, match=r"^Checkpoint: expected every as a count and a unit, got"):
        Checkpoint("x", every=text)


@pytest.mark.parametrize(
    ("every", "saves"),
    [("1step", 6), ("2steps", 4), ("4steps", 2), ("1epoch", 2), ("2epochs", 1), ("9epochs", 1),
     ("99steps", 1), ("1h", 1)],
)  # fmt: skip
def test_every(path, monkeypatch, every, saves):
    real, written = checkpoint.write_checkpoint, []
    monkeypatch.setattr(
        checkpoint, "write_checkpoint", lambda *given: (written.append(1), real(*given))
    )
    Training().fit(Checkpoint(path, every))
    assert len(written) == saves
    state, _ = read_checkpoint(path)
    assert len(state["history"]["rows"]) == 2, "the last epoch is always saved"


def test_seconds_are_counted_by_a_clock_that_nobody_sets(path, monkeypatch):
    now, written, real = [0.0], [], checkpoint.write_checkpoint

    def write(*given):
        written.append(now[0])
        real(*given)

    def monotonic():
        now[0] += 1
        return now[0]

    monkeypatch.setattr(checkpoint, "write_checkpoint", write)
    monkeypatch.setattr(checkpoint.time, "monotonic", monotonic)
    monkeypatch.setattr(time, "time", lambda: -1e9 * len(written))  # set back at each checkpoint
    Training(epochs=4).fit(Checkpoint(path, "3s"))
    assert len(written) > 4
    assert min(np.diff(written)[:-1]) >= 3, "but for the last epoch's end"


# --- The same bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(2, 2 * STEPS + 1))
def test_a_training_goes_on_from_every_step(path, whole, step):
    killed(path, step - 1)  # two steps are compared before the first checkpoint
    state, _ = read_checkpoint(path)
    epochs, losses = state["history"]["rows"], state["history"]["losses"]
    done = STEPS * (0 if epochs is None else len(epochs)) + (0 if losses is None else len(losses))
    assert done == step
    same_bits(resumed(path).ending(), whole)
    assert files(path) == BOTH


def test_it_can_be_killed_after_each_checkpoint(path, whole):
    for _ in range(STEPS + 1):  # two steps a life, and the last epoch's end
        with killed_after_save(1):
            resumed(path)
    with pytest.raises(AssertionError, match="expected 1 checkpoints, got 0"), killed_after_save(1):
        same_bits(resumed(path).ending(), whole)


@pytest.mark.parametrize("epochs", ["1epoch", "2epochs"])
def test_a_checkpoint_changes_nothing(path, whole, epochs):
    same_bits(Training().fit(Checkpoint(path, epochs)).ending(), whole)


def test_a_checkpoint_at_an_epochs_end_keeps_the_history(path, whole):
    killed(path, 1, "1epoch")
    state, _ = read_checkpoint(path)
    assert state["history"]["losses"] is None
    same_bits(resumed(path, "1epoch").ending(), whole)


def test_more_epochs_than_before_go_on(path):
    Training().fit(Checkpoint(path, epochs := "1epoch"), epochs=1)
    longer = Training().fit(Checkpoint(path, epochs, resume=True), epochs=4)
    same_bits(longer.ending(), Training().fit(epochs=4).ending())


@pytest.mark.parametrize("epochs", [2, 1])
def test_no_more_epochs_return_the_history(path, whole, epochs, monkeypatch):
    Training().fit(Checkpoint(path))
    before = Path(path).read_bytes()
    monkeypatch.setattr("minibnn.training.step.PlainSteps.epoch", pytest.fail)
    same_bits(resumed(path, epochs=epochs).ending(), whole)
    assert Path(path).read_bytes() == before


def test_a_finished_training_goes_on_in_the_same_process(path):
    once = Training().fit(Checkpoint(path), epochs=1)
    once.fit(Checkpoint(path, resume=True), epochs=2)
    same_bits(once.ending(), Training().fit().ending())


class Mean:
    """A user's `on_epoch` that remembers something."""

    def __init__(self):
        self.seen = []

    def __call__(self, history):
        self.seen.append(float(history.loss_test.iloc[-1]))

    def state(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = state["seen"]


def test_on_epoch_with_a_state_is_kept(path):
    expected = Mean()
    Training().fit(on_epoch=expected)
    with killed_after_save(4):
        Training().fit(Checkpoint(path, "1step"), on_epoch=Mean())
    found = Mean()
    resumed(path, on_epoch=found)
    assert found.seen == expected.seen
    assert len(found.seen) == 2


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_a_recipe_keeps_its_best_values(path, saves, monkeypatch):
    """The last epoch is not the best: its learning rate ruins the network."""
    data = few_images(300, 20)

    def train(seed, checkpoint=None, on_epoch=None):
        changes = {"epochs": 3, "batch_size": 50, "held_out": 100, "learning_rate": 1e-3}
        changes["decay"] = lambda rate, epochs, steps: lambda step: rate if step < 5 else 3.0
        return RECIPES["modern"]().train(
            data, seed=seed, progress=False, checkpoint=checkpoint, on_epoch=on_epoch, **changes
        )

    for seed in range(20):  # with some, and some roundings, the last epoch is the best all the same
        model, history = train(seed)
        if history.acc_test.iloc[-1] < history.acc_test.max():
            break
    assert history.acc_test.iloc[-1] < history.acc_test.max()
    with killed_after_save(saves):
        train(seed, Checkpoint(path), Mean())
    seen = Mean()
    again, same_history = train(seed, Checkpoint(path, resume=True), seen)
    assert seen.seen == history.loss_test.tolist()
    np.testing.assert_array_equal(same_history.to_numpy(), history.to_numpy())
    for one, other in zip(again.parameters(), model.parameters(), strict=True):
        assert one.data.tobytes() == other.data.tobytes()


# --- What is refused before training begins -------------------------------------------------------


def refused(path, said, kind=WrongCheckpointError, resume=True, **options):
    """The message with which a resumed training is refused; nothing has changed then."""
    training = Training(**options)
    before = {k: p.data.tobytes() for k, p in training.model.named_parameters()}
    with pytest.raises(kind, match=said) as caught:
        training.fit(Checkpoint(path, resume=resume))
    assert {k: p.data.tobytes() for k, p in training.model.named_parameters()} == before
    return str(caught.value)


def test_a_file_that_is_there_is_refused_without_resume(path):
    killed(path, 1)
    before = Path(path).read_bytes()
    assert refused(path, "expected no file yet, got one", resume=False).startswith(path)
    assert (Path(path).read_bytes(), files(path)) == (before, BOTH[:1])
    os.unlink(path)  # as the message says
    Training().fit(Checkpoint(path))


def float_weights():
    return Sequential(Dense(8, 12, bias=False), *network().layers[1:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": 41}, r"training data 0: float32 \(40, 8\) .* then, float32 \(41, 8\) .* now"),
        ({"loss": SquaredHinge()}, "loss: .*CrossEntropy then, .*Hinge.* now"),
        ({"build": float_weights}, "model, layers 0, weight_quantizer: SignSTE then, Identity now"),
    ],
)
def test_another_training_is_refused_with_what_differs(path, options, said):
    killed(path, 1)
    message = refused(path, said, **options)
    assert message.startswith(f"{path}: expected a checkpoint of this training, got one of another")


def test_another_job_of_the_users_is_refused(path):
    Training().fit(Checkpoint(path, job={"seed": 3, "data": ("a", np.int64(2))}), epochs=1)
    job = {"seed": 4, "data": ["a", 2]}
    with pytest.raises(WrongCheckpointError, match="another: seed: 3 then, 4 now; resume"):
        Training().fit(Checkpoint(path, job=job, resume=True))
    Training().fit(Checkpoint(path, job={**job, "seed": 3}, resume=True))


def test_another_seed_of_a_recipe_is_refused(path):
    data, changes = few_images(100, 20), {"epochs": 1, "batch_size": 50, "progress": False}
    RECIPES["seed"]().train(data, seed=3, checkpoint=Checkpoint(path), **changes)
    with pytest.raises(WrongCheckpointError, match="seed: 3 then, 4 now"):
        RECIPES["seed"]().train(data, seed=4, checkpoint=Checkpoint(path, resume=True), **changes)


def test_other_circumstances_are_a_warning_once(path, monkeypatch, whole):
    import threadpoolctl

    killed(path, 1)
    real = threadpoolctl.threadpool_info
    monkeypatch.setattr(
        threadpoolctl, "threadpool_info",
        lambda: [{**info, "num_threads": 99} for info in real()],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="the number of threads of BLAS") as caught:
        same_bits(resumed(path).ending(), whole)
    (warning,) = caught
    assert "99 now" in str(warning.message)
    assert warning.filename.endswith("checkpointed.py"), "the line that called fit"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed(path)


def test_another_seed_of_the_batches_is_a_warning(path, whole):
    killed(path, 4)
    other = Training()
    other.train = DataLoader(other.train.arrays, 16, shuffle=True, rng=3)
    with pytest.warns(UserWarning, match="the file's seed of the training batches") as caught:
        other.fit(Checkpoint(path, resume=True))
    assert same_bits(other.ending(), whole)
    assert caught[0].filename.endswith("checkpointed.py"), "the line that called fit"


@POSIX
def test_a_damaged_file_offers_the_one_before_by_a_command_that_works(tmp_path, whole):
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    path = str(folder / "run one.safetensors")
    killed(path, 3)
    data = bytearray(Path(path).read_bytes())
    data[-1] ^= 1
    Path(path).write_bytes(data)
    message = refused(path, "it is damaged. The one before it is whole", CheckpointError)
    command = message.partition("go on from it: ")[2]
    subprocess.run(["sh", "-c", command], check=True)
    same_bits(resumed(path).ending(), whole)


@POSIX
def test_a_damaged_file_behind_a_link_offers_the_one_before(tmp_path, whole):
    path, real = str(tmp_path / "link"), tmp_path / "disk" / "real"
    real.parent.mkdir()
    os.symlink(real, path)
    killed(path, 3)
    real.write_bytes(b"")
    message = refused(path, f"mv {path} {path}.damaged; mv {real}{BEFORE} {path}", CheckpointError)
    subprocess.run(["sh", "-c", message.partition("go on from it: ")[2]], check=True)
    same_bits(resumed(path).ending(), whole)


def test_with_the_one_before_damaged_too_none_is_offered(path):
    killed(path, 2)
    for each in (path, path + BEFORE):
        Path(each).write_bytes(b"")
    assert "whole:" not in refused(path, "it is cut off", CheckpointError)


def test_a_damaged_one_before_does_no_harm(path, whole):
    killed(path, 2)
    Path(path + BEFORE).write_bytes(b"")
    same_bits(resumed(path).ending(), whole)


def test_a_missing_file_is_replaced_by_the_one_before(path, whole, said):
    killed(path, 3)
    os.unlink(path)
    same_bits(resumed(path).ending(), whole)
    assert said() == [f"{path} is missing; training goes on from {path}{BEFORE}"]
    assert said(logging.INFO)[1].startswith(f"{path}{BEFORE}: resumed after ")
    os.unlink(path)
    Path(path + BEFORE).write_bytes(b"")
    message = refused(path, "it is cut off", CheckpointError)
    assert message.startswith(path + BEFORE)


@POSIX
def test_a_link_to_no_file_yet_is_a_start(tmp_path, whole):
    path = str(tmp_path / "link")
    os.symlink(tmp_path / "real", path)
    same_bits(resumed(path).ending(), whole)
    assert os.path.islink(path)
    assert files(path) == ["link", "real", "real.before"]


@POSIX
@pytest.mark.parametrize("resume", [False, True])
def test_no_pipe_device_or_folder_is_a_checkpoint(path, resume):
    os.mkfifo(path)
    for place in (path, "/dev/null"):
        refused(place, "got a pipe or a device; choose another name", resume=resume)
    os.unlink(path)
    os.mkdir(path)
    refused(path, "expected a file to write, got a folder", IsADirectoryError, resume=resume)
    os.rmdir(path)
    os.mkdir(path + BEFORE)
    refused(path, "expected a file to write, got a folder", IsADirectoryError, resume=resume)


def test_a_missing_folder_and_a_read_only_file_are_refused(path, tmp_path):
    missing = str(tmp_path / "none" / "run")
    refused(missing, "got none; make it first", FileNotFoundError)
    killed(path, 1)
    os.chmod(path, 0o444)
    refused(path, "read-only; make it writable", PermissionError)


def test_a_read_only_folder_is_refused(path, monkeypatch):
    real = os.open

    def read_only(name, flags, *mode):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(name, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    assert path in refused(path, "Permission denied", PermissionError)


@POSIX
def test_two_trainings_do_not_share_a_file(path, whole):
    code = (
        "import sys; from minibnn.file_lock import FileLock\n"
        "lock = FileLock(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    refused(path, f"process {other.pid} is using; end that one", CheckpointError)
    other.kill()
    other.communicate()
    same_bits(resumed(path).ending(), whole)
    assert files(path) == BOTH


@pytest.mark.parametrize("given", [None, 3, ["x"]])
def test_a_path_is_a_path(given):
    with pytest.raises(TypeError, match=r"expected str, bytes or os\.PathLike"):
        Checkpoint(given)


def test_a_path_can_be_of_bytes_or_an_object(path):
    assert Checkpoint(os.fsencode(path)).path == Checkpoint(Path(path)).path == path


class Counts(Dense):
    """A layer whose state no file can hold."""

    def state(self):
        return {**super().state(), "seen": {1, 2}}

    def restore(self, state):
        raise NotImplementedError


def test_a_state_that_no_file_can_hold_is_named_before_training(path):
    training = Training(build=lambda: Sequential(Counts(8, 12), *network().layers[1:]))
    with pytest.raises(TypeError, match=r"'model/.*0/seen': .* of type set; convert it"):
        training.fit(Checkpoint(path))
    assert training.train.epoch == 0
    assert files(path) == []


# --- Faults of a write ----------------------------------------------------------------------------


FAULTS = ("open", "write", "fsync", "replace", "link", "unlink", "fchmod")


@contextmanager
def fault(name, number, code, calls):
    """Let the `number`-th call of ``os.name`` in a save fail; `calls` gets the calls' names."""
    error = OSError(code, os.strerror(code))
    with pytest.MonkeyPatch.context() as patch:
        real = {n: getattr(os, n) for n in FAULTS if n != "write"}

        def wrapped(n):
            def call(*given, **options):
                calls.append(n)
                if n == name and calls.count(n) == number:
                    raise error
                return real[n](*given, **options)

            return call

        for n in real:
            patch.setattr(os, n, wrapped(n))
        if name == "write":
            write = checkpoint_write()

            def half(file, *given):
                calls.append("write")
                if number == 1:
                    file.write(b"half")
                    raise error
                write(file, *given)

            patch.setattr("minibnn.training.checkpoint_file.write", half)
        yield


def checkpoint_write():
    from minibnn.training import checkpoint_file

    return checkpoint_file.write


def with_fault(path, name, number, code, said):
    """Train with a fault in the third of six saves; check what is there after it.

    Returns the training, and whether the fault happened.
    """
    real, saves, calls = checkpoint.write_checkpoint, [], []

    def write(*given):
        saves.append(1)
        if len(saves) != 3:
            return real(*given)
        old = Path(path).read_bytes()
        try:
            with fault(name, number, code, calls):
                real(*given)
        finally:
            state, _ = read_checkpoint(path)
            assert len(state["history"]["losses"]) in (STEPS, 1)
            new = len(state["history"]["losses"]) == 1
            assert new != (Path(path).read_bytes() == old)
            left = [n for n in files(path) if n not in BOTH and not n.endswith(".lock")]
            assert not left or name == "unlink"
            if os.path.exists(path + BEFORE):
                read_checkpoint(path + BEFORE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write_checkpoint", write)
        training = Training().fit(Checkpoint(path, "1step"))
    return training, calls.count(name) >= number


@POSIX
@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EACCES"])
@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_of_a_write_stops_the_training(tmp_path, name, code, whole, caplog):
    number, hit = 0, True
    while hit:
        number += 1
        caplog.clear()
        folder = tmp_path / str(number)
        folder.mkdir()
        path = str(folder / BOTH[0])
        training, hit = with_fault(path, name, number, getattr(errno, code), caplog)
        same_bits(training.ending(), whole)
        assert files(path) == BOTH
        messages = [record.getMessage() for record in caplog.records]
        of_folder = (name, number) in (("open", 2), ("fsync", 3))
        quiet = not hit or name == "link" or (of_folder and code == "EACCES")
        assert len(messages) == (not quiet), messages
        for message in messages:
            assert os.strerror(getattr(errno, code)) in message
            assert message.endswith("; training goes on")
            assert str(folder) in message
            assert ("may not survive a power cut" in message) == of_folder
            assert ("no checkpoint was written" in message) != of_folder
    assert number == {"open": 3, "fsync": 4, "replace": 3}.get(name, 2)


@POSIX
def test_a_full_disk_is_a_warning(path, whole, tmp_path):
    """A limit on the size of files, which the system itself keeps."""
    pytest.importorskip("resource")
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from checkpointed import Training
from minibnn import Checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
training = Training().fit(Checkpoint({path!r}))
import hashlib
print(sorted((k, hashlib.sha256(v if isinstance(v, bytes) else v.encode()).hexdigest())
             for k, v in training.ending().items()))
"""
    import hashlib

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = sorted(
        (k, hashlib.sha256(v if isinstance(v, bytes) else v.encode()).hexdigest())
        for k, v in whole.items()
    )
    assert done.stdout.strip() == str(expected)
    warned = (
        f"{path}: no checkpoint was written: [Errno 27] File too large: '{path}'; training goes"
    )
    assert [line[: len(warned)] for line in done.stderr.splitlines()] == [warned] * 2
    assert files(path) == []


def test_a_state_that_grows_too_long_is_a_warning(path, monkeypatch, said):
    class Grows(Mean):
        def state(self):
            return {"seen": "x" * 20_000 * len(self.seen)}

    from dataclasses import replace as changed

    from minibnn.training import checkpoint_file

    small = changed(checkpoint_file.CHECKPOINT, max_header=30_000)
    monkeypatch.setattr(checkpoint_file, "CHECKPOINT", small)
    Training(epochs=2).fit(Checkpoint(path), on_epoch=Grows())
    (message,) = said()
    assert "keep long texts and lists out of the states; training goes on" in message
    state, _ = read_checkpoint(path)
    assert len(state["history"]["rows"]) == 1


# --- Signals --------------------------------------------------------------------------------------


def raising(number, step):
    """A patch of the optimiser that sends a signal within a training step."""
    real, steps = Adam.step, []

    def send(self, **options):
        steps.append(1)
        if len(steps) == step:
            signal.raise_signal(number)
        real(self, **options)

    return send


@POSIX
@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS, STEPS + 1])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_finishes_the_batch_and_saves(path, whole, name, step, said):
    number, training = signal.Signals[name], Training()
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "step", raising(number, step))
        with pytest.raises(SystemExit) as stop:
            training.fit(Checkpoint(path, "9epochs"))
    assert stop.value.code == 128 + number
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    (message,) = said()
    epochs, steps = divmod(step, STEPS)
    if steps == 0:  # the signal ended the evaluation before it began
        epochs, steps = epochs - 1, STEPS
    done = f"{epochs} epoch{'s' * (epochs != 1)} and {steps} step{'s' * (steps != 1)}"
    assert message == (
        f"{name}: training is saved in {path} after {done}; Checkpoint(..., resume=True) goes on "
        "from there"
    )
    same_bits(resumed(path).ending(), whole)


@POSIX
@pytest.mark.parametrize("where", ["prompt", "notebook", "script that imports a kernel"])
def test_at_a_prompt_ctrl_c_returns_the_history(path, whole, monkeypatch, request, where):
    if where == "prompt":
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    else:
        request.getfixturevalue("notebook")
    if where.startswith("script"):
        sys.modules["IPython"].get_ipython = lambda: None
        monkeypatch.setattr(Adam, "step", raising(signal.SIGINT, 3))
        with pytest.raises(SystemExit):
            Training().fit(Checkpoint(path, "9epochs"))
        return
    training = Training()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "step", raising(signal.SIGINT, 3))
        training.fit(Checkpoint(path, "9epochs"))
    assert training.history.attrs["interrupted"]
    same_bits(resumed(path).ending(), whole)


def test_a_path_alone_is_no_checkpoint(path):
    with pytest.raises(TypeError, match=r"expected a Checkpoint, got '.*'; write Checkpoint\('"):
        Training().fit(path)


@POSIX
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_signal_ends_the_evaluation_too(path, whole, batch, said, monkeypatch):
    """An evaluation has three batches of training data, and two of test data."""
    real, evaluated = LogitCrossEntropy.forward, []

    def forward(self, logits, labels):
        if sys._getframe(2).f_code.co_name != "step":  # 1 is weighted_forward
            evaluated.append(1)
            if len(evaluated) == batch + 1:
                signal.raise_signal(signal.SIGTERM)
        return real(self, logits, labels)

    monkeypatch.setattr(evaluations, "samples_at_once", lambda model, data: 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogitCrossEntropy, "forward", forward)
        with pytest.raises(SystemExit):
            Training().fit(Checkpoint(path, "9epochs"))
    assert len(evaluated) == batch + 1
    assert "after 0 epochs and 3 steps; " in said()[0]
    same_bits(resumed(path).ending(), Training().fit().ending())


@POSIX
def test_a_signal_between_two_epochs_saves_the_last_one(path, whole, said):
    def on_epoch(history):
        if len(history) == 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        Training().fit(Checkpoint(path, "9epochs"), on_epoch=on_epoch)
    assert "after 1 epoch; " in said()[0]
    same_bits(resumed(path).ending(), whole)


@POSIX
def test_a_signal_while_a_checkpoint_is_written_loses_nothing(path, whole, monkeypatch, said):
    """Right after the last look at signals in an epoch."""
    real = Saver.due

    def due(self, **counts):
        found = real(self, **counts)
        if "epochs" in counts:
            signal.raise_signal(signal.SIGTERM)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "due", due)
        with pytest.raises(SystemExit):
            Training().fit(Checkpoint(path, "9epochs"))
    assert "after 1 epoch; " in said()[0]
    state, _ = read_checkpoint(path)
    assert len(state["history"]["rows"]) == 1
    same_bits(resumed(path).ending(), whole)


@POSIX
@pytest.mark.parametrize("saves", [None, 4])
def test_a_signal_before_the_first_step(path, whole, saves, monkeypatch, said):
    if saves:
        killed(path, saves)
    real = Saver.restore

    def restore(self):
        real(self)
        signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "restore", restore)
        with pytest.raises(SystemExit):
            resumed(path)
    assert f"after {'1 epoch and 2 steps' if saves else '0 epochs'}; " in said()[0]
    same_bits(resumed(path).ending(), whole)


@POSIX
@pytest.mark.parametrize("saved", [False, True])
def test_a_signal_on_a_full_disk_says_what_is_lost(path, saved, monkeypatch, said):
    real, saves = checkpoint.write_checkpoint, []

    def full(*given):
        saves.append(1)
        if len(saves) > saved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        real(*given)

    monkeypatch.setattr(checkpoint, "write_checkpoint", full)
    monkeypatch.setattr(Adam, "step", raising(signal.SIGTERM, STEPS + 2))
    with pytest.raises(SystemExit) as stop:
        Training().fit(Checkpoint(path, "1epoch" if saved else "9epochs"))
    assert stop.value.code == 143
    failure, message = said()
    assert "No space left on device" in failure
    assert message == (
        f"SIGTERM: training is saved in {path} after 1 epoch, what came later is lost; "
        "Checkpoint(..., resume=True) goes on from there"
        if saved
        else "SIGTERM: nothing is saved"
    )


@POSIX
def test_what_only_a_power_cut_can_lose_is_saved(path, whole, said):
    def unsynced(*given):
        write(*given)
        raise UnsyncedError(errno.EIO, "the new file is in place, but", path)

    write = checkpoint.write_checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write_checkpoint", unsynced)
        patch.setattr(Adam, "step", raising(signal.SIGTERM, 2))
        with pytest.raises(SystemExit):
            Training().fit(Checkpoint(path, "9epochs"))
    warning, message = said()
    assert warning.startswith("[Errno 5] the new file is in place")
    assert message.endswith(
        "after 0 epochs and 2 steps; Checkpoint(..., resume=True) goes on from there"
    )
    same_bits(resumed(path).ending(), whole)


@POSIX
def test_a_second_ctrl_c_ends_at_once_and_leaves_the_last_checkpoint(path, whole, monkeypatch):
    real = Adam.step

    def step(self, **options):
        real(self, **options)
        if self.steps == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "step", step)
        with pytest.raises(KeyboardInterrupt):
            Training().fit(Checkpoint(path, "1step"))
    assert files(path) == BOTH[:1]
    same_bits(resumed(path).ending(), whole)


@POSIX
def test_ignored_signals_stay_ignored(path, whole, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        monkeypatch.setattr(Adam, "step", raising(signal.SIGHUP, 2))
        same_bits(Training().fit(Checkpoint(path)).ending(), whole)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_works_outside_the_main_thread(path, whole):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(Training().fit(Checkpoint(path, "1step")).ending())
    )
    thread.start()
    thread.join(60)
    same_bits(done[0], whole)
    assert files(path) == BOTH


# --- A training that diverges ---------------------------------------------------------------------


class Overflows(SGD):
    """Its sixth update overflows, and it does not notice."""

    def step(self, **options):
        super().step(**options)
        if self.steps == 6:
            for p in self.parameters:
                p.data[...] = np.inf


@pytest.mark.parametrize("kind", ["overflows", "diverges"])
@pytest.mark.parametrize("every", ["1step", "1epoch", "99steps"])
def test_a_diverged_training_leaves_the_last_good_checkpoint(path, every, kind):
    """In its second epoch of four steps."""

    def train(resume=False):
        model = Sequential(Dense(8, 3)).initialize(0)
        data = DataLoader(clusters(64, 1), 16)
        schedule = lambda step: 0.1 if step < 5 else 1e38  # noqa: E731
        optimizer = (
            SGD(model.parameters(), schedule)
            if kind == "diverges"
            else Overflows(model.parameters(), 0.1)
        )
        return fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=3,
                   progress=False, checkpoint=Checkpoint(path, every, resume=resume))  # fmt: skip

    with pytest.raises(DivergedError) as first:
        train()
    if every == "99steps":
        assert files(path) == []
        return
    state, _ = read_checkpoint(path)
    for name, values in flatten(state["model"])[0].items():
        assert np.isfinite(values).all(), name
    with pytest.raises(DivergedError) as again:
        train(resume=True)
    assert str(again.value) == str(first.value)


# --- States that cannot come back, and other folders ------------------------------------------------


class Noting(LogitCrossEntropy):
    """A loss with a state of its own, which `form` makes of the number of earlier calls."""

    def __init__(self, form):
        super().__init__()
        self.form, self.calls, self.back = form, 0, None

    def state(self):
        self.calls += 1
        return {"seen": self.form(self.calls - 1)}

    def restore(self, state):
        self.back = state["seen"]


def test_a_state_that_changes_its_form_is_named_after_two_steps(path):
    with pytest.raises(
        TypeError,
        match=r"^loss: expected a state of one form throughout, got seen as float64 \(1,\), which "
        r"was float64 \(0,\); keep its names, shapes and dtypes, and what grows in a list\n"
        r"fit: raised after 2 of 3 batches of epoch 1$",
    ):
        Training(loss=Noting(np.zeros)).fit(Checkpoint(path))
    assert files(path) == []


def test_one_that_does_so_later_keeps_the_last_checkpoint(path, said):
    loss = Noting(abs)

    def on_epoch(history):
        loss.form = abs if len(history) < 2 else lambda calls: {"rows": calls}

    Training(loss=loss).fit(Checkpoint(path), on_epoch=on_epoch, epochs=3)
    text = (
        f"{path}: no checkpoint was written: loss: expected a state of one form throughout, got "
        "seen as named parts, which was a number"
    )
    assert [t.startswith(text) for t in said()] == [True, True]
    assert len(read_checkpoint(path)[0]["history"]["rows"]) == 1


def big_endian(calls):
    return np.arange(3, dtype=">f4")


def test_the_bytes_of_an_array_may_have_any_order(path):
    with killed_after_save(3):
        Training(loss=Noting(big_endian)).fit(Checkpoint(path, "1step"))
    loss = Noting(big_endian)
    Training(loss=loss).fit(Checkpoint(path, "1step", resume=True))
    assert loss.back.tolist() == [0, 1, 2]


def test_too_little_memory_for_a_checkpoint_is_no_reason_to_stop(path, monkeypatch, said, whole):
    real, calls = Saver._state, []

    def state(self):
        calls.append(1)
        if len(calls) == 4:
            raise MemoryError
        return real(self)

    monkeypatch.setattr(Saver, "_state", state)
    assert same_bits(Training().fit(Checkpoint(path, "1step")).ending(), whole)
    assert said() == [f"{path}: no checkpoint was written: out of memory; training goes on"]


def test_training_may_change_the_working_folder(tmp_path, monkeypatch, whole):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    with killed_after_save(5):
        Training().fit(
            Checkpoint("run", "1step"), on_epoch=lambda h: os.chdir(tmp_path / "below")
        )  # fmt: skip
    os.chdir(tmp_path)
    assert sorted(os.listdir()) == ["below", "run", "run.before"]
    assert os.listdir("below") == []
    assert same_bits(Training().fit(Checkpoint("run", resume=True)).ending(), whole)


def test_names_in_a_job_become_texts(path):
    Training().fit(Checkpoint(path, job={1: 2}))
    Training().fit(Checkpoint(path, resume=True, job={1: 2}))


def test_a_loader_restored_inside_an_epoch_by_hand_is_refused(path):
    other, training = Training(), Training()
    next(iter(other.train))
    training.train.restore(other.train.state())
    for given in (None, Checkpoint(path)):
        with pytest.raises(ValueError, match=r"restored after 1 of its 3 batches; finish that"):
            training.fit(given)
    training.train.position = 0
    assert len(training.fit().history) == 2


def test_a_closed_stderr_loses_the_message_and_nothing_else(path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    sys.stderr.close()
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.getLogger("minibnn"), "handlers", [handler])
    with pytest.raises(SystemExit) as ended:
        Training().fit(
            Checkpoint(path), on_epoch=lambda history: signal.raise_signal(signal.SIGINT)
        )
    assert ended.value.code == 130
    assert os.path.exists(path)
