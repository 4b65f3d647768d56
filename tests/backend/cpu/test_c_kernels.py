"""Loading the C kernels: whenever anything about them is wrong, they are left out."""

from __future__ import annotations

import ctypes.util
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from devices import built
from sealed import sealed

from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.cpu import c_kernels as compiled


def test_without_the_library_everything_runs_on_numpy(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "LIBRARY", str(tmp_path / "none.so"))
    assert compiled.open_library() is None
    code = "import minibnn; print(type(minibnn.get_backend('cpu')).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MINIBNN_COMPILED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "NumpyBackend\n"


@built
@pytest.mark.parametrize("changed", ["kernels.c", "products.h"])
def test_a_library_of_another_source_is_left_out(changed, tmp_path, monkeypatch, caplog):
    for source in Path(compiled.FOLDER).glob("*.[ch]"):
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(compiled, "FOLDER", str(tmp_path))
    assert compiled.open_library() is not None
    with open(tmp_path / changed, "ab") as file:
        file.write(b"\n")
    assert compiled.open_library() is None
    assert "_kernels.so is left out: it was built from other sources" in caplog.text
    assert 'pip install -e "."' in caplog.text


@built
def test_without_its_source_the_library_is_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "FOLDER", str(tmp_path))
    assert compiled.open_library() is None
    assert "it was built from other sources" in caplog.text


@built
@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (b"", "file too short"),
        (b"not a library" * 9, "invalid ELF header"),
        ("another machine's", "wrong ELF class|cannot open shared object file|invalid ELF"),
        ("another one", "undefined symbol"),
    ],
)
def test_what_is_no_library_of_ours_is_left_out(library, reason, tmp_path, monkeypatch, caplog):
    if not sys.platform.startswith("linux"):
        pytest.skip("the messages are Linux's")
    file = tmp_path / "_kernels.so"
    if library == "another one":
        mapped = Path("/proc/self/maps").read_text().split()  # NumPy has loaded it
        name = ctypes.util.find_library("m")
        shutil.copy(next(w for w in mapped if name in w), file)
    elif isinstance(library, str):
        header = bytearray(Path(compiled.LIBRARY).read_bytes())
        header[4] = 3 - header[4]  # 32 bits for 64
        file.write_bytes(header)
    else:
        file.write_bytes(library)
    sealed(file)
    monkeypatch.setattr(compiled, "LIBRARY", str(file))
    assert compiled.open_library() is None
    assert re.search(reason, caplog.text)


@built
@pytest.mark.parametrize("kind", ["no seal", "a folder", "a pipe", "a device", "a seal of nothing"])
def test_what_cannot_be_a_library_is_left_out(kind, tmp_path, monkeypatch, caplog):
    file = tmp_path / "_kernels.so"
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a device":
        file.symlink_to("/dev/zero")
    else:
        shutil.copy(compiled.LIBRARY, file)
    if kind == "a seal of nothing":
        (tmp_path / "_kernels.seal").write_text("")
    monkeypatch.setattr(compiled, "LIBRARY", str(file))
    assert compiled.open_library() is None
    assert "_kernels.so is left out" in caplog.text
    assert 'pip install -e "."' in caplog.text


@built
def test_no_damaged_library_is_loaded():
    """Cut off, with pages of zeros, with a bit changed: a warning, where loading ends the process."""
    command = [sys.executable, str(Path(__file__).parents[2] / "fuzz" / "fuzz_kernels.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": 0 not as they should be\n")


@built
@pytest.mark.parametrize("name", ["seal", "source"])
def test_a_pipe_beside_the_library_is_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / {"seal": "_kernels.seal", "source": "kernels.c"}[name])
    shutil.copy(compiled.LIBRARY, tmp_path / "_kernels.so")
    change = {"seal": ("LIBRARY", tmp_path / "_kernels.so"), "source": ("FOLDER", tmp_path)}[name]
    code = (
        "from minibnn.backend.cpu import c_kernels as compiled\n"
        f"compiled.{change[0]} = {str(change[1])!r}\n"
        "print(compiled.open_library())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "None\n"
    assert "_kernels.so is left out" in done.stderr


@built
def test_the_environment_chooses_the_instructions_of_products(monkeypatch):
    library = compiled.open_library()
    there = compiled.INSTRUCTION_SETS[: library.minibnn_instruction_set() + 1]
    for name in there:
        monkeypatch.setenv("MINIBNN_CPU", name)
        backend = CompiledBackend(library)
        assert repr(backend) == f"CompiledBackend('cpu', products={name!r})"
    for unset in ("", None):
        monkeypatch.delenv("MINIBNN_CPU") if unset is None else monkeypatch.setenv(
            "MINIBNN_CPU", ""
        )
        assert CompiledBackend(library).c.instruction_set == there[-1]


@built
@pytest.mark.parametrize("name", ["sse", "AVX2", "avx512_vpopcntdq"])
def test_an_instruction_set_that_is_not_there_is_an_error(name, monkeypatch):
    library = types.SimpleNamespace(minibnn_instruction_set=lambda: 1)  # as on a Haswell
    monkeypatch.setenv("MINIBNN_CPU", name)
    expected = (
        f"expected an instruction set that this processor has, portable or avx2, got '{name}'"
    )
    with pytest.raises(ValueError, match=f"MINIBNN_CPU: {expected}"):
        compiled.Library(library)
    with pytest.raises(ValueError, match=f"Library: {expected}"):
        compiled.Library(library, name)


@built
def test_arrays_are_passed_as_objects_or_as_the_addresses_of_their_data(rng):
    """Also a part of an array, a read-only one, and one that is stored by columns."""
    library = compiled.open_library()
    x = rng.standard_normal((4, 6)).astype(np.float32)
    fixed = x.copy()
    fixed.flags.writeable = False
    try:
        for place, at in ((compiled.DATA, compiled.at), (0, lambda a: a.ctypes.data)):
            call = compiled.Library(library).binary_sign
            library.minibnn_pass_arrays(place)
            for a in (x, x[1:], x[2, 3:], fixed, x.T):
                y = np.zeros(a.size, np.float32)
                call(a.size, at(a), at(y))
                np.testing.assert_array_equal(y, np.where(a.ravel("K") < 0, -1, 1))
    finally:
        library.minibnn_pass_arrays(compiled.DATA)


def test_where_python_has_no_addresses_of_objects_numpy_gives_those_of_data(monkeypatch):
    assert (compiled.DATA > 0) == (sys.implementation.name == "cpython")
    monkeypatch.setattr(sys, "implementation", types.SimpleNamespace(name="another"))
    assert compiled._place_of_data() == 0
