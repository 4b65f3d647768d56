"""Fixtures for the whole suite."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

# The products of the tests are small: waiting for a second BLAS thread makes them several times
# slower, above all where several processes divide the tests. NumPy reads this once.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from command_line import SAMPLE
from cuda_on_host import HOST_CUDA
from devices import ALL, DEVICES, STRICT, open_backend
from hypothesis import settings

from minibnn import DeviceError, get_backend
from minibnn.__main__ import main
from minibnn.backend import Backend, register_backend, select
from minibnn.backend.gpus import share

register_backend(STRICT)
with suppress(DeviceError):
    get_backend("gpu")  # found, or not, before a test puts another CuPy or driver in its place
# One tree, one answer: every run tries the same examples, however busy the machine is. Others:
# --hypothesis-profile explore
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile("suite")


@pytest.fixture(params=ALL)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    return open_backend(request.param)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is not the host."""
    return open_backend(request.param)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one epoch with latent weights. Tests only read it."""
    path = tmp_path_factory.mktemp("trained") / "digits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "--seed", "3", "-o", str(path)]) == 0
    return path


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType | None], None]:
    """Put a fake CuPy in place, or none; what was found before is forgotten."""
    monkeypatch.setattr(select, "_gpu", None)
    monkeypatch.setattr(share, "place", None)
    monkeypatch.setattr(share, "require_place", None)
    monkeypatch.setattr(select, "_by_array_type", dict(select._by_array_type))

    def install(cupy: ModuleType | None) -> None:
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    return install


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """Let tests send Ctrl-C in a background job, and SIGHUP under nohup, which ignore them."""
    wanted = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    numbers = {
        getattr(signal, name): handler for name, handler in wanted.items() if hasattr(signal, name)
    }
    previous = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def forget_launches() -> None:
    """Each test counts its own kernels."""
    HOST_CUDA.kernels.launches.clear()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module of minibnn may need a package that is not there; a file of tests may not."""
    collector.config.option.doctest_ignore_import_errors = False
    try:
        return (yield)
    finally:
        collector.config.option.doctest_ignore_import_errors = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, a line for each reason instead of one for each test."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in skipped).most_common():
        terminalreporter.write_line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")
