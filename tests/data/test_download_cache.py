"""How `load_mnist` fills the cache: which mirrors it asks, what it refuses, what it leaves.

No test goes beyond this machine: the mirrors are a small server on the loopback address.
"""

import gc
import gzip
import io
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_mnist import (
    FAKE,
    NAMES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    assert_is_fake,
    cut,
    run_python,
    snapshot,
    start_python,
    write_fake,
)

from minibnn.data import DatasetNotFoundError, download, load_mnist, mnist, write_idx

urllib3 = pytest.importorskip("urllib3")  # comes with requests, which only a download needs
pytestmark = pytest.mark.usefixtures("isolated")

# --- the mirrors -----------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """One server for many mirrors: the first part of the path gives the behaviour."""

    daemon_threads = False  # closing waits for every connection

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked = []
        self.closing = threading.Event()

    def mirror(self, behaviour):
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):  # a client that gave up is expected
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.asked.append((behaviour, name))
        content = (self.server.files / name).read_bytes()
        if behaviour.isdigit():
            self.send(int(behaviour), b"refused")
        elif behaviour == "short":
            self.send(200, content[:-20], length=len(content))
        elif behaviour == "cut":
            self.send(200, content[:-20])
        elif behaviour == "html":
            self.send(200, b"<!DOCTYPE html><title>Log in</title>")
        elif behaviour == "wrong":
            array = FAKE[name.removesuffix(".gz")]
            write_idx(self.server.files / f"wrong-{name}", array // 2)
            self.send(200, (self.server.files / f"wrong-{name}").read_bytes())
        elif behaviour == "stall":
            self.send(200, content[:20], length=len(content), wait=True)
        elif behaviour == "recompressed":
            self.send(200, gzip.compress(gzip.decompress(content), 1))
        else:
            self.send(200, content)

    def send(self, status, body, length=None, wait=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if wait:
            self.server.closing.wait(10)
        if length is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, fake_files):
    files = tmp_path / "served"
    files.mkdir()
    for name in NAMES:
        (files / f"{name}.gz").write_bytes((fake_files / f"{name}.gz").read_bytes())
    with Server(files) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def use_mirrors(monkeypatch, server, *behaviours):
    monkeypatch.setattr(download, "MIRRORS", tuple(map(server.mirror, behaviours)))


def test_download_fills_the_cache_once(monkeypatch, server, cache, capfd):
    use_mirrors(monkeypatch, server, "good")
    assert_is_fake(load_mnist())
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    assert_is_fake(load_mnist())
    assert len(server.asked) == 4
    assert capfd.readouterr() == ("", "")  # no progress bar: stderr is not a terminal


def test_progress_bar_on_a_terminal(monkeypatch, server):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    use_mirrors(monkeypatch, server, "good")
    monkeypatch.setattr(sys, "stderr", Terminal())
    load_mnist()
    shown = sys.stderr.getvalue()
    assert all(f"{name}.gz" in shown for name in NAMES)
    assert "100%" in shown


# As in test_download.py: urllib3 leaves a socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("403", "403 Client Error"),
        ("503", "503 Server Error"),
        ("short", "cut short" if urllib3.__version__.startswith("1.") else "IncompleteRead"),
        ("cut", "cut short"),
        ("html", "got an HTML page"),
        ("wrong", "other content (sha256 differs)"),
        ("stall", "timed out"),
    ],
)
def test_bad_mirror_is_passed_over(monkeypatch, server, cache, behaviour, reason):
    monkeypatch.setattr(download, "_TIMEOUT", 0.3)
    use_mirrors(monkeypatch, server, behaviour, "good")
    assert_is_fake(load_mnist())
    # It is asked for the first file only; then it moves to the end of the list.
    assert [asked for asked, _ in server.asked] == [behaviour] + ["good"] * 4
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)

    for path in cache.iterdir():
        path.unlink()
    use_mirrors(monkeypatch, server, behaviour)
    server.asked.clear()
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist()
    assert reason in str(caught.value)
    del caught
    gc.collect()  # here, where the warning is ignored
    assert server.asked == [(behaviour, f"{TRAIN_IMAGES}.gz")]  # stopped at the first file
    assert not list(cache.iterdir())


def test_mirror_may_compress_anew(monkeypatch, server):
    use_mirrors(monkeypatch, server, "recompressed")
    assert_is_fake(load_mnist())


def test_download_is_verified_even_if_the_user_does_not(monkeypatch, server):
    use_mirrors(monkeypatch, server, "wrong")
    with pytest.raises(DatasetNotFoundError, match="sha256 differs"):
        load_mnist(verify=False)


def test_not_found_says_everything_a_newcomer_needs(monkeypatch, server, cache):
    use_mirrors(monkeypatch, server, "403", "503")
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist()
    message = str(caught.value)
    mirrors = [server.mirror("403"), server.mirror("503")]
    hints = ["data_dir", "MINIBNN_DATA", "load_sample()"]
    for part in (str(cache), *NAMES, *mirrors, "403 Client", "503 Server", *hints):
        assert part in message
    assert message.count("missing") == 4
    assert max(map(len, message.splitlines()[3:8])) < 100


def test_refused_connection_is_named(monkeypatch):
    # Port 9 of the isolated fixture: nobody listens there.
    with pytest.raises(DatasetNotFoundError, match="ConnectionRefusedError") as caught:
        load_mnist()
    assert "HTTPConnectionPool" not in str(caught.value)


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_switch(monkeypatch, no_network, cache, value):
    monkeypatch.setenv("MINIBNN_OFFLINE", value)
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist()
    assert str(caught.value).count("not tried: MINIBNN_OFFLINE is set") == 2
    assert not cache.exists()
    write_fake(cache)
    assert_is_fake(load_mnist())


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_switch_off(monkeypatch, server, value):
    use_mirrors(monkeypatch, server, "good")
    monkeypatch.setenv("MINIBNN_OFFLINE", value)
    assert_is_fake(load_mnist())


def test_published_addresses():
    # In a fresh process: here they are replaced.
    code = "from minibnn.data import download; print(*download.MIRRORS, download._TIMEOUT)"
    assert run_python(code).split() == [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "10.0",
    ]


# --- the cache -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_valid_cache_needs_no_network(no_network, cache, suffix):
    write_fake(cache, suffix)
    before = snapshot(cache)
    assert_is_fake(load_mnist())
    assert snapshot(cache) == before


def test_only_the_missing_file_is_fetched(monkeypatch, server, cache):
    use_mirrors(monkeypatch, server, "good")
    write_fake(cache, "", **{TEST_LABELS: None})
    assert_is_fake(load_mnist())
    assert server.asked == [("good", f"{TEST_LABELS}.gz")]


def other_content(path):
    write_idx(path, FAKE[TRAIN_IMAGES] // 2)


@pytest.mark.parametrize("damage", [cut, other_content])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_cache_is_said_and_mended(monkeypatch, server, cache, suffix, damage):
    use_mirrors(monkeypatch, server, "good")
    write_fake(cache, suffix)
    damage(cache / f"{TRAIN_IMAGES}{suffix}")
    with pytest.warns(UserWarning, match="will be downloaded again") as said:
        assert_is_fake(load_mnist())
    assert str(cache / f"{TRAIN_IMAGES}{suffix}") in str(said[0].message)
    assert said[0].filename == __file__  # the warning points at the caller's line
    assert server.asked == [("good", f"{TRAIN_IMAGES}.gz")]
    assert_is_fake(load_mnist())  # and does not come again


def test_damaged_cache_offline(monkeypatch, no_network, cache):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    write_fake(cache)
    cut(cache / f"{TRAIN_LABELS}.gz")
    with (
        pytest.warns(UserWarning, match="not usable"),
        pytest.raises(DatasetNotFoundError) as caught,
    ):
        load_mnist()
    assert f"{TRAIN_LABELS}   damaged" in str(caught.value)
    assert str(caught.value).count(" found\n") == 3


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_cached_files_have_the_umasks_mode(monkeypatch, server, cache):
    use_mirrors(monkeypatch, server, "good")
    old = os.umask(0o027)
    try:
        load_mnist()
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o640}
    assert cache.stat().st_mode & 0o777 == 0o750


def test_what_a_killed_download_leaves_is_no_data(no_network, monkeypatch, cache):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    write_fake(cache / ".download-abc")
    with pytest.raises(DatasetNotFoundError):
        load_mnist()


def test_cache_that_cannot_be_written(cache):
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(DatasetNotFoundError, match="the folder cannot be written"):
        load_mnist()


def test_full_disk_is_not_blamed_on_the_mirrors(monkeypatch, server, cache):
    def full(handle):
        raise OSError(28, "No space left on device")

    use_mirrors(monkeypatch, server, "good")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DatasetNotFoundError, match=r"cannot be written: .*No space left"):
        load_mnist()
    assert not list(cache.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
def test_a_cached_file_that_cannot_be_read_is_fetched_again(monkeypatch, server, cache):
    use_mirrors(monkeypatch, server, "good")
    write_fake(cache)
    real = mnist.read_idx

    def refused(path):
        if TEST_LABELS in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(mnist, "read_idx", refused)
    with pytest.warns(UserWarning, match="Permission denied"):
        assert_is_fake(load_mnist())
    assert server.asked == [("good", f"{TEST_LABELS}.gz")]


@pytest.mark.parametrize("present", [True, False])
def test_file_in_use_on_windows(monkeypatch, server, cache, present):
    use_mirrors(monkeypatch, server, "good")

    def in_use(source, target):
        if present:
            Path(target).write_bytes(Path(source).read_bytes())
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(download.os, "replace", in_use)
    if present:
        assert_is_fake(load_mnist())
    else:
        with pytest.raises(DatasetNotFoundError, match="cannot access the file"):
            load_mnist()


def test_a_download_appears_whole(monkeypatch, server, cache):
    # From inside the cache: a rename between file systems is impossible.
    use_mirrors(monkeypatch, server, "good")
    moves = []
    real = os.replace
    monkeypatch.setattr("os.replace", lambda *pair: moves.append(pair) or real(*pair))
    load_mnist()
    assert [os.path.dirname(path) for pair in moves for path in pair] == [str(cache)] * 8
    assert [os.path.basename(target) for _, target in moves] == [f"{name}.gz" for name in NAMES]


FILL = """
from pathlib import Path
from minibnn.data import download, load_mnist, mnist
download.cache_folder = lambda: Path({cache!r})
download.MIRRORS = {mirrors!r}
mnist._SHA256 = {hashes!r}
data = load_mnist()
print(data.train_images.sum(), len(data.test_labels))
"""


def test_four_processes_fill_one_cache(server, cache, fake_hashes):
    mirrors = (server.mirror("503"), server.mirror("good"))
    code = FILL.format(cache=str(cache), mirrors=mirrors, hashes=fake_hashes)
    processes = [start_python(code) for _ in range(4)]
    results = [process.communicate(timeout=300) for process in processes]
    assert results == [(f"{FAKE[TRAIN_IMAGES].sum()} 10\n", "")] * 4
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    assert_is_fake(load_mnist())


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is read on Linux")
def test_cache_folder(tmp_path):
    code = "from minibnn.data import download; print(download.cache_folder())"
    assert run_python(code).strip() == str(tmp_path / "xdg" / "minibnn" / "mnist")
