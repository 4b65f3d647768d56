"""Coded inputs in C: the scores of NumPy, for every dtype, compiler and extreme input."""

from __future__ import annotations

import math
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from c_headers import C99, CLANG, CPP, SANITIZE, build, compiler, header
from coded_models import CODED, any_code, coded, extreme, table
from coded_tables import of_numbers
from coded_tables import table as small_table

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    InputContract,
    Sequential,
    SignSTE,
    Standardize,
    Thermometer,
    disagreements,
    fit_codes,
    load_packed,
    pack,
    save_packed,
)
from minibnn.export.vectors import vectors_of
from minibnn.packed.file.load import packed_file_info

PROGRAM = """
#include <stdio.h>
#define NET_SELFTEST
#include "net.h"
int main(void)
{
    static net_input x[INPUTS];
    static net_score scores[NET_CLASSES];
    if (net_selftest()) return 1;
    while (fread(x, sizeof x, 1, stdin) == 1) {
        net_scores(x, scores);
        fwrite(scores, sizeof scores, 1, stdout);
    }
    return 0;
}
"""
COMMANDS = {
    "gcc": ["gcc", *C99, "-O2"],
    "fast math": ["gcc", *C99, "-O3", "-ffast-math"],
    "words of 32 bits": ["gcc", *C99, "-O1", "-DNET_WORD_BITS=32"],
    "sanitizers": ["gcc", *C99, "-g", "-fsanitize=address,undefined", *SANITIZE],
    "C++": ["g++", *CPP],
    "clang": [CLANG, *C99, "-O2", "-Wno-unused-function"],
}
NAMES = ["low", 'caf\u00e9 "\\?', "*/ high"]


def scores_in_c(packed, x, folder, command, program=PROGRAM):
    """What the program prints for these inputs."""
    (folder / "main.c").write_text(program)
    build(folder, [*command, f"-DINPUTS={math.prod(packed.input_shape)}"], ["main.c"])
    done = subprocess.run([folder / "run"], input=x.tobytes(), stdout=-1, check=True)
    return np.frombuffer(done.stdout, np.int32).reshape(len(x), -1)


@pytest.mark.parametrize("name", CODED)
def test_scores_are_numpys(name, tmp_path, rng):
    compiler("gcc")
    packed, x = coded(name, rng)
    x = np.concatenate([x, *(extreme(x, packed, rng) for _ in range(5))])
    header(packed, tmp_path, name="net")
    got = scores_in_c(packed, x, tmp_path, COMMANDS["sanitizers"])
    assert (got == packed.predict_scores(x)).all()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["thermometer", "int16 falling", "uint8", "float channels"])
def test_scores_are_numpys_with_each_compiler(name, command, tmp_path, rng):
    compiler(COMMANDS[command][0])
    packed, x = coded(name, rng)
    x = np.concatenate([x, *(extreme(x, packed, rng) for _ in range(5))])
    header(packed, tmp_path, name="net")
    got = scores_in_c(packed, x, tmp_path, COMMANDS[command])
    assert (got == packed.predict_scores(x)).all()


@pytest.mark.parametrize("seed", range(10))
def test_any_intervals(seed, tmp_path):
    """Equal, infinite, extreme and empty ones; features in any order."""
    compiler("gcc")
    packed, x = any_code(np.random.default_rng(seed))
    header(packed, tmp_path, name="net")
    assert (scores_in_c(packed, x, tmp_path, COMMANDS["gcc"]) == packed.predict_scores(x)).all()


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_one_score_decides_between_two_classes(dtype, tmp_path, rng):
    compiler("gcc")
    x, sign = table(dtype, rng), SignSTE()
    model = Sequential(
        Standardize(4), Thermometer(4, 5), Dense(20, 9, weight_quantizer=sign), BatchNorm(9),
        Activation(sign), Dense(9, 1, weight_quantizer=sign), BatchNorm(1),
    ).initialize(rng)  # fmt: skip
    fit_codes(model, x)
    model[-1].running_mean.data[...] = -1.3
    model[-1].gamma.data[...] = -0.5
    model[-1].beta.data[...] = 0.1
    model.input_contract = InputContract(dtype, (4,))
    packed = pack(model, class_names=NAMES[:2])
    labels = packed.predict(x)
    assert set(labels) == {0, 1}
    assert (labels == (model.forward(x)[:, 0] >= 0)).all()
    assert set(packed.predict(x, names=True)) == set(NAMES[:2])
    assert disagreements(model, packed, x).labels == 0
    path = tmp_path / "net.safetensors"
    save_packed(packed, path, model=model)
    assert packed_file_info(path).format_version == 2
    assert (load_packed(path).predict(x) == labels).all()
    text = header(packed, tmp_path, name="net")
    assert "The label is 1 if the score is at least 0, else 0." in text
    program = PROGRAM.replace("net_scores(x, scores)", "scores[0] = net_predict(x)")
    got = scores_in_c(packed, x, tmp_path, COMMANDS["gcc"], program)
    assert (got[:, 0] == labels).all()


def test_names_and_types_are_in_the_header(tmp_path, rng):
    compiler("gcc")
    packed, _ = coded("int16", rng)
    packed = replace(packed, class_names=tuple(NAMES), feature_names=tuple("vwxy"))
    text = header(packed, tmp_path, name="net")
    assert "int16_t net_input;" in text
    assert "#define NET_INPUTS 4" in text
    assert "numbers (int16_t)" in text
    assert "0 v, 1 w, 2 x, 3 y" in text
    assert "string.h" not in text  # integers need nothing of it
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void)\n'
        "{ int i; for (i = 0; i < NET_CLASSES; i++) puts(net_class_name(i)); return 0; }"
    )
    build(tmp_path, ["gcc", *C99], ["main.c"])
    done = subprocess.run([tmp_path / "run"], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == NAMES


def test_the_selftest_of_floats_has_finite_numbers_only(tmp_path, rng):
    packed, x = coded("thermometer", rng)
    x = extreme(x, packed, rng)
    text = header(packed, tmp_path, name="net", images=x)
    images = text[text.index("net_images[NET_VECTORS]") : text.index("net_expected")]
    assert "nan" not in images
    assert "inf" not in images
    kept = int(np.isfinite(x).all(axis=1).sum())
    assert 0 < kept < len(x)
    assert f"#define NET_VECTORS {kept}\n" in text
    with pytest.raises(ValueError, match="expected at least one image to test with"):
        header(packed, tmp_path, images=np.full((2, 4), np.nan, np.float32))


# --- numbers --------------------------------------------------------------------------------------


NUMBERS = """
#include <stdio.h>
#define NET_SELFTEST
#include "net.h"
int main(void)
{
    static net_input x[INPUTS];
    static net_score scores[NET_CLASSES];
    int i;
    if (net_selftest()) return 1;
    while (fread(x, sizeof x, 1, stdin) == 1) {
        net_scores(x, scores);
        for (i = 0; i < NET_CLASSES; i++) {
            double number = (double)scores[i] * NET_UNIT;
            fwrite(&number, sizeof number, 1, stdout);
        }
    }
    return 0;
}
"""


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("command", ["gcc", "C++"])
def test_numbers(command, outputs, tmp_path):
    compiler(COMMANDS[command][0])
    packed = pack(of_numbers(outputs), numbers=True)
    text = header(packed, tmp_path, name="net")
    shift = packed.scores.shift
    assert f"A score is a number that the network predicts, times 2^{shift}." in text
    assert "net_predict" not in text
    assert "label" not in text
    x = small_table(rows=50, seed=4)[0]
    (tmp_path / "main.c").write_text(NUMBERS)
    build(tmp_path, [*COMMANDS[command], "-DINPUTS=3"], ["main.c"])
    done = subprocess.run([tmp_path / "run"], input=x.tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    numbers = np.frombuffer(done.stdout).reshape(50, outputs)
    np.testing.assert_array_equal(numbers.squeeze(), packed.predict(x))


def test_a_self_test_of_numbers_finds_another_weight(tmp_path):
    compiler("gcc")
    packed = pack(of_numbers(), numbers=True)
    text = header(packed, tmp_path, name="net")
    first = packed.predict_scores(vectors_of(packed).images)[0, 0]
    assert text.count(f"{first},") == 1
    (tmp_path / "net.h").write_text(text.replace(f"{first},", f"{first + 1},"))
    (tmp_path / "main.c").write_text(NUMBERS)
    build(tmp_path, [*COMMANDS["gcc"], "-DINPUTS=3"], ["main.c"])
    assert subprocess.run([tmp_path / "run"], input=b"").returncode == 1
