"""Compilations are counted and timed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import confirm_gpu
from confirm.compiling import stored_kernels, watch_compiler
from confirm.setting import OK


class Program:
    """CuPy's class around NVRTC."""

    def compile(self, options=()):
        if not options:
            raise ValueError("no options")
        return "code"


def test_compiling_is_counted_and_timed(monkeypatch, tmp_path):
    compiler = SimpleNamespace(_NVRTCProgram=type("Program", (Program,), {}))
    for name in ("cupy", "cupy.cuda"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(compiler=compiler))
    found = watch_compiler()
    program = compiler._NVRTCProgram()
    assert program.compile(options=("-O",)) == "code"
    with pytest.raises(ValueError, match="no options"):
        program.compile()
    assert found["compiled"] == 2
    assert found["compile_seconds"] >= 0
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    assert watch_compiler() == {}
    row = {"part": "kernels", "status": OK, "seconds": 9.0, "line": "fine", "compiled": 7}
    assert confirm_gpu.last_line(row) == "kernels: ok, 9.0 s (7 compiled): fine"
    row["compile_seconds"] = 4.04
    assert confirm_gpu.last_line(row) == "kernels: ok, 9.0 s (7 compiled in 4.0 s): fine"
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    for name in ("a.cubin", "b.cubin", "b.cu"):
        (tmp_path / name).touch()
    assert stored_kernels() == 2
