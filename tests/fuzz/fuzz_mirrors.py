"""Mirrors with random answers: the next one is tried soon, and no files are left.

    python tests/fuzz/fuzz_mirrors.py --rounds 1000

`tests/data/test_download.py` runs a few rounds, and a table of answers that have occurred.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import socket
import socketserver
import struct
import tempfile
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np

from minibnn.data import download, load_mnist, mnist
from minibnn.data.idx import idx_header

COUNTS = {"train": 20, "t10k": 10}
TIMEOUT = 0.4
MOST_SECONDS = 10  # for one bad mirror; the machine may be busy


def fake_files(seed=0):
    """Thirty images in MNIST's format: the bytes of each unpacked file, by name."""
    rng = np.random.default_rng(seed)
    files = {}
    for part, count in COUNTS.items():
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in (
            (f"{part}-images-idx3-ubyte", images),
            (f"{part}-labels-idx1-ubyte", labels),
        ):
            files[name] = idx_header(array) + array.tobytes()
    return files


FILES = fake_files()


def packed(name):
    return gzip.compress(FILES[name.removesuffix(".gz")], mtime=0)


def whole(body, status="200 OK", **headers):
    """An ordinary answer. Header names have _ for -; None leaves a header out."""
    lines = {"Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None)
    return f"HTTP/1.1 {status}\r\n{text}\r\n".encode("latin-1") + body


class Server(socketserver.ThreadingTCPServer):
    """``/KIND/NAME`` is answered by ``answers[KIND](NAME)``: bytes to send, or seconds to wait."""

    allow_reuse_address = True
    daemon_threads = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.answers = {"good": lambda name: [whole(packed(name))]}
        self.asked = []
        self.sent = 0
        self.closing = threading.Event()

    def mirror(self, kind):
        return f"http://127.0.0.1:{self.port}/{kind}/"

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        server = self.server
        self.request.settimeout(5)
        with contextlib.suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                if not (more := self.request.recv(4096)):
                    return
                asked += more
            _, kind, name = asked.split(b" ", 2)[1].decode().split("/", 2)
            server.asked.append(kind)
            for piece in server.answers[kind](name):
                if isinstance(piece, bytes):
                    self.request.sendall(piece)
                    server.sent += len(piece)
                elif server.closing.wait(piece):
                    return
            # Read the rest first: closing with unread data would discard the answer.
            self.request.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def small_world(cache, timeout=TIMEOUT):
    """minibnn with the fake MNIST, another cache and short time limits."""
    import hashlib

    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    changed = [
        (download, "cache_folder", lambda: cache),
        (download, "_TIMEOUT", timeout),
        (mnist, "_SHA256", hashes),
        (mnist, "_ITEMS", COUNTS),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in changed]
    try:
        for module, name, value in changed:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def check(server, kind, cache):
    """Load from a bad mirror and then a good one; return the seconds and the peak memory."""
    before = download.MIRRORS
    download.MIRRORS = (server.mirror(kind), server.mirror("good"))
    server.asked.clear()
    start = time.monotonic()
    tracemalloc.start()
    try:
        data = load_mnist()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        download.MIRRORS = before
    seconds = time.monotonic() - start
    assert server.asked[0] == kind
    assert "good" in server.asked, "the second mirror was not tried"
    assert data.train_images.tobytes() == FILES["train-images-idx3-ubyte"][16:]
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{name}.gz" for name in FILES)
    return seconds, peak


# --- random answers -------------------------------------------------------------------------------

LENGTHS = ("", "0", "-1", "abc", "1e3", "0x10", "+7", "7, 8", "9" * 30, "9" * 5000, "1 2", "\xb2")
PLACES = (
    "http://[", "http://[::1", "http://" + "a" * 300 + "/", "http://a..b/", "http://127.0.0.1:99999/",
    "http://127.0.0.1:x/", "file:///etc/passwd", "//", "", "http://", "\xff\xfe", "http://\xe9\xff/",
    "gopher://x/", "http:/\\", "?", "http://.", "https://127.0.0.1:1/", "http://%00/", "javascript:0",
)  # fmt: skip
STATUS = ("200 OK", "200", "204 No Content", "206 Part", "301 x", "302 x", "304 x", "307 x", "404 x",
          "500 x", "999 x", "0 x", "-1 x", "100 Continue", "abc", "", "200 " + "x" * 70_000)  # fmt: skip


def random_body(rng, name):
    good = packed(name)
    kind = rng.integers(9)
    if kind == 0:
        return good[: rng.integers(len(good))]
    if kind == 1:
        body = bytearray(good)
        for at in rng.integers(len(body), size=rng.integers(1, 4)):
            body[at] ^= 1 << rng.integers(8)
        return bytes(body)
    if kind == 2:
        return rng.bytes(int(rng.integers(2000)))
    if kind == 3:
        return b"<!DOCTYPE html><title>Log in</title>"
    if kind == 4:
        return gzip.compress(bytes(10_000_000), mtime=0)
    if kind == 5:
        count = int(rng.integers(2**32))
        content = struct.pack(">HBBI", 0, 8, 1, count) + bytes(int(rng.integers(100_000)))
        return gzip.compress(content, mtime=0)
    if kind == 6:
        return good + rng.bytes(int(rng.integers(1, 50)))
    if kind == 7:
        return gzip.compress(good, mtime=0)
    return zlib.compress(FILES[name.removesuffix(".gz")])


def random_head(rng, body):
    lines = [f"HTTP/1.1 {STATUS[rng.integers(len(STATUS))] if rng.random() < 0.5 else '200 OK'}"]
    if rng.random() < 0.7:
        lines.append(f"Content-Length: {len(body)}")
    if rng.random() < 0.3:
        lines.append(f"Content-Length: {LENGTHS[rng.integers(len(LENGTHS))]}")
    if rng.random() < 0.4:
        lines.append(f"Location: {PLACES[rng.integers(len(PLACES))]}")
    if rng.random() < 0.2:
        lines.append(
            f"Content-Encoding: {('gzip', 'gzip, gzip', 'br', 'deflate')[rng.integers(4)]}"
        )
    if rng.random() < 0.2:
        lines.append("Transfer-Encoding: chunked")
    if rng.random() < 0.2:
        lines.append(rng.bytes(int(rng.integers(60))).decode("latin-1"))
    if rng.random() < 0.1:
        lines += [f"X-{i}: {'y' * int(rng.integers(100))}" for i in range(int(rng.integers(200)))]
    order = [0, *(1 + rng.permutation(len(lines) - 1))] if rng.random() < 0.95 else []
    return ("\r\n".join(lines[i] for i in order) + "\r\n\r\n").encode("latin-1")


def random_answer(rng, name):
    """Pieces of bytes, sometimes with seconds of silence, or one byte at a time."""
    body = random_body(rng, name)
    if rng.random() < 0.15:
        sizes = (b"%x" % len(body), b"zz", b"-1", b"f" * 20, b"0", b"%x" % (len(body) + 9))
        body = sizes[rng.integers(len(sizes))] + b"\r\n" + body + b"\r\n0\r\n\r\n"
    data = random_head(rng, body) + body
    kind = rng.random()
    if kind < 0.05:
        return [data[: rng.integers(len(data))], 10.0]
    if kind < 0.1:
        cut = int(rng.integers(len(data)))
        drip = [piece for i in range(cut, len(data)) for piece in (data[i : i + 1], 0.03)]
        return [data[:cut], *drip]
    if kind < 0.15:
        return [data, *[bytes(1 << 16)] * 200]
    if kind < 0.25:
        return [data[: rng.integers(len(data))]]
    return [data]


def run(rounds, seed=0):
    """Run some rounds; return the longest time and the largest memory."""
    rng = np.random.default_rng(seed)
    worst = np.zeros(2)
    with Server().running() as server, tempfile.TemporaryDirectory() as scratch:
        with small_world(Path(scratch) / "warm-up"):
            check(server, "good", Path(scratch) / "warm-up")  # imports take memory
        for i in range(rounds):
            cache = Path(scratch) / f"{i}"
            answer = random_answer(rng, "train-images-idx3-ubyte.gz")
            server.answers["random"] = lambda name, answer=answer: answer
            with small_world(cache):
                try:
                    found = check(server, "random", cache)
                    assert found[0] < MOST_SECONDS, f"took {found[0]:.1f} s"
                    assert found[1] < 4e6, f"took {found[1]:,} bytes"
                except BaseException:
                    print(f"seed {seed}, round {i}: {answer[0][:500]!r}")
                    raise
            worst = np.maximum(worst, found)
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seconds, memory = run(given.rounds, given.seed)
    print(f"{given.rounds} rounds: at most {seconds:.2f} s and {memory:,.0f} bytes")
