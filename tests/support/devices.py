"""The devices that tests run on: the CPU, a strict stand-in for CuPy, and a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import strictdev

from minibnn import DeviceError, get_backend
from minibnn.backend import CPU, Backend
from minibnn.backend.capture.graphs import Graphs
from minibnn.backend.cpu import CompiledBackend


class StrictGraphs(Graphs):
    """As on a GPU; a number on the host that differs between steps is an error."""

    def capture(self, work: Any, times: Any = (1,)) -> Any:
        captured = super().capture(work, times)
        for count, again in captured.items():
            again._graph.check_repeats(count)
        return captured


class StrictBackend(Backend):
    """CuPy's rules on the host, so that machines without a GPU catch most of what breaks on one.

    It has no implementations of its own: what the references do here, they do on any `xp`.
    """

    name = "strict"
    xp = strictdev
    array_type = strictdev.ndarray
    host = False
    tf32 = False  # a plain attribute that can be set, as on a GPU

    def __init__(self) -> None:
        super().__init__()
        self.graphs = StrictGraphs(strictdev)

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        return strictdev.asarray(a, dtype=dtype)

    def to_host(self, a: Any) -> np.ndarray:
        return strictdev.asnumpy(a)


STRICT = StrictBackend()
built = pytest.mark.skipif(
    not isinstance(CPU, CompiledBackend), reason="the C kernels were not built"
)


def open_backend(name: str) -> Backend:
    if name == "strict":
        return STRICT
    try:
        return get_backend(name)
    except DeviceError as error:
        pytest.skip(str(error).splitlines()[0])


ALL = ["cpu", "strict", pytest.param("gpu", marks=pytest.mark.gpu)]
DEVICES = ALL[1:]
