"""Where arrays live: one short list of primitives, on the CPU and on the GPU."""

from minibnn.backend.adam import AdamStep
from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend, DeviceError
from minibnn.backend.bits import BitMatrix, DenseLayers
from minibnn.backend.capture.questions import Question, Questions, questions
from minibnn.backend.capture.steps import StepTables
from minibnn.backend.cpu import NumpyBackend
from minibnn.backend.operations import batch_mean, batch_sum, matmul
from minibnn.backend.select import CPU, backend_of, get_backend, register_backend

__all__ = [
    "CPU",
    "AdamStep",
    "Array",
    "Backend",
    "BitMatrix",
    "DenseLayers",
    "DeviceError",
    "NumpyBackend",
    "Question",
    "Questions",
    "StepTables",
    "backend_of",
    "batch_mean",
    "batch_sum",
    "get_backend",
    "matmul",
    "questions",
    "register_backend",
    "require_plain",
]
