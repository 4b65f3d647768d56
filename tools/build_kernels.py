"""Compiles minibnn/backend/kernels.c when minibnn is installed; pip runs it as hatchling's hook.

The result, `_kernels.so` beside its source, is loaded by `minibnn/backend/compiled.py`. Without a C
compiler, or if it fails, minibnn is installed without, and runs on its NumPy bodies.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# No fused multiply-adds: the C bodies equal NumPy's to the last bit. Nobody reads errno, nor the
# floating-point flags, and loops that may set them are not vectorised.
FLAGS = ["-O3", "-std=gnu11", "-shared", "-fPIC"]
FLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def compile_kernels(folder: Path) -> str | None:
    """Compile ``folder/kernels.c`` to ``folder/_kernels.so``; return what went wrong, or None."""
    source, library = folder / "kernels.c", folder / "_kernels.so"
    configured = (sysconfig.get_config_var("CC") or "").split()
    names = [shlex.split(os.environ.get("CC", "")), configured[:1], ["cc"], ["gcc"], ["clang"]]
    compiler = next((name for name in names if name and shutil.which(name[0])), None)
    if compiler is None:
        library.unlink(missing_ok=True)
        return "no C compiler was found"
    part = library.with_suffix(f".{os.getpid()}")  # so that nobody loads half a library
    stamp = f"-DMINIBNN_SOURCE={zlib.crc32(source.read_bytes())}u"
    command = [*compiler, *FLAGS, stamp, str(source), "-o", str(part), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        part.unlink(missing_ok=True)
        library.unlink(missing_ok=True)  # an old one would be left out, with a warning
        return f"{' '.join(command)}\n{done.stderr}"
    part.replace(library)
    return None


class KernelHook(BuildHookInterface[Any]):
    """hatchling calls `initialize` before it packs a wheel, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one for this platform."""
        if self.target_name != "wheel" or sys.platform == "win32":
            return
        problem = compile_kernels(Path(self.root, "minibnn", "backend"))
        if problem is not None:
            self.app.display_warning(f"minibnn without its C kernels: {problem}")
            return
        build_data["artifacts"].append("minibnn/backend/_kernels.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"
