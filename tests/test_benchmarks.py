"""The benchmarks as a user runs them, on little work: what they measure, they measure elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def run(tmp_path):
    """A script on the bundled sample, without rivals."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINIBNN_")}
    environment |= {"MINIBNN_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", str(BENCHMARKS / script), *options],
            capture_output=True, text=True, env=environment, timeout=100,
        )  # fmt: skip

    return run


def test_a_race_gives_a_table_every_turn_and_a_picture(run, tmp_path):
    done = run(
        "cpu.py", "--work", "step-3x256", "--rivals", "numpy", "--repeats", "2", "--sittings", "2",
        "--steps", "2", "--threads", "1", "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, _, without_c, row = done.stdout.splitlines()
    assert head == "| work | minibnn | rival | its | minibnn / rival |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "step-3x256"
    assert cells[2] == "matrix products alone"
    assert "| minibnn without its C |" in without_c
    turns = pd.read_csv(tmp_path / "cpu.csv").set_index(["contestant", "repeat"])
    assert len(turns) == 3 * 2 * 2
    assert turns.index.is_unique
    assert set(turns.unit) == {"s/step"}
    ratios = turns.value["minibnn"] / turns.value["matrix products alone"]
    low, middle, high = ratios.quantile([0.25, 0.5, 0.75])
    shown = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    assert cells[4] == shown
    assert 1.5 < turns.first_loss["minibnn"].iloc[0] < 5
    assert (tmp_path / "cpu.png").stat().st_size > 5000
    assert '"threads": 1' in (tmp_path / "cpu.json").read_text()


def test_a_part_is_not_kept_and_minibnn_may_run_alone(run):
    kept = sorted((BENCHMARKS / "results").iterdir())
    done = run("cpu.py", "--work", "evaluate", "--rivals", "none", "--repeats", "1",
               "--sittings", "1", "--steps", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("| evaluate | ")
    assert "not kept" in done.stderr
    assert sorted((BENCHMARKS / "results").iterdir()) == kept


def test_who_does_other_work_is_out(run, tmp_path, monkeypatch):
    """A rival that starts from other weights is named, has no row, and fails the run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contestants"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from race import Contestant, race
    from turns import Job

    from minibnn import load_sample

    cheat = tmp_path / "cheat.py"
    cheat.write_text(
        f"import sys\nsys.path.insert(0, {str(BENCHMARKS / 'contestants')!r})\n"
        "from plain_numpy import PlainNumpy, run\n"
        "run(lambda job, weights, *rest: PlainNumpy(job, [-weights[0], *weights[1:]], *rest))\n"
    )
    contestants = [
        Contestant("minibnn", "minibnn", "ours.py"),
        Contestant("plain", "numpy", "plain_numpy.py"),
        Contestant("cheat", "numpy", str(cheat)),
        Contestant("broken", "numpy", "nowhere.py"),
    ]
    job = Job(
        "train", (784, 16, 10), bias=True, norm=False, clip=None, bound=None, steps=2, threads=1
    )
    rows, complaints = race(job, contestants, 2, load_sample())
    assert {row["contestant"] for row in rows} == {"minibnn", "plain"}
    assert len(rows) == 4
    assert len(complaints) == 2
    assert complaints[0].startswith("cheat does other work: its first loss is")
    assert "nowhere.py" in complaints[1]


def test_scaling(run, tmp_path):
    done = run("scaling.py", "--widths", "16", "32", "--batches", "4", "--rivals", "numpy",
               "--repeats", "1", "--threads", "1", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    turns = pd.read_csv(tmp_path / "scaling.csv")
    assert turns.groupby("against")["size"].unique().map(sorted).to_dict() == {
        "batch": [4],
        "width": [16, 32],
    }
    assert (tmp_path / "scaling.png").stat().st_size > 5000


def test_deploy_has_every_form_that_is_there(run, tmp_path):
    done = run("deploy.py", "--rivals", "none", "--threads", "1", "--epochs", "1", "--repeats", "1",
               "--batches", "1", "--calls", "20", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    turns = pd.read_csv(tmp_path / "deploy.csv")
    forms = {"packed NumPy", "minibnn's float model", "NumPy, folded floats"}
    if "C left out" not in done.stderr:
        forms |= {"C -O3 -march=native", "C -O2", "C -O3 -march=native from Python"}
        assert "compiled C / form" in done.stdout
    assert set(turns.contestant) == forms
    assert (turns.agreement >= 0.99).all()
    assert (turns.agreement[~turns.contestant.str.contains("float")] == 1).all()
    latency = turns[turns.work == "latency"].set_index(["batch", "contestant", "repeat"])
    assert len(latency) == len(forms)
    assert latency.index.is_unique
    assert latency.value.between(1e-7, 10).all()
    if "C -O2" in forms:
        pair = latency.value[1].unstack("contestant")
        ratio = (pair["C -O3 -march=native"] / pair["packed NumPy"]).median()
        assert f"{ratio:.3g} (" in next(r for r in done.stdout.splitlines() if "packed NumPy" in r)
    shipped = turns.groupby("contestant").shipped.first()
    assert shipped["packed NumPy"] < 17_000 < 20 * 17_000 < shipped["minibnn's float model"]
    assert "Shipped: C, code and constants; " in done.stdout
    memory = turns[turns.work == "memory"].groupby("contestant").value.median()
    assert len(memory) in (0, len(forms))  # Linux alone
    assert (memory.drop("packed NumPy", errors="ignore") < 100).all()
    assert '"recipe": "modern"' in (tmp_path / "deploy.json").read_text()


def test_folded_floats_are_the_packed_network(monkeypatch):
    """Thresholds of both directions, ties on them, and channels that never change."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contestants"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from deploy import fold

    from minibnn import load_sample, pack
    from minibnn.recipes import RECIPES

    model = RECIPES["modern"]().build().initialize(0)
    rng = np.random.default_rng(0)
    for part in model.parameters():
        if part.name == "gamma":
            part.data[...] = rng.choice([-1, 0, 1, 0.01], part.data.shape)
        elif part.name == "beta":
            part.data[...] = rng.choice([-1, 0, 1], part.data.shape)
    packed = pack(model)
    x = load_sample().test_images.reshape(-1, 784).astype(np.float32)
    bits = [packed.after(load_sample().test_images, stages) for stages in (2, 4)]
    *hidden, (W, b) = fold(packed)
    assert packed.stages[1].falling.any()
    for (weights, biases), expected in zip(hidden, bits, strict=True):
        y = x @ weights.T + biases
        assert (abs(y) >= 0.5).all()
        np.testing.assert_array_equal(y > 0, expected == 1)
        x = np.copysign(np.float32(1), y)
    np.testing.assert_allclose(
        x @ W.T + b, packed.logits(load_sample().test_images), rtol=1e-4, atol=1e-4
    )


def test_agree_names_what_it_did_not_run(run, tmp_path):
    done = run("agree.py", "--recipes", "modern", "--images", "100", "--out", str(tmp_path))
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


def test_agree_sees_one_wrong_score_and_one_wrong_label(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contestants"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from agree import row_of

    scores = np.arange(30).reshape(10, 3)
    labels = scores.argmax(axis=1)
    row = row_of("same", (scores.copy(), labels.copy()), scores, labels, labels)
    assert (row["verdict"], row["other_scores"], row["other_labels"]) == ("identical", 0, 0)
    wrong, other = scores.copy(), labels.copy()
    wrong[3, 0] += 1
    other[4] = 0
    assert row_of("a", (wrong, labels), scores, labels, labels)["verdict"] == "DIFFERS"
    assert row_of("b", (scores, other), scores, labels, labels)["verdict"] == "DIFFERS"
    with pytest.raises(RuntimeError, match=r"expected scores \(10, 3\), got \(9, 3\)"):
        row_of("c", (scores[1:], labels), scores, labels, labels)


@pytest.fixture
def modules(monkeypatch):
    """The scripts can be imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contestants"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.usefixtures("modules")
def test_agree_calls_a_wrong_packed_model_wrong(monkeypatch):
    """Also where each of its labels has an explanation: another bit in some layer."""
    import agree

    from minibnn import disagreements, load_sample, pack
    from minibnn.recipes import RECIPES

    monkeypatch.setattr(agree, "FORMS", {})
    model = RECIPES["modern"]().build().initialize(0)
    data = load_sample()
    images, labels = data.test_images[:200], data.test_labels[:200]
    packed = pack(model)
    _, row = agree.compare(packed, model, images, labels, BENCHMARKS)
    assert row["verdict"] == "explained"
    packed.stages[1].thresholds.flags.writeable = True
    packed.stages[1].thresholds[:] += 3000
    assert disagreements(model, packed, images).unexplained == 0
    _, row = agree.compare(packed, model, images, labels, BENCHMARKS)
    assert row["verdict"] == "DIFFERS"


@pytest.mark.parametrize("option", ["--epochs", "--images"])
def test_agree_refuses_in_words(run, option):
    done = run("agree.py", option, "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {option}: expected at least 1, got 0" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("modules")
@pytest.mark.skipif(not any(map(shutil.which, ("gcc", "clang", "cc"))), reason="no C compiler")
def test_another_header_in_the_same_folder_is_compiled_anew(tmp_path, monkeypatch):
    import compiled_c

    from minibnn import export_c, load_sample, pack
    from minibnn.recipes import RECIPES

    images = load_sample().test_images[:20]
    for seed in (0, 1):
        packed = pack(RECIPES["modern"]().build().initialize(seed))
        export_c(packed, tmp_path / "digits.h")
        scores = compiled_c.Library(tmp_path, ("-O1",)).scores(images, 10)
        np.testing.assert_array_equal(scores, packed.predict_scores(images))
    export_c(packed, tmp_path / "digits.h")
    monkeypatch.setattr(compiled_c, "compile_in", pytest.fail)
    compiled_c.Library(tmp_path, ("-O1",))


@pytest.mark.usefixtures("modules")
def test_deploy_names_the_forms_that_it_leaves_out(tmp_path, monkeypatch):
    import deploy

    from minibnn import load_sample, pack
    from minibnn.recipes import RECIPES

    monkeypatch.setitem(sys.modules, "onnx", None)
    model = RECIPES["modern"]().build().initialize(0)
    left_out = deploy.write_forms(tmp_path, model, pack(model), load_sample())
    texts = sorted(text for text in left_out.values() if "no C compiler" not in text)
    assert [text.partition(" left out: ")[0] for text in texts] == [
        "ONNX Runtime, floats",
        "ONNX Runtime, integers",
    ]
