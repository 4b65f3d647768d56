"""MNIST: which folder is read, what is refused, and how the cache is filled.

No test goes beyond this machine: the mirrors are a small server on the loopback address, and the
data set is a fake one of thirty images whose hashes stand in for the published ones.
"""

import gc
import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from minibnn.data import (
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
    ImageDataset,
    download,
    load_mnist,
    load_mnist_or_sample,
    load_sample,
    mnist,
    read_idx,
    write_idx,
)

urllib3 = pytest.importorskip("urllib3")  # comes with requests, which only a download needs

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def fake_arrays():
    rng = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 20), ("t10k", 10)):
        parts[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        parts[f"{part}-labels-idx1-ubyte"] = np.arange(count, dtype=np.uint8) % 10
    return parts


FAKE = fake_arrays()


def write_fake(folder, suffix=".gz", **changed):
    """Write the fake set; `changed` replaces arrays by file name, None leaves a file out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (FAKE | changed).items():
        if array is not None:
            write_idx(folder / f"{name}{suffix}", array)
    return folder


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_is_fake(data):
    parts = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    for got, expected in zip(parts, FAKE.values(), strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="module")
def fake_files(tmp_path_factory):
    return write_fake(tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="module")
def fake_hashes(fake_files):
    contents = {name: gzip.decompress((fake_files / f"{name}.gz").read_bytes()) for name in NAMES}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path, fake_hashes):
    """Keep the user's environment, cache and network out of every test."""
    for name in ("MINIBNN_DATA", "MINIBNN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path / "cache" / "mnist")
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    monkeypatch.setattr(mnist, "_SHA256", fake_hashes)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, path):
        pytest.fail(f"{url} was asked for")

    monkeypatch.setattr(download, "_download", refuse)


# --- the mirrors -----------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """One server, many mirrors: the first part of the path says how it behaves."""

    daemon_threads = False  # so that closing waits for every connection

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
    # It is asked for the first file only; after that it stands at the end of the queue.
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


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


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
    # Inside the cache: elsewhere it might be on another file system, and could not be moved at once.
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


def start_python(code):
    command = [sys.executable, "-W", "error", "-c", code]
    root = str(Path(mnist.__file__).parents[2])
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_python(code):
    with start_python(code) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


def test_four_processes_fill_one_cache(server, cache, fake_hashes):
    mirrors = (server.mirror("503"), server.mirror("good"))
    code = FILL.format(cache=str(cache), mirrors=mirrors, hashes=fake_hashes)
    processes = [start_python(code) for _ in range(4)]
    results = [process.communicate(timeout=60) for process in processes]
    assert results == [(f"{FAKE[TRAIN_IMAGES].sum()} 10\n", "")] * 4
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    assert_is_fake(load_mnist())


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is read on Linux")
def test_cache_folder(tmp_path):
    code = "from minibnn.data import download; print(download.cache_folder())"
    assert run_python(code).strip() == str(tmp_path / "xdg" / "minibnn" / "mnist")


def test_import_is_light():
    heavy = ("pandas", "pooch", "tqdm", "matplotlib", "requests")
    code = f"import sys, minibnn.data; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


# --- the user's own folder -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_own_folder(tmp_path, no_network, suffix):
    folder = write_fake(tmp_path / "own", suffix)
    before = snapshot(folder)
    assert_is_fake(load_mnist(folder))
    assert_is_fake(load_mnist(str(folder)))
    assert snapshot(folder) == before


def test_argument_before_variable_before_cache(tmp_path, monkeypatch, no_network, cache):
    counts = {"argument": 3, "variable": 4, "cache": 5}
    for name, count in counts.items():
        folder = cache if name == "cache" else tmp_path / name
        changed = {TRAIN_IMAGES: FAKE[TRAIN_IMAGES][:count], TRAIN_LABELS: np.zeros(count, "u1")}
        write_fake(folder, **changed)
    assert len(load_mnist(verify=False).train_images) == 5
    monkeypatch.setenv("MINIBNN_DATA", "")  # set to nothing is not set
    assert len(load_mnist(verify=False).train_images) == 5
    monkeypatch.setenv("MINIBNN_DATA", str(tmp_path / "variable"))
    assert len(load_mnist(verify=False).train_images) == 4
    assert len(load_mnist(tmp_path / "argument", verify=False).train_images) == 3


@pytest.mark.parametrize("by", ["data_dir", "MINIBNN_DATA"])
def test_own_folder_does_not_fall_through(tmp_path, monkeypatch, no_network, cache, by):
    write_fake(cache)
    folder = write_fake(tmp_path / "own", **{TEST_IMAGES: None})
    before = snapshot(folder)
    if by == "MINIBNN_DATA":
        monkeypatch.setenv("MINIBNN_DATA", str(folder))
    with pytest.raises(DatasetNotFoundError, match=f"not tried: {by} names this folder") as caught:
        load_mnist(folder if by == "data_dir" else None)
    assert f"{TEST_IMAGES}    missing" in str(caught.value)
    assert str(caught.value).count(" found\n") == 3
    assert snapshot(folder) == before
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        load_mnist(tmp_path / "none")


SPELLINGS = ("-idx", ".idx")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("by", ["data_dir", "MINIBNN_DATA"])
def test_what_others_have_unpacked_is_read(
    tmp_path, monkeypatch, no_network, suffix, spelling, inside, by
):
    """Both spellings in use, and the folders that torchvision makes, by their root or from inside."""
    folder = write_fake(tmp_path / "own" / inside, suffix)
    for name in NAMES:
        (folder / f"{name}{suffix}").rename(folder / f"{name.replace('-idx', spelling)}{suffix}")
    named = tmp_path / "own"
    if by == "MINIBNN_DATA":
        monkeypatch.setenv("MINIBNN_DATA", str(named))
    for load in (load_mnist, load_mnist_or_sample) if by == "MINIBNN_DATA" else (load_mnist,):
        assert_is_fake(load(named) if by == "data_dir" else load())
    assert load_mnist(folder, verify=False).name == {"MNIST/raw": "MNIST"}.get(inside, "own")


def test_spellings_may_be_mixed_and_the_complete_folder_counts(tmp_path, no_network):
    folder = write_fake(tmp_path / "own" / "raw")
    (folder / f"{TEST_LABELS}.gz").rename(folder / f"{TEST_LABELS.replace('-idx', '.idx')}.gz")
    write_fake(tmp_path / "own", **{TEST_IMAGES: None})
    assert_is_fake(load_mnist(tmp_path / "own"))


def nowhere(folder):
    return folder / "mistyped"


def empty(folder):
    folder.mkdir()
    return folder


def incomplete(folder):
    return write_fake(folder, **{TEST_LABELS: None})


def a_file(folder):
    folder.write_text("no folder")
    return folder


def too_long(folder):
    return folder / ("x" * 300)


def nobodys_home(folder):
    return Path("~nobody-of-this-name/mnist")


def a_pipe(folder):
    folder = incomplete(folder)
    os.mkfifo(folder / f"{TEST_LABELS}.gz")
    return folder


SOURCES = [nowhere, empty, incomplete, a_file, too_long, nobodys_home]
SOURCES += [a_pipe] * hasattr(os, "mkfifo")


@pytest.mark.parametrize("source", SOURCES)
def test_what_was_named_is_never_replaced_by_the_sample(
    tmp_path, monkeypatch, no_network, cache, source
):
    """Nor by the cache."""
    write_fake(cache)
    named = str(source(tmp_path / "own"))
    with pytest.raises(DatasetNotFoundError, match="data_dir names this folder"):
        load_mnist(named)
    monkeypatch.setenv("MINIBNN_DATA", named)
    for load in (load_mnist, load_mnist_or_sample):
        with pytest.raises(DatasetNotFoundError, match="MINIBNN_DATA names this folder") as caught:
            load()
    first = str(caught.value).splitlines()[0].removeprefix("MNIST is not complete in ")
    said = {a_file: f"{named}, which is a file", empty: named, incomplete: named}
    said |= dict.fromkeys(SOURCES[6:], named)
    assert first.startswith(said.get(source, f"{named} (no such folder)"))


def test_the_sample_stands_in_only_if_nothing_was_named(monkeypatch, no_network, caplog):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv("MINIBNN_DATA", value)
        assert load_mnist_or_sample().name.startswith("MNIST sample")
    assert "Going on with the bundled sample" in caplog.text


def test_a_named_file_that_cannot_be_read_is_no_data(tmp_path, monkeypatch, no_network):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    folder = write_fake(tmp_path / "own")
    monkeypatch.setattr(mnist, "read_idx", refused)
    with pytest.raises(DatasetNotFoundError, match="got Permission denied; make it readable"):
        load_mnist(folder)


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_fake(tmp_path / "own")
    assert_is_fake(load_mnist("~/own"))


def test_damaged_own_file_is_an_error_and_stays(tmp_path, no_network):
    folder = write_fake(tmp_path / "own")
    cut(folder / f"{TRAIN_IMAGES}.gz")
    before = snapshot(folder)
    with pytest.raises(IdxFormatError, match="cut short"):
        load_mnist(folder)
    assert snapshot(folder) == before


def test_drop_in_set_needs_verify_off(tmp_path, no_network):
    fashion = {TRAIN_IMAGES: FAKE[TRAIN_IMAGES] // 2}
    folder = write_fake(tmp_path / "fashion", **fashion)
    before = snapshot(folder)
    with pytest.raises(DatasetMismatchError, match=r"Fashion-MNIST.*verify=False"):
        load_mnist(folder)
    data = load_mnist(folder, verify=False)
    assert data.name == "fashion"
    np.testing.assert_array_equal(data.train_images, fashion[TRAIN_IMAGES])
    assert snapshot(folder) == before


def labels_with(value, index):
    labels = FAKE[TRAIN_LABELS].copy()
    labels[index] = value
    return labels


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (TRAIN_IMAGES, FAKE[TRAIN_LABELS], ["byte 3", "3 dimension", "got 1", "labels file given"]),
        (TRAIN_LABELS, FAKE[TRAIN_IMAGES], ["byte 3", "1 dimension", "got 3", "images file given"]),
        (TRAIN_IMAGES, FAKE[TRAIN_IMAGES].astype(np.int16), ["byte 2", "uint8", "int16"]),
        (TRAIN_LABELS, FAKE[TRAIN_LABELS].astype(np.float32), ["byte 2", "uint8", "float32"]),
        (TRAIN_IMAGES, FAKE[TRAIN_IMAGES][:, :14], ["byte 8", "28x28", "14x28"]),
        (TRAIN_IMAGES, FAKE[TRAIN_IMAGES][:, :, :14], ["byte 8", "28x28", "28x14"]),
        (TRAIN_LABELS, labels_with(10, 7), ["byte 15", "0 to 9", "label 10 at index 7"]),
        (TEST_LABELS, labels_with(26, 0), ["byte 8", "label 26 at index 0"]),
    ],
)
def test_wrong_kind_of_file(tmp_path, name, array, words):
    folder = write_fake(tmp_path / "own", **{name: array})
    for verify in (True, False):
        with pytest.raises(IdxFormatError) as caught:
            load_mnist(folder, verify=verify)
        for word in (str(folder / name), *words):
            assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "part", "counts"),
    [
        (TRAIN_LABELS, "training", "20 images and 19 labels"),
        (TEST_LABELS, "test", "10 images and 9 labels"),
    ],
)
def test_counts_must_agree(tmp_path, name, part, counts):
    folder = write_fake(tmp_path / "own", **{name: FAKE[name][:-1]})
    with pytest.raises(DatasetMismatchError, match=f"{part} files in .*own.*{counts}"):
        load_mnist(folder, verify=False)


def test_no_images_at_all_load(tmp_path):
    folder = write_fake(tmp_path / "own", **{name: array[:0] for name, array in FAKE.items()})
    assert load_mnist(folder, verify=False).train_images.shape == (0, 28, 28)


# --- ImageDataset ----------------------------------------------------------------------------


def numbered(count):
    """Return a data set whose images carry their own index."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(count)
    return ImageDataset("numbered", images, images[:, 0, 0] % 10, images[:0], images[:0, 0, 0])


def test_validation_split_parts_the_training_images():
    data = numbered(100)
    data = ImageDataset(
        "numbered", data.train_images, data.train_labels, data.train_images[:3] + 200, np.zeros(3)
    )
    split = data.validation_split(30, np.random.default_rng(1))
    train, held_out = split.train_images[:, 0, 0], split.test_images[:, 0, 0]
    assert len(train) == 70
    assert len(held_out) == 30
    assert sorted([*train, *held_out]) == list(range(100))  # so no true test image (200 and up)
    np.testing.assert_array_equal(split.train_labels, train % 10)
    np.testing.assert_array_equal(split.test_labels, held_out % 10)
    assert held_out.tolist() != list(range(30))
    assert "validation split" in split.name
    assert len(data.train_images) == 100


def test_validation_split_follows_its_generator():
    data = numbered(100)
    first, again, other = (
        data.validation_split(10, np.random.default_rng(seed)).test_images for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [0, -1, 100, 101])
def test_validation_split_leaves_no_part_empty(count):
    with pytest.raises(ValueError, match=f"from 1 to 99 of 100 training images, got {count}"):
        numbered(100).validation_split(count, np.random.default_rng(0))


def test_validation_split_wants_a_generator():
    with pytest.raises(TypeError, match=r"got int; pass numpy.random.default_rng\(seed\)"):
        numbered(10).validation_split(3, 0)


def test_dataset_is_checked_and_short_to_print():
    data = numbered(10)
    assert repr(data) == "ImageDataset('numbered', 10 training and 0 test images of 28x28)"
    with pytest.raises(DatasetMismatchError, match=r"broken, test part.* 4 images and 3 labels"):
        ImageDataset("broken", data.train_images, data.train_labels, data.train_images[:4], [1] * 3)


# --- the bundled sample and the real files ---------------------------------------------------


def test_sample(no_network):
    data = load_sample()
    assert data.name == "MNIST sample (4,000 + 1,000 images)"
    assert data.train_images.shape == (4000, 28, 28)
    assert data.test_images.shape == (1000, 28, 28)
    assert data.train_images.dtype == data.train_labels.dtype == np.uint8
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    train = {image.tobytes() for image in data.train_images}
    test = {image.tobytes() for image in data.test_images}
    assert len(train | test) == 5000
    # Shuffled: any hundred in a row hold every digit.
    for labels in (data.train_labels, data.test_labels):
        assert all(len(set(part)) == 10 for part in labels.reshape(-1, 100).tolist())
    # The right labels on the right images: nearest class mean finds most of them.
    flat = data.train_images.reshape(4000, -1).astype(np.float32)
    means = np.stack([flat[data.train_labels == digit].mean(0) for digit in range(10)])
    distances = ((data.test_images.reshape(1000, 1, -1) - means) ** 2).sum(2)
    assert (distances.argmin(1) == data.test_labels).mean() > 0.75


def test_sample_folder_holds_nothing_else():
    folder = Path(mnist.__file__).parent / "sample"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{name}.gz" for name in NAMES} | {"LICENSE-DATA.md"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_200_000
    assert read_idx(folder / f"{TEST_LABELS}.gz").shape == (1000,)


@pytest.fixture(scope="module")  # and so made before `isolated` hides the environment
def official():
    if not os.environ.get("MINIBNN_DATA"):
        pytest.skip("MINIBNN_DATA does not name a folder with the MNIST files")
    return load_mnist()


def test_real_files(official):
    assert repr(official) == "ImageDataset('MNIST', 60000 training and 10000 test images of 28x28)"
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(official.train_labels).tolist() == train
    assert np.bincount(official.test_labels).tolist() == test
    assert official.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_real_training_set_contains_the_sample(official):
    pairs = zip(official.train_images, official.train_labels, strict=True)
    known = {image.tobytes(): label for image, label in pairs}
    unseen = {image.tobytes() for image in official.test_images}
    sample = load_sample()
    for images, labels in (
        (sample.train_images, sample.train_labels),
        (sample.test_images, sample.test_labels),
    ):
        assert [known[image.tobytes()] for image in images] == labels.tolist()
        assert not any(image.tobytes() in unseen for image in images)
