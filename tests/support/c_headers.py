"""Exported C headers, and the compilers that build them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from minibnn.export.c import export_c

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wundef"]
C99, CPP = ["-std=c99", *WARNINGS], ["-std=c++11", "-x", "c++", *WARNINGS]
SANITIZE = ["-fno-sanitize-recover=all"]


def compiler(name):
    if shutil.which(name) is None:
        pytest.skip(f"no {name}")


def build(folder, command, sources, output="run"):
    done = subprocess.run(
        [*command, *sources, "-o", output], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[:2000]) == (0, "")


def header(packed, folder, **options):
    path = folder / "net.h"
    export_c(packed, path, **options)
    return path.read_text(encoding="ascii")
