"""Compiling the C kernels: what a failed or killed build leaves behind."""

from __future__ import annotations

import os
import shutil
import sys
import types
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from sealed import sealed

from minibnn.backend import CPU
from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.cpu import c_kernels as compiled
from minibnn.functions.signs import binary_sign


@pytest.fixture
def build(monkeypatch):
    """`tools/build_kernels.py`, without hatchling, which only an installation has."""
    hook = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    hook.BuildHookInterface = dict  # something that can be subscripted and derived from
    tags = types.ModuleType("packaging.tags")
    tags.platform_tags = lambda: iter(["linux_x86_64"])
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "hatchling.builders.hooks.plugin", types.ModuleType("plugin"))
    monkeypatch.setitem(sys.modules, hook.__name__, hook)
    monkeypatch.setitem(sys.modules, tags.__name__, tags)
    path = Path(compiled.FOLDER).parents[2] / "tools" / "build_kernels.py"
    module = types.ModuleType("build_kernels")
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


def copy_sources(folder):
    """The C files, of which there is no library yet; return their names."""
    sources = list(Path(compiled.FOLDER).glob("*.[ch]"))
    for source in sources:
        shutil.copy(source, folder)
    return {source.name for source in sources}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_kernels_compile_without_a_warning(compiler, build, tmp_path, monkeypatch):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    sources = copy_sources(tmp_path)
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(compiled, "FOLDER", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-Wall", "-Wextra", "-Werror"])
    assert build.compile_kernels(tmp_path) is None
    monkeypatch.delenv("MINIBNN_COMPILED", raising=False)
    monkeypatch.setattr(compiled, "LIBRARY", str(tmp_path / "_kernels.so"))
    library = compiled.open_library()
    assert library is not None
    if isinstance(CPU, CompiledBackend):  # both compilers recognise the processor
        assert CompiledBackend(library).c.instruction_set == CPU.c.instruction_set
    assert CompiledBackend(library).run(binary_sign, np.zeros(3, np.float32)).tolist() == [1, 1, 1]
    assert {p.name for p in tmp_path.iterdir()} == sources | {"_kernels.seal", "_kernels.so"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_failed_build_says_why_and_leaves_no_old_library(build, tmp_path):
    (tmp_path / "kernels.c").write_text("this is not C\n")
    (tmp_path / "_kernels.so").write_text("of yesterday")
    sealed(tmp_path / "_kernels.so")
    problem = build.compile_kernels(tmp_path)
    assert "kernels.c:1" in problem
    assert [p.name for p in tmp_path.iterdir()] == ["kernels.c"]


def test_a_build_that_is_killed_leaves_nothing_that_is_loaded(build, tmp_path, monkeypatch, caplog):
    """At each of its writes; the next one that is whole clears up what the killed ones left."""
    copy_sources(tmp_path)
    monkeypatch.setattr(compiled, "FOLDER", str(tmp_path))
    compiler = tmp_path / "compiler"  # which writes what it is told to into the file after -o
    compiler.write_text(f"""#!{sys.executable}
import sys
open(sys.argv[sys.argv.index("-o") + 1], "wb").write({"x" * 9999!r}.encode())
""")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.delenv("MINIBNN_COMPILED", raising=False)
    monkeypatch.setattr(compiled, "LIBRARY", str(tmp_path / "_kernels.so"))
    (tmp_path / "_kernels.so").write_bytes(b"of yesterday")
    sealed(tmp_path / "_kernels.so")
    for name, when in product(("write_bytes", "replace"), (1, 2)):
        calls, do = [], getattr(Path, name)

        def killed(self, *args, name=name, when=when, calls=calls, do=do):
            calls.append(self)
            if len(calls) < when:
                return do(self, *args)
            if name == "write_bytes":
                do(self, args[0][: len(args[0]) // 2])
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, name, killed)
            with pytest.raises(KeyboardInterrupt):
                build.compile_kernels(tmp_path)
        assert (tmp_path / "_kernels.so").read_bytes() == b"of yesterday"
    left = sorted(p.name for p in tmp_path.iterdir() if p.name.endswith(".part"))
    assert left
    for name in left:
        os.utime(tmp_path / name, (0, 0))
    assert build.compile_kernels(tmp_path) is None
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]
    assert compiled.open_library() is None  # it is whole, and no library
    assert "invalid ELF header" in caplog.text or "file too short" in caplog.text


def test_no_compiler_is_no_failure(build, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.sysconfig, "get_config_var", lambda name: None)
    assert build.compile_kernels(tmp_path) == "no C compiler was found"
