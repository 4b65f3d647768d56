"""The C header: its self-test, its size, its comments, and wrong arguments."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from c_headers import C99, build, compiler, header
from packed_models import dense, shake

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


@pytest.fixture(scope="module")
def seed():
    model = RECIPES["seed"]().build().initialize(0)
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        if parameter.name == "bias":
            parameter.data[...] = rng.normal(0, 3, parameter.shape)
    return pack(model, (28, 28))


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
    """One bit in the first and last number of each constant and at the ends of rows; and a 0."""
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
    """Everything except the stack, without special instructions, as on a microcontroller."""
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


def test_images_of_the_users(seed, tmp_path, rng):
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
def test_names_that_are_invalid_in_c(seed, tmp_path, name):
    with pytest.raises(ValueError, match="expected a name"):
        export_c(seed, tmp_path / "net.h", name=name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(seed, tmp_path):
    with pytest.raises(TypeError, match="expected a PackedModel, got Sequential"):
        export_c(Sequential(), tmp_path / "net.h")
    first, threshold, *rest = seed.stages
    for stages, message in {
        (first, threshold, threshold, *rest): "stage 2, threshold",
        (first, *rest): "stage 1, dense: expected bits, got acc",
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
