"""benchmarks/agree.py: forms that agree, that differ, and that cannot run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import agree
from minibnn import disagreements, load_sample, pack
from minibnn.recipes import RECIPES


def test_forms_that_did_not_run_are_listed(run, tmp_path):
    done = run("agree.py", "--networks", "modern", "--samples", "100", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "agree.csv").set_index("form")
    forms = ["packed NumPy", "compiled C", "ONNX Runtime", "JavaScript", "CuPy", "float model"]
    assert list(table.index) == forms
    assert table.verdict["packed NumPy"] == "reference"
    assert table.verdict["float model"] == "explained"
    exported = table.loc[forms[1:-1]]
    assert set(exported.verdict) <= {"identical", "not run"}
    ran = exported[exported.verdict == "identical"]
    assert (ran[["images", "other_scores", "other_labels"]] == [100, 0, 0]).all(axis=None)
    rest = exported[exported.verdict == "not run"]
    assert (rest.images == 0).all()
    assert rest.why.notna().all()
    for form in forms:
        assert f"| modern | {form} | " in done.stdout


def test_one_wrong_score_or_label_is_found():
    scores = np.arange(30).reshape(10, 3)
    labels = scores.argmax(axis=1)
    row = agree.row_of("same", (scores.copy(), labels.copy()), scores, labels, labels)
    assert (row["verdict"], row["other_scores"], row["other_labels"]) == ("identical", 0, 0)
    wrong, other = scores.copy(), labels.copy()
    wrong[3, 0] += 1
    other[4] = 0
    assert agree.row_of("a", (wrong, labels), scores, labels, labels)["verdict"] == "DIFFERS"
    assert agree.row_of("b", (scores, other), scores, labels, labels)["verdict"] == "DIFFERS"
    with pytest.raises(RuntimeError, match=r"expected scores \(10, 3\), got \(9, 3\)"):
        agree.row_of("c", (scores[1:], labels), scores, labels, labels)


def test_a_wrong_packed_model_is_found(tmp_path, monkeypatch):
    """Even if each label that differs is explained by another bit in some layer."""
    monkeypatch.setattr(agree, "FORMS", {})
    model = RECIPES["modern"]().build().initialize(0)
    data = load_sample()
    images, labels = data.test_images[:200], data.test_labels[:200]
    packed = pack(model, (28, 28))
    _, row = agree.compare(packed, model, images, labels, tmp_path)
    assert row["verdict"] == "explained"
    packed.stages[1].thresholds.flags.writeable = True
    packed.stages[1].thresholds[:] += 3000
    assert disagreements(model, packed, images).unexplained == 0
    _, row = agree.compare(packed, model, images, labels, tmp_path)
    assert row["verdict"] == "DIFFERS"


@pytest.mark.parametrize("option", ["--epochs", "--samples"])
def test_invalid_options_have_a_message(run, option):
    done = run("agree.py", option, "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {option}: expected at least 1, got 0" in done.stderr
    assert "Traceback" not in done.stderr
