"""Kill trainings at random moments, resume them, and compare every bit of the result.

    python tools/kill_training.py                       # 200 SIGKILLs over four trainings
    python tools/kill_training.py --signal TERM --kills 50
    python tools/kill_training.py --trainings larq-cnn --kills 10 --seed 7

Each training runs once without a kill, then again with checkpoints, in processes that are killed
one after another; a third of the SIGKILLs hit a process while it writes a checkpoint. After each
kill there has to be a whole checkpoint, if there ever was one. At the end the model, the optimiser,
the loader and the history have to be byte-identical to those of the run without a kill. After
SIGTERM, SIGHUP and SIGINT the exit code has to be right, and to come soon.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Bop,
    Checkpoint,
    Cosine,
    DataLoader,
    Dense,
    Dropout,
    Flatten,
    ImageDataset,
    LogitCrossEntropy,
    OptimizerGroup,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    fit,
    load_sample,
    split_parameters,
)
from minibnn.optimizers import Optimizer
from minibnn.recipes import RECIPES
from minibnn.signals import INTERRUPTED, gentle_ending
from minibnn.state import State
from minibnn.training.checkpoint_file import BEFORE, read_checkpoint

BEGUN = "training begins"  # what a training prints, so that kills can be timed from there
IN_A_SAVE = 1 / 3  # the share of SIGKILLs that wait for a checkpoint to be written
KILLS_A_TRAINING = 12  # at most: then it may end
SOON = 5.0  # seconds in which a training has to end after a signal, on a busy machine

Parts = tuple[Sequential, DataLoader, DataLoader, Optimizer, int, str]


def stochastic(data: ImageDataset) -> Parts:
    """Dropout, stochastic weights and stochastic activations, with Adam."""
    rng = np.random.default_rng(3)
    model = Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        Dropout(0.2),
        Dense(784, 128, weight_quantizer=StochasticSign(), bias=False, weight_bound=1.0),
        BatchNorm(128),
        Activation(StochasticSign(clip=1.0)),
        Dropout(0.5),
        Dense(128, 10, weight_quantizer=SignSTE(), bias=False, weight_bound=1.0),
        BatchNorm(10),
    ).initialize(rng)
    train, test = _loaders(data, 100, rng)
    schedule = Cosine(0.01, 0.0, length=8 * len(train))
    return model, train, test, Adam(model.parameters(), schedule), 8, "3steps"


def bop_with_adam(data: ImageDataset) -> Parts:
    """Bop for the binary weights, Adam for the rest, in a group."""
    rng = np.random.default_rng(4)
    model = Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        Dense(784, 256, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(256),
        Activation(SignSTE(clip=1.0)),
        Dense(256, 10, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(10),
    ).initialize(rng)
    train, test = _loaders(data, 64, rng)
    binary, rest = split_parameters(model)
    optimizer = OptimizerGroup(Bop(binary, threshold=1e-7), Adam(rest, 0.01))
    return model, train, test, optimizer, 6, "0.02s"


def _loaders(
    data: ImageDataset, batch_size: int, rng: np.random.Generator
) -> tuple[DataLoader, DataLoader]:
    arrays = (data.train_images, data.train_labels)
    train = DataLoader(arrays, batch_size, shuffle=True, rng=rng)
    return train, DataLoader((data.test_images, data.test_labels), batch_size)


def _of_recipe(name: str, epochs: int, images: int, every: str) -> Callable[[ImageDataset], Parts]:
    def parts(data: ImageDataset) -> Parts:
        recipe = RECIPES[name]()
        rng = np.random.default_rng(5)
        model = recipe.build().initialize(rng)
        few = replace(
            data,
            train_images=data.train_images[:images],
            train_labels=data.train_labels[:images],
            test_images=data.test_images[:500],
            test_labels=data.test_labels[:500],
        )
        train, test = _loaders(few, recipe.batch_size, rng)
        schedule = recipe.decay(recipe.learning_rate, epochs, len(train))
        return model, train, test, recipe.optimizer(model, schedule), epochs, every

    return parts


TRAININGS: dict[str, Callable[[ImageDataset], Parts]] = {
    "modern": _of_recipe("modern", 6, 4000, "1epoch"),
    "larq-cnn": _of_recipe("larq-cnn", 4, 1500, "2steps"),
    "stochastic": stochastic,
    "bop-with-adam": bop_with_adam,
}


def train(name: str, path: str | None, result: Path) -> bool:
    """Run one training, resumed from `path`; at its end, write the digests of what it ends with."""
    model, batches, test, optimizer, epochs, every = TRAININGS[name](load_sample())
    checkpoint = None if path is None else Checkpoint(path, every, resume=True)
    print(BEGUN, flush=True)
    history = fit(
        model, batches, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=epochs,
        checkpoint=checkpoint, progress=False,
    )  # fmt: skip
    if history.attrs["interrupted"]:
        return False
    digests = {"history": hashlib.sha256(history.to_numpy().tobytes()).hexdigest()}
    for part, thing in (("model", model), ("optimizer", optimizer), ("loader", batches)):
        digests |= _digests(part, thing.state())
    result.write_text(json.dumps(digests))
    return True


def _digests(path: str, state: State) -> dict[str, str]:
    digests: dict[str, str] = {}
    for name, value in state.items():
        here = f"{path}.{name}"
        if isinstance(value, dict):
            digests |= _digests(here, value)
        elif isinstance(value, np.ndarray):
            digests[here] = hashlib.sha256(value.tobytes()).hexdigest()
        else:
            digests[here] = repr(value)
    return digests


class Killer:
    """Starts a training again and again, and kills it until it has been killed often enough.

    Args:
        name: of the training.
        number: the signal.
        rng: chooses the moments.
        folder: for checkpoints and results.
    """

    def __init__(self, name: str, number: int, rng: random.Random, folder: Path) -> None:
        self.name = name
        self.number = number
        self.rng = rng
        self.folder = folder
        self.path = folder / f"{name}.safetensors"
        self.kills = self.in_saves = self.runs = 0
        self.slowest = 0.0  # seconds from a signal to the end of the process
        self._seen = False  # whether there was a checkpoint

    def run(self, kills: int) -> None:
        """Kill at least so many times; compare each training that ends.

        Raises:
            SystemExit: if something is not as it has to be.
        """
        expected, took = self._uninterrupted()
        while self.kills < kills:
            for file in self.folder.glob(f"*{self.path.name}*"):
                file.unlink()
            self._seen = False
            result = self.folder / "killed.json"
            last = self.kills + KILLS_A_TRAINING
            while not self._one_life(result, took, spared=self.kills >= min(last, kills)):
                pass
            self.runs += 1
            got = json.loads(result.read_text())
            different = [k for k in {**expected, **got} if expected.get(k) != got.get(k)]
            if different:
                raise SystemExit(
                    f"{self.name}: {', '.join(different)} differ after {self.kills} kills"
                )

    def _start(self, path: Path | None, result: Path) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--train", self.name, "--result", str(result)]
        command += [] if path is None else ["--path", str(path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()  # BEGUN
        return process

    def _uninterrupted(self) -> tuple[dict[str, str], float]:
        result = self.folder / "whole.json"
        process, begun = self._start(None, result), time.monotonic()
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.name}: the training without a kill failed:\n{said}")
        return json.loads(result.read_text()), time.monotonic() - begun

    def _one_life(self, result: Path, took: float, *, spared: bool) -> bool:
        """Start or resume the training, and kill it unless spared; whether it ended before."""
        result.unlink(missing_ok=True)
        process = self._start(self.path, result)
        in_a_save = self.number == signal.SIGKILL and self.rng.random() < IN_A_SAVE
        deadline = time.monotonic() + self.rng.uniform(0, 0.6 * took)
        while process.poll() is None:
            if spared:
                time.sleep(0.01)
            elif in_a_save:
                if any(self.folder.glob(f".{self.path.name}.*.tmp")):
                    break
            elif time.monotonic() >= deadline:
                break
        killed = time.monotonic()
        writing = any(self.folder.glob(f".{self.path.name}.*.tmp"))
        process.send_signal(self.number)
        _, said = process.communicate()
        # A signal may come when the training is over, and only the interpreter still runs.
        over = self.number != signal.SIGKILL and result.exists()
        if process.returncode == 0 or over:
            return True
        self.kills += 1
        self.in_saves += writing
        self.slowest = max(self.slowest, time.monotonic() - killed)
        self._check_ending(process.returncode, said)
        self._check_checkpoint()
        return False

    def _check_ending(self, code: int, said: str) -> None:
        expected = -self.number if self.number == signal.SIGKILL else 128 + self.number
        if code != expected or "Traceback" in said:
            raise SystemExit(f"{self.name}: expected exit code {expected}, got {code}:\n{said}")
        if self.slowest > SOON:
            raise SystemExit(f"{self.name}: ended {self.slowest:.1f} s after the signal")

    def _check_checkpoint(self) -> None:
        found = [p for p in (self.path, Path(f"{self.path}{BEFORE}")) if p.exists()]
        for path in found:
            read_checkpoint(str(path))  # raises if it is not whole
        if self._seen and not found:
            raise SystemExit(f"{self.name}: a kill left no checkpoint")
        self._seen = self._seen or bool(found)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kills", type=int, default=200, help="in all; default: %(default)s")
    add("--signal", default="KILL", choices=("KILL", "TERM", "HUP", "INT"))
    add("--trainings", nargs="+", default=list(TRAININGS), choices=list(TRAININGS), metavar="NAME")
    add("--seed", type=int, default=0, help="of the moments")
    add("--train", choices=list(TRAININGS), help=argparse.SUPPRESS)
    add("--path", help=argparse.SUPPRESS)
    add("--result", type=Path, help=argparse.SUPPRESS)
    given: Any = parser.parse_args(argv)
    if given.train:
        with gentle_ending() as ending:  # as the commands do
            try:
                whole = train(given.train, given.path, given.result)
            except KeyboardInterrupt:
                whole = False
        return 0 if whole else ending.code or INTERRUPTED
    rng, number = random.Random(given.seed), signal.Signals[f"SIG{given.signal}"]
    each = -(-given.kills // len(given.trainings))
    total = 0
    for name in given.trainings:
        with tempfile.TemporaryDirectory() as folder:
            killer = Killer(name, number, rng, Path(folder))
            killer.run(each)
        total += killer.kills
        print(
            f"{name:14} {killer.kills:4} {number.name}, {killer.in_saves:3} of them in a save; "
            f"{killer.runs:3} trainings ended, byte-identical; slowest end {killer.slowest:.2f} s",
            flush=True,
        )
    print(f"{total} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
