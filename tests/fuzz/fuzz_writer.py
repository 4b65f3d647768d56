"""Random writes to random targets with random failures, compared with a model.

    python tests/fuzz/fuzz_writer.py --rounds 20000

`tests/test_atomic_file.py` runs a few hundred rounds. POSIX only.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minibnn.atomic_file import require_writable, whole_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MODES = (0o644, 0o600, 0o640, 0o666, 0o755, 0o444, 0o400, 0o200)
LONG, TOO_LONG = "n" * 255, "n" * 256
WIDE = "ü" * 127  # 254 bytes


class KilledError(BaseException):
    """In place of SIGKILL: after it, no call of the writer has any effect."""


@contextmanager
def failing(name=None, number=1, error=None, *, dead=False):
    """Let the `number`-th call raise, of ``os.name`` or, without a name, of any of the writer's.

    Once `dead`, all later calls raise too, as nothing is cleaned up after a kill.
    """
    modules = {"flock": fcntl}
    names = ("open", "fsync", "replace", "unlink", "fchmod", "fchown", "flock")
    real = {n: getattr(modules.get(n, os), n) for n in names}
    calls = []

    def wrapped(n):
        def call(*args, **options):
            if calls.count("") or (name or n) == n:
                calls.append(n)
                if len(calls) == number or (dead and len(calls) > number):
                    calls.append("")
                    raise error
            return real[n](*args, **options)

        return call

    for n in real if error else ():
        setattr(modules.get(n, os), n, wrapped(n))
    try:
        yield
    finally:
        for n, function in real.items():
            setattr(modules.get(n, os), n, function)


def snapshot(folder):
    """Everything in it: type, mode, and content or the place of a link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat().st_mode
        content = None
        if stat.S_ISREG(kind):
            content = path.read_bytes()
        elif stat.S_ISLNK(kind):
            content = os.readlink(path)
        found[str(path.relative_to(folder))] = (kind, content)
    return found


class World:
    """A folder with a target of some kind, and the expected outcome of a write."""

    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.path = folder / "target"
        self.file = self.path  # what is written in the end
        self.outcome = "replaced"  # or "refused", "poured", "gone"
        kind = rng.choice(sorted(n for n in dir(self) if n.startswith("make_")))
        self.kind = kind.removeprefix("make_")
        getattr(self, kind)()

    def _old(self, path):
        path.write_bytes(self.rng.bytes(int(self.rng.integers(50))))
        path.chmod(mode := int(self.rng.choice(MODES)))
        if not mode & 0o222:
            self.outcome = "refused"

    def make_nothing(self):
        pass

    def make_file(self):
        self._old(self.path)

    def make_long_name(self):
        self.path = self.file = self.folder / str(self.rng.choice([LONG, WIDE]))
        if self.rng.random() < 0.5:
            self._old(self.path)

    def make_too_long_name(self):
        self.path, self.outcome = self.folder / TOO_LONG, "refused"

    def make_link(self):
        (self.folder / "elsewhere").mkdir()
        self.file = self.folder / "elsewhere" / "real"
        if self.rng.random() < 0.7:
            self._old(self.file)
        self.path.symlink_to(self.file if self.rng.random() < 0.5 else "elsewhere/real")

    def make_chain(self):
        self.file = self.folder / "c"
        self._old(self.file)
        (self.folder / "b").symlink_to("c")
        self.path.symlink_to(self.folder / "b")

    def make_linked_folder(self):
        (self.folder / "real").mkdir()
        (self.folder / "way").symlink_to("real")
        self.path, self.file = self.folder / "way" / "target", self.folder / "real" / "target"

    def make_circle(self):
        (self.folder / "b").symlink_to("target")
        self.path.symlink_to("b")
        self.outcome = "refused"

    def make_link_to_nowhere(self):
        self.path.symlink_to("no folder/real")
        self.outcome = "refused"

    def make_folder(self):
        self.path.mkdir()
        self.outcome = "refused"

    def make_missing_folder(self):
        self.path, self.outcome = self.folder / "none" / "target", "refused"

    def make_file_for_folder(self):
        self.path.write_bytes(b"")
        self.path, self.outcome = self.path / "target", "refused"

    def make_pipe(self):
        os.mkfifo(self.path)
        self.outcome = "poured"

    def make_link_to_pipe(self):
        os.mkfifo(self.folder / "pipe")
        self.path.symlink_to("pipe")
        self.outcome = "poured"

    def make_device(self):
        self.path.symlink_to("/dev/null")
        self.outcome = "gone"


def write(path, pieces, stop_after=None):
    with whole_file(path) as file:
        for i, piece in enumerate(pieces):
            if i == stop_after:
                raise RuntimeError("of the block")
            file.write(piece)


def random_failure(rng):
    """A failing step, and whether the write should still succeed."""
    full = OSError(errno.ENOSPC, "No space left on device")
    return [
        ({}, True),
        ({"name": "fsync", "error": full}, False),
        ({"name": "fsync", "number": 2, "error": OSError(errno.EINVAL, "of a folder")}, True),
        ({"name": "replace", "error": PermissionError(errno.EPERM, "no")}, False),
        ({"name": "fchown", "error": PermissionError(errno.EPERM, "no")}, True),
        ({"number": int(rng.integers(1, 9)), "error": KilledError(), "dead": True}, None),
    ][rng.integers(6)]


def one_round(folder, rng):
    world = World(folder, rng)
    before = snapshot(folder)
    pieces = [rng.bytes(int(rng.integers(30))) for _ in range(int(rng.integers(4)))]
    new = b"".join(pieces)
    umask = int(rng.choice([0o022, 0o077, 0o002]))
    old_umask = os.umask(umask)
    try:
        # 1. `require_writable` raises what the write would raise, and leaves no files.
        refusal = None
        try:
            require_writable(world.path)
        except OSError as error:
            refusal = error
        assert (world.outcome == "refused") == (refusal is not None), refusal
        assert snapshot(folder) == before, "the trial has changed something"

        # 2. Write, perhaps with a failure.
        stop_after = int(rng.integers(4)) if rng.random() < 0.2 else None
        options, ends_well = random_failure(rng)
        poured = []
        if world.outcome == "poured":
            options, stop_after, ends_well = {}, None, True
            reader = threading.Thread(target=lambda: poured.append(world.path.read_bytes()))
            reader.start()
        raised = None
        try:
            with failing(**options):
                write(world.path, pieces, stop_after)
        except (OSError, RuntimeError, KilledError) as error:
            raised = error
        after = snapshot(folder)
        if world.outcome == "poured":
            reader.join(10)
            assert poured == [new]
        if world.outcome in ("poured", "gone"):
            assert after == before
        elif world.outcome == "refused" or isinstance(raised, RuntimeError):
            assert raised is not None
            assert strip(after) == before
        elif raised is None:
            expect(world, before, after, new, umask)
        elif isinstance(raised, KilledError):  # the old file or the new one, and perhaps a leftover
            if strip(after) != before:
                expect(world, before, strip(after), new, umask)
        else:
            assert not ends_well, raised
            assert after == before

        # 3. The next write to the same name deletes leftovers.
        if world.outcome == "replaced":
            write(world.path, [b"next"])
            after = snapshot(folder)
            assert after == strip(after), "a leftover"
            expect(world, before, after, b"next", umask)
    finally:
        os.umask(old_umask)
    return world.kind


def strip(found):
    return {name: what for name, what in found.items() if not name.endswith(".tmp")}


def expect(world, before, after, content, umask):
    name = str(world.file.relative_to(world.folder))
    mode = before[name][0] if name in before else stat.S_IFREG | (0o666 & ~umask)
    assert after == before | {name: (mode, content)}


def killed_everywhere(folder, run, names):
    """Kill `run` at each of its steps; each file is complete, old or new."""
    clean = folder / "clean" / "out"
    clean.mkdir(parents=True, exist_ok=True)
    run(clean)
    whole = {name: {(clean / name).read_bytes()} for name in names}
    number, ended = 0, False
    while not ended:
        number += 1
        out = folder / f"{number}" / "out"
        out.mkdir(parents=True)
        for name in names:
            (out / name).write_text(f"earlier {name}")
        try:
            with failing(number=number, error=KilledError(), dead=True):
                run(out)
            ended = True
        except KilledError:
            pass
        for name in names:
            found = (out / name).read_bytes()
            assert found in whole[name] | {f"earlier {name}".encode()}, (number, name, found)
    return number


def run(rounds, seed=0):
    """Run some rounds, each in a new folder; count the kinds of targets."""
    kinds = {}
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(rounds):
            folder = Path(scratch) / str(i)
            folder.mkdir()
            try:
                kind = one_round(folder, np.random.default_rng([seed, i]))
            except BaseException:
                print(f"seed {seed}, round {i}")
                raise
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(run(given.rounds, given.seed))
