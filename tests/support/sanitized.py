"""The C kernels compiled with sanitizers, and programs that call them on hostile shapes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from compiled_once import FOLDER, compiled_once

from minibnn.backend.cpu import c_kernels

OPTIONS = [
    "-std=gnu11",
    "-O1",
    "-ffp-contract=off",
    "-fno-sanitize-recover=all",
    "-pthread",
    "-DMINIBNN_SOURCE=0",
    "-DSANITIZED",  # the choice among clones comes before the sanitizers are ready
]


def kernels(sanitizers: str) -> Path:
    """All C files, in one object file."""
    sources = sorted(Path(c_kernels.FOLDER).glob("*.c"))
    command = ["cc", *OPTIONS, f"-fsanitize={sanitizers}", "-r", "-nostdlib", *sources, "-o"]
    return compiled_once(
        f"{sanitizers.replace(',', '-')}.o",
        lambda made: subprocess.run([*command, made], check=True),
    )


def run_hostile(program: str, sanitizers: str, step: int) -> tuple[str, str]:
    """What a program of this folder prints if it tries each `step`-th shape; and the complaints."""
    source, made = Path(__file__).parent / program, FOLDER / f"{program}-{sanitizers}"
    command = ["cc", *OPTIONS, f"-fsanitize={sanitizers}", source, kernels(sanitizers), "-o", made]
    subprocess.run([*command, "-lm"], check=True)
    done = subprocess.run([made, str(step)], capture_output=True, text=True)
    return done.stdout, done.stderr
