"""The script that confirms the GPU path, as far as it goes without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import confirm_gpu
import numpy as np
import pytest
from confirm import machine, speed, training
from confirm.setting import FAILED, NOT_RUN, OK, Outcome, Setting, run, verdict
from devices import STRICT

from minibnn import DeviceError, ImageDataset, get_backend, load_sample
from minibnn.backend import CPU, Backend

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def few(images: int) -> ImageDataset:
    data = load_sample()
    return replace(
        data,
        train_images=data.train_images[:images],
        train_labels=data.train_labels[:images],
        test_images=data.test_images[:20],
        test_labels=data.test_labels[:20],
    )


def on(backend: Backend, images: int = 660) -> Setting:
    return Setting(backend, given=few(images), epochs=2, job_epochs=1)


# --- Training -----------------------------------------------------------------------------------


def test_trainings_repeat_and_recorded_steps_equal_plain_ones():
    setting = on(STRICT)
    for part, arrays in (
        (training.repeat, {"seed": 13, "modern": 22, "larq-cnn": 29}),
        (training.recorded, {"seed": 9, "modern": 18, "larq-cnn": 23,
                             "dropout and stochastic signs": 18}),
    ):  # fmt: skip
        outcome = part(setting)
        assert (outcome.status, outcome.details) == (OK, arrays)


def test_a_training_that_does_not_repeat_fails(monkeypatch):
    calls = []

    def jittering(model):
        calls.append(model)
        return {"0.weight": np.full(9, len(calls))}

    monkeypatch.setattr(training, "state", jittering)
    outcome = training.repeat(on(CPU))
    assert outcome.status == FAILED
    assert outcome.line == "seed: 0.weight differs in 9 of 9 places (and 2 more)"


def test_steps_that_are_not_recorded_fail(monkeypatch):
    monkeypatch.setattr(STRICT, "records", False)
    monkeypatch.setattr(STRICT, "records_not", "no such driver")
    with pytest.warns(UserWarning, match="no such driver"):
        outcome = training.recorded(on(STRICT))
    assert outcome.status == FAILED
    assert outcome.line.startswith("seed: not recorded: the strict does not record, no such")


def test_the_last_batch_is_smaller_where_it_is_asked_for():
    recipe = training.RECIPES["modern"]()
    _, loader = training.training(training.PlainSteps, recipe, CPU, few(660), rest=True)
    assert (loader.samples, len(loader)) == (650, 7)
    _, loader = training.training(training.PlainSteps, recipe, CPU, few(660), rest=False)
    assert (loader.samples, len(loader)) == (660, 6)


def test_differences_are_of_bits():
    one = {"a": np.array([0.0, 1.0]), "b": np.array([np.nan])}
    assert training.differences(one, {k: v.copy() for k, v in one.items()}) == []
    assert training.differences(one, one | {"a": np.array([0.0, np.nextafter(1, 2)])}) == [
        "a differs in 1 of 2 places"
    ]
    assert training.differences(one, one | {"a": np.array([-0.0, 1.0])})
    assert training.differences(one, {"a": one["a"]}) == ["other arrays: ['b']"]


def test_accuracy_is_compared_with_the_stored_runs(monkeypatch):
    blank = np.zeros((60_000, 1, 1), np.uint8)
    mnist = ImageDataset("mnist", blank, blank[:, 0, 0], blank[:1], blank[:1, 0, 0])
    stored = {
        name: [row["acc_test"] for row in json.loads(
            (BENCHMARKS / f"results/accuracy_{name}.json").read_text())["rows"]][:5]
        for name in ("seed", "modern")
    }  # fmt: skip
    off = 0.0
    monkeypatch.setattr(
        training, "trained_accuracy", lambda name, seed, setting: stored[name][seed] - off
    )
    setting = Setting(CPU, given=mnist)
    outcome = training.accuracy(setting)
    assert outcome.status == OK
    assert outcome.details["modern"] == {"gpu": stored["modern"], "cpu": stored["modern"]}
    off = 0.02  # more than modern's seeds differ by, and less than the seed network's
    outcome = training.accuracy(setting)
    assert outcome.status == FAILED
    assert outcome.line.startswith("modern: GPU 0.9")
    assert "more)" not in outcome.line
    assert training.accuracy(on(CPU)).status == NOT_RUN


def test_the_rule_of_accuracy():
    assert training.compare_accuracies([0.9], [0.85, 0.9, 0.95])[0] == ""
    complaint, line = training.compare_accuracies([0.5, 0.6], [0.7, 0.71])
    assert complaint == line
    assert line == (
        "GPU 0.5500 (standard deviation 0.0707, 2 seeds); CPU 0.7050 (standard deviation 0.0071, "
        "2 seeds): 0.1550 apart, 0.1000 allowed"
    )
    assert training.compare_accuracies([float("nan")], [0.7, 0.71])[0]


# --- Speed --------------------------------------------------------------------------------------


def test_speed_says_what_it_measured(monkeypatch, capsys):
    monkeypatch.setattr(speed, "synchronize", lambda backend: None)
    setting = on(STRICT)
    work = "seed", training.RECIPES["seed"](), setting.few
    monkeypatch.setattr(speed, "works", lambda setting: [work])
    outcome = speed.speed(setting)
    assert outcome.status == OK
    row = outcome.details["steps"][0]
    assert (row["steps"], row["batch"]) == (10, 64)
    assert 0 < 1e3 * row["begin_ms"] < 10 * row["recorded_us"]
    assert row["a_step_is"].startswith("not counted: ")
    assert outcome.details["job"]["epochs"] == 1
    assert f"{row['plain_us']:.1f} us plain" in outcome.line
    assert f"{row['recorded_us']:>9.1f} us" in capsys.readouterr().out


def test_steps_in_words():
    assert speed.in_words([0, 0, 1, 2, 2, 5], "") == "2 kernels, 1 copies, 2 fills, 1 others"
    assert speed.in_words([], "no driver") == "not counted: no driver"


class Driver:
    """Stands in for CUDA's driver: a graph of three nodes."""

    def __init__(self, status):
        self.status = status

    def cuGraphGetNodes(self, graph, nodes, count):  # noqa: N802
        assert graph.value == 77
        count._obj.value = 3
        if nodes is not None:
            nodes[:] = [1000, 2000, 3000]
        return 0

    def cuGraphNodeGetType(self, node, kind):  # noqa: N802
        kind._obj.value = {1000: 0, 2000: 2, 3000: 0}[node.value]
        return self.status


@pytest.mark.parametrize(
    ("status", "words"), [(0, "2 kernels, 1 fills"), (1, "not counted: status 1")]
)
def test_a_graph_is_counted_by_the_driver(status, words, monkeypatch):
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda name: Driver(status))
    recording = SimpleNamespace(_graph=SimpleNamespace(graph=77))
    assert speed.in_words(*speed.node_kinds(recording)) == words


def test_the_works_of_speed():
    found = {name: (recipe, data) for name, recipe, data in speed.works(on(CPU))}
    assert found.keys() == {"seed", "3x1024", "3x4096"}
    shapes = [p.data.shape for p in found["3x1024"][0].build().initialize(0).parameters()]
    assert [shape for shape in shapes if len(shape) == 2] == [
        (784, 1024), (1024, 1024), (1024, 1024), (1024, 10),
    ]  # fmt: skip


# --- The tests, the sanitizer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "output", "status", "line"),
    [
        (0, "..s\n12 passed, 3 skipped, 900 deselected in 61.20s (0:01:01)", OK,
         "12 passed, 0 failed, 3 skipped"),
        (0, "sss\n3 skipped, 900 deselected in 1.2s", FAILED,
         "no test ran: 0 passed, 0 failed, 3 skipped"),
        (1, "FAILED tests/a.py::b - assert\n1 failed, 7 passed in 3.4s", FAILED,
         "7 passed, 1 failed, 0 skipped; FAILED tests/a.py::b - assert"),
        (2, "ERROR tests/a.py\n1 error in 3.4s", FAILED,
         "0 passed, 0 failed, 0 skipped; ERROR tests/a.py"),
        (1, "No module named pytest", FAILED,
         "0 passed, 0 failed, 0 skipped; No module named pytest"),
        (None, "..F", FAILED, "it took too long"),
    ],
)  # fmt: skip
def test_what_pytest_says(code, output, status, line):
    outcome = machine.read_suite(code, output)
    assert (outcome.status, outcome.line) == (status, line)


@pytest.mark.parametrize(
    ("says", "code", "status", "line"),
    [
        ("every kernel was launched: 50\n========= ERROR SUMMARY: 0 errors", 0, OK,
         "memcheck: ERROR SUMMARY: 0 errors; racecheck: ERROR SUMMARY: 0 errors"),
        ("every kernel was launched: 50\n========= ERROR SUMMARY: 3 errors", 9, FAILED,
         "memcheck ended with 9: ERROR SUMMARY: 3 errors (and 1 more)"),
        ("========= ERROR SUMMARY: 0 errors", 0, FAILED,
         "memcheck ended with 0: ERROR SUMMARY: 0 errors (and 1 more)"),
        ("every kernel was launched: 50", 0, FAILED,
         "memcheck ended with 0: no summary (and 1 more)"),
    ],
)  # fmt: skip
def test_what_the_sanitizer_says(says, code, status, line, tmp_path):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    outcome = machine.sanitizer(Setting(CPU, sanitizer=str(program)))
    assert (outcome.status, outcome.line) == (status, line)
    one, other = (tmp_path / "asked").read_text().splitlines()
    assert one.startswith("--tool memcheck --error-exitcode 9 --report-api-errors no ")
    assert other.startswith("--tool racecheck --error-exitcode 9 ")
    assert one.split()[-1] == str(BENCHMARKS / "every_kernel.py")


def test_without_a_sanitizer(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "USUAL", "/nowhere/compute-sanitizer")
    assert machine.sanitizer(Setting(CPU)).status == NOT_RUN


def test_a_program_that_hangs():
    code, output = run(
        [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], 2
    )
    assert (code, output) == (None, "1\n")


# --- The report ---------------------------------------------------------------------------------


def breaks(setting):
    raise RuntimeError("broken\nin two lines")


OUTCOMES = {
    "device": lambda setting: Outcome(OK, "a GPU", {"figures": [1.5, np.float32(2)]}),
    "suite": breaks,
    "kernels": lambda setting: verdict(["one", "two"], "fine", {}),
    "race": lambda setting: Outcome(NOT_RUN, "nobody to race", {}),
}


def test_the_report(tmp_path, capsys):
    out = tmp_path / "new" / "report.json"
    rows = confirm_gpu.run_parts(list(OUTCOMES), OUTCOMES, Setting(CPU), out, quick=True)
    for row in rows:
        row["seconds"] = 1.25
    assert confirm_gpu.summary(rows).splitlines() == [
        "device: ok, 1.2 s: a GPU",
        "suite: FAILED, 1.2 s: RuntimeError: broken",
        "kernels: FAILED, 1.2 s: one (and 1 more)",
        "race: not run: nobody to race",
        "in all: 1 ok, 2 FAILED, 1 not run, 5 s",
    ]
    assert confirm_gpu.exit_status(rows) == 1
    assert confirm_gpu.exit_status([rows[0], rows[3]]) == 0
    found = json.loads(out.read_text())
    assert found["quick"] is True
    assert found["on"]["numpy"] == np.__version__
    assert [part["status"] for part in found["parts"]] == [OK, FAILED, FAILED, NOT_RUN]
    assert found["parts"][0]["figures"][0] == 1.5
    assert "in two lines" in found["parts"][1]["traceback"]
    printed = capsys.readouterr()
    assert "race: not run: nobody to race" in printed.out
    assert "RuntimeError: broken" in printed.err


def test_no_part_begins_after_the_last_minute(tmp_path):
    rows = confirm_gpu.run_parts(
        ["device"], OUTCOMES, Setting(CPU), tmp_path / "r.json", minutes=-1
    )
    assert confirm_gpu.last_line(rows[0]) == "device: not run: -1 minutes were over"


def test_the_command_line():
    assert confirm_gpu.arguments([]).parts == set(confirm_gpu.PARTS) - {"race"}
    assert confirm_gpu.arguments(["--race", "--parts", "speed"]).parts == {"race", "speed"}
    assert confirm_gpu.parts().keys() == set(confirm_gpu.PARTS)
    Setting(CPU, **confirm_gpu.QUICK)
    with pytest.raises(SystemExit):
        confirm_gpu.arguments(["--parts", "nothing"])


@pytest.mark.parametrize("script", ["confirm_gpu.py", "every_kernel.py"])
def test_without_a_gpu(script, tmp_path):
    try:
        get_backend("gpu")
    except DeviceError as error:
        expected = f"{script}: {error}\n"
    else:
        pytest.skip("there is a GPU")
    options = ["--out", str(tmp_path / "r.json")] if script == "confirm_gpu.py" else []
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (4, expected, "")
    assert not list(tmp_path.iterdir())


def test_packages_that_are_missing_are_named_with_what_installs_them(monkeypatch, capsys):
    monkeypatch.setattr(confirm_gpu, "NEEDED", ("numpy", "nonesuch"))
    monkeypatch.setattr(sys, "argv", ["confirm_gpu.py"])
    with pytest.raises(SystemExit) as stopped:
        confirm_gpu.main()
    assert stopped.value.code == 2
    command = f"{sys.executable} -m pip install nonesuch"
    assert capsys.readouterr().err == (
        f"confirm_gpu.py: not installed: nonesuch; install with: {command}\n"
    )
    monkeypatch.setattr(confirm_gpu, "NEEDED_BY_TESTS", ("nonesuch",))
    outcome = confirm_gpu.parts()["suite"](Setting(CPU))
    assert outcome.status == NOT_RUN
    assert outcome.line.endswith(command)
