"""Kill a random rank at a random moment, go on with another number of ranks, compare every byte.

    python tests/fuzz/fuzz_ranks.py --kills 30 --seed 0
    python tests/fuzz/fuzz_ranks.py --faults                # all of tests/support/rank_faults.py

It uses the `mpirun` beside this Python, or on the PATH. A training in exact mode saves itself every
two steps. One of its ranks gets SIGKILL, before the training begins, in a step, in an evaluation, or
while rank 0 writes; then the same command goes on with 1 to 4 ranks. After each kill all ranks have
to end in time, and what is at the checkpoint's place has to be a whole checkpoint. What a training
ends with has to be what an undisturbed one ends with, on one rank.

`tests/training/test_ranks_that_fail.py` runs a few kills.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import mpirun
from mpirun import Job

STEP = "step"  # what rank 0 prints after each step, so that moments can be chosen
ENDED = "ends with "  # followed by the digest
EARLY = 0.15  # the share of kills before the training begins
IN_A_SAVE = 0.3  # the share of kills that wait for rank 0 to write
KILLS_A_TRAINING = 10  # at most: then it may end
EPOCHS = 6  # of 15 steps
MOST_STEPS = 20  # before a kill
TIMEOUT = 60.0  # of the ranks; launchers notice a kill at once
SOON = 20.0  # seconds in which all have to end, on a machine that others use as well
FILES = {"run.safetensors", "run.safetensors.before"}


class Steps:
    """Tells of each step, on rank 0."""

    def __init__(self, first):
        self.first = first

    def on_step(self, epoch, step):
        if self.first:
            print(STEP, flush=True)


def train(path, epochs):
    """A training with dropout, random signs, batch norm and an own order of each epoch."""
    from rank_cases import random as network
    from rank_cases import vectors

    from minibnn import Checkpoint, Ranks

    ranks = Ranks("exact", timeout=TIMEOUT)
    case = network(data=partial(vectors, 300), epochs=epochs, validation=0.2)
    case.options["callbacks"] = [Steps(ranks.first)]
    case.fit(ranks, checkpoint=Checkpoint(path, "2steps", resume=True))
    if ranks.first:
        print(ENDED + case.digest(), flush=True)


def started(folder, ranks, epochs=EPOCHS):
    return Job(ranks, __file__, "--as-rank", folder / "run.safetensors", "--epochs", epochs)


def wait_for(job, steps, read):
    """Read rank 0's lines into `read` until it has made so many steps; whether it has."""
    for line in job.process.stdout:
        read.append(line)
        if sum(STEP in each for each in read) == steps:
            return True
    return False


def digest_of(ended, read=()):
    lines = [*read, *ended.out.splitlines()]
    return next((line[len(ENDED) :].strip() for line in lines if line.startswith(ENDED)), None)


def whole(folder):
    """Whether the checkpoint that is there, if there is one, can be read; how far it is."""
    from minibnn.training.checkpoint_file import read_checkpoint

    path = folder / "run.safetensors"
    if not path.exists():
        return "nothing saved"
    state, _ = read_checkpoint(os.fspath(path))  # raises, if it is not whole
    batches = state["training batches"]
    return f"epoch {batches['epoch'] + 1}, batch {batches['position']}"


def killed(job, rng, folder, read):
    """Kill one rank of a job at a random moment; what came of it, or None if it ended before.

    What the job had written by then is in `read`.
    """
    when = rng.random()
    early, in_a_save = when < EARLY, when > 1 - IN_A_SAVE
    if not early and not wait_for(job, rng.randint(1, MOST_STEPS), read):
        return None
    time.sleep(rng.uniform(0, 1.0 if early else 0.05))
    processes = job.ranks()
    if in_a_save:
        deadline = time.monotonic() + SOON
        while not _writing(folder) and job.process.poll() is None and time.monotonic() < deadline:
            pass
    if not processes or job.process.poll() is not None:
        return None
    rank, pid = (0, processes[0]) if in_a_save else rng.choice(sorted(processes.items()))
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
    began = time.monotonic()
    ended = job.end(SOON)
    left = [p for p in processes.values() if Path(f"/proc/{p}").exists() and not _is_zombie(p)]
    assert not left, f"expected all ranks to have ended, {left} have not"
    return rank, time.monotonic() - began, ended


def _writing(folder):
    """Whether there is a file with a name of its own until it is whole."""
    return any(name.startswith(".run.safetensors") for name in os.listdir(folder))


def _is_zombie(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def run(kills, seed, say=print, epochs=EPOCHS):
    """Kill so many ranks; figures about it.

    Raises:
        AssertionError: if ranks hang, or a training ends with other bytes.
        CheckpointError: if a checkpoint is not whole.
    """
    rng = random.Random(seed)
    codes, sizes, longest, trainings, done, after_end = Counter(), Counter(), 0.0, 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = started(folder, 1, epochs).end()
        reference = digest_of(alone)
        assert reference is not None, alone.text
        say(f"undisturbed: {reference[:16]}, {alone.seconds:.1f} s")
        while done < kills or trainings == 0:
            for path in folder.iterdir():
                path.unlink()
            here = 0
            while True:
                size = rng.randint(1, mpirun.MOST)
                job = started(folder, size, epochs)
                found, read = None, []
                if done < kills and here < KILLS_A_TRAINING:
                    found = killed(job, rng, folder, read)
                if found is None:
                    ended = job.end()
                    assert digest_of(ended, read) == reference, (ended.code, *read, ended.text)
                    trainings += 1
                    break
                rank, took, ended = found
                if ended.code == 0:  # it was over
                    after_end += 1
                    assert digest_of(ended, read) == reference, (ended.code, *read, ended.text)
                    trainings += 1
                    break
                done, here, longest = done + 1, here + 1, max(longest, took)
                codes[ended.code] += 1
                sizes[size] += 1
                files = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
                assert files <= FILES, f"expected no other files than {FILES}, got {files}"
                say(
                    f"kill {done}: rank {rank} of {size}, code {ended.code}, {took:.1f} s, {whole(folder)}"
                )
            left = {path.name for path in folder.iterdir()}
            assert left <= FILES, f"expected no other files than {FILES} at the end, got {left}"
            say(f"the training has ended with the same bytes, on {size} ranks, after {here} kills")
    return {
        "kills": done, "trainings": trainings, "longest": longest, "codes": dict(codes),
        "ranks": dict(sizes), "too late": after_end,
    }  # fmt: skip


def faults(say=print):
    """Let all faults happen; how many are not as expected."""
    import rank_faults

    wrong = 0
    for mode in ("exact", "sum"):
        for fault in rank_faults.FAULTS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = rank_faults.seen(fault, folder, mode=mode)
                except AssertionError as error:
                    found = rank_faults.Seen(-1, None, 0, f"hangs: {error}")
            took = "" if found.seconds is None else f"{found.seconds:.1f} s"
            say(
                f"{mode:6} {fault:20} {found.code:4} {took:7} {'wrong: ' * bool(found.wrong)}{found.wrong}"
            )
            wrong += bool(found.wrong)
    return wrong


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--as-rank", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank is not None:
        train(given.as_rank, given.epochs)
        return 0
    if (why := mpirun.missing()) is not None:
        raise SystemExit(f"fuzz_ranks.py: {why}")
    if given.faults:
        return 1 if faults() else 0
    print(run(given.kills, given.seed, epochs=given.epochs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
