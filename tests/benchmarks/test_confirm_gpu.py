"""The script that confirms the GPU path, as far as it goes without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from devices import STRICT

import confirm_gpu
from confirm import machine, speed, training
from confirm.compiling import kept_kernels, watch_compiler
from confirm.report import RUNNING, Report
from confirm.setting import CUT_OFF, FAILED, NOT_RUN, OK, Outcome, Setting, run, verdict
from minibnn import DeviceError, ImageDataset, get_backend, load_sample
from minibnn.backend import CPU, Backend

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


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


@pytest.fixture
def small_batches(monkeypatch):
    """The recipes with batches of 20: as many steps on fewer images."""

    def smaller(recipe):
        return lambda: replace(recipe(), batch_size=20)

    recipes = {name: smaller(training.RECIPES[name]) for name in ("seed", "modern", "larq-cnn")}
    monkeypatch.setattr(training, "RECIPES", recipes)


# --- Training -----------------------------------------------------------------------------------


def test_trainings_repeat_and_captured_steps_equal_plain_ones(small_batches):
    kept = {}
    setting = replace(on(STRICT, 117), keep=kept.update)
    for part, arrays in (
        (training.repeat, {"seed": 13, "modern": 22, "larq-cnn": 29}),
        (training.captured, {"seed": 9, "modern": 18, "larq-cnn": 23,
                             "dropout and stochastic signs": 18}),
    ):  # fmt: skip
        kept.clear()
        outcome = part(setting)
        assert (outcome.status, outcome.details) == (OK, arrays)
        assert kept == {**arrays, "complaints": []}


def test_a_training_that_does_not_repeat_fails(small_batches, monkeypatch):
    calls = []

    def jittering(model):
        calls.append(model)
        return {"0.weight": np.full(9, len(calls))}

    monkeypatch.setattr(training, "state", jittering)
    outcome = training.repeat(on(CPU, 40))
    assert outcome.status == FAILED
    assert outcome.line == "seed: 0.weight differs in 9 of 9 places (and 2 more)"


def test_steps_that_are_not_captured_fail(small_batches, monkeypatch):
    monkeypatch.setattr(STRICT, "graphs", None)
    monkeypatch.setattr(STRICT, "no_graphs", "no such driver")
    with pytest.warns(UserWarning, match="no such driver"):
        outcome = training.captured(on(STRICT, 50))
    assert outcome.status == FAILED
    assert outcome.line.startswith("seed: not captured: the strict captures nothing, no such")


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
    off = 0.008  # more than modern's seeds differ by, and less than the seed network's
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
    workload = "seed", training.RECIPES["seed"](), setting.few
    monkeypatch.setattr(speed, "workloads", lambda setting: [workload])
    outcome = speed.speed(setting)
    assert outcome.status == OK
    row = outcome.details["steps"][0]
    assert (row["steps"], row["batch"]) == (10, 64)
    assert 0 < 1e3 * row["begin_ms"] < 10 * row["captured_us"]
    assert row["a_step_is"].startswith("not counted: ")
    assert outcome.details["job"]["epochs"] == 1
    assert f"{row['plain_us']:.1f} us plain" in outcome.line
    assert f"{row['captured_us']:>9.1f} us" in capsys.readouterr().out


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
    work = SimpleNamespace(_graph=SimpleNamespace(graph=77))
    assert speed.in_words(*speed.node_kinds(work)) == words


def test_the_workloads_of_speed():
    found = {name: (recipe, data) for name, recipe, data in speed.workloads(on(CPU))}
    assert found.keys() == {"seed", "3x1024", "3x4096"}
    shapes = [p.data.shape for p in found["3x1024"][0].build().initialize(0).parameters()]
    assert [shape for shape in shapes if len(shape) == 2] == [
        (784, 1024), (1024, 1024), (1024, 1024), (1024, 10),
    ]  # fmt: skip


# --- Programs: the tests, the sanitizer ---------------------------------------------------------


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
        (None, "..", CUT_OFF, "until then 0 passed, 0 failed, 0 skipped"),
        (None, "..\n!! KeyboardInterrupt !!\n41 passed in 30.01s", CUT_OFF,
         "until then 41 passed, 0 failed, 0 skipped"),
        (None, "FAILED tests/a.py::b\n1 failed, 41 passed in 30.01s", FAILED,
         "41 passed, 1 failed, 0 skipped; FAILED tests/a.py::b"),
    ],
)  # fmt: skip
def test_what_pytest_says(code, output, status, line):
    outcome = machine.read_suite(code, output)
    assert (outcome.status, outcome.line) == (status, line)


@pytest.mark.parametrize(
    ("xdist", "on", "workers"),
    [(False, {}, 1), (True, {}, 6), (True, {"compute_mode": 0}, 6), (True, {"compute_mode": 3}, 1)],
)
def test_tests_run_in_parallel_where_they_can(xdist, on, workers, monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: xdist or None)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 6)
    commands = []
    monkeypatch.setattr(
        machine, "run", lambda *asked: commands.append(asked) or (0, "5 passed in 1.0s")
    )
    found = machine.suite_workers(on)
    assert found == workers
    assert machine.suite(77.0, found).line == "5 passed, 0 failed, 0 skipped"
    (command, seconds), *rest = commands
    assert (seconds, rest) == (77.0, [])
    assert command[command.index("tests") + 1 :] == (["-n", "6"] if workers == 6 else [])
    assert command[1:6] == ["-m", "pytest", "-q", "-m", "gpu"]
    assert "--continue-on-collection-errors" in command  # a module that is broken stops no other


@pytest.mark.parametrize(
    ("says", "code", "status", "line"),
    [
        ("every kernel was launched: 50\n========= ERROR SUMMARY: 0 errors", 0, OK,
         "memcheck: ERROR SUMMARY: 0 errors; racecheck: ERROR SUMMARY: 0 errors"),
        ("every kernel was launched: 50\n========= ERROR SUMMARY: 3 errors", 9, FAILED,
         "memcheck ended with 9: ERROR SUMMARY: 3 errors (and 1 more)"),
        ("========= Invalid __global__ write\n========= ERROR SUMMARY: 1 error", 9, FAILED,
         "memcheck ended with 9: ERROR SUMMARY: 1 error (and 1 more)"),
        ("========= ERROR SUMMARY: 0 errors", 0, FAILED,
         "memcheck ended with 0: ERROR SUMMARY: 0 errors (and 1 more)"),
        ("every kernel was launched: 50", 0, FAILED,
         "memcheck ended with 0: no summary (and 1 more)"),
        ("Traceback (most recent call last):\nValueError: no", 1, FAILED,
         "memcheck ended with 1: no summary (and 1 more)"),
        ("every_kernel.py: not launched: bits/pack_rows float32", 1, FAILED,
         "memcheck ended with 1: no summary (and 1 more)"),
        ("========= Error: no permission", 1, NOT_RUN,
         "memcheck is refused here: ========= Error: no permission"),
        ("every_kernel.py: device gpu is unavailable\n========= ERROR SUMMARY: 0 errors", 4, NOT_RUN,
         "memcheck is refused here: ========= ERROR SUMMARY: 0 errors"),
        ("", 127, NOT_RUN, "memcheck is refused here: it ended with 127"),
    ],
)  # fmt: skip
def test_what_the_sanitizer_says(says, code, status, line, tmp_path):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    outcome = machine.sanitizer(60, str(program))
    assert (outcome.status, outcome.line) == (status, line)
    one, *more = (tmp_path / "asked").read_text().splitlines()
    assert one.startswith("--tool memcheck --error-exitcode 9 --report-api-errors no ")
    assert one.split()[-1] == str(BENCHMARKS / "every_kernel.py")
    assert len(more) == (status != NOT_RUN)
    assert all(other.startswith("--tool racecheck --error-exitcode 9 ") for other in more)


def test_a_sanitizer_that_takes_long_is_cut_off(monkeypatch):
    asked = []
    monkeypatch.setattr(
        machine, "run", lambda command, seconds: asked.append(seconds) or (None, "")
    )
    outcome = machine.sanitizer(60.0, "compute-sanitizer")
    assert (outcome.status, outcome.line, asked) == (CUT_OFF, "during memcheck", [30.0])


def test_without_a_sanitizer(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "USUAL", "/nowhere/compute-sanitizer")
    assert machine.sanitizer(60, None).status == NOT_RUN


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        (0, OK, "see its table"),
        (1, FAILED, "gpu.py ended with 1"),
        (None, CUT_OFF, "during gpu.py"),
    ],
)
def test_the_race_gets_half_of_its_share_to_begin_in(code, status, line, monkeypatch):
    asked = []
    monkeypatch.setattr(
        machine, "run", lambda command, seconds: asked.append((command, seconds)) or (code, "a\nb")
    )
    outcome = machine.race(90.0)
    assert (outcome.status, outcome.line, outcome.details["output"]) == (status, line, ["a", "b"])
    ((command, seconds),) = asked
    assert command[1:] == [str(BENCHMARKS / "gpu.py"), "--repeats", "3", "--minutes", "0.75"]
    assert seconds == 90.0


@pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes are POSIX's")
@pytest.mark.parametrize("deaf", [False, True])
def test_a_program_that_hangs_is_ended_with_what_it_started(deaf, tmp_path):
    """One that listens may say what it has; its own child would hold the output open."""
    trap = "trap '' INT" if deaf else "trap 'echo late; exit 1' INT"
    child = "sh -c 'trap \"\" INT; sleep 60' &"
    command = ["sh", "-c", f"{child} echo $! > {tmp_path}/child; {trap}; echo early; wait; wait"]
    assert run(command, 0.5, grace=0.3) == (None, "early\n" + "late\n" * (not deaf))
    child = int((tmp_path / "child").read_text())
    for _ in range(100):  # until init has seen it
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.02)
    else:
        pytest.fail("its child lives on")


# --- The report ---------------------------------------------------------------------------------


def breaks(setting):
    raise RuntimeError("broken\nin two lines")


def finds(setting):
    setting.keep(figures=[1.5, np.float32(2)])
    return Outcome(OK, "a GPU", {"more": 3})


INSIDE = {
    "device": finds,
    "repeat": breaks,
    "kernels": lambda setting: verdict(["one", "two"], "fine", {}),
    "speed": lambda setting: Outcome(NOT_RUN, "nobody to race", {}),
}


@pytest.fixture
def in_this_process(monkeypatch):
    """Parts that are no processes; of the stand-in."""
    monkeypatch.setattr(confirm_gpu, "part", INSIDE.__getitem__)
    monkeypatch.setattr("minibnn.get_backend", lambda device: STRICT)
    monkeypatch.setattr("confirm.compiling.kept_kernels", lambda: 0)
    monkeypatch.setattr("confirm.compiling.watch_compiler", dict)

    def start(name, seconds, report):
        assert confirm_gpu.inside(name, report, quick=True) == 0
        row = report.row(name)
        return Outcome(row["status"], row["line"], {})

    return start


def test_the_report(in_this_process, tmp_path, capsys):
    report = Report(tmp_path / "report.json")
    rows = confirm_gpu.run_parts(list(INSIDE), in_this_process, report)
    for row in rows:
        row["seconds"] = 1.25
    assert confirm_gpu.summary(rows).splitlines() == [
        "device: ok, 1.2 s: a GPU",
        "repeat: FAILED, 1.2 s: RuntimeError: broken",
        "kernels: FAILED, 1.2 s: one (and 1 more)",
        "speed: not run: nobody to race",
        "in all: 1 ok, 2 FAILED, 1 not run, 5 s",
    ]
    assert confirm_gpu.exit_status(rows) == 1
    assert confirm_gpu.exit_status([rows[0], rows[3]]) == 0
    found = report.read()
    assert found["quick"] is True
    assert found["on"]["numpy"] == np.__version__
    assert [part["status"] for part in found["parts"]] == [OK, FAILED, FAILED, NOT_RUN]
    assert found["parts"][0]["figures"] == [1.5, "2.0"]
    assert found["parts"][0]["more"] == 3
    assert "in two lines" in found["parts"][1]["traceback"]
    printed = capsys.readouterr()
    assert "speed: not run: nobody to race" in printed.out
    assert "RuntimeError: broken" in printed.err


def test_findings_are_written_at_once(in_this_process, tmp_path, monkeypatch):
    report = Report(tmp_path / "report.json")
    seen = []

    def looks(setting):
        seen.append(report.row("device"))
        setting.keep(half="found")
        seen.append(report.row("device"))
        return Outcome(OK, "all", {})

    monkeypatch.setitem(INSIDE, "device", looks)
    confirm_gpu.run_parts(["device"], in_this_process, report)
    begun = {"part": "device", "status": RUNNING}
    assert seen == [begun, {**begun, "half": "found"}]


@pytest.mark.parametrize(
    ("found", "code", "status", "line"),
    [
        ({"half": 1}, None, CUT_OFF, "its share of the minutes was over"),
        ({"complaints": ["slow", "old"]}, None, FAILED, "slow; cut off after 40 s"),
        ({"half": 1}, -6, FAILED, "its process ended with -6"),
        ({"half": 1, "complaints": ["slow"]}, 1, FAILED, "slow; its process ended with 1"),
        ({}, 4, FAILED, "its process ended with 4"),  # the GPU was there for the part before
    ],
)
def test_a_part_that_dies_leaves_what_it_found(found, code, status, line, tmp_path, monkeypatch):
    report = Report(tmp_path / "report.json")
    report.keep("device", status=OK)

    def killed(command, seconds, *, show):
        assert (command, seconds, show) == (["it"], 40.0, True)
        report.keep("speed", **found)
        return code, ""

    monkeypatch.setattr("confirm.setting.run", killed)
    start = lambda *given: confirm_gpu.in_a_process(given[0], ["it"], 40.0, report)  # noqa: E731
    (row,) = confirm_gpu.run_parts(["speed"], start, report)
    assert (row["status"], row["line"]) == (status, line)
    assert report.row("speed").items() >= {**found, "status": status, "line": line}.items()
    assert report.row("device") == {"part": "device", "status": OK}


def test_a_part_in_a_process_of_its_own(tmp_path):
    report = Report(tmp_path / "report.json")
    code = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from confirm.report import Report
Report(Path(sys.argv[1])).keep("speed", status="ok", line="fast")
"""
    folders = str(BENCHMARKS), str(BENCHMARKS.parent)
    command = [sys.executable, "-c", code, str(report.file), *folders]
    assert confirm_gpu.in_a_process("speed", command, 60.0, report) == (OK, "fast", {})


def test_each_part_gets_its_share_of_what_is_left(monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(confirm_gpu.time, "monotonic", lambda: now[0])
    shares = {"device": 1, "kernels": 2, "suite": 1}
    monkeypatch.setattr(confirm_gpu, "PARTS", shares)
    given = []

    def start(name, seconds, report):
        given.append(seconds)
        now[0] += {"device": 40.0, "kernels": 20.0, "suite": 0.0}[name]
        return Outcome(OK, "", {})

    rows = confirm_gpu.run_parts(list(shares), start, Report(tmp_path / "r.json"), minutes=2)
    assert given == [30.0, pytest.approx(80 * 2 / 3), 60.0]
    assert [row["share"] for row in rows] == [30.0, 53.3, 60.0]
    given.clear()
    now[0] = 0.0
    rows = confirm_gpu.run_parts(list(shares), start, Report(tmp_path / "r.json"), minutes=0.7)
    assert [confirm_gpu.last_line(row) for row in rows] == [
        "device: ok, 40.0 s: ", "kernels: not run: no time", "suite: not run: no time",
    ]  # fmt: skip


def test_the_order():
    """What a new GPU shows first comes first; what may be refused comes last."""
    assert list(confirm_gpu.PARTS) == [
        "device", "kernels", "captured", "repeat", "speed", "suite", "accuracy", "race", "sanitizer",
    ]  # fmt: skip


def test_the_command_line(tmp_path, monkeypatch):
    assert confirm_gpu.arguments([]).parts == set(confirm_gpu.PARTS) - {"race"}
    assert confirm_gpu.arguments(["--race", "--parts", "speed"]).parts == {"race", "speed"}
    assert set(confirm_gpu.ROOMS) | {"suite", "race", "sanitizer"} == set(confirm_gpu.PARTS)
    assert [confirm_gpu.part(name).__name__ for name in confirm_gpu.ROOMS] == [*confirm_gpu.ROOMS]
    Setting(CPU, **confirm_gpu.QUICK)
    with pytest.raises(SystemExit):
        confirm_gpu.arguments(["--parts", "nothing"])
    monkeypatch.chdir(tmp_path)
    assert confirm_gpu.arguments(["--out", "r.json"]).out == tmp_path / "r.json"


def test_who_starts_which_part(monkeypatch, tmp_path):
    asked = []
    for name in ("suite", "sanitizer", "race"):
        monkeypatch.setattr(machine, name, lambda *given, name=name: asked.append((name, *given)))
    monkeypatch.setattr(machine, "suite_workers", lambda on: 3)
    monkeypatch.setattr(
        confirm_gpu, "in_a_process", lambda name, command, *rest: asked.append((name, *command[2:]))
    )
    start = confirm_gpu.starter(confirm_gpu.arguments(["--quick", "--sanitizer", "it"]))
    report = Report(tmp_path / "r.json")
    for name in confirm_gpu.PARTS:
        start(name, 9.0, report)
    inside = [(name, "--inside", name, "--out", str(report.file), "--quick")
              for name in confirm_gpu.PARTS if name not in ("suite", "sanitizer", "race")]  # fmt: skip
    assert sorted(asked, key=str) == sorted(
        [*inside, ("suite", 9.0, 3), ("sanitizer", 9.0, "it"), ("race", 9.0)], key=str
    )


class Program:
    """CuPy's own class around NVRTC."""

    def compile(self, options=()):
        if not options:
            raise ValueError("no options")
        return "code"


def test_compiling_is_counted_and_timed(monkeypatch, tmp_path):
    compiler = SimpleNamespace(_NVRTCProgram=type("Program", (Program,), {}))
    for name in ("cupy", "cupy.cuda"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(compiler=compiler))
    found = watch_compiler()
    program = compiler._NVRTCProgram()
    assert program.compile(options=("-O",)) == "code"
    with pytest.raises(ValueError, match="no options"):
        program.compile()
    assert found["compiled"] == 2
    assert found["compile_seconds"] >= 0
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    assert watch_compiler() == {}
    row = {"part": "kernels", "status": OK, "seconds": 9.0, "line": "as on the CPU", "compiled": 7}
    assert confirm_gpu.last_line(row) == "kernels: ok, 9.0 s (7 compiled): as on the CPU"
    row["compile_seconds"] = 4.04
    assert confirm_gpu.last_line(row) == "kernels: ok, 9.0 s (7 compiled in 4.0 s): as on the CPU"
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    for name in ("a.cubin", "b.cubin", "b.cu"):
        (tmp_path / name).touch()
    assert kept_kernels() == 2


@pytest.mark.parametrize("script", ["confirm_gpu.py", "every_kernel.py"])
def test_without_a_gpu(script, tmp_path):
    try:
        get_backend("gpu")
    except DeviceError as error:
        expected = f"{script}: {error}\n"
    else:
        pytest.skip("there is a GPU")
    earlier = tmp_path / "r.json"
    earlier.write_text("an earlier run's")
    options = ["--out", str(earlier)] if script == "confirm_gpu.py" else []
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (4, expected, "")
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_text() == "an earlier run's"


def test_packages_that_are_missing_are_named_with_what_installs_them(monkeypatch, capsys, tmp_path):
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
    start = confirm_gpu.starter(confirm_gpu.arguments([]))
    outcome = start("suite", 60.0, Report(tmp_path / "r.json"))
    assert outcome.status == NOT_RUN
    assert outcome.line.endswith(command)
