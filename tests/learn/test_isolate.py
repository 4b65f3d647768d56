"""Whatever a learner's file does, the check goes on and says what it was."""

from __future__ import annotations

import os
import sys
import time

import pytest
from learners import BLANK, LOGISTIC, RIGHT, answer

from minibnn.learn import isolate
from minibnn.learn.exercise import Exercise
from minibnn.learn.isolate import check_file, how_it_ended, why_not_begun

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limits of Linux")


@pytest.fixture
def check(tmp_path, monkeypatch):
    def check(source, seconds=None):
        if seconds:
            monkeypatch.setattr(Exercise, "seconds", seconds)
        path = tmp_path / f"{LOGISTIC.stem}.py"
        path.write_text(source, encoding="utf-8")
        return check_file(LOGISTIC, path)

    return check


def test_right_and_blank_answers(check):
    right = check(RIGHT)
    assert right.ok
    assert right.trouble == ""
    assert right.notes == ()
    blank = check(BLANK)
    assert blank.points == 0
    assert "`...` is left in line" in str(blank)


def test_a_loop_without_an_end_is_ended_and_its_line_named(check):
    text = answer("while True:\n    pass")
    first = text.splitlines().index("    while True:") + 1
    result = check(text, seconds=0.5)
    assert result.trouble in (
        f"Your code had not ended after 0.5 seconds. It was in line {line}, in logistic. "
        "Is there a loop that never ends?"
        for line in (first, first + 1)
    )
    assert (result.points, result.of) == (0, 3)


def test_what_was_checked_before_the_time_was_over_counts(check):
    result = check(answer("1 / (1 + np.exp(-z))", "while True:\n    pass"), seconds=0.5)
    assert [line.points for line in result.lines] == [2, 0]


@pytest.mark.parametrize(
    "code",
    [
        "import threading; threading.Thread(target=time.sleep, args=(60,)).start()",
        "import atexit; atexit.register(time.sleep, 60)",
    ],
)
def test_what_goes_on_behind_the_checks_is_not_waited_for(check, code):
    start = time.monotonic()
    result = check(answer(f"import time; {code}; print('hello')\nreturn 1 / (1 + np.exp(-z))"))
    assert result.ok
    assert "hello" in result.notes[0]
    assert time.monotonic() - start < 30


def test_the_time_that_is_said_is_true(check, monkeypatch):
    """The code has put out of action what ends it when its own time is over."""
    monkeypatch.setattr(isolate, "START_UP", 4)
    code = "import faulthandler; faulthandler.cancel_dump_traceback_later()\nwhile True:\n    pass"
    result = check(answer(code), seconds=0.5)
    assert result.trouble.startswith("Your code had not ended after 4.5 seconds. Is there a loop")


def test_how_a_process_ended():
    trace = (
        "Timeout (0:00:10)!\nThread 0x01 (most recent call first):\n"
        '  File "/lib/numpy/x.py", line 7 in dot\n  File "/a/b.py", line 12 in f\n'
    )
    said = how_it_ended(LOGISTIC, "/a/b.py", trace, 1)
    assert "It was in line 12, in f." in said
    assert "It was" not in how_it_ended(LOGISTIC, "/a/b.py", "", None)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(4)\nreturn 1", "Your code ended the process with exit code 4"),
        ("import sys; sys.exit()\nreturn 1", "SystemExit: the code asks Python to end"),
        ("input()\nreturn 1", "EOFError"),
        ("nothing_known", "NameError: name 'nothing_known' is not defined"),
    ],
)
def test_ends_of_all_kinds(check, code, said):
    result = check(answer(code))
    assert said in str(result)
    assert result.points < result.of
    for inside in ("Traceback", "grade.py", "values.py", "worker.py"):
        assert inside not in str(result)


@LINUX
def test_memory_files_and_signals_are_limited(check):
    many = "np.ones(1 << 34) * z"
    result = check(answer(many, 'print("x" * (20 << 20))\nreturn p'))
    memory, output = result.lines
    assert memory.details.startswith("logistic(z=0)\nMemoryError: the code asks for more memory")
    assert "more than an exercise may" in output.details
    killed = check(answer("import os; os.kill(os.getpid(), 9)\nreturn 1"))
    assert killed.trouble.startswith("Your code ended the process: SIGKILL.")


def test_what_it_prints_and_warns_is_shown_in_short(check):
    result = check(
        answer("1 / (1 + np.exp(-1000 * z))", 'print("\\n".join(["hello" * 50] * 12))\nreturn p')
    )
    warning, printed = result.notes
    assert "warns: overflow encountered in exp" in warning
    assert printed.startswith("Your code printed:\n  hellohello")
    assert " more lines)\n  hello" in printed, "its end is kept, too"
    assert max(map(len, printed.splitlines())) <= 74
    assert len(printed.splitlines()) == 12


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('x' * (30 << 20))",
        "import warnings; warnings.warn('x' * (30 << 20))\nreturn 0",
        "return " + "1 + " * 50_000 + "1",
        "return '" + "x" * 100_000,
    ],
)
def test_what_is_very_long_is_shortened(check, code):
    result = check(answer(f"{code}\n"))
    assert result.points < 3
    assert len(str(result)) < 2000
    assert "minibnn" not in str(result)


def test_a_failure_before_the_file_is_run_is_not_blamed_on_the_learner(check, monkeypatch):
    """The process fails as it would if a file of minibnn were missing: nothing is there to find."""
    monkeypatch.setattr(Exercise, "id", "no such exercise")
    result = check(RIGHT)
    monkeypatch.undo()
    assert result.trouble.startswith(
        "Your file has not been run, and is not to blame: minibnn failed by itself, with exit code"
    )
    cause = result.trouble.splitlines()[-1]
    assert cause.startswith("ValueError: learn: expected an exercise such as 1.2, got 'no such")
    assert result.notes == ()
    assert "Your code" not in str(result)


def test_a_file_that_is_not_reached_is_not_to_blame_for_signals_or_time():
    assert "the system: SIGKILL." in why_not_begun("", -9)
    assert "not ready to check it after 60 seconds" in why_not_begun("", None)
    many = "\n".join(f"line {i}" for i in range(40)) + "\nKeyError: 'cause'"
    shown = why_not_begun(many, 1).splitlines()
    assert len(shown) <= 14
    assert shown[-2:] == ["  line 39", "KeyError: 'cause'"]


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_what_it_starts_is_ended_with_it(check, tmp_path):
    sleeping = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(sleeping)!r}, 'w').write(str(child.pid))\nreturn 1"
    )
    check(answer(code))
    pid = int(sleeping.read_text())
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().split()[2] == "Z":  # ended; whoever adopted it has to notice
                    return
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    raise AssertionError("still running")


def test_it_runs_in_a_folder_that_is_deleted(check, tmp_path):
    result = check(answer("open('left.txt', 'w').close()\nreturn 1 / (1 + np.exp(-z))"))
    assert result.ok
    assert not (tmp_path / "left.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{LOGISTIC.stem}.py"]


@pytest.mark.parametrize(
    "code",
    [
        "open('report', 'w').write('my results')",
        "[os.remove(name) for name in os.listdir('.')]",
        "import shutil; shutil.rmtree('.', ignore_errors=True)",
    ],
)
def test_its_folder_is_its_own_to_write_and_delete_in(check, code):
    result = check(answer(f"import os; {code}\nreturn 1 / (1 + np.exp(-z))"))
    assert result.ok
    assert result.trouble == ""


@pytest.mark.parametrize(
    "code",
    [
        "open('../report', 'w').write('my results\\n')",
        "open('../report', 'wb').write(b'[1]\\n\\xff\\n')",
        "[os.remove(f'../{name}') for name in os.listdir('..') if name != 'work']",
    ],
)
def test_a_report_that_is_spoilt_is_a_result_of_this_file(check, code):
    """Whatever it has written itself counts for nothing."""
    result = check(answer(f"import os; {code}\nreturn 1 / (1 + np.exp(-z))"))
    assert (result.points, result.of) == (0, 3)
    assert result.trouble.startswith("Your code has changed or deleted the report of the check")


@LINUX
def test_signals_without_a_name(check):
    result = check(answer("import os; os.kill(os.getpid(), 40)\nreturn 1"))
    assert result.trouble.startswith("Your code ended the process: signal 40.")


def test_a_file_that_cannot_be_read_is_a_result(tmp_path, monkeypatch):
    path = tmp_path / f"{LOGISTIC.stem}.py"
    path.mkdir()
    result = check_file(LOGISTIC, path)
    assert result.trouble == "Your file cannot be read: it is a folder."
    assert (result.points, result.of) == (0, 3)
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        assert "it is no ordinary file." in check_file(LOGISTIC, path).trouble
        path.unlink()
    path.write_text(RIGHT)

    def refuses(*_):  # to any user, root too
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(isolate, "open_regular", refuses)
    assert check_file(LOGISTIC, path).trouble == "Your file cannot be read: Permission denied."


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_file(LOGISTIC, tmp_path / "none.py")
