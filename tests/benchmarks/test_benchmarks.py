"""The benchmarks as a user runs them, on little work: what they measure, they measure elsewhere."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from devices import open_backend
from fuzz_writer import killed_everywhere

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


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
        "cpu.py", "--workloads", "step-3x256", "--rivals", "numpy", "--repeats", "2", "--sessions", "2",
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
    done = run("cpu.py", "--workloads", "evaluate", "--rivals", "none", "--repeats", "1",
               "--sessions", "1", "--steps", "1")  # fmt: skip
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
    packed = pack(model, (28, 28))
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
    packed = pack(model, (28, 28))
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
        packed = pack(RECIPES["modern"]().build().initialize(seed), (28, 28))
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
    left_out = deploy.write_forms(tmp_path, model, pack(model, (28, 28)), load_sample())
    texts = sorted(text for text in left_out.values() if "no C compiler" not in text)
    assert [text.partition(" left out: ")[0] for text in texts] == [
        "ONNX Runtime, floats",
        "ONNX Runtime, integers",
    ]


@pytest.mark.usefixtures("modules")
def test_the_floor_is_the_account_of_its_docstring():
    from floor import Ceilings, floor, inference_needs, needs, pooled_places, training_needs
    from turns import Job

    def job(**fields):
        given = {"kind": "train", "sizes": (784, 2, 3), "bias": True, "norm": False, "clip": None}
        return Job(**given | {"batch": 5} | fields)

    weights = 784 * 2 + 2 * 3
    parameters = weights + 2 + 3
    one = 784 * 2 * 2 / 8 + 2 * 3 * 3 / 8  # signs: written and read; read once more behind a layer
    one += 32 * parameters
    one += 5 * 2 * 16 + 5 * 3 * 20  # z, dz; dz once more where there is a dx
    one += 5 * 2 * 3 / 8  # signs of the hidden layer
    one += 5 * (2 * 784 + 5)
    flops = 5 * (784 * 2 * 4 + 2 * 3 * 6)
    assert training_needs(job()) == (one, flops)
    # Batch norm: two numbers a channel instead of one, and z read again.
    normed = job(bias=False, norm=True, clip=1.0)
    assert training_needs(normed) == (one + 32 * 5 + 4 * 5 * (2 + 3), flops)
    clipped = job(clip=1.0)  # the last layer has no sign, and reads nothing again
    assert training_needs(clipped) == (one + 4 * 5 * 2, flops)

    # 28x28 -> 26x26x2, pooled to 13x13x2 = 338.
    conv = training_needs(job(sizes=(338, 10), convs=(2,), pooled=(0,), batch=1))
    expected = 18 * 2 / 8 + 3380 * 3 / 8 + 32 * (18 + 2 + 3380 + 10)
    expected += 26 * 26 * 2 * 16 + 338 * 8 + 338 * 3 / 8 + 10 * 20 + 2 * 784 + 5
    assert conv == (expected, 4 * 26 * 26 * 18 + 6 * 3380)
    # 28 -> 26 -> 13 -> 11, of which pooling drops a row and a column.
    twice = job(sizes=(50, 10), convs=(1, 2), pooled=(0, 1), batch=2)
    assert training_needs(twice).operations == 2 * (4 * 676 * 9 + 6 * 121 * 18 + 6 * 500)
    assert [pooled_places(twice, i) for i in (0, 1)] == [2 * 13 * 13, 2 * 5 * 5 * 2]

    assert inference_needs(job(), 10, bits=False) == (4 * weights + 7850, 20 * weights)
    assert inference_needs(job(), 10, bits=True) == (weights / 8 + 20 + 7850, 20 * weights)
    assert needs(job(kind="predict")) == inference_needs(job(), 5, bits=True)
    assert needs(job(kind="evaluate")) == inference_needs(job(), 10_000, bits=False)
    test = inference_needs(job(), 70_000, bits=False)
    assert needs(job(kind="whole")) == (
        10 * (12_000 * one + test.bytes), 10 * (12_000 * flops + test.operations)
    )  # fmt: skip
    with pytest.raises(ValueError, match="no floor is known for load"):
        needs(job(kind="load"))

    slow_copy = Ceilings(copy=one / 2, float32=flops, tf32=8 * flops, float16=16 * flops)
    assert floor(job(), slow_copy) == (2, "bytes")
    quick_copy = Ceilings(copy=8 * one, float32=flops, tf32=4 * flops, float16=16 * flops)
    assert floor(job(), quick_copy) == (1, "operations")
    assert floor(job(tf32=True), quick_copy) == (0.25, "operations")
    packed = Ceilings(copy=1e30, float32=1, tf32=1, float16=10 * weights)
    assert floor(job(kind="predict"), packed) == (1, "operations")


@pytest.mark.usefixtures("modules")
def test_the_table_and_the_picture_of_a_gpu_run_are_made_from_its_csv(tmp_path, monkeypatch):
    import gpu

    rows = [
        ("a", "minibnn", 0, 0.002), ("a", "rival", 0, 0.004), ("a", "minibnn, plain steps", 0, 0.02),
        ("a", "minibnn", 1, 0.003), ("a", "rival", 1, 0.003), ("a", "minibnn, plain steps", 1, 0.02),
        ("b", "minibnn, plain steps", 0, 0.5), ("b", "rival", 0, 0.25), ("c", "rival", 0, 0.25),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["work", "contestant", "repeat", "value"])
    table = table.assign(unit="s/step", tf32="off", floor=0.001, floor_by="bytes")
    table.to_csv(tmp_path / "gpu.csv", index=False)
    table = pd.read_csv(tmp_path / "gpu.csv")
    assert gpu.markdown(table, gpu.Ceilings(3e12, 5e13, 4e14, 8e14)).splitlines() == [
        "TF32 off. Measured in this run: a copy 3000 GB/s, float32 50, TF32 400, float16 800 Tflop/s.",
        "",
        "| work | contestant | time (quartiles) | minibnn / contestant | floor | time / floor |",
        "|---|---|---|---|---|---|",
        "| a | minibnn | 2.50 ms (2.25 ms to 2.75 ms) |  | 1.00 ms (bytes) | 2.5 |",
        "| a | rival | 3.50 ms (3.25 ms to 3.75 ms) | 0.75 (0.62 to 0.88) | 1.00 ms (bytes) | 3.5 |",
        "| a | minibnn, plain steps | 20.0 ms (20.0 ms to 20.0 ms) | 0.12 (0.11 to 0.14) | 1.00 ms (bytes) | 20 |",
        "| b | minibnn, plain steps | 500 ms (500 ms to 500 ms) |  | 1.00 ms (bytes) | 500 |",
        "| b | rival | 250 ms (250 ms to 250 ms) | 2.00 (2.00 to 2.00) | 1.00 ms (bytes) | 250 |",
        "| c | rival | 250 ms (250 ms to 250 ms) |  | 1.00 ms (bytes) | 250 |",
    ]
    gpu.picture(table, tmp_path / "gpu.png")
    assert (tmp_path / "gpu.png").stat().st_size > 5000
    drawn = []
    monkeypatch.setattr(gpu, "draw", lambda rows, file, ours: drawn.append(gpu.ratios(rows, ours)))
    gpu.picture(table, tmp_path / "gpu.png")
    against = drawn[0].set_index(["work", "rival"])
    assert against.ratio["a", "floor"] == pytest.approx(2.5)
    assert set(against.index.get_level_values("work")) == {"a", "b"}


def test_a_gpu_run_without_a_gpu_says_so_before_it_measures(run):
    from minibnn import DeviceError, get_backend

    try:
        get_backend("gpu")
    except DeviceError:
        pass
    else:
        pytest.skip("there is a GPU")
    done = run("gpu.py")
    assert (done.returncode, done.stdout) == (4, "")
    assert 'gpu.py: device "gpu" is unavailable: ' in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_of_a_gpu_race(run, tmp_path):
    kept = sorted((BENCHMARKS / "results").iterdir())
    done = run("gpu.py", "--device", "cpu", "--rivals", "none", "--repeats", "2", "--steps", "2",
               "--workloads", "seed-epoch", "evaluate", "packed-1", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "its figures say nothing of a GPU" in done.stderr
    assert "seed-epoch: minibnn left out: the CPU has no CUDA graphs" in done.stderr
    turns = pd.read_csv(tmp_path / "gpu.csv")
    assert dict(zip(turns.work, turns.contestant, strict=True)) == {
        "seed-epoch": "minibnn, plain steps", "evaluate": "minibnn", "packed-1": "minibnn",
    }  # fmt: skip
    assert len(turns) == 6
    assert set(turns.tf32) == {"off"}
    assert (turns.floor > 0).all()
    assert (turns.agreement.dropna() == 1).all()
    assert done.stdout.count("\n| ") == 1 + 3
    assert '"tf32": "off"' in (tmp_path / "gpu.json").read_text()
    assert sorted((BENCHMARKS / "results").iterdir()) == kept
    done = run("gpu.py", "--device", "cpu", "--out", str(BENCHMARKS / "results" / "more"))
    assert done.returncode == 2
    assert "no result of a GPU" in done.stderr


@pytest.mark.usefixtures("modules")
def test_rivals_come_from_where_they_are(tmp_path, monkeypatch):
    import gpu

    monkeypatch.setenv("MINIBNN_RIVALS", str(tmp_path))
    here = Path(sys.executable)
    monkeypatch.setattr(gpu, "MODULES", {"pytorch": ("", "json"), "jax": ("", "no_such_module")})
    assert gpu.find_rivals(None, None) == {"pytorch": here}
    assert gpu.find_rivals(here, None) == {"pytorch": here}
    assert gpu.find_rivals(None, ["none"]) == {}
    own = tmp_path / "pytorch" / "bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(here)
    assert gpu.find_rivals(None, ["pytorch"])["pytorch"] == own / "python"
    assert gpu.find_rivals(here, ["pytorch"])["pytorch"] == here
    found, absent = gpu.contestants(
        gpu.WORKLOADS["seed-epoch"].contestants, {"pytorch": here}, "gpu"
    )
    assert {c.home: c.python for c in found} == {"minibnn": here, "pytorch": here}
    assert len(found) == 7
    assert absent == []


@pytest.mark.usefixtures("modules")
def test_a_turn_on_a_gpu_is_an_epoch_of_the_batches_that_rivals_get(monkeypatch):
    """minibnn's forms there, on the strict stand-in, beside its plain loop on the CPU."""
    import ours
    from turns import Data, Job

    from minibnn import get_backend, load_sample

    strict = open_backend("strict")
    monkeypatch.setattr(ours, "get_backend", {"gpu": strict, "cpu": get_backend("cpu")}.get)
    monkeypatch.setattr(strict, "tf32", False, raising=False)
    monkeypatch.setattr(ours.Minibnn, "wait", lambda self: None)
    sample = load_sample()
    data = Data(*(getattr(sample, field) for field in Data._fields))
    job = Job("train", (784, 8, 10), batch=20, steps=6, by_epoch=True)
    there = replace(job, device="gpu", tf32=True)
    contestants = {form: ours.Minibnn(there, [], data, form) for form in ("plain", "captured")}
    assert strict.tf32 is True
    loop = ours.Minibnn(job, [], data, "")
    rows = ours.endless(ours.loader(job, np.arange(len(data.train_images))))
    met = []
    monkeypatch.setattr(
        loop.loss,
        "forward",
        lambda z, labels, f=loop.loss.forward: met.append(labels) or f(z, labels),
    )
    for _ in range(2):  # turns
        orders = np.stack([next(rows)[0] for _ in range(6)])
        losses = loop.train(orders)
        np.testing.assert_array_equal(met, data.train_labels[orders])
        for form, contestant in contestants.items():
            found = contestant.train(orders)
            np.testing.assert_allclose(found, [losses[0], losses[-1]], rtol=1e-5, err_msg=form)
        met.clear()
    images, labels = (contestants["plain"].put(a) for a in (data.test_images, data.test_labels))
    expected = loop.evaluate(data.test_images, data.test_labels)
    # With batch norm's running statistics an image of the thousand has a sum at the edge of a sign.
    np.testing.assert_allclose(contestants["plain"].evaluate(images, labels), expected, atol=2e-3)
    with pytest.raises(RuntimeError, match="expected an epoch of 4 steps, got 6"):
        contestants["plain"].train(orders[:4])

    monkeypatch.setattr(strict, "graphs", None)
    with pytest.warns(UserWarning, match="without a captured step"):  # noqa: SIM117
        with pytest.raises(RuntimeError, match="no step was captured: the strict captures nothing"):
            ours.Minibnn(there, [], data, "captured").train(orders)


@pytest.mark.usefixtures("modules")
def test_products_that_are_rounded_in_secret_are_refused():
    from turns import Job, require_exact

    def in_ten_bits(a, b):
        mantissa, exponent = np.frexp(a)
        return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent) @ b

    exact = Job("train", (784, 10))
    require_exact(exact, np.matmul)
    require_exact(Job("train", (784, 10), tf32=True), in_ten_bits)
    with pytest.raises(RuntimeError, match="rounded to TF32"):
        require_exact(exact, in_ten_bits)


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """The folder of results is another one."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import environment

    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    return environment


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
@pytest.mark.parametrize("writer", ["save", "save_run", "confirm_gpu", "draw"])
def test_a_kill_at_any_step_hurts_no_result(scripts, tmp_path, monkeypatch, writer):
    import tables

    import confirm_gpu
    from confirm.report import Report
    from confirm.setting import Outcome
    from minibnn.result_folder import ResultFolder

    monkeypatch.setattr(scripts, "environment", lambda *_: {})
    table = pd.DataFrame([{"work": "w", "round": 0, "seconds": 0.25}])

    def write(out):
        monkeypatch.setattr(scripts, "RESULTS", out)
        if writer == "save":
            scripts.save("r", table)
        elif writer == "save_run":
            scripts.save_run(out, "r", table, [], 1, [])
        elif writer == "confirm_gpu":
            monkeypatch.setattr(confirm_gpu.time, "monotonic", lambda: 0.0)
            folder = ResultFolder(out, ["r.json"])
            report = Report(folder.file("r.json"))
            confirm_gpu.run_parts(["device", "suite"], lambda *_: Outcome("ok", "", {}), report)
            folder.finish()
        else:
            rows = [{"work": "w", "contestant": c, "repeat": 0, "value": v, "unit": "s"}
                    for c, v in ((tables.OURS[0], 1.0), ("other", 2.0))]  # fmt: skip
            tables.draw(pd.DataFrame(rows), out / "r.png")

    names = {"save": ["r.json"], "save_run": ["r.csv", "r.json"], "confirm_gpu": ["r.json"]}
    killed_everywhere(tmp_path, write, names.get(writer, ["r.png"]))


def few_images(*_):
    from minibnn import load_sample

    data = load_sample()
    return replace(data, train_images=data.train_images[:200], train_labels=data.train_labels[:200])


def test_each_stored_accuracy_says_what_decides_how_it_rounds(scripts, tmp_path, monkeypatch):
    """Of its own run; an earlier row stays as it is, without what nobody noted then."""
    import accuracy
    from minibnn.recipes import RECIPES

    modern = RECIPES["modern"]()
    monkeypatch.setitem(RECIPES, "modern", lambda: replace(modern, epochs=1))
    monkeypatch.setattr(accuracy, "load_mnist", few_images)
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    earlier = {"recipe": "modern", "seed": 0, "epochs": 10, "acc_test": 0.9668}
    file = tmp_path / "accuracy_modern.json"
    file.write_text(json.dumps({"environment": {}, "rows": [earlier]}))
    options = ["accuracy.py", "modern", "--first-seed", "1", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", options)
    accuracy.main()
    first, *rows = json.loads(file.read_text())["rows"]
    assert first == earlier
    assert [row["seed"] for row in rows] == [1, 2]
    assert [row["machine"] for row in rows] == [scripts.machine()] * 2
    assert all(0 < row["acc_test"] < 1 for row in rows)


def test_each_stored_choice_says_it_too(scripts, tmp_path, monkeypatch):
    import choose

    monkeypatch.setattr(choose, "load_mnist", lambda: SimpleNamespace(validation_split=few_images))
    monkeypatch.setattr(choose, "RESULTS", tmp_path)
    options = ["choose.py", "seed", "--epochs", "1", "--lr", "1e-3", "2e-3"]
    monkeypatch.setattr(sys, "argv", options)
    for _ in range(2):  # a setting that is measured again replaces its row
        choose.main()
    rows = json.loads((tmp_path / "choice_seed.json").read_text())["rows"]
    assert [row["lr"] for row in rows] == [1e-3, 2e-3]
    assert [row["machine"] for row in rows] == [scripts.machine()] * 2


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_machine_is_what_runs(threads):
    """The kernels and threads of OpenBLAS, and minibnn's C, as the variables have them here."""
    variables = {"OPENBLAS_NUM_THREADS": threads, "MINIBNN_COMPILED": "0"}
    haswell = platform.machine() == "x86_64" and threads == "1"
    variables |= {"OPENBLAS_CORETYPE": "Haswell"} if haswell else {}
    code = "import json, numpy, environment; print(json.dumps(environment.machine()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), **variables},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["numpy"] == np.__version__
    assert found["backend"] == "NumpyBackend"
    assert found["variables"].items() >= variables.items()
    assert found["processor"]
    if "openblas" in found["blas"]:
        assert found["blas_threads"] == min(int(threads), os.cpu_count())
        assert not haswell or found["blas"].endswith(" Haswell")
    checkout = (BENCHMARKS.parent / ".git").exists()
    assert bool(re.fullmatch(r"[0-9a-f]{12}\+?", found["commit"])) == checkout
