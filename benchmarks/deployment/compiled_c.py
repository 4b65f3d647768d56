"""The exported C header, compiled: timed inside C, or called from Python through ctypes.

Forms: `native` (-O3 -march=native), `O2`, `ctypes` (native, called from Python for each batch). It
uses one core.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from deployment.form import clocked, run
from harness.contestant import Array

FLAGS = {"native": ("-O3", "-march=native"), "O2": ("-O2",)}
NUMBER = """#include "digits.h"
#ifdef DIGITS_INPUT_BYTES
typedef uint8_t number;
#define NUMBERS DIGITS_INPUT_BYTES
#else
typedef digits_input number;
#define NUMBERS DIGITS_INPUTS
#endif
"""
PREDICT = f"""{NUMBER}
int label(const number *image);
int label(const number *image) {{ return digits_predict(image); }}
"""
HARNESS = (
    f"""#define _POSIX_C_SOURCE 199309L
#include <stddef.h>
#include <time.h>
{NUMBER}"""
    """
void many_labels(const number *images, size_t n, int64_t *labels)
{
    for (size_t i = 0; i < n; i++)
        labels[i] = digits_predict(images + i * NUMBERS);
}

void many_scores(const number *images, size_t n, int64_t *scores)
{
    digits_score own[DIGITS_CLASSES];
    for (size_t i = 0; i < n; i++) {
        digits_scores(images + i * NUMBERS, own);
        for (size_t c = 0; c < DIGITS_CLASSES; c++)
            *scores++ = own[c];
    }
}

static volatile int64_t sink;

/* The seconds of `calls` calls with `batch` images each, which walk through the n images. */
double seconds(const number *images, size_t n, size_t batch, size_t calls)
{
    struct timespec start, end;
    size_t at = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t k = 0; k < calls; k++) {
        for (size_t i = 0; i < batch; i++)
            sink = digits_predict(images + (at + i) * NUMBERS);
        at = at + 2 * batch <= n ? at + batch : 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}
"""
)


def compiler() -> str | None:
    """The C compiler: $CC, or the first of gcc, clang and cc that is installed."""
    names = [os.environ.get("CC", ""), "gcc", "clang", "cc"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Library:
    """The header `digits.h` of a folder, as functions of arrays; compiled there when it changes."""

    def __init__(self, folder: Path, flags: tuple[str, ...]) -> None:
        made = folder.absolute() / "".join([*flags, "-", digest(folder / "digits.h")])
        if not made.exists():
            compile_in(folder.absolute(), made, flags)
        self.functions = ctypes.CDLL(str(made / "library.so"))
        self.functions.seconds.restype = ctypes.c_double
        self.size = int((made / "size").read_text())

    def labels(self, images: Array) -> Array:
        """The labels of images, of the dtype that the model takes."""
        result = np.empty(len(images), np.int64)
        self.functions.many_labels(*_arguments(images, len(images)), _pointer(result))
        return result

    def scores(self, images: Array, classes: int) -> Array:
        """The integer scores of images, of the dtype that the model takes."""
        result = np.empty((len(images), classes), np.int64)
        self.functions.many_scores(*_arguments(images, len(images)), _pointer(result))
        return result


def digest(header: Path) -> str:
    """The hash of a file. It reads small parts, because the memory of this process is measured."""
    sha = hashlib.sha256()
    with header.open("rb", buffering=0) as file:
        while part := file.read(4096):
            sha.update(part)
    return sha.hexdigest()[:16]


def compile_in(folder: Path, made: Path, flags: tuple[str, ...]) -> None:
    """Compile the harness as a library, and note the size of one call's code and constants."""
    import subprocess  # imported late: the memory of later processes is measured
    import tempfile

    cc = compiler()
    if cc is None:
        raise RuntimeError("no C compiler")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        (scratch / "harness.c").write_text(HARNESS)
        (scratch / "predict.c").write_text(PREDICT)
        library = ["-shared", "-fPIC", "harness.c", "-o", "library.so"]
        for what in (library, ["-c", "predict.c", "-o", "predict.o"]):
            subprocess.run([cc, *flags, f"-I{folder}", *what], cwd=scratch, check=True)
        done = subprocess.run(
            ["size", "predict.o"], cwd=scratch, capture_output=True, text=True, check=True
        )
        text, data, *_ = done.stdout.splitlines()[1].split()
        (scratch / "size").write_text(str(int(text) + int(data)))
        shutil.copytree(scratch, made)


def _arguments(images: Array, *sizes: int) -> list[Any]:
    if not images.flags.c_contiguous:
        raise ValueError("expected images in C order")
    return [_pointer(images), *(ctypes.c_size_t(size) for size in sizes)]


def _pointer(array: Array) -> Any:
    return ctypes.c_void_p(array.ctypes.data)


class CompiledC:
    """The compiled header in one of its forms."""

    def __init__(self, folder: Path, threads: int, form: str) -> None:
        self.compiled = Library(folder, FLAGS.get(form, FLAGS["native"]))
        self.shipped = self.compiled.size
        self.by_python = form == "ctypes"
        self.labels, self.one = np.empty(1000, np.int64), self.compiled.functions.many_labels

    def prepare(self, images: Array) -> Any:
        """The images; for calls through ctypes, with their pointers."""
        if not self.by_python:
            return images
        return images, _arguments(images, len(images)), _pointer(self.labels), len(images)

    def predict(self, batch: Any) -> Array:
        """Labels."""
        if not self.by_python:
            return self.compiled.labels(batch)
        _, arguments, result, n = batch
        self.one(*arguments, result)
        return self.labels[:n]

    def seconds_a_call(self, batches: list[Any], calls: int) -> float:
        """Timed inside C, except for calls from Python."""
        if self.by_python:
            return clocked(self.predict, batches, calls)
        images = np.concatenate(batches)
        arguments = _arguments(images, len(images), len(batches[0]), calls)
        return float(self.compiled.functions.seconds(*arguments)) / calls


if __name__ == "__main__":
    run(CompiledC)
