"""Choosing a backend, by its name or from an array."""

from __future__ import annotations

import copyreg
from collections.abc import Callable

import numpy as np

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend
from minibnn.backend.cpu import CompiledBackend, NumpyBackend, open_library
from minibnn.backend.errors import DeviceError, no_array

_library = open_library()
CPU = NumpyBackend() if _library is None else CompiledBackend(_library)

_by_array_type: dict[type, Backend] = {}
_gpu: Backend | DeviceError | None = None  # None before the first request, or if only in use then


def get_backend(device: str | Backend = "auto") -> Backend:
    """The backend for a device.

    Args:
        device: ``"cpu"``; ``"gpu"``; ``"auto"``, the GPU if it works, otherwise the CPU; or a
            `Backend`, which is returned unchanged.

    ``"auto"`` logs its choice and the reason to the logger ``minibnn``, at level WARNING, so that
    the line is visible without any set-up. The first call that needs the GPU tests it with a kernel
    and a matrix product. The result is kept, unless the GPU was only full or in use.

    Raises:
        DeviceError: for ``"gpu"``, if it cannot be used; the CPU never replaces it silently.
        ValueError: for any other name.

    >>> get_backend("cpu").name
    'cpu'
    """
    if isinstance(device, Backend):
        return device
    if device == "cpu":
        return CPU
    if device == "gpu":
        gpu = _find_gpu()
        if isinstance(gpu, Backend):
            return gpu
        raise DeviceError(str(gpu), gpu.reason, passing=gpu.passing) from gpu.__cause__
    if device == "auto":
        import logging

        logger = logging.getLogger("minibnn")
        gpu = _find_gpu()
        if isinstance(gpu, Backend):
            logger.warning("device: gpu (auto found one that works)")
            return gpu
        logger.warning("device: cpu (auto found no usable GPU: %s)", gpu.reason)
        return CPU
    raise ValueError(f'expected device "cpu", "gpu" or "auto", got {device!r}')


def backend_of(a: Array) -> Backend:
    """The backend that an array belongs to.

    Raises:
        TypeError: if `a` is not an array of a known backend (a list, for example), or has a mask.

    >>> import numpy as np
    >>> backend_of(np.zeros(3)).name
    'cpu'
    """
    backend = _by_array_type.get(type(a))
    if backend is not None:
        return backend
    require_plain(a)
    for array_type, backend in _by_array_type.items():  # a subclass, such as numpy.memmap
        if isinstance(a, array_type):
            return backend
    if isinstance(a, np.generic):  # what NumPy's reductions return
        return CPU
    if type(a).__module__.partition(".")[0] == "cupy":  # the user's own CuPy array
        return get_backend("gpu")
    raise no_array(a)


def backend_named(name: str) -> Backend:
    """The backend with this name, for unpickling: a registered one, or `get_backend`'s."""
    registered = (backend for backend in _by_array_type.values() if backend.name == name)
    return next(registered, None) or get_backend(name)


def register_backend(backend: Backend) -> None:
    """Let `backend_of` recognise a backend's arrays, and let pickles refer to it by name."""
    _by_array_type[backend.array_type] = backend
    copyreg.pickle(type(backend), _reduce)


def _reduce(backend: Backend) -> tuple[Callable[[str], Backend], tuple[str]]:
    """For `pickle`, as ``__reduce__``: a pickle has only the backend's name."""
    return backend_named, (backend.name,)


register_backend(CPU)
_without_c: type[Backend] = NumpyBackend
copyreg.pickle(_without_c, _reduce)  # also where it is not the registered one


def _find_gpu() -> Backend | DeviceError:
    global _gpu
    if _gpu is None:
        from minibnn.backend.cuda.open import open_gpu

        try:
            _gpu = open_gpu()
            register_backend(_gpu)
        except DeviceError as error:
            if error.passing:
                return error
            _gpu = error
    return _gpu
