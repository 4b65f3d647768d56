"""Where arrays live: one short list of primitives, on the CPU and on the GPU."""

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend, DeviceError, NotFinite
from minibnn.backend.bits import BitMatrix, DenseLayers
from minibnn.backend.capture.questions import Question, Questions, questions
from minibnn.backend.capture.steps import StepTables
from minibnn.backend.cpu import NumpyBackend
from minibnn.backend.select import CPU, backend_of, get_backend, register_backend
from minibnn.backend.windows import Windows

__all__ = [
    "CPU",
    "Array",
    "Backend",
    "BitMatrix",
    "DenseLayers",
    "DeviceError",
    "NotFinite",
    "NumpyBackend",
    "Question",
    "Questions",
    "StepTables",
    "Windows",
    "backend_of",
    "get_backend",
    "questions",
    "register_backend",
    "require_plain",
]
