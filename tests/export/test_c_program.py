"""Compiled C programs give the packed models' scores and labels."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
from c_headers import C99, CLANG, CPP, SANITIZE, build, check_program, compiler, write_program
from packed_models import dense, images_models, ink, shake

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Flatten,
    MaxPool2D,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    pack,
)
from minibnn.export.c_program import Program

SIGN = SignSTE()

# Each configuration takes another way through the headers.
BUILDS = {
    "gcc": ["gcc", *C99, "-O1"],
    "gcc, sanitized": ["gcc", *C99, *SANITIZE, "-fsanitize=address,undefined"],
    "gcc, words of 32 bits, counting by a table": [
        "gcc", *C99, *SANITIZE, "-fsanitize=undefined", "-DNAME_WORD_BITS=32", "-DNAME_POPCOUNT=3",
    ],
    "clang, no vectors, the builtin": [
        CLANG, *C99, "-O1", "-DNAME_POPCOUNT=1", "-DNAME_SIMD=0",
    ],
    "gcc, AVX-512, sanitized": [
        "gcc", *C99, *SANITIZE, "-fsanitize=address,undefined", "-mavx512bw", "-mpopcnt",
    ],
    "g++, static": ["g++", *CPP, "-DNAME_STATIC"],
}  # fmt: skip


def dense_models(rng):
    starts = [[Rescale(1 / 255)], ink(), [Rescale(-1, 100)], [Rescale(-1, 64), Activation(SIGN)]]
    for k, width in enumerate((1, 7, 31, 32, 33, 63, 64, 65, 127, 784)):
        yield (width,), [
            *starts[k % 2], dense(width, 33), BatchNorm(33), Activation(SIGN),
            dense(33, 65), BatchNorm(65), Activation(SIGN), dense(65, 3),
        ]  # fmt: skip
        other = 7 if width == 1 else width
        yield (
            (other,),
            [*starts[2 + k // 2 % 2], dense(other, 9), BatchNorm(9), Activation(SIGN), dense(9, 3)],
        )
    for start in ([Rescale(1 / 255)], ink()):
        yield (5, 6), [Flatten(), *start, dense(30, 4)]
    yield (5,), [*ink(), dense(5, 3, bias=False), BatchNorm(3)]  # scores of 64 bits, see below


def image_models():
    def conv(c_in, c_out, size, **options):
        return Conv2D(c_in, c_out, size, weight_quantizer=SIGN, **options)

    image = [Reshape((8, 9, 1)), Rescale(1, -100)]
    yield from images_models().values()
    yield [*image, conv(1, 4, 3), MaxPool2D(2), MaxPool2D((3, 2)), Flatten()]  # maxima of scores
    yield [
        *image,
        Activation(SIGN),
        conv(1, 4, (3, 4)),
        MaxPool2D((6, 5), 1),
        MaxPool2D((1, 2)),
        Flatten(),
    ]
    yield [*image, conv(1, 70, 3), MaxPool2D((3, 7), 1), BatchNorm(70), Activation(SIGN), conv(70, 4, (4, 1)), Flatten(), BatchNorm(4)]  # fmt: skip


@pytest.fixture(scope="module")
def models():
    """Packed models of every kind, with images for each."""
    rng = np.random.default_rng(11)
    layers = [*dense_models(rng), *(((8, 9), m) for m in image_models())]
    result = []
    for shape, parts in layers:
        model = shake(Sequential(*parts).initialize(rng), rng)
        last = model[-1]
        if isinstance(last, BatchNorm):  # logits within reach of each other
            last.initialize(0)
            if shape == (5,):
                last.gamma.data[...], last.running_mean.data[...] = [1e4, 1, 1], [0, 0, 1e-6]
        images = rng.integers(0, 256, (30, *shape), np.uint8)
        images[0], images[1] = 0, 255
        result.append((pack(model, shape), images))
    # Thresholds of pixels that are all positive, some beyond 16 bits: sums below 0 stay below them.
    model = Sequential(Rescale(1 / 255), dense(784, 8), Activation(SIGN), dense(8, 3)).initialize(
        rng
    )
    model[1].bias.data[...] = -np.linspace(0, 300, 8)
    packed = pack(model, (784,))
    assert packed.stages[1].thresholds.min() >= 0
    assert packed.stages[1].thresholds.max() > 2**16
    result.append((packed, rng.integers(0, 256, (30, 784), np.uint8)))
    return result


@pytest.fixture(scope="module")
def program(models, tmp_path_factory):
    """A folder with the headers, and a program that includes them all."""
    folder = tmp_path_factory.mktemp("c")
    write_program(folder, models)
    return folder


@pytest.mark.parametrize("name", BUILDS)
def test_scores_and_labels_are_the_packed_models(models, program, name):
    command = BUILDS[name]
    compiler(command[0])
    probe = "0"  # something that every machine has
    if "-mavx512bw" in command:
        probe = '!(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("popcnt"))'
    (program / "probe.c").write_text(f"int main(void) {{ return {probe}; }}\n")
    compiled = subprocess.run(
        [*command, "probe.c", "-o", "probe"], cwd=program, capture_output=True
    )
    if compiled.returncode or subprocess.run([program / "probe"]).returncode:
        pytest.skip("this machine has no sanitizers, or no AVX-512")
    build(program, command, ["main.c", "idle.c"])
    check_program(program, models)


def test_the_models_cover_the_template(models, program):
    """The models use each part of the template, each type, and rare cases."""
    text = "".join((program / f"m{k}.h").read_text() for k in range(len(models)))
    for function in ("flip", "pool", "gather", "pixels", "binarize", "products", "compare", "sums"):
        assert re.search(rf"^    .*m\d+_{function}\(", text, re.MULTILINE), function
    for ctype in ("uint8_t", "uint16_t"):
        assert re.search(rf"typedef {ctype} m\d+_limit;", text)
    for ctype in ("int16_t", "int32_t"):
        assert re.search(rf"typedef {ctype} m\d+_threshold;", text)
    assert {packed.scores.fits_int32 for packed, _ in models} == {True, False}
    assert re.search(r"_scores\(const uint8_t \*image, int64_t scores\[", text)


def test_only_integers_and_no_allocation(models, program):
    for k in range(len(models)):
        code = re.sub(r"/\*.*?\*/", "", (program / f"m{k}.h").read_text(), flags=re.DOTALL)
        words = set(re.findall(r"[A-Za-z_]\w*", code))
        assert words.isdisjoint({"float", "double", "malloc", "calloc", "alloca", "memcpy", "math"})
        assert not re.search(r"\d\.\d|\be\d", code)
        assert set(re.findall(r"#include (.*)", code)) <= {
            "<stdint.h>",
            "<avr/io.h>",
            "<avr/pgmspace.h>",
            "<emmintrin.h>",
            "<immintrin.h>",
        }
        names = set(
            re.findall(
                r"^(?:static inline|typedef|static const|#define)[^\n]*?\b(\w+)(?=[ (;[])",
                code,
                re.MULTILINE,
            )
        )
        assert names
        defined = re.findall(r"^static (?:inline|const) \w+ \*?(\w+)", code, re.MULTILINE)
        defined += re.findall(r"#define (\w+)", code) + re.findall(
            r"^\} (\w+);", code, re.MULTILINE
        )
        assert all(name.startswith((f"m{k}_", f"M{k}_")) for name in defined), defined


def test_a_program_uses_no_more_parts_than_its_stages_need(rng):
    bits = pack(Sequential(*ink(), dense(9, 4)).initialize(rng), (9,))
    assert Program().read(bits).parts == {"binarize", "put", "popcount", "products"}
    pixels = pack(Sequential(Rescale(1), dense(9, 4)).initialize(rng), (9,))
    assert Program().read(pixels).parts == {"simd", "sums"}
    assert Program().read(pixels).constant_bytes == 4 * 4 + 2 * 4 * 4  # weights; A and B
