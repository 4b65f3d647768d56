"""Every hand-written kernel is launched, is right, and is listed with what it moves."""

from __future__ import annotations

import launches
import numpy as np
import pytest
from confirm import speed, training
from confirm.setting import FAILED, OK, Setting
from cuda_on_host import HOST_CUDA, HostKernels, kernel_names
from devices import STRICT, open_backend
from every_kernel import ODD, results
from launches import FLOATS, Key, listening, missing

from minibnn.backend import CPU
from minibnn.backend.cuda import FILES, source
from minibnn.functions.signs import straight_through_gradient


@pytest.fixture(scope="module")
def on_the_host():
    """What the kernels part says of the kernels on the host, and which of them it launched."""
    with listening(HOST_CUDA) as ears:
        outcome = training.kernels(Setting(HOST_CUDA))
    return outcome, ears.heard


def test_every_kernel_is_launched_and_right(on_the_host):
    outcome, heard = on_the_host
    assert missing(heard) == []
    assert (outcome.status, outcome.line) == (OK, "as on the CPU")
    assert type(HOST_CUDA.kernels) is HostKernels, "the listener is gone again"


@pytest.mark.gpu
def test_every_kernel_is_launched_and_right_on_a_gpu():
    gpu = open_backend("gpu")
    with listening(gpu) as ears:
        outcome = training.kernels(Setting(gpu))
    assert missing(ears.heard) == []
    assert (outcome.status, outcome.line) == (OK, "as on the CPU")


def test_a_kernel_that_nobody_launches_is_named(on_the_host, monkeypatch):
    _, heard = on_the_host
    without = [key for key in heard if key.name != "gather_batch"]
    assert missing(without) == [
        "captured_step/gather_batch float32",
        "captured_step/gather_batch float64",
    ]
    assert missing(set(heard) - {Key("signs", "straight_through_gradient", "float64")}) == [
        "signs/straight_through_gradient float64"
    ]
    text = "KERNEL __launch_bounds__(1024)\nbrand_new(T* a,\n  i64 n) {"
    monkeypatch.setattr(
        launches, "source", lambda *a: source(*a) + text * (a[0] == "captured_step")
    )
    assert missing(heard) == [
        "captured_step/brand_new float32",
        "captured_step/brand_new float64",
    ]


@pytest.mark.parametrize("file", FILES)
def test_the_kernels_of_a_file_are_found(file):
    text = source(file, np.float32)
    assert [name for name, _ in launches.KERNEL.findall(text)] == kernel_names(text)


def test_the_largest_launch_is_kept(on_the_host):
    _, heard = on_the_host
    # The batch comes before the evaluation, and a layer's weights before its inputs.
    assert heard[Key("cross_entropy", "cross_entropy", "float32")].arguments[1].shape == (
        ODD.long,
        11,
    )
    assert heard[Key("signs", "binary_sign", "float32")].arguments[0].shape == ODD.weights


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_driver_runs_on_any_backend(dtype):
    pairs = zip(results(STRICT, dtype, ODD), results(CPU, dtype, ODD), strict=True)
    for (name, a), (same, b) in pairs:
        assert name == same
        assert training.error_of(STRICT.to_host(a), np.asarray(b)) <= training.TOLERANCES[dtype]


@pytest.mark.parametrize(
    "spoil", [lambda a: a * np.float32(1.0001), lambda a: a * np.nan, lambda a: a[1:]]
)
def test_a_wrong_kernel_fails(spoil, monkeypatch):
    wrong = [lambda backend, *a: spoil(straight_through_gradient(*a))]
    monkeypatch.setitem(STRICT._known, straight_through_gradient, wrong)
    outcome = training.kernels(Setting(STRICT))
    assert outcome.status == FAILED
    assert outcome.line.startswith("float32 straight_through_gradient: ")
    assert outcome.line.endswith(" away from the CPU's (and 1 more)")


def test_errors_of_floats_and_of_integers():
    a = np.array([1.0, -4.0, 2.0])
    assert training.error_of(a, a) == 0
    assert training.error_of(a + np.array([0, 0, 0.5]), a) == 0.125
    assert training.error_of(a / 100, a / 100 + 0.001) == pytest.approx(0.001)
    assert training.error_of(a.astype(np.float32), a) == np.inf
    words = np.array([2**63], np.uint64)
    assert training.error_of(words, words) == 0
    assert training.error_of(words, words + np.uint64(1)) == np.inf
    assert training.error_of(a * np.nan, a) == np.inf


# --- How fast they are ---


def test_kernels_are_listed_the_slowest_first(monkeypatch, on_the_host):
    _, heard = on_the_host
    monkeypatch.setattr(speed, "WIDE", ODD)
    monkeypatch.setattr(speed, "launch_seconds", lambda backend, launch: launch.size * 1e-9)
    rows = speed.kernel_table(HOST_CUDA)
    names = {f"{key.file}/{key.name}" for key in heard if key.dtype == "float32"}
    others = {"pooling/max_pool of uint8", "pooling/max_pool of int32",
              "convolution/im2col of uint8"}  # fmt: skip
    assert {row["kernel"] for row in rows} == names | others
    assert [row["us"] for row in rows] == sorted((row["us"] for row in rows), reverse=True)
    by_name = {row["kernel"]: row for row in rows}
    n, width = ODD.parameters, ODD.width
    assert by_name["adam/adam"]["bytes"] == pytest.approx(7 * 4 * n, rel=1e-3)
    assert by_name["signs/binary_sign"]["bytes"] == 2 * 4 * np.prod(ODD.weights)
    assert by_name["signs/binary_sign"]["gb_per_s"] == pytest.approx(1)
    assert by_name["signs/straight_through_gradient"]["bytes"] == 3 * 4 * ODD.batch * width
    assert by_name["captured_step/gather_batch"]["bytes"] == 2 * ODD.batch * (ODD.pixels + 1)
    assert by_name["captured_step/begin_step"]["bytes"] == 2 * (8 + 8 + 3 * 4 + 2 * 4)


def test_products_are_those_of_a_wide_layer(monkeypatch):
    called = []
    monkeypatch.setattr(speed, "WIDE", ODD)
    monkeypatch.setattr(speed, "mean_seconds", lambda backend, call: called.append(call()) or 1e-6)
    rows = speed.product_table(HOST_CUDA)
    n, (k, m) = ODD.batch, ODD.weights
    assert [out.shape for out in called] == [(n, m), (k, m), (n, k)]
    assert {row["tflop_per_s"] for row in rows} == {2 * n * k * m / 1e6}
