"""Read any kind of path: each read ends soon, takes little memory, and succeeds or is refused.

    python tests/fuzz/fuzz_readers.py --rounds 2000

`tests/test_regular_file.py` runs a few rounds. POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import os
import signal
import socket
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from minibnn import (
    Adam,
    Dense,
    InputContract,
    ModelFileError,
    PackedFileError,
    Rescale,
    Sequential,
    SignSTE,
    Thermometer,
    fit_codes,
    load_latents,
    load_model,
    load_packed,
    pack,
    read_idx,
    save_model,
    save_packed,
    write_idx,
)
from minibnn.__main__ import main
from minibnn.data import IdxFormatError
from minibnn.packed import packed_file_info

SECONDS = 20  # a longer read counts as endless; the machine may be busy
MEMORY = 30e6


def network():
    layers = [Rescale(1 / 255), Dense(20, 3, weight_quantizer=SignSTE())]
    return Sequential(*layers).initialize(0)


def coded():
    """A network that compares its input."""
    model = Sequential(Thermometer(4, 5), *network()[1:]).initialize(0)
    fit_codes(model, np.arange(20, dtype=np.int16).reshape(5, 4))
    model.input_contract = InputContract("int16", (4,))
    return model


def inspect(path):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(["inspect", os.fspath(path)])
    assert code in (0, 3), code
    if code:
        raise PackedFileError("as inspect has printed")


READERS = {
    "read_idx": read_idx,
    "load_packed": load_packed,
    "packed_file_info": packed_file_info,
    "load_latents": lambda path: load_latents(path, network()),
    "load_model": load_model,
    "inspect": inspect,
}


@contextlib.contextmanager
def time_limit(seconds=SECONDS):
    """Raise TimeoutError in a call that takes too long."""

    def ring(*_):
        raise TimeoutError("it never ends")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Places:
    """Creates files and special files, some of which have no end."""

    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.path = folder / "it"
        self.open = []  # to be closed at the end

    def make_pipe(self):
        os.mkfifo(self.path)

    def make_pipe_with_a_writer(self):
        os.mkfifo(self.path)
        self.open.append(os.open(self.path, os.O_RDWR))
        os.write(self.open[0], self.content()[:2000])

    def make_process_substitution(self):
        reading, writing = os.pipe()
        self.open += [reading, writing]
        os.write(writing, self.content()[:2000])
        self.path = Path(f"/dev/fd/{reading}")

    def make_device(self):
        self.path = Path(f"/dev/{self.rng.choice(['zero', 'null', 'full', 'urandom', 'tty'])}")

    def make_link(self):
        self.path.symlink_to(
            self.rng.choice(["/dev/zero", "it", "nowhere", "/", "/proc/self/fd/0"])
        )

    def make_socket(self):
        made = socket.socket(socket.AF_UNIX)
        made.bind(os.fspath(self.path))
        self.open.append(made.detach())

    def make_folder(self):
        self.path.mkdir()

    def make_nothing(self):
        pass

    def make_file_without_size(self):
        self.path = Path(
            str(self.rng.choice(["/proc/self/maps", "/proc/kmsg", "/proc/kcore", "/proc/version"]))
        )

    def make_sparse_file(self):
        self.path.write_bytes(self.content() if self.rng.random() < 0.7 else b"")
        with self.path.open("ab") as file:
            file.truncate(2 ** int(self.rng.integers(20, 42)))

    def make_damaged_file(self):
        content = bytearray(self.content())
        for at in self.rng.integers(len(content), size=int(self.rng.integers(4))):
            content[at] ^= 1 << self.rng.integers(8)
        cut = int(self.rng.integers(2 * len(content)))
        self.path.write_bytes(content[:cut] + b"\0" * int(self.rng.integers(2) * 3))

    def content(self):
        good = self.folder / "good"
        kind = self.rng.integers(5)
        if kind == 0:
            write_idx(good, np.arange(300, dtype=np.uint8))
        elif kind == 1:
            save_packed(pack(network(), (20,)), good, model=network())
        elif kind == 2:
            save_packed(pack(coded(), class_names=["a", "b", "c"]), good, model=coded())
        elif kind == 3:
            model = network()
            save_model(model, good, optimizer=Adam(model.parameters()))
        else:
            good.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\1\0" + bytes(256), mtime=0))
        return good.read_bytes()


KINDS = sorted(name for name in dir(Places) if name.startswith("make_"))


def one_round(folder, rng, kind, reader):
    """Read, and return the error or None, and the path."""
    places = Places(folder, rng)
    getattr(places, kind)()
    refusal = None
    tracemalloc.start()
    try:
        with time_limit():
            READERS[reader](places.path)
    except (IdxFormatError, ModelFileError, PackedFileError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        refusal = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        for handle in places.open:
            os.close(handle)
    assert peak < MEMORY, f"{peak:,} bytes"
    if kind not in ("make_damaged_file", "make_sparse_file"):
        assert refusal is not None
    return refusal, places.path


def run(rounds, seed=0):
    """Run some rounds, and return the seconds of the longest."""
    longest = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(rounds):
            rng = np.random.default_rng([seed, i])
            kind, reader = str(rng.choice(KINDS)), str(rng.choice(sorted(READERS)))
            folder = Path(scratch) / str(i)
            folder.mkdir()
            start = time.monotonic()
            try:
                one_round(folder, rng, kind, reader)
            except BaseException:
                print(f"seed {seed}, round {i}: {reader} of {kind}")
                raise
            longest = max(longest, time.monotonic() - start)
    return longest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"at most {run(given.rounds, given.seed):.2f} s")
