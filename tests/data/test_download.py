"""Mirrors that fail in every known way: the next one is tried soon, and no files are left."""

from __future__ import annotations

import gc
import gzip
import itertools
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import fuzz_mirrors
import pytest
from fuzz_mirrors import FILES, Server, check, packed, small_world, whole

from minibnn.data import DatasetNotFoundError, download, load_mnist

# urllib3 leaves a socket to the garbage collector when it cannot make sense of a header.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def sockets_are_collected():
    """Collect them here, where the warning is ignored, and not in a later test."""
    yield
    gc.collect()


VARIABLES = ("MINIBNN_DATA", "MINIBNN_OFFLINE", "http_proxy", "HTTP_PROXY")
MANY = bytes(1 << 16)
NO_ENCODING = {"\xfe\xff": "\xe9"}


def slowly(data, pause=0.05):
    for i in range(len(data)):
        yield data[i : i + 1]
        yield pause


def redirect(place):
    return lambda name: [whole(b"", "302 Found", Location=place)]


def cut(name):
    return [whole(packed(name)[:-20], Content_Length=str(len(packed(name))))]


@cache
def bomb(name):
    """A valid file that unpacks to hundreds of times the expected size."""
    content = FILES[name.removesuffix(".gz")]
    many = content[:4] + (12_000).to_bytes(4, "big") + content[8:16] + bytes(12_000 * 784)
    return [whole(gzip.compress(many))]


@cache
def encoded_bomb(name):
    return [whole(gzip.compress(gzip.compress(bytes(10**8), 1)), Content_Encoding="gzip, gzip")]


def forged(name):
    """The right length with other content."""
    return [whole(gzip.compress(FILES[name.removesuffix(".gz")][:-1] + b"\0"))]


ANSWERS = {
    "length of letters": lambda name: [whole(packed(name), Content_Length="abc")[:-9]],
    "negative length": lambda name: [whole(packed(name)[:-9], Content_Length="-5")],
    "length with an exponent": lambda name: [whole(packed(name)[:-9], Content_Length="1e3")],
    "superscript length": lambda name: [whole(packed(name)[:-9], Content_Length="\xb2")],
    "two lengths": lambda name: [whole(packed(name), Content_Length="5, 6")],
    "length too large": lambda name: [whole(packed(name), Content_Length="9" * 30)],
    "length of 5,000 digits": lambda name: [whole(packed(name)[:-9], Content_Length="9" * 5000)],
    "length too small": lambda name: [whole(packed(name), Content_Length="100")],
    "cut": cut,
    "place without a bracket": redirect("http://["),
    "place of 300 letters": redirect("http://" + "a" * 300 + "/"),
    "place with an empty label": redirect("http://a..b/"),
    "place without a host": redirect("http://"),
    "place with a port of letters": redirect("http://127.0.0.1:port/"),
    "place with a port too large": redirect("http://127.0.0.1:99999/"),
    "place in no encoding": redirect("http://\xff\xfe/"),
    "place in a file": redirect("file:///etc/hostname"),
    "no place": lambda name: [whole(b"", "302 Found")],
    "a circle": lambda name: [whole(b"", "302 Found", Location=f"/a circle/{name}")],
    "ever further": lambda name: [whole(b"", "302 Found", Location=f"/ever further/x{name}")],
    "an endless body on the way": lambda name: itertools.chain(
        [whole(b"", "302 Found", Content_Length=None, Location=f"/good/{name}")],
        itertools.repeat(MANY, 20_000),
    ),
    "headers in no encoding": lambda name: [whole(b"", X="\xff", **NO_ENCODING)],
    "a header of 70,000 letters": lambda name: [whole(packed(name), X="x" * 70_000)],
    "a thousand headers": lambda name: [whole(b"", **{f"X{i}": "x" for i in range(1000)})],
    "a header without a colon": lambda name: [b"HTTP/1.1 200 OK\r\nno header\r\nX: 1\r\n\r\n"],
    "no answer": lambda name: [],
    "no HTTP": lambda name: [b"220 mail.example.org ESMTP\r\n"],
    "status of letters": lambda name: [whole(packed(name), "OK")],
    "status 503": lambda name: [whole(b"", "503 Busy")],
    "no content": lambda name: [whole(b"", "204 No Content")],
    "chunks of no size": lambda name: [
        whole(b"zz\r\n" + packed(name), Transfer_Encoding="chunked", Content_Length=None)
    ],
    "encoded bomb": encoded_bomb,
    "silence": lambda name: [9.0],
    "slow header": lambda name: slowly(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300),
    "slow body": lambda name: itertools.chain([whole(b"", Content_Length="900")], slowly(MANY)),
    "slow chunks": lambda name: itertools.chain(
        [whole(b"", Content_Length=None, Transfer_Encoding="chunked")], slowly(b"1\r\nx\r\n" * 99)
    ),
    "for ever continued": lambda name: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 2000),
    "endless": lambda name: itertools.chain(
        [whole(b"", Content_Length=None)], itertools.repeat(MANY, 20_000)
    ),
    "endless chunks": lambda name: itertools.chain(
        [whole(b"", Content_Length=None, Transfer_Encoding="chunked")],
        itertools.repeat(b"10000\r\n" + MANY + b"\r\n", 20_000),
    ),
    "web page": lambda name: [whole(b"<!DOCTYPE html><title>Log in</title>")],
    "bomb": bomb,
    "other content": forged,
    "gzip twice": lambda name: [whole(gzip.compress(packed(name)))],
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server():
    running = Server()
    running.answers |= ANSWERS | {k.replace(" ", "%20"): v for k, v in ANSWERS.items()}
    for make in (bomb, encoded_bomb):
        make("train-images-idx3-ubyte.gz")  # cached here, since making it takes memory
    with running.running():
        yield running


@pytest.fixture(scope="module", autouse=True)
def imported(server, tmp_path_factory):
    """Import first: imports take memory and time, which the tests measure."""
    cache = tmp_path_factory.mktemp("cache") / "mnist"
    with pytest.MonkeyPatch.context() as patch, small_world(cache, timeout=10):
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        check(server, "good", cache)


@pytest.fixture
def cache_folder(tmp_path, server):
    with small_world(tmp_path / "cache"):
        yield tmp_path / "cache"


def test_broken_headers_are_no_news(server, cache_folder, caplog):
    check(server, "a%20header%20without%20a%20colon", cache_folder)
    assert caplog.text == ""


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_next_mirror_is_tried(server, cache_folder, kind):
    server.sent = 0
    seconds, peak = check(server, kind.replace(" ", "%20"), cache_folder)
    assert seconds < fuzz_mirrors.MOST_SECONDS
    if peak >= 4e6:  # a thread of the previous test may not have freed its memory yet
        for path in cache_folder.iterdir():
            path.unlink()
        server.sent = 0
        peak = check(server, kind.replace(" ", "%20"), cache_folder)[1]
    assert peak < 4e6
    # The system's buffers are sent before the client can refuse.
    assert server.sent < 40e6


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("endless", "more than the 16,695 bytes of the file"),
        ("bomb", "at most 15680 bytes"),
        ("slow%20body", "timed out: too slow, 0 bytes in"),
        ("status%20503", "503 Server Error: Busy"),
        ("other%20content", "other content (sha256 differs)"),
    ],
)
def test_the_reason_is_told(server, cache_folder, kind, reason, monkeypatch):
    monkeypatch.setattr(download, "MIRRORS", (server.mirror(kind),))
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist()
    assert reason in str(caught.value)
    assert not list(cache_folder.iterdir())


def test_what_a_server_says_forges_no_lines(server, cache_folder, monkeypatch):
    server.answers["forger"] = lambda name: [whole(b"", "503 a\x1b[2J\x07" + "b" * 5000)]
    monkeypatch.setattr(download, "MIRRORS", (server.mirror("forger"),))
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist()
    said = str(caught.value)
    assert r"a\x1b[2J\x07b" in said
    assert max(map(len, said.splitlines())) < 300
    assert all(c.isprintable() or c == "\n" for c in said)


def test_an_error_of_the_caller_is_not_the_mirrors(server, cache_folder, monkeypatch):
    monkeypatch.setattr(download, "MIRRORS", (server.mirror("endless"),))
    try:
        raise KeyError("of the caller")
    except KeyError:
        with pytest.raises(DatasetNotFoundError) as caught:
            load_mnist()
    assert "of the caller" not in str(caught.value)


STUCK = """
import sys
from pathlib import Path
from minibnn.data import download, load_mnist
download.cache_folder = lambda: Path({cache!r})
download.MIRRORS = ({mirror!r},)
print("ready", flush=True)
try:
    load_mnist()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_download_can_be_stopped(server, cache_folder, end):
    """Ctrl-C stops it at once; the next run deletes what a killed one has left."""
    code = STUCK.format(cache=str(cache_folder), mirror=server.mirror("silence"))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    server.asked.clear()
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 20
    while "silence" not in server.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    start = time.monotonic()
    os.kill(process.pid, end)
    assert process.wait(20) == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert time.monotonic() - start < 5
    process.stdout.close()
    check(server, "good", cache_folder)


def test_leftovers_of_killed_downloads_go(server, cache_folder):
    (cache_folder / ".download-abc123").mkdir(parents=True)
    (cache_folder / ".download-abc123" / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    (cache_folder / ".train-images-idx3-ubyte.gz.0123abcd.tmp").write_bytes(b"half")
    check(server, "good", cache_folder)  # also checks which files are there at the end


def test_random_answers():
    fuzz_mirrors.run(20, seed=1)
