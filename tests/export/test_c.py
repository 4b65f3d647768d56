"""The C header: compiled, it gives the packed model's scores; without a compiler, its text."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from packed_models import dense, images_models, ink, shake

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Flatten,
    MaxPool2D,
    PackError,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    pack,
)
from minibnn.export.c import export_c
from minibnn.export.vectors import vectors_of
from minibnn.recipes import RECIPES

SIGN = SignSTE()
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wundef"]
C99, CPP = ["-std=c99", *WARNINGS], ["-std=c++11", "-x", "c++", *WARNINGS]
SANITIZE = ["-fno-sanitize-recover=all"]

# Each configuration takes another way through the headers.
BUILDS = {
    "gcc": ["gcc", *C99, "-O1"],
    "gcc, sanitized": ["gcc", *C99, *SANITIZE, "-fsanitize=address,undefined"],
    "gcc, words of 32 bits, counting by a table": [
        "gcc", *C99, *SANITIZE, "-fsanitize=undefined", "-DNAME_WORD_BITS=32", "-DNAME_POPCOUNT=3",
    ],
    "clang, no vectors, the builtin": ["clang", *C99, "-O1", "-DNAME_POPCOUNT=1", "-DNAME_SIMD=0"],
    "gcc, AVX-512, sanitized": [
        "gcc", *C99, *SANITIZE, "-fsanitize=address,undefined", "-mavx512bw", "-mpopcnt",
    ],
    "g++, static": ["g++", *CPP, "-DNAME_STATIC"],
}  # fmt: skip


def compiler(name):
    if shutil.which(name) is None:
        pytest.skip(f"no {name}")


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
    """A folder with the headers, and a driver that includes them all."""
    folder = tmp_path_factory.mktemp("c")
    lines = ["#include <stdio.h>"]
    for k, (packed, images) in enumerate(models):
        export_c(packed, folder / f"m{k}.h", name=f"m{k}", images=images[:5])
        macros = ("WORD_BITS", "POPCOUNT", "SIMD", "STATIC")
        for macro in macros:
            lines += [f"#ifdef NAME_{macro}", f"#define M{k}_{macro} NAME_{macro}", "#endif"]
        lines += [f"#define M{k}_SELFTEST", f'#include "m{k}.h"']
    # A second file that calls nothing: no warnings about that, and no names twice.
    (folder / "idle.c").write_text("\n".join([*lines, "extern int idle;", "int idle = 1;\n"]))
    lines.append("int main(void) {")
    for k, (_, images) in enumerate(models):
        lines.append(f"""{{
            uint8_t image[M{k}_INPUT_BYTES];
            m{k}_score scores[M{k}_CLASSES];
            int i, c;
            if (m{k}_selftest() != 0) return {k + 1};
            for (i = 0; i < {len(images)}; i++) {{
                if (fread(image, 1, sizeof image, stdin) != sizeof image) return 100;
                m{k}_scores(image, scores);
                for (c = 0; c < M{k}_CLASSES; c++) printf("%lld ", (long long)scores[c]);
                printf("%d\\n", m{k}_predict(image));
            }}
        }}""")
    (folder / "main.c").write_text("\n".join([*lines, "return 0;", "}\n"]))
    return folder


def build(folder, command, sources, output="run"):
    done = subprocess.run(
        [*command, *sources, "-o", output], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[:2000]) == (0, "")


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
    images = b"".join(images.tobytes() for _, images in models)
    done = subprocess.run([program / "run"], input=images, capture_output=True)
    assert (done.returncode, done.stderr[:2000]) == (0, b"")
    rows = iter([[int(v) for v in line.split()] for line in done.stdout.decode().splitlines()])
    for packed, images in models:
        expected = np.column_stack([packed.predict_scores(images), packed.predict(images)])
        assert [next(rows) for _ in images] == expected.tolist(), packed
    assert not list(rows)


def test_the_models_take_every_way(models, program):
    """Each part of the template, each type, and what is rare is among them."""
    text = "".join((program / f"m{k}.h").read_text() for k in range(len(models)))
    for function in ("flip", "pool", "gather", "pixels", "binarize", "products", "compare", "sums"):
        assert re.search(rf"^    .*m\d+_{function}\(", text, re.MULTILINE), function
    for ctype in ("uint8_t", "uint16_t"):
        assert re.search(rf"typedef {ctype} m\d+_limit;", text)
    for ctype in ("int16_t", "int32_t"):
        assert re.search(rf"typedef {ctype} m\d+_threshold;", text)
    assert {packed.scores.fits_int32 for packed, _ in models} == {True, False}
    assert re.search(r"_scores\(const uint8_t \*image, int64_t scores\[", text)


@pytest.fixture(scope="module")
def seed():
    model = RECIPES["seed"]().build().initialize(0)
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        if parameter.name == "bias":
            parameter.data[...] = rng.normal(0, 3, parameter.shape)
    return pack(model, (28, 28))


def header(packed, folder, **options):
    path = folder / "net.h"
    export_c(packed, path, **options)
    return path.read_text(encoding="ascii")


def test_selftest_finds_one_wrong_bit(seed, tmp_path):
    compiler("gcc")
    text = header(seed, tmp_path, name="good")
    start = text.rindex("static const good_word")
    place = text.index("0x", start)
    wrong = f"0x{int(text[place : place + 10], 16) ^ 1:08X}"
    bad = text[:place] + wrong + text[place + 10 :]
    (tmp_path / "bad.h").write_text(bad.replace("good_", "bad_").replace("GOOD_", "BAD_"))
    label = text.index("good_labels[")
    late = text[:label] + re.sub(r"\d+(,\s*\};)", r"10\1", text[label:], count=1)
    (tmp_path / "late.h").write_text(late.replace("good_", "late_").replace("GOOD_", "LATE_"))
    (tmp_path / "main.c").write_text("""
        #include <stdio.h>
        #define GOOD_SELFTEST
        #define BAD_SELFTEST
        #define LATE_SELFTEST
        #include "net.h"
        #include "bad.h"
        #include "late.h"
        int main(void)
        {
            printf("%d %d %d", good_selftest(), bad_selftest(), late_selftest());
            return 0;
        }
    """)
    build(tmp_path, ["gcc", *C99, "-O1"], ["main.c"])
    done = subprocess.run([tmp_path / "run"], capture_output=True, text=True, check=True)
    assert done.stdout == "0 1 12"


DAMAGE = """
#include <stdio.h>
#include <stdint.h>
#define const /* so that the constants can be changed */
#define NET_SELFTEST
#include "net.h"
#define TRY(what, array, i, changed)                                        \\
    {                                                                       \\
        const int at = (int)(i);                                            \\
        array[at] = changed;                                                \\
        printf("%s:%d\\n", what, net_selftest());                           \\
        array[at] = saved[at];                                              \\
    }
#define TRY_ALL(name, array, rows)                                          \\
    {                                                                       \\
        static __typeof__(array[0]) saved[sizeof array / sizeof array[0]];  \\
        const int n = (int)(sizeof array / sizeof array[0]);                \\
        int i;                                                              \\
        for (i = 0; i < n; i++) saved[i] = array[i];                        \\
        TRY(name ", first", array, 0, saved[at] ^ 1)                        \\
        TRY(name ", end of the first row", array, n / rows - 1, saved[at] ^ 1)\\
        TRY(name ", start of the last row", array, n - n / rows, saved[at] ^ 1)\\
        TRY(name ", last", array, n - 1, saved[at] ^ 1)                     \\
        TRY(name ", zero", array, 0, saved[at] == 0)                        \\
    }
int main(void)
{
    printf("nothing:%d\\n", net_selftest());
"""


def test_selftest_finds_damage_that_no_image_shows(tmp_path, rng):
    """One bit of each constant's first and last number, and of the ends of rows; a number of 0."""
    compiler("gcc")

    def hidden(n_in, n_out):
        return [dense(n_in, n_out), BatchNorm(n_out), Activation(SIGN)]

    image, conv = [Reshape((8, 9, 1)), Rescale(1 / 255)], Conv2D(1, 6, 3, weight_quantizer=SIGN)
    nets = [
        [Flatten(), Rescale(1 / 255), *hidden(72, 40), *hidden(40, 20), dense(20, 10)],
        [*image, conv, MaxPool2D(3), BatchNorm(6), Activation(SIGN), Flatten(), dense(24, 10)],
    ]
    kinds = set()
    for parts, word in itertools.product(nets, (32, 64)):
        packed = pack(shake(Sequential(*parts).initialize(rng), rng), (8, 9))
        text = header(packed, tmp_path, name="net", images=np.zeros((2, 8, 9), np.uint8))
        constants = re.findall(r"^static const net_\w+ (net_(\w+))\[(?:(\d+) \*)?", text, re.M)
        kinds |= {name.rstrip("_0123456789") for _, name, _ in constants}
        lines = [f'TRY_ALL("{name}", {array}, {rows or 1})' for array, name, rows in constants]
        (tmp_path / "main.c").write_text("\n".join([DAMAGE, *lines, "return 0; }\n"]))
        build(tmp_path, ["gcc", "-std=gnu99", f"-DNET_WORD_BITS={word}"], ["main.c"])
        done = subprocess.run([tmp_path / "run"], capture_output=True, text=True, check=True)
        nothing, *answers = [line.rsplit(":", 1) for line in done.stdout.splitlines()]
        assert nothing == ["nothing", "0"]
        assert len(answers) == 5 * len(constants)
        assert [what for what, answer in answers if answer == "0"] == []
        assert "3" in [answer for _, answer in answers], "nothing was found by the checksum alone"
    assert kinds == {"weights", "thresholds", "limits", "flips", "a", "b"}


def test_the_seeds_network_takes_16_kib_of_flash(seed, tmp_path):
    """Everything but the stack, as a microcontroller without instructions of its own needs it."""
    compiler("gcc")
    compiler("size")
    text = header(seed, tmp_path)
    tables = re.findall(r"^static const digits_\w+ (digits_\w+)\[", text, re.MULTILINE)
    flash, ram = (
        int(re.search(rf"{k}: ([\d,]+)", text)[1].replace(",", "")) for k in ("Flash", "RAM")
    )
    (tmp_path / "one.c").write_text(f"""
        #include "net.h"
        int run(const uint8_t *image);
        int run(const uint8_t *image) {{ return digits_predict(image); }}
        typedef char flash[{" + ".join(f"sizeof {t}" for t in tables)} == {flash} ? 1 : -1];
        typedef char ram[sizeof(digits_scratch) + 256 == {ram} ? 1 : -1];
    """)
    options = ["-Os", "-DDIGITS_WORD_BITS=32", "-DDIGITS_SIMD=0", "-fno-asynchronous-unwind-tables"]
    build(tmp_path, ["gcc", *C99, *options, "-ffreestanding", "-c"], ["one.c"], "one.o")
    sizes = subprocess.run(
        ["size", "one.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    code, data, bss = map(int, sizes.stdout.splitlines()[1].split()[:3])
    assert flash < code < 16 * 1024
    assert (data, bss) == (0, 0)
    if shutil.which("nm"):
        needs = subprocess.run(
            ["nm", "-u", "one.o"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert set(needs.stdout.split()) <= {"U", "memset", "memcpy", "_GLOBAL_OFFSET_TABLE_"}


def test_only_integers_and_no_allocation(models, program):
    for k in range(len(models)):
        code = re.sub(r"/\*.*?\*/", "", (program / f"m{k}.h").read_text(), flags=re.DOTALL)
        words = set(re.findall(r"[A-Za-z_]\w*", code))
        assert words.isdisjoint({"float", "double", "malloc", "calloc", "alloca", "memcpy", "math"})
        assert not re.search(r"\d\.\d|\be\d", code)
        assert set(re.findall(r"#include (.*)", code)) <= {
            "<stdint.h>",
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


def test_one_model_gives_the_same_bytes(seed, tmp_path):
    first = header(seed, tmp_path)
    assert header(seed, tmp_path) == first
    assert list(tmp_path.iterdir()) == [tmp_path / "net.h"]
    assert header(seed, tmp_path, name="other") != first
    assert seed.sha256 in first
    product, threshold, *rest = seed.stages
    thresholds = threshold.thresholds.copy()
    thresholds[5] += 1
    moved = replace(threshold, thresholds=thresholds)
    assert replace(seed, stages=(product, moved, *rest)).sha256 not in first


def test_the_head_says_what_it_is(seed, tmp_path):
    figures = {"accuracy": 0.96641234, "float_accuracy": 0.97, "epochs": 9, "*/ accuracy": 1}
    head = header(replace(seed, training=figures), tmp_path, name="Net_2").split("*/")[0]
    for line in (
        "int label = Net_2_predict(image);",
        "784 bytes (uint8_t), 28 x 28",
        "784 pixels to 128 sums",
        "Accuracy: 0.966412\n",
        "Float accuracy: 0.97\n",
        "12 images",
    ):
        assert line in head
    assert "poch" not in head


def test_images_of_ones_own(seed, tmp_path, rng):
    images = rng.integers(0, 256, (3, 28, 28), np.uint8)
    text = header(seed, tmp_path, images=images)
    assert "#define DIGITS_VECTORS 3" in text
    numbers = text[text.index("digits_expected[") :].split("{", 1)[1].split(";")[0]
    found = [int(v) for v in re.findall(r"-?\d+", numbers)]
    assert found == vectors_of(seed, images).scores.ravel().tolist()
    with pytest.raises(ValueError, match="at least one image"):
        export_c(seed, tmp_path / "none.h", images=images[:0])
    with pytest.raises(TypeError, match="uint8"):
        export_c(seed, tmp_path / "none.h", images=images.astype(float))


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "_a", "a__b", "a_", "ä", "a\n", "a" * 32])
def test_names_that_c_would_not_have(seed, tmp_path, name):
    with pytest.raises(ValueError, match="expected a name"):
        export_c(seed, tmp_path / "net.h", name=name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(seed, tmp_path):
    with pytest.raises(TypeError, match="expected a PackedModel, got Sequential"):
        export_c(Sequential(), tmp_path / "net.h")
    first, threshold, *rest = seed.stages
    for stages, message in {
        (first, threshold, threshold, *rest): "stage 2, threshold",
        (first, *rest): "stage 0, dense: expected thresholds or scores",
        (first, threshold, replace(rest[0], in_shape=(2**31,)), *rest[1:]): "fewer values",
    }.items():
        broken = replace(seed, stages=stages)
        object.__setattr__(
            broken, "predict_scores", lambda images: np.zeros((len(images), 10), int)
        )
        object.__setattr__(broken, "predict", lambda images: np.zeros(len(images), int))
        with pytest.raises(PackError, match=message):
            export_c(broken, tmp_path / "net.h")
    assert not list(tmp_path.iterdir())
