"""Compile the C kernels when minibnn is installed; a hook of hatchling, which pip runs.

The result is `_kernels.so`, beside its sources, all C files in `minibnn/backend/cpu/`.
`c_kernels.py` there loads it if its size and CRC-32 are those in `_kernels.seal`. If there is no C
compiler, or if the compilation fails, minibnn is installed without C kernels and uses its NumPy
implementations.
`tests/backend/cpu/test_c_kernels.py` tests it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# No fused multiply-adds: the C kernels equal NumPy to the last bit. No code reads errno or the
# floating-point flags, and loops that have to set them are not vectorised.
FLAGS = ["-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread"]
FLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def compile_kernels(folder: Path) -> str | None:
    """Compile the C files of a folder to ``folder/_kernels.so``; return a problem, or None."""
    library, seal = folder / "_kernels.so", folder / "_kernels.seal"
    sources = sorted(folder.glob("*.[ch]"), key=lambda path: path.name)
    files = [str(path) for path in sources if path.suffix == ".c"]
    for part in folder.glob("_kernels.*.part"):  # left by a build that was killed
        if time.time() - part.stat().st_mtime > 3600:
            part.unlink(missing_ok=True)
    configured = (sysconfig.get_config_var("CC") or "").split()
    names = [shlex.split(os.environ.get("CC", "")), configured[:1], ["cc"], ["gcc"], ["clang"]]
    compiler = next((name for name in names if name and shutil.which(name[0])), None)
    if compiler is None:
        _remove(library, seal)
        return "no C compiler was found"
    stamp = f"-DMINIBNN_SOURCE={zlib.crc32(b''.join(p.read_bytes() for p in sources))}u"
    with tempfile.TemporaryDirectory() as elsewhere:  # so that no process loads a partial file
        made = Path(elsewhere, "kernels.so")
        command = [*compiler, *FLAGS, stamp, *files, "-o", str(made), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            _remove(library, seal)  # an old one would not be loaded, with a warning
            return f"{' '.join(command)}\n{done.stderr}"
        data = made.read_bytes()
    # If this is killed in between, the old file does not match the new seal, and is not loaded.
    _replace(seal, f"{len(data)} {zlib.crc32(data)}\n".encode())
    _replace(library, data)
    return None


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    """Replace a file atomically."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


class KernelHook(BuildHookInterface[Any]):
    """hatchling calls `initialize` before it builds a wheel, also an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as specific to this platform."""
        if self.target_name != "wheel" or sys.platform == "win32":
            return
        problem = compile_kernels(Path(self.root, "minibnn", "backend", "cpu"))
        if problem is not None:
            self.app.display_warning(f"minibnn without its C kernels: {problem}")
            return
        build_data["artifacts"] += [f"minibnn/backend/cpu/_kernels.{end}" for end in ("so", "seal")]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"
