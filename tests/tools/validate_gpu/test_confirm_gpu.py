"""tools/validate_gpu/confirm_gpu.py: its parts, their shares of the time, and its report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from devices import STRICT
from fuzz_writer import killed_everywhere

import confirm_gpu
from confirm import programs, ranks
from confirm.report import RUNNING, Report
from confirm.setting import CUT_OFF, FAILED, NOT_RUN, OK, Outcome, Setting, verdict
from minibnn import DeviceError, get_backend
from minibnn.backend import CPU
from minibnn.result_folder import ResultFolder

TOOLS = Path(__file__).parents[3] / "tools" / "validate_gpu"


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
    """Run parts in this process, on the stand-in."""
    monkeypatch.setattr(confirm_gpu, "part", INSIDE.__getitem__)
    monkeypatch.setattr("minibnn.get_backend", lambda device: STRICT)
    monkeypatch.setattr("confirm.compiling.stored_kernels", lambda: 0)
    monkeypatch.setattr("confirm.compiling.watch_compiler", dict)

    def start(name, seconds, report):
        assert confirm_gpu.run_part(name, report, quick=True) == 0
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
        "total: 1 ok, 2 FAILED, 1 not run, 5 s",
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
        ({"problems": ["slow", "old"]}, None, FAILED, "slow; cut off after 40 s"),
        ({"half": 1}, -6, FAILED, "its process ended with -6"),
        ({"half": 1, "problems": ["slow"]}, 1, FAILED, "slow; its process ended with 1"),
        ({}, 4, FAILED, "its process ended with 4"),  # an earlier part had a GPU
    ],
)
def test_a_part_that_is_killed_leaves_its_findings(
    found, code, status, line, tmp_path, monkeypatch
):
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
    folders = str(TOOLS), str(TOOLS.parents[1])
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
        "device: ok, 40.0 s: ", "kernels: not run: no time left", "suite: not run: no time left",
    ]  # fmt: skip


def test_the_order():
    """The most important parts come first; what may not be allowed comes last."""
    assert list(confirm_gpu.PARTS) == [
        "device", "kernels", "captured", "repeat", "speed", "ranks", "suite", "accuracy", "race",
        "sanitizer",
    ]  # fmt: skip


def test_the_command_line(tmp_path, monkeypatch):
    assert confirm_gpu.arguments([]).parts == set(confirm_gpu.PARTS) - {"race"}
    assert confirm_gpu.arguments(["--race", "--parts", "speed"]).parts == {"race", "speed"}
    assert set(confirm_gpu.MODULES) | {"ranks", "suite", "race", "sanitizer"} == set(
        confirm_gpu.PARTS
    )
    assert [confirm_gpu.part(name).__name__ for name in confirm_gpu.MODULES] == [
        *confirm_gpu.MODULES
    ]
    Setting(CPU, **confirm_gpu.QUICK)
    with pytest.raises(SystemExit):
        confirm_gpu.arguments(["--parts", "nothing"])
    monkeypatch.chdir(tmp_path)
    assert confirm_gpu.arguments(["--out", "r.json"]).out == tmp_path / "r.json"


def test_each_part_is_started(monkeypatch, tmp_path):
    asked = []
    for name in ("suite", "sanitizer", "race"):
        monkeypatch.setattr(programs, name, lambda *given, name=name: asked.append((name, *given)))
    monkeypatch.setattr(ranks, "ranks", lambda *given: asked.append(("ranks", *given)))
    monkeypatch.setattr(programs, "suite_workers", lambda on: 3)
    monkeypatch.setattr(confirm_gpu, "NEEDED_BY_RANKS", ())
    monkeypatch.setattr(
        confirm_gpu, "in_a_process", lambda name, command, *rest: asked.append((name, *command[2:]))
    )
    start = confirm_gpu.starter(confirm_gpu.arguments(["--quick", "--sanitizer", "it"]))
    report = Report(tmp_path / "r.json")
    for name in confirm_gpu.PARTS:
        start(name, 9.0, report)
    inside = [(name, "--inside", name, "--out", str(report.file), "--quick")
              for name in confirm_gpu.PARTS if name not in ("ranks", "suite", "sanitizer", "race")]  # fmt: skip
    assert sorted(asked, key=str) == sorted(
        [*inside, ("ranks", 9.0, {}), ("suite", 9.0, 3), ("sanitizer", 9.0, "it"), ("race", 9.0)],
        key=str,
    )


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
        [sys.executable, str(TOOLS / script), *options], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (4, expected, "")
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_text() == "an earlier run's"


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch, capsys, tmp_path
):
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


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
def test_a_kill_at_any_step_hurts_no_report(tmp_path, monkeypatch):
    def write(out):
        monkeypatch.setattr(confirm_gpu.time, "monotonic", lambda: 0.0)
        folder = ResultFolder(out, ["r.json"])
        report = Report(folder.file("r.json"))
        confirm_gpu.run_parts(["device", "suite"], lambda *_: Outcome("ok", "", {}), report)
        folder.finish()

    killed_everywhere(tmp_path, write, ["r.json"])
