"""Exported C headers, and the compilers that build them."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from minibnn.export.c import export_c

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wundef"]
C99, CPP = ["-std=c99", *WARNINGS], ["-std=c++11", "-x", "c++", *WARNINGS]
SANITIZE = ["-fno-sanitize-recover=all"]
CLANG = next(filter(shutil.which, ("clang", *(f"clang-{n}" for n in range(30, 9, -1)))), "clang")
MACROS = ("WORD_BITS", "POPCOUNT", "SIMD", "STATIC", "PROGMEM")


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


def write_program(folder, models):
    """The headers of (packed model, images), and a program that prints all scores and labels.

    A macro such as NAME_STATIC is for all of them.
    """
    lines = ["#include <stdio.h>"]
    for k, (packed, images) in enumerate(models):
        export_c(packed, folder / f"m{k}.h", name=f"m{k}", images=images[:5])
        for macro in MACROS:
            lines += [f"#ifdef NAME_{macro}", f"#define M{k}_{macro} NAME_{macro}", "#endif"]
        lines += [f"#define M{k}_SELFTEST", f'#include "m{k}.h"']
    # A second file that calls nothing: no warnings about that, and no names twice.
    (folder / "idle.c").write_text("\n".join([*lines, "extern int idle;", "int idle = 1;\n"]))
    lines += ["#ifndef START", "#define START", "#endif", "int main(void) {", "START"]
    for k, (_, images) in enumerate(models):
        lines.append(f"""{{
            uint8_t image[M{k}_INPUT_BYTES];
            m{k}_score scores[M{k}_CLASSES];
            int i, c;
            printf("%d\\n", m{k}_selftest());
            for (i = 0; i < {len(images)}; i++) {{
                if (fread(image, 1, sizeof image, stdin) != sizeof image) return 100;
                m{k}_scores(image, scores);
                for (c = 0; c < M{k}_CLASSES; c++) printf("%lld ", (long long)scores[c]);
                printf("%d\\n", m{k}_predict(image));
            }}
        }}""")
    (folder / "main.c").write_text("\n".join([*lines, "return 0;", "}\n"]))


def check_program(folder, models):
    """Run the program of `write_program`: scores and labels are those of NumPy."""
    sent = b"".join(images.tobytes() for _, images in models)
    done = subprocess.run([folder / "run"], input=sent, capture_output=True)
    assert (done.returncode, done.stderr[:2000]) == (0, b"")
    rows = iter([[int(v) for v in line.split()] for line in done.stdout.decode().splitlines()])
    for k, (packed, images) in enumerate(models):
        expected = np.column_stack([packed.predict_scores(images), packed.predict(images)])
        got = [next(rows) for _ in range(1 + len(images))]
        assert got == [[0], *expected.tolist()], (k, packed)
    assert not list(rows)
