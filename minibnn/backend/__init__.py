"""Backends: where arrays live, and what computes an operation there."""

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend
from minibnn.backend.cpu import NumpyBackend
from minibnn.backend.errors import DeviceError, NotFinite
from minibnn.backend.operations import batch_mean, batch_sum, batch_total, matmul, over_whole_batch
from minibnn.backend.select import CPU, backend_of, get_backend, register_backend

__all__ = [
    "CPU",
    "Array",
    "Backend",
    "DeviceError",
    "NotFinite",
    "NumpyBackend",
    "backend_of",
    "batch_mean",
    "batch_sum",
    "batch_total",
    "get_backend",
    "matmul",
    "over_whole_batch",
    "register_backend",
    "require_plain",
]
