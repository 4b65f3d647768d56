"""The examples as users run them: processes, their output, files and exit codes."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from checkpointed import killed_after_save
from fuzz_writer import killed_everywhere

import minibnn
from minibnn.atomic_file import whole_file

EXAMPLES = Path(__file__).parents[2] / "examples"


def command(script: str, *options: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / script), *options]


@pytest.fixture
def environment(tmp_path):
    """No network, no MNIST, an empty cache."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINIBNN_")}
    return environment | {"MINIBNN_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def run(environment):
    def run(script: str, *options: str):
        return subprocess.run(
            command(script, *options), capture_output=True, text=True, env=environment, timeout=300
        )

    return run


@pytest.fixture
def module():
    """An example as a module."""
    imported = []

    def module(name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        imported.append(sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec)))
        spec.loader.exec_module(imported[-1])
        return imported[-1]

    yield module
    for each in imported:
        del sys.modules[each.__name__]


@pytest.fixture
def main(module, environment, monkeypatch, capsys):
    """Call an example's `main`, which is faster than a process; its exit code, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("MINIBNN_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def main(script: str, *options: str) -> tuple[int, str, str]:
        try:
            code = module(script).main(list(options))
        except SystemExit as end:  # argparse's
            code = end.code
        return code, *capsys.readouterr()

    return main


def table(stdout: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(stdout.partition("\n")[2]), sep=r"\s+", index_col="epoch")


def test_a_first_run_without_data_uses_the_sample_with_a_warning(run):
    done = run("mnist.py", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MNIST sample (4,000 + 1,000 images), seed recipe, seed 0, cpu\n")
    assert "Going on with the bundled sample" in done.stderr
    assert "train-images-idx3-ubyte" in done.stderr
    history = table(done.stdout)
    assert list(history.columns) == ["loss_train", "loss_test", "acc_train", "acc_test"]
    assert history.index.tolist() == list(range(1, 11))
    assert history.acc_test.iloc[-1] > 0.7
    assert "%|" not in done.stderr, "no progress bar in a pipe"


def test_one_seed_prints_one_table(run):
    options = ("--dataset", "sample", "--recipe", "modern", "--epochs", "2", "--seed", "3")
    first, second = (run("mnist.py", *options, "--device", "cpu") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert table(first.stdout).acc_test.iloc[-1] > 0.8
    other = run("mnist.py", *options[:-1], "4")
    assert other.stdout != first.stdout


def test_out_and_json(run, tmp_path):
    out = tmp_path / "a" / "run"
    done = run("mnist.py", "--dataset", "sample", "--epochs", "2", "--json", "--quiet",
               "--device", "cpu", "--out", str(out))  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert (result["device"], result["recipe"], result["interrupted"]) == ("cpu", "seed", False)
    saved = pd.read_csv(out / "history.csv")
    pd.testing.assert_frame_equal(saved, pd.DataFrame(result["history"]))
    config = json.loads((out / "config.json").read_text())
    used = {
        "epochs": 2,
        "seed": 0,
        "dataset": "sample",
        "device": "cpu",
        "batch_size": 64,
        "lr": 3e-4,
    }
    assert used.items() <= config.items()
    assert used.items() <= result.items()
    assert (out / "history.png").stat().st_size > 5000
    # A later run into the same folder that fails leaves these files unchanged.
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run("mnist.py", "--dataset", "sample", "--lr", "1e38", "--out", str(out)).returncode == 5
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    # One that succeeds replaces them.
    run("mnist.py", "--dataset", "sample", "--epochs", "1", "--device", "cpu", "--out", str(out))
    assert len(pd.read_csv(out / "history.csv")) == 1
    assert json.loads((out / "config.json").read_text())["epochs"] == 1
    assert {path.name for path in out.iterdir()} == set(before)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--epochs", "0"], 2, "epochs: expected at least 1, got 0"),
        (["--lr", "nan"], 2, "learning_rate: expected a positive number"),
        (["--recipe", "best"], 2, "invalid choice"),
        (["--dataset", "mnist"], 3, "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (["--data-dir", "nowhere"], 3, "MNIST is not complete in nowhere (no such folder)"),
        (["--data-dir", __file__], 3, "which is a file"),
        (["--device", "gpu"], 4, 'device "gpu" is unavailable: failed to'),
        (["--data-dir", "x", "--dataset", "sample"], 2, "leave out one of the two"),
        (["--batch-size", "5000", "--dataset", "sample"], 2, "use a smaller batch_size"),
        (
            ["--recipe", "modern", "--batch-size", "1", "--dataset", "sample"],
            2,
            "at least 2 values",
        ),
        (["--lr", "1e38", "--dataset", "sample"], 5, "the loss became"),
        (
            ["--lr", "1e38", "--dataset", "sample", "--epochs", "1", "--batch-size", "4000"],
            5,
            "the evaluation",
        ),
        (
            ["--out", __file__, "--dataset", "sample"],
            1,
            "expected a folder for results, got a file; choose another name",
        ),
    ],
)
def test_expected_errors_have_a_code_and_no_traceback(options, code, said, main):
    """As a process: `test_out_and_json` for 5, `test_a_mistyped_variable_is_an_error` for 3."""
    if code == 4:
        from minibnn import DeviceError, get_backend

        try:
            get_backend("gpu")
        except DeviceError:
            pass
        else:
            pytest.skip("there is a GPU")
    got, out, text = main("mnist", *options)
    assert (got, out) == (code, ""), text
    assert said in text
    assert "Traceback" not in text


@pytest.mark.parametrize("script", ["mnist.py", "feedback_alignment.py", "ship.py"])
def test_a_mistyped_variable_is_an_error(script, run, environment, tmp_path):
    environment["MINIBNN_DATA"] = str(tmp_path / "mistyped")
    out = [] if script == "feedback_alignment.py" else ["--out", str(tmp_path / "out")]
    done = run(script, "--epochs", "1", *out)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"MNIST is not complete in {tmp_path / 'mistyped'} (no such folder)" in done.stderr


def test_missing_data_names_everything(run, tmp_path):
    done = run("mnist.py", "--dataset", "mnist")
    names = [
        f"{part}-{kind}-ubyte"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    for said in (str(tmp_path / "cache"), *names, "https://ossci-datasets.s3.amazonaws.com/mnist/"):
        assert said in done.stderr


@pytest.fixture
def start(environment):
    """Start an example that reacts to Ctrl-C, even if this process ignores it; kill it at the end."""
    started = []

    def start_example(*options):
        process = subprocess.Popen(
            command("mnist.py", *options), text=True, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        started.append(process)
        return process

    yield start_example
    for process in started:
        process.kill()
        process.communicate()


def wait_for(path):
    deadline = time.monotonic() + 300
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_ctrl_c_prints_the_table_so_far(start, tmp_path):
    process = start("--dataset", "sample", "--epochs", "100000", "--out", str(tmp_path))
    wait_for(tmp_path / "history.csv")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert f"interrupted after {len(table(stdout))} of 100000 epochs" in stderr
    assert "Traceback" not in stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_ctrl_c_leaves_earlier_results(start, tmp_path):
    for name in ("history.csv", "config.json"):
        (tmp_path / name).write_text("of an earlier run")
    process = start("--dataset", "sample", "--epochs", "100000", "--out", str(tmp_path))
    wait_for(tmp_path / "unfinished" / "history.csv")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert f"the results so far are in {tmp_path / 'unfinished'}\n" in stderr
    assert json.loads((tmp_path / "unfinished" / "config.json").read_text())["epochs"] == 100_000
    for name in ("history.csv", "config.json"):
        assert (tmp_path / name).read_text() == "of an earlier run"


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
def test_a_kill_at_any_step_hurts_no_result(module, tmp_path, monkeypatch):
    def train(self, data, *, on_epoch, **options):
        for epochs in (1, 2, 3):
            index = pd.RangeIndex(1, epochs + 1, name="epoch")
            columns = ["loss_train", "loss_test", "acc_train", "acc_test"]
            on_epoch(history := pd.DataFrame(1 / epochs, index=index, columns=columns))
        history.attrs["interrupted"] = False
        return None, history

    def plot(history, path, **options):
        with whole_file(path) as file:
            file.write(b"picture")

    monkeypatch.setattr("minibnn.training.recipe.Recipe.train", train)
    monkeypatch.setattr(minibnn, "plot_history", plot)
    example = module("mnist")
    names = ["history.csv", "history.png", "config.json"]

    def run_into(out):
        monkeypatch.chdir(out)  # the settings name the folder
        example.train(dataset="sample", device="cpu", out=".")

    assert killed_everywhere(tmp_path, run_into, names) > 30


def test_ctrl_c_while_the_picture_is_drawn_keeps_the_table(module, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(minibnn, "plot_history", interrupted)
    words = ["--dataset", "sample", "--device", "cpu", "--epochs", "1", "--out", str(tmp_path)]
    assert module("mnist").main(words) == 130
    said = capsys.readouterr()
    assert len(table(said.out)) == 1
    assert "interrupted after 1 of 1 epochs" in said.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_ctrl_c_before_the_first_epoch_prints_no_table(start, tmp_path):
    process = start("--dataset", "sample", "--batch-size", "1", "--out", str(tmp_path))
    wait_for(tmp_path / "config.json")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert (process.returncode, stdout) == (130, ""), stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr


# --- Checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path):
    """The options of a whole job, which can be repeated until it ends with 0."""
    options = ["--dataset", "sample", "--device", "cpu", "--epochs", "3"]
    return [*options, "--checkpoint", str(tmp_path / "run"), "--resume"]


@pytest.fixture(scope="module")
def uninterrupted():
    """What a job prints if nothing kills it."""
    words = command("mnist.py", "--dataset", "sample", "--device", "cpu", "--epochs", "3")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_a_killed_job_prints_the_same_table(module, job, uninterrupted, capsys):
    example = module("mnist")
    for saves in (1, 1):
        with killed_after_save(saves):
            example.main(job)
    assert capsys.readouterr().out == ""
    for _ in range(2):  # a job that is done prints its table again
        assert example.main(job) == 0
        assert capsys.readouterr().out == uninterrupted


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_in_a_job(start, job, uninterrupted, run, tmp_path, name):
    number = signal.Signals[name]
    process = start(*job, "--checkpoint-every", "10steps")
    wait_for(tmp_path / "run")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == (-number if name == "SIGKILL" else 128 + number), stderr
    if name != "SIGKILL":
        assert stderr.count("run the same command again to go on") == 1
        assert f"{name}: training is saved in {tmp_path / 'run'} after " in stderr
    assert name == "SIGINT" or stdout == ""
    assert "Traceback" not in stderr
    done = run("mnist.py", *job)
    assert (done.returncode, done.stdout) == (0, uninterrupted), done.stderr


def test_checkpoints_and_results_belong_together(module, job, tmp_path, capsys):
    example, out = module("mnist"), tmp_path / "out"
    with killed_after_save(2):
        example.main([*job, "--out", str(out)])
    assert example.main([*job, "--out", str(out)]) == 0
    assert len(pd.read_csv(out / "history.csv")) == 3
    assert "checkpoint" not in json.loads((out / "config.json").read_text())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--resume"], 2, "--resume: expected a checkpoint's file; add --checkpoint FILE"),
        (["--checkpoint-every", "3s"], 2, "--checkpoint-every: expected a checkpoint's file; add"),
        (["--checkpoint", "x", "--checkpoint-every", "3"], 2,
         "error: --checkpoint-every: expected a count and a unit, got '3'; write '200steps'"),
        (["--checkpoint", "there"], 2, "there: expected no file yet, got one; go on from it with --resume"),
        (["--checkpoint", "there", "--resume"], 3, "there: expected a whole safetensors file"),
        (["--checkpoint", "none/x"], 1, "none, got none; make it first"),
        (["--checkpoint", "folder"], 1, "expected a file to write, got a folder"),
    ],
)  # fmt: skip
def test_wrong_checkpoints(module, options, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    try:
        got = module("mnist").main(["--dataset", "sample", "--device", "cpu", *options])
    except SystemExit as stop:  # argparse
        got = stop.code
    printed = capsys.readouterr()
    assert (got, printed.out) == (code, "")
    assert said in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "there"]


def test_the_help_explains_checkpoints(module, capsys):
    with pytest.raises(SystemExit):
        module("mnist").main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for option in ("--checkpoint FILE", "--checkpoint-every N", "--resume"):
        assert option in said
    assert "repeated until it ends with 0, does the whole job" in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    ("redirection", "unbuffered", "code", "said"),
    [
        (">/dev/full", "", 1, "error: [Errno 28] No space left on device\n"),
        (">/dev/full", "1", 1, "error: [Errno 28] No space left on device\n"),
        (">/dev/full 2>/dev/full", "1", 1, ""),
        (">&-", "", 0, ""),
        ("2>&-", "", 0, ""),
        (">&- 2>&-", "1", 0, ""),
    ],
)
def test_a_table_that_is_lost_leaves_the_training(
    environment, tmp_path, redirection, unbuffered, code, said
):
    environment["PYTHONUNBUFFERED"] = unbuffered  # the error comes at the end, or at the first line
    words = command("mnist.py", "--dataset", "sample", "--device", "cpu", "--epochs", "1")
    words = " ".join(f"'{word}'" for word in [*words, "--checkpoint", str(tmp_path / "run")])
    done = subprocess.run(
        ["sh", "-c", f"{words} {redirection}"], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (code, said)
    assert (tmp_path / "run").exists()


def test_feedback_alignment_and_backpropagation(run):
    tables = {}
    for feedback in ("FixedFeedback", "Transpose"):
        done = run("feedback_alignment.py", "--feedback", feedback, "--epochs", "8")
        assert done.returncode == 0, done.stderr
        assert f", {feedback}, seed 0" in done.stdout
        tables[feedback] = table(done.stdout)
        assert tables[feedback].acc_test.iloc[-1] > 0.7
    assert not tables["FixedFeedback"].equals(tables["Transpose"])


def test_feedback_alignment_errors_have_a_message(run):
    done = run("feedback_alignment.py", "--epochs", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "error: fit: expected at least 1 epoch, got 0"


@pytest.fixture
def ship(environment, tmp_path):
    """Run ship.py on the sample, with a PATH of its own; return the process and its verdicts."""

    def run(path=None, without_onnx=False):
        here = environment | ({} if path is None else {"PATH": str(path)})
        if without_onnx:
            (tmp_path / "onnxruntime.py").write_text("raise ImportError")
            here["PYTHONPATH"] = os.pathsep.join([str(tmp_path), here.get("PYTHONPATH", "")])
        words = command("ship.py", "--dataset", "sample", "--epochs", "1")
        words += ["--out", str(tmp_path / "out")]
        done = subprocess.run(words, capture_output=True, text=True, env=here, timeout=300)
        lines = done.stdout.partition("that differ from packed\n")[2].splitlines()
        return done, {line[:10].strip(): line[34:].strip() for line in lines[:5]}

    return run


def test_shipped_forms_agree(ship, tmp_path):
    done, verdicts = ship()
    assert done.returncode == 0, done.stderr
    tools = {
        "C": any(map(shutil.which, ("cc", "gcc", "clang"))),
        "ONNX": all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
        "web page": shutil.which("node"),
    }
    assert list(verdicts) == ["float32", "packed", *tools]
    assert verdicts["float32"] == "0 labels"
    assert "float32        437,584 " in done.stdout, "as in inspect and pack"
    for form, can_run in tools.items():
        assert not can_run or verdicts[form] == "0 scores", done.stdout
    names = {"digits.safetensors", "digits.h", "digits.html"}
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    accuracies = [line[22:32] for line in done.stdout.splitlines() if line.endswith(" scores")]
    assert len(set(accuracies)) <= 1


def test_forms_that_cannot_run_are_listed(ship, tmp_path):
    done, _ = ship(path=tmp_path, without_onnx=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not run: ") == 3
    for said in ("install gcc or clang", "pip install onnx onnxruntime", "install Node.js"):
        assert said in done.stdout
    assert "scores" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a first line that names a program")
def test_a_form_that_disagrees_is_an_error(ship, tmp_path):
    node = tmp_path / "node"
    script = f"#!{sys.executable}\nimport sys\nsys.stdin.buffer.read()\nprint('0 ' * 10_000)\n"
    node.write_text(script)
    node.chmod(0o755)
    done, verdicts = ship(path=tmp_path, without_onnx=True)
    assert done.returncode == 1, done.stderr
    assert verdicts["web page"] == "1,000 scores"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a first line that names a program")
def test_a_program_that_fails_is_named_and_the_others_run(ship, tmp_path):
    for name, code in {"cc": 3, "node": 4}.items():
        (tmp_path / name).write_text(f"#!{sys.executable}\nimport sys\nsys.exit({code})\n")
        (tmp_path / name).chmod(0o755)
    done, _ = ship(path=tmp_path, without_onnx=True)
    assert done.returncode == 1
    assert "\nC             failed: cc ended with exit code 3\n" in done.stdout
    assert "\nweb page      failed: node ended with exit code 4\n" in done.stdout
    assert done.stdout.count("not run: ") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--epochs", "0"], 2, "--epochs: expected at least 1, got 0"),
        (["--dataset", "mnist"], 3, "MNIST is not complete"),
        (["--out", __file__], 1, "expected a folder for results, got a file; choose another name"),
    ],
)
def test_ship_errors_have_a_message(run, options, code, said, tmp_path):
    common = ["--dataset", "sample", "--epochs", "1", "--out", str(tmp_path)]
    done = run("ship.py", *common, *options)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipeline_ends_in_a_header(main, tmp_path):
    pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn is not installed")
    code, out, err = main("sklearn_pipeline", "--out", str(tmp_path), "--epochs", "20")
    assert (code, err) == (0, "")
    assert out.startswith("best of 8: {'columns__k': ")
    test = float(out.partition("test part ")[2].split()[0])
    assert test > 0.85
    header = (tmp_path / "wine.h").read_text()
    assert "proline" in header
    assert '"Barbera",\n        "Barolo",\n        "Grignolino",' in header
    compiled = any(map(shutil.which, ("cc", "gcc", "clang")))
    assert ("compiled: 54 of 54 labels as in Python" in out) == compiled
