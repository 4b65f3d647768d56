"""The part `speed`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA
from devices import STRICT

from confirm import speed
from confirm.setting import OK
from every_kernel import ODD
from minibnn.backend import CPU
from minibnn.recipes import RECIPES


def test_speed_reports_its_measurements(setting_on, monkeypatch, capsys):
    monkeypatch.setattr(speed, "synchronize", lambda backend: None)
    setting = setting_on(STRICT)
    workload = "seed", RECIPES["seed"](), setting.few
    monkeypatch.setattr(speed, "workloads", lambda setting: [workload])
    outcome = speed.speed(setting)
    assert outcome.status == OK
    row = outcome.details["steps"][0]
    assert (row["steps"], row["batch"]) == (10, 64)
    assert 0 < 1e3 * row["begin_ms"] < 10 * row["captured_us"]
    assert row["a_step_is"].startswith("not counted: ")
    assert outcome.details["job"]["epochs"] == 1
    assert f"{row['plain_us']:.1f} us plain" in outcome.line
    assert f"{row['captured_us']:>9.1f} us" in capsys.readouterr().out


def test_nodes_in_words():
    assert speed.in_words([0, 0, 1, 2, 2, 5], "") == "2 kernels, 1 copies, 2 fills, 1 others"
    assert speed.in_words([], "no driver") == "not counted: no driver"


class Driver:
    """A stand-in for CUDA's driver: a graph of three nodes."""

    def __init__(self, status):
        self.status = status

    def cuGraphGetNodes(self, graph, nodes, count):  # noqa: N802
        assert graph.value == 77
        count._obj.value = 3
        if nodes is not None:
            nodes[:] = [1000, 2000, 3000]
        return 0

    def cuGraphNodeGetType(self, node, kind):  # noqa: N802
        kind._obj.value = {1000: 0, 2000: 2, 3000: 0}[node.value]
        return self.status


@pytest.mark.parametrize(
    ("status", "words"), [(0, "2 kernels, 1 fills"), (1, "not counted: status 1")]
)
def test_a_graph_is_counted_by_the_driver(status, words, monkeypatch):
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda name: Driver(status))
    work = SimpleNamespace(_graph=SimpleNamespace(graph=77))
    assert speed.in_words(*speed.node_kinds(work)) == words


def test_the_workloads_of_speed(setting_on):
    found = {name: (recipe, data) for name, recipe, data in speed.workloads(setting_on(CPU))}
    assert found.keys() == {"seed", "3x1024", "3x4096"}
    shapes = [p.data.shape for p in found["3x1024"][0].build().initialize(0).parameters()]
    assert [shape for shape in shapes if len(shape) == 2] == [
        (784, 1024), (1024, 1024), (1024, 1024), (1024, 10),
    ]  # fmt: skip


def test_kernels_are_listed_the_slowest_first(monkeypatch, on_the_host):
    _, launched = on_the_host
    monkeypatch.setattr(speed, "WIDE", ODD)
    monkeypatch.setattr(speed, "launch_seconds", lambda backend, launch: launch.size * 1e-9)
    rows = speed.kernel_table(HOST_CUDA)
    names = {f"{key.file}/{key.name}" for key in launched if key.dtype == "float32"}
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
