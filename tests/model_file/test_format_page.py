"""`docs/model-format.md`: its examples are right, and it names everything in a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from model_files import pair

from minibnn import Dense, Sequential, SignSTE, container, description, save_model
from minibnn.model_file.form import MODEL
from minibnn.model_file.parts import PARTS

DOC = (Path(__file__).parents[2] / "docs" / "model-format.md").read_text(encoding="utf-8")


def test_the_example_is_a_models_architecture():
    (block,) = re.findall(r"^```json\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    model = Sequential(Dense(784, 10, weight_quantizer=SignSTE()))
    assert json.loads(block) == description.describe(model, "model").description
    assert repr(description.build(json.loads(block), "model", PARTS)) == repr(model)


def test_the_reader_reads_all_arrays_of_the_model(tmp_path, monkeypatch):
    (block,) = re.findall(r"^```python\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    model, optimizer = pair("modern, Bop")
    save_model(model, "model.safetensors", optimizer=optimizer)
    namespace: dict = {}
    exec(compile(block, "docs/model-format.md", "exec"), namespace)
    weights = namespace["weights"]
    np.testing.assert_array_equal(weights["model/2/weight"], model[2].weight.data)
    np.testing.assert_array_equal(weights["model/3/running_mean"], model[3].running_mean.data)
    assert len(weights) == sum(1 for _ in (*model.parameters(), *model.buffers()))
    read = container.read_file("model.safetensors", MODEL)
    assert "optimizer/1/v" in read.entries
    assert all(f"`{key}`" in DOC for key in [*read.metadata, "sha256"])


def test_the_page_has_the_limits():
    assert f"2^{MODEL.max_bytes.bit_length() - 1} bytes" in DOC
    assert f"2^{MODEL.max_header.bit_length() - 1}." in DOC
    assert f"{description._MOST:,} objects, and {description._DEEPEST} inside" in DOC.replace(
        "\n", " "
    )
    assert f"describes version {MODEL.version}." in DOC
