"""A training in which something goes wrong on the last rank, or on all of them.

    mpirun -n 3 python tests/support/rank_faults.py FAULT MODE TIMEOUT FOLDER

It prints when the fault happens, so that the time from there can be taken.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from typing import NamedTuple

import mpirun

RAISED = "on purpose"
AT = "the fault: "  # followed by the time
SOON = 20.0  # seconds from the fault to the end, on a machine that others use as well; it takes two


class Expected(NamedTuple):
    """How the ranks have to end.

    Attributes:
        code: mpirun's exit code; None for the launcher's own, of a process that was killed.
        said: in the output, once.
        waits: whether the others end after the timeout, and not at once.
    """

    code: int | None
    said: str
    waits: bool = False


FAULTS = {
    "callback": Expected(1, f"RuntimeError: {RAISED}"),
    "layer": Expected(1, f"RuntimeError: {RAISED}"),
    "loader": Expected(1, f"OSError: {RAISED}"),
    "on all": Expected(1, f"RuntimeError: {RAISED}"),
    "arguments": Expected(1, "ValueError: fit: expected at least 1 epoch, got 0"),
    "sys.exit()": Expected(1, "ended with None"),
    "sys.exit(0)": Expected(1, "ended with 0"),
    "sys.exit(9)": Expected(9, "ended with 9"),
    "sys.exit(text)": Expected(1, "ended with farewell"),
    "sys.exit in a layer": Expected(7, "ended with 7"),
    "Ctrl-C twice": Expected(130, "ended by Ctrl-C"),
    "SIGKILL": Expected(None, ""),
    "SIGABRT": Expected(None, ""),
    "SIGSTOP": Expected(75, "", waits=True),
    "SIGSTOP before": Expected(75, "", waits=True),
    "before ranks meet": Expected(75, f"ValueError: {RAISED}", waits=True),
    "before fit": Expected(75, f"ValueError: {RAISED}", waits=True),
    "after fit": Expected(1, f"ValueError: {RAISED}"),
    "never ends": Expected(75, "", waits=True),
    "data": Expected(1, "training data: "),
    "seed": Expected(1, "the starting values of the training batches: "),
    "values": Expected(1, "the starting values of the model: "),
    "settings": Expected(1, "optimizer: "),
    "epochs": Expected(1, "epochs: 3 on ranks 0, 1, 5 on rank 2"),
    "checkpoint": Expected(1, "a checkpoint: false on ranks 0, 1, true on rank 2"),
    "drift": Expected(1, "fit, after epoch 2: expected the same on all 3 ranks"),
    "other batches": Expected(1, "a batch: 20 samples"),
    "a shorter batch": Expected(1, "a batch: 20 samples"),
    "a shorter epoch": Expected(1, "IterableLoader: expected 10 batches in epoch 0, got 8"),
    "diverging": Expected(1, "DivergedError: fit: the loss became "),
    "no folder on rank 0": Expected(1, "expected a folder "),
    "no folder on others": Expected(0, ""),
    "SIGTERM to one": Expected(143, "SIGTERM: training is saved in "),
    "SIGTERM to all": Expected(143, "SIGTERM: training is saved in "),
    "SIGINT to one": Expected(130, "SIGINT: training is saved in "),
    "SIGHUP to one": Expected(129, "SIGHUP: training is saved in "),
    "stops on one": Expected(0, ""),
}
ALL_SAY_IT = ("data", "seed", "values", "settings", "epochs", "checkpoint", "drift", "other batches",
              "a shorter batch", "diverging")  # fmt: skip


class Seen(NamedTuple):
    """How they have ended.

    Attributes:
        code: mpirun's exit code.
        seconds: from the fault to the end of mpirun; None if the fault does not say when it is.
        said: how often the message is in the output.
        wrong: what is not as expected, or an empty text.
    """

    code: int
    seconds: float | None
    said: int
    wrong: str


def seen(fault, folder, *, mode="exact", ranks=3):
    """Let a fault happen.

    Raises:
        AssertionError: if the ranks hang.
    """
    expected = FAULTS[fault]
    timeout = 4.0 if expected.waits else 60.0  # ranks of a busy machine wait for seconds, too
    ended = mpirun.run(ranks, __file__, fault, mode, timeout, folder)
    now, text = time.time(), ended.text
    times = [float(found) for found in re.findall(AT + r"([\d.]+)", text)]
    seconds = now - max(times) if times else None
    said = text.count(expected.said) if expected.said else 0
    bound = SOON + (timeout if expected.waits else 0)
    wrong = []
    if expected.code is None:
        wrong += [] if ended.code else ["mpirun ended with 0"]
    elif not mpirun.is_code(ended, expected.code):
        wrong += [f"expected the exit code {expected.code}, got {ended.code}"]
    if expected.said and said != (ranks if fault in ALL_SAY_IT else 1):
        wrong += [f"said {said} times: {expected.said}"]
    if expected.waits and f"waited {timeout:g} s for the other ranks" not in text:
        wrong += ["no rank says that it has waited"]
    if seconds is not None and seconds > bound:
        wrong += [f"expected an end within {bound:g} s, got {seconds:.1f} s"]
    return Seen(ended.code, seconds, said, "; ".join(wrong) + f"\n{text}" * bool(wrong))


def happens():
    """Say that the fault happens now."""
    sys.stderr.write(f"{AT}{time.time():.3f}\n")
    sys.stderr.flush()


def main(fault, mode, timeout, folder):
    """Train, until it happens."""
    from mpi4py import MPI

    rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    bad = rank == size - 1

    import numpy as np
    from clusters import clusters

    from minibnn import (
        SGD,
        Activation,
        Adam,
        BatchNorm,
        Checkpoint,
        DataLoader,
        Dense,
        IterableLoader,
        LogitCrossEntropy,
        Ranks,
        Sequential,
        SignSTE,
        fit,
    )

    def fails(name, error):
        if fault == name and bad:
            happens()
            raise error

    def sends(number):
        happens()
        os.kill(os.getpid(), number)

    if fault == "SIGSTOP before" and bad:
        sends(signal.SIGSTOP)
    fails("before ranks meet", ValueError(RAISED))
    ranks = Ranks(mode, timeout=float(timeout))
    fails("before fit", ValueError(RAISED))

    class Fails(Activation):
        def forward(self, x, *, train=False):
            if train:
                fails("layer", RuntimeError(RAISED))
                fails("sys.exit in a layer", SystemExit(7))
            return super().forward(x, train=train)

    class Callback:
        def on_step(self, epoch, step):
            if (epoch, step) != (2, 3):
                return
            fails("callback", RuntimeError(RAISED))
            fails("sys.exit()", SystemExit())
            fails("sys.exit(0)", SystemExit(0))
            fails("sys.exit(9)", SystemExit(9))
            fails("sys.exit(text)", SystemExit("farewell"))
            fails("Ctrl-C twice", KeyboardInterrupt())
            if fault == "on all":
                happens()
                raise RuntimeError(RAISED)
            if fault == "never ends" and bad:
                happens()
                time.sleep(600)
            name, _, to = fault.partition(" to ")
            if name in signal.Signals.__members__ and (bad or to == "all"):
                sends(signal.Signals[name])

        def on_epoch(self, history):
            if fault == "drift" and bad and len(history) == 1:
                happens()
                model.layers[0].weight.data[0, 0] *= -1
            return fault == "stops on one" and bad

    def batches(epoch):
        rng = np.random.default_rng([epoch, fault == "other batches" and bad])
        for number in range(10):
            if number == 4:
                fails("loader", OSError(RAISED))
            if number == 8 and fault == "a shorter epoch" and bad:
                return happens()
            rows = rng.integers(0, len(x), 19 if fault == "a shorter batch" and bad else 20)
            yield x[rows], labels[rows]

    x, labels = clusters(200, 1 if fault == "data" and bad else 0)
    model = Sequential(
        Dense(8, 12, weight_quantizer=SignSTE(), bias=False), BatchNorm(12),
        Fails(SignSTE(clip=1.0)), Dense(12, 3), BatchNorm(3),
    ).initialize(1 if fault == "values" and bad else 0)  # fmt: skip
    train = DataLoader((x, labels), 20, shuffle=True, rng=1 if fault == "seed" and bad else 0)
    if fault in ("loader", "other batches", "a shorter batch", "a shorter epoch"):
        train = IterableLoader(batches, 10)
    if fault == "diverging":
        optimizer = SGD(model.parameters(), 1e30)
    else:
        optimizer = Adam(model.parameters(), 0.02 if fault == "settings" and bad else 0.01)
    epochs = 5 if fault == "epochs" and bad else 0 if fault == "arguments" and bad else 3
    options = {}
    saved = " to " in fault or "folder" in fault or (fault == "checkpoint" and bad)
    if saved:
        without = {"no folder on rank 0": rank == 0, "no folder on others": rank > 0}
        place = os.path.join(folder, "none") if without.get(fault) else folder
        options["checkpoint"] = Checkpoint(os.path.join(place, "run.safetensors"), resume=True)
    if fault in ALL_SAY_IT or fault in ("arguments", "no folder on rank 0"):
        happens()
    fit(
        model, train, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=epochs, comm=ranks,
        progress=False, callbacks=[Callback()], **options,
    )  # fmt: skip
    fails("after fit", ValueError(RAISED))


if __name__ == "__main__":
    main(*sys.argv[1:])
