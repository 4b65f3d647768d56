"""NVIDIA's run-time compiler through ctypes: it needs no GPU, only the package that CuPy's has too."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minibnn.backend.cuda.kernels import OPTIONS

# From release 12.9 on it says so of every GPU before capability 7.5, which CUDA 13 has dropped.
DEPRECATED = "nvrtc: warning: Architectures prior to '<compute/sm>_75' are deprecated"


def folders() -> list[Path]:
    """The folders of NVIDIA's packages: those for CUDA 12 are apart, for CUDA 13 all in one."""
    spec = importlib.util.find_spec("nvidia")
    return [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []


def find(folders: Iterable[Path]) -> Any:
    """The library in one of these folders, else the system's; None where it is not installed."""
    for file in (f for folder in folders for f in sorted(folder.glob("**/libnvrtc.so.*"))):
        # It loads its builtins by name when it first compiles, and does not know its own folder
        # in each release. What is loaded under that name already is found.
        for builtins in file.parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))
        return ctypes.CDLL(str(file))
    for name in ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@cache
def nvrtc() -> Any:
    """The library, or a visible skip."""
    library = find(folders())
    if library is None:
        pytest.skip("NVRTC is not installed")
    return library


def supported() -> list[int]:
    """The compute capabilities that it compiles for, times ten."""
    count = ctypes.c_int()
    assert nvrtc().nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    found = (ctypes.c_int * count.value)()
    assert nvrtc().nvrtcGetSupportedArchs(found) == 0
    return list(found)


def compiled(text: str, capability: int) -> str:
    """What it makes of a source, with the options that it gets from us and from CuPy, as PTX."""
    library = nvrtc()
    if capability not in supported():
        pytest.skip(f"this NVRTC does not compile for sm_{capability}")
    program = ctypes.c_void_p()
    created = library.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"k.cu", 0, None, None
    )
    assert created == 0
    flags = [f"--gpu-architecture=sm_{capability}", *OPTIONS, "-ftz=true"]
    options = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    status = library.nvrtcCompileProgram(program, len(flags), options)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    said = [line for line in log.value.decode().splitlines() if line]
    if capability < 75:
        said = [line for line in said if not line.startswith(DEPRECATED)]
    assert (status, said) == (0, [])  # no warning either
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, ptx)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.value.decode()
