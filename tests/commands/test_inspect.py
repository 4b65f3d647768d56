"""``python -m minibnn inspect``."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from dataclasses import replace

from coded_models import coded

from minibnn import (
    Activation,
    Dense,
    Rescale,
    Sequential,
    SignSTE,
    load_packed,
    pack,
    save_packed,
)
from minibnn.__main__ import main
from minibnn.commands.inspect import run
from minibnn.recipes import RECIPES


def test_inspect_adds_up(trained, tmp_path, capsys):
    small = tmp_path / "small.safetensors"
    save_packed(load_packed(trained), small)
    for path in (trained, small):
        assert main(["inspect", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        sizes = found["bytes"]
        assert sizes["file"] == path.stat().st_size
        assert sizes["file"] == sizes["header"] + sizes["packed"] + sizes["latents"]
        assert sizes["packed"] == sum(row["bytes"] for row in found["stages"])
        assert (sizes["latents"] > 0) == (path == trained)
        assert sizes["float32"] == 4 * (784 * 128 + 128 * 64 + 640 + 128 + 64 + 2 * 10)
        assert [row["kind"] for row in found["stages"]] == [
            "dense", "threshold", "dense", "threshold", "dense", "scores",
        ]  # fmt: skip
        assert found["training"]["recipe"] == "modern"
        assert found["network_sha256"] == load_packed(path).sha256

        assert main(["inspect", str(path)]) == 0
        printed = capsys.readouterr().out
        assert str(load_packed(path).summary()) in printed
        for said in (
            f"{sizes['file']:,} bytes = {sizes['header']:,} header + {sizes['packed']:,} packed",
            f"same numbers: {sizes['float32'] / sizes['packed']:.1f} times the packed model",
            found["sha256"],
            found["network_sha256"],
            "stage 3: 64 channels, 8,256 accumulators compared with the float layers",
            "recipe modern, ",
        ):
            assert said in printed
        of_file = f", {sizes['float32'] / sizes['file']:.1f} times the file\n"
        assert (of_file in printed) == (path == small)


def test_inspect_without_figures(tmp_path, capsys):
    path = tmp_path / "plain.safetensors"
    save_packed(pack(RECIPES["seed"]().build().initialize(0), (28, 28)), path)
    assert run(Namespace(file=str(path), json=False)) == 0
    assert "training     no figures\n" in capsys.readouterr().out


def test_figures_forge_no_lines(tmp_path, capsys):
    path = tmp_path / "own.safetensors"
    training = {"a\nsha256       of a key": "b\r\x1b[2Jthresholds", "list": ["c\nd"], "ü": "é"}
    save_packed(pack(RECIPES["seed"]().build().initialize(0), (28, 28)), path, training=training)
    assert main(["inspect", str(path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        r"training     a\nsha256       of a key b\r\x1b[2Jthresholds, list ['c\nd'], ü é"
    )
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"] == training


def test_inspect_says_what_goes_in(tmp_path, capsys, rng):
    path = tmp_path / "table.safetensors"
    packed, _ = coded("int16", rng)
    names = ("a", "b\nsha256       of a key", "c")
    save_packed(replace(packed, class_names=names), path)
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "\ninput        int16 of (4,)\n" in printed
    assert "\nfeatures     x0, x1, x2, x3\n" in printed
    assert "\nclasses      a, b\\nsha256       of a key, c\n" in printed
    # 32 thresholds, the network's 768 + 72 weights and 24 thresholds, 2 numbers for each class
    assert f"\nfloat32      {4 * (32 + 768 + 72 + 24 + 6):,} bytes " in printed
    assert main(["inspect", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["input_dtype"], said["input_shape"], said["classes"]) == ("int16", [4], 3)
    assert (said["feature_names"], said["class_names"]) == (["x0", "x1", "x2", "x3"], list(names))


def test_inspect_without_names(tmp_path, capsys):
    path = tmp_path / "plain.safetensors"
    save_packed(pack(RECIPES["seed"]().build().initialize(0), (28, 28)), path)
    assert main(["inspect", str(path)]) == 0
    assert not re.search("^(input|features|classes) ", capsys.readouterr().out, re.MULTILINE)


def test_inspect_says_what_was_rounded(tmp_path, capsys):
    path = tmp_path / "real.safetensors"
    sign = Activation(SignSTE())
    layers = Rescale(1 / 255), Dense(6, 5), sign, Dense(5, 3)
    packed = pack(Sequential(*layers).initialize(0), (6,))
    save_packed(packed, path)
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert (
        "channels, 20 accumulators compared with exact arithmetic on rounded numbers\n" in printed
    )
    same, any_ = f"{packed.bound_of_same_signs:.6g}", f"{packed.bound:.6g}"
    expected = f"bound        outputs differ from the model's by {same} at most if no sign does"
    assert f"\n{expected}, else by {any_}\n" in printed
    assert main(["inspect", str(path), "--json"]) == 0
    assert str(packed.bound) in capsys.readouterr().out
