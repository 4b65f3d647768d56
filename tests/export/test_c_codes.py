"""Coded inputs in C: the scores of NumPy, for every dtype, compiler and extreme input."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
from c_headers import C99, CPP, SANITIZE, build, compiler, header
from coded_models import FRONTS, NAMES, coded

from minibnn import disagreements, load_packed, save_packed
from minibnn.packed.file.load import packed_file_info

PROGRAM = """
#include <stdio.h>
#define NET_SELFTEST
#include "net.h"
int main(void)
{
    static net_input x[5];
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
    "clang": ["clang", *C99, "-O2", "-Wno-unused-function"],
}


@pytest.mark.parametrize("front", FRONTS)
def test_scores_are_numpys(front, tmp_path, rng):
    compiler("gcc")
    model, packed, x = coded(front, rng)
    expected = packed.predict_scores(x)
    known = ~np.isnan(x).any(axis=1) if front == "signs" else slice(None)  # a sign keeps nan
    with np.errstate(over="ignore"):
        assert (model.forward(x[known]).argmax(axis=1) == packed.predict(x[known])).all()
    header(packed, tmp_path, name="net", images=x[:4])
    (tmp_path / "main.c").write_text(PROGRAM)
    for name, command in COMMANDS.items():
        if name == "clang":
            continue
        build(tmp_path, command, ["main.c"])
        done = subprocess.run([tmp_path / "run"], input=x.tobytes(), stdout=-1, check=True)
        got = np.frombuffer(done.stdout, np.int32).reshape(-1, 3)
        assert (got == expected).all(), name


@pytest.mark.parametrize("front", ["floats", "int16"])
def test_one_score_decides_between_two_classes(front, tmp_path, rng):
    compiler("gcc")
    model, packed, x = coded(front, rng, outputs=1)
    labels = packed.predict(x)
    assert set(labels) == {0, 1}
    assert (labels == (model.forward(x)[:, 0] >= 0)).all()
    assert set(packed.predict(x, names=True)) == set(NAMES["class_names"][:2])
    assert disagreements(model, packed, x).labels == 0
    path = tmp_path / "net.safetensors"
    save_packed(packed, path, model=model)
    assert packed_file_info(path).format_version == 2
    assert (load_packed(path).predict(x) == labels).all()
    text = header(packed, tmp_path, name="net", images=x[:4])
    assert "The label is 1 if the score is at least 0, else 0." in text
    program = PROGRAM.replace("net_scores(x, scores)", "scores[0] = net_predict(x)")
    (tmp_path / "main.c").write_text(program)
    build(tmp_path, COMMANDS["gcc"], ["main.c"])
    done = subprocess.run([tmp_path / "run"], input=x.tobytes(), stdout=-1, check=True)
    assert np.frombuffer(done.stdout, np.int32).tolist() == labels.tolist()


def test_scores_are_numpys_with_clang(tmp_path, rng):
    compiler("clang")
    _, packed, x = coded("floats", rng)
    header(packed, tmp_path, name="net", images=x[:4])
    (tmp_path / "main.c").write_text(PROGRAM)
    build(tmp_path, COMMANDS["clang"], ["main.c"])
    done = subprocess.run([tmp_path / "run"], input=x.tobytes(), stdout=-1, check=True)
    assert done.stdout == packed.predict_scores(x).astype(np.int32).tobytes()


def test_names_and_types_are_in_the_header(tmp_path, rng):
    compiler("gcc")
    _, packed, x = coded("int16", rng)
    text = header(packed, tmp_path, name="net", images=x[:2])
    assert "int16_t net_input;" in text
    assert "#define NET_INPUTS 5" in text
    assert re.search(r"numbers \(int16_t\)", text)
    assert "0 v, 1 w, 2 x, 3 y, 4 z" in text
    assert "string.h" not in text  # integers need nothing of it
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void)\n'
        "{ int i; for (i = 0; i < NET_CLASSES; i++) puts(net_class_name(i)); return 0; }"
    )
    build(tmp_path, ["gcc", *C99], ["main.c"])
    done = subprocess.run([tmp_path / "run"], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == NAMES["class_names"]


def test_the_selftest_of_floats_has_finite_numbers_only(tmp_path, rng):
    compiler("gcc")
    _, packed, x = coded("floats", rng)
    text = header(packed, tmp_path, name="net", images=x[-50:])
    images = text[text.index("net_images[NET_VECTORS]") : text.index("net_expected")]
    assert not re.search(r"nan|inf", images)
    kept = int(np.isfinite(x[-50:]).all(axis=1).sum())
    assert f"#define NET_VECTORS {kept}" in text
    with pytest.raises(ValueError, match="expected at least one image to test with"):
        header(packed, tmp_path, images=np.full((2, 5), np.nan, np.float32))
