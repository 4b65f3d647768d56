"""tools/validate_gpu/launches.py: kernels are found, and their launches recorded."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import kernel_names

import launches
from every_kernel import ODD
from launches import Key, missing
from minibnn.backend.cuda import FILES, source


def test_a_kernel_that_is_not_launched_is_named(on_the_host, monkeypatch):
    _, launched = on_the_host
    without = [key for key in launched if key.name != "gather_batch"]
    assert missing(without) == [
        "captured_step/gather_batch float32",
        "captured_step/gather_batch float64",
    ]
    assert missing(set(launched) - {Key("signs", "straight_through_gradient", "float64")}) == [
        "signs/straight_through_gradient float64"
    ]
    text = "KERNEL __launch_bounds__(1024)\nbrand_new(T* a,\n  i64 n) {"
    monkeypatch.setattr(
        launches, "source", lambda *a: source(*a) + text * (a[0] == "captured_step")
    )
    assert missing(launched) == [
        "captured_step/brand_new float32",
        "captured_step/brand_new float64",
    ]


@pytest.mark.parametrize("file", FILES)
def test_the_kernels_of_a_file_are_found(file):
    text = source(file, np.float32)
    assert [name for name, _ in launches.KERNEL.findall(text)] == kernel_names(text)


def test_the_largest_launch_is_kept(on_the_host):
    _, launched = on_the_host
    # The batch comes before the evaluation, and a layer's weights before its inputs.
    assert launched[Key("cross_entropy", "cross_entropy", "float32")].arguments[1].shape == (
        ODD.long,
        11,
    )
    assert launched[Key("signs", "binary_sign", "float32")].arguments[0].shape == ODD.weights
