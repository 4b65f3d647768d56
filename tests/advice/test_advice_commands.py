"""What the commands say to do, done: the command then works, and has the right result."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from advice import advised, shows
from command_line import SAMPLE

import minibnn
from minibnn import (
    Activation,
    Adam,
    Dense,
    Flatten,
    Function,
    Rescale,
    Sequential,
    SignSTE,
    Tanh,
    load_latents,
    load_packed,
    load_sample,
    pack,
    save_packed,
    write_idx,
)
from minibnn.__main__ import main
from minibnn.commands import shared, train
from minibnn.comparison.grid import parse_piece
from minibnn.recipes import RECIPES

ROOT = Path(__file__).parents[2]
EPOCH = ("--epochs", "1")


@pytest.fixture
def run(capsys):
    """Run a command; its exit code and what a person sees of it."""

    def command(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # of argparse
            code = stop.code
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return command


def refused(run, code, *words):
    got, text = run(*words)
    assert got == code, text
    return text


def done(run, *words):
    return refused(run, 0, *words)


# --- files to read --------------------------------------------------------------------------------


def test_a_model_that_is_not_there_is_trained(run, tmp_path):
    path = tmp_path / "FILE"
    text = refused(run, 3, "inspect", path)
    shows("commands", "python -m minibnn train -o FILE makes one", text)
    done(run, "train", *SAMPLE, *EPOCH, "-o", path)
    assert "a packed model" in done(run, "inspect", path)


def test_a_file_in_the_folder_is_named(run, trained):
    text = refused(run, 3, "inspect", trained.parent)
    shows("commands", "name a file in it", text)
    assert "a packed model" in done(run, "inspect", trained)


def test_an_unreadable_file_is_made_readable(run, trained, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shared, "load_packed", forbidden)  # no file is unreadable for root
    text = refused(run, 3, "inspect", trained)
    shows("commands", "make the file readable", text)
    monkeypatch.undo()
    assert "a packed model" in done(run, "inspect", trained)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_copied_into_a_file(run, trained, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = refused(run, 3, "inspect", pipe)
    shows("regular_file", "copy what it gives into a file, and name that", text)
    copy = tmp_path / "copy"
    with subprocess.Popen(["cp", trained, pipe]) as giver:
        copy.write_bytes(pipe.read_bytes())
        assert giver.wait() == 0
    assert "a packed model" in done(run, "inspect", copy)


# --- files to write -------------------------------------------------------------------------------


def test_a_file_to_write_gets_a_name_and_a_folder(run, trained, tmp_path, monkeypatch):
    text = refused(run, 1, "pack", trained, "-o", tmp_path)
    shows("commands", "add a name", text)
    done(run, "pack", trained, "-o", tmp_path / "small")
    right = load_packed(trained).sha256
    assert load_packed(tmp_path / "small").sha256 == right

    out = tmp_path / "new" / "small"
    text = refused(run, 1, "pack", trained, "-o", out)
    shows("commands", "make it first", text)
    out.parent.mkdir()
    done(run, "pack", trained, "-o", out)
    assert load_packed(out).sha256 == right

    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    text = refused(run, 1, "pack", trained, "-o", loop)
    shows("commands", "choose another name", text)
    done(run, "pack", trained, "-o", tmp_path / "another")
    assert load_packed(tmp_path / "another").sha256 == right


def test_a_folder_that_can_be_written_is_chosen(run, trained, tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not os.path.samefile(path, closed) and access(path, mode)
    )
    text = refused(run, 1, "pack", trained, "-o", closed / "small")
    shows("commands", "choose another than {}", text)
    done(run, "pack", trained, "-o", tmp_path / "small")
    assert load_packed(tmp_path / "small").sha256 == load_packed(trained).sha256


def test_a_read_only_file_is_made_writable_or_left(run, trained, tmp_path):
    out = tmp_path / "small"
    out.write_bytes(b"old")
    out.chmod(0o444)
    text = refused(run, 1, "pack", trained, "-o", out)
    shows("atomic_file", "make it writable (chmod u+w), or choose another name", text)
    done(run, "pack", trained, "-o", tmp_path / "another")
    subprocess.run(["chmod", "u+w", out], check=True)
    done(run, "pack", trained, "-o", out)
    assert load_packed(out).sha256 == load_packed(tmp_path / "another").sha256


def test_the_model_is_not_written_over(run, trained, tmp_path):
    path = tmp_path / "digits.safetensors"
    shutil.copy(trained, path)
    text = refused(run, 2, "export", "c", path, "-o", path)
    shows("commands", "choose another name after -o", text)
    done(run, "export", "c", path, "-o", tmp_path / "digits.h")
    text = refused(run, 2, "pack", path, "-o", path)
    shows("commands", "choose another name after -o", text)
    done(run, "pack", path, "-o", tmp_path / "small")
    assert path.read_bytes() == trained.read_bytes()


def test_data_is_not_written_over(run, trained, tmp_path):
    data = tmp_path / "digits.csv"
    data.write_text("1,2\n")
    text = refused(run, 2, "export", "c", trained, "-o", data)
    shows("commands", "choose another name after -o", text)
    done(run, "export", "c", trained, "-o", tmp_path / "digits.h")
    assert data.read_text() == "1,2\n"


# --- data -----------------------------------------------------------------------------------------


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A folder of a drop-in set: MNIST's format, other images."""
    monkeypatch.delenv("MINIBNN_DATA", raising=False)
    folder = tmp_path / "fashion"
    folder.mkdir()
    data = load_sample()
    for part, images, labels in (
        ("train", data.train_images[:600], data.train_labels[:600]),
        ("t10k", data.test_images[:200], data.test_labels[:200]),
    ):
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


COMPARE = ("compare", *EPOCH, "--seeds", "1", "--quantizers", "ApproxSign")


@pytest.mark.parametrize("by", ["--data-dir", "MINIBNN_DATA"])
@pytest.mark.parametrize("command", ["train", "evaluate", "compare", "example"])
def test_a_drop_in_set_is_not_verified(run, trained, fashion, tmp_path, monkeypatch, command, by):
    out = tmp_path / "out"
    words = {
        "train": ("train", *EPOCH, "-o", out),
        "evaluate": ("evaluate", trained),
        "compare": (*COMPARE, "--out", out),
        "example": EPOCH,
    }[command]
    if by == "MINIBNN_DATA":
        monkeypatch.setenv("MINIBNN_DATA", str(fashion))
    else:
        words += ("--data-dir", fashion)
    if command == "example":
        monkeypatch.setitem(globals(), "main", example().main)
    text = refused(run, 3, *words)
    shows("commands", "add --no-verify", text)
    assert "load_mnist(" not in text
    text = done(run, *words, "--no-verify")
    assert "fashion" in text


@pytest.mark.parametrize("command", ["train", "compare"])
def test_missing_files_are_put_into_a_folder_that_is_named(run, tmp_path, monkeypatch, command):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    monkeypatch.delenv("MINIBNN_DATA", raising=False)
    monkeypatch.setattr("minibnn.data.download.cache_folder", lambda: tmp_path / "none")
    words = {
        "train": ("train", *EPOCH, "-o", tmp_path / "out"),
        "compare": (*COMPARE, "--out", tmp_path / "out"),
    }[command]
    text = refused(run, 3, *words, "--dataset", "mnist")
    shows("commands", "--data-dir FOLDER", text)
    shows("commands", "--dataset sample has", text)
    assert "load_" not in text
    assert "sample" in done(run, *words, "--dataset", "sample")
    text = refused(run, 3, *words, "--data-dir", tmp_path / "FOLDER")
    assert f"MNIST is not complete in {tmp_path / 'FOLDER'}" in text  # so the option is read


def test_the_log_speaks_of_options_too(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    monkeypatch.delenv("MINIBNN_DATA", raising=False)
    monkeypatch.setattr("minibnn.data.download.cache_folder", lambda: tmp_path / "none")
    done(run, "train", *EPOCH, "-o", tmp_path / "out", "--device", "cpu")
    assert "--data-dir FOLDER" in caplog.text
    assert "load_mnist(" not in caplog.text
    caplog.clear()
    minibnn.load_mnist_or_sample()  # in Python it is a function again
    assert "load_mnist(" in caplog.text


@pytest.mark.parametrize("option", [("--data-dir", "x"), ("--no-verify",)])
def test_the_sample_comes_with_minibnn(run, tmp_path, option):
    words = ("train", *EPOCH, "--device", "cpu", "-o", tmp_path / "out")
    text = refused(run, 2, *words, "--dataset", "sample", *option)
    shows("data", "leave out one of the two", text)
    done(run, *words, "--dataset", "sample")


def test_more_images_than_are_held_out(run, tmp_path, monkeypatch):
    small = replace(RECIPES["modern"](), name="small", held_out=4000)
    monkeypatch.setitem(RECIPES, "small", lambda: small)
    words = ("train", "--recipe", "small", *EPOCH, "--device", "cpu", "-o", tmp_path / "out")
    text = refused(run, 2, *words, "--dataset", "sample")
    shows("commands", "use all of MNIST: --dataset mnist", text)
    assert "held_out=0" not in text
    data = load_sample()
    twice = [np.concatenate([a, a]) for a in (data.train_images, data.train_labels)]
    large = minibnn.ImageDataset("MNIST", *twice, data.test_images, data.test_labels)
    monkeypatch.setattr("minibnn.data.mnist.load_mnist", lambda *_, **__: large)
    done(run, *words, "--dataset", "mnist")


# --- devices --------------------------------------------------------------------------------------


def test_a_gpu_that_is_not_there_is_left_out(run, trained, monkeypatch):
    try:
        minibnn.get_backend("gpu")
    except minibnn.DeviceError:
        pass
    else:
        pytest.skip("there is a GPU")
    text = refused(run, 4, "evaluate", trained, "--dataset", "sample", "--device", "gpu")
    shows("commands", "--device cpu", text)
    assert 'device "cpu"' not in text
    done(run, "evaluate", trained, "--dataset", "sample", "--device", "cpu")


# --- train ----------------------------------------------------------------------------------------


def test_training_goes_on_from_latent_weights(run, trained, tmp_path):
    bits = tmp_path / "bits"
    done(run, "pack", trained, "-o", bits)
    on = ("train", *SAMPLE, *EPOCH, "-o", tmp_path / "on", "--from")
    text = refused(run, 3, *on, bits)
    shows(
        "commands",
        "use the file before `pack`, or train without --no-latents",
        text,
    )
    done(run, *on, trained)
    done(run, "train", *SAMPLE, *EPOCH, "--no-latents", "-o", bits)
    refused(run, 3, *on, bits)
    done(run, "train", *SAMPLE, *EPOCH, "-o", bits)
    done(run, *on, bits)
    assert load_packed(tmp_path / "on").training["epochs"] == 2


def by_hand(trained, path, **figures):
    """The same model, saved by somebody with figures of their own."""
    model = load_latents(trained, RECIPES["modern"]().build())
    save_packed(pack(model, (28, 28)), path, model=model, training=figures)
    return path


def test_the_recipe_of_a_file_is_named(run, trained, tmp_path):
    path = by_hand(trained, tmp_path / "own", accuracy=0.9)
    on = ("train", *SAMPLE, *EPOCH, "-o", tmp_path / "on", "--from")
    text = refused(run, 3, *on, path)
    shows("commands", "name it with --recipe", text)
    text = refused(run, 3, *on, path, "--recipe", "seed")
    shows("commands", "name the recipe it was trained by: --recipe", text)
    done(run, *on, path, "--recipe", "modern")
    text = refused(run, 3, *on, trained, "--recipe", "seed")
    shows("commands", "leave out --recipe", text)
    done(run, *on, trained)


def test_odd_figures_of_a_file_are_overruled(run, trained, tmp_path):
    path = by_hand(trained, tmp_path / "own", recipe="modern", seed="three")
    on = ("train", *SAMPLE, *EPOCH, "-o", tmp_path / "on", "--from")
    text = refused(run, 3, *on, path)
    shows("commands", "name one with --seed", text)
    done(run, *on, path, "--seed", "3")
    path = by_hand(trained, tmp_path / "own", recipe="modern", seed=3, epochs=-1)
    text = refused(run, 3, *on, path)
    shows("commands", "train from a file of `train`", text)
    done(run, *on, trained)


def example():
    """The module of examples/mnist.py."""
    path = ROOT / "examples" / "mnist.py"
    module = sys.modules.get("mnist_example")
    if module is None:
        spec = importlib.util.spec_from_file_location("mnist_example", path)
        module = sys.modules["mnist_example"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_what_cannot_be_packed_is_trained_by_the_example(run, tmp_path, monkeypatch, capsys):
    def build():
        return Sequential(
            Flatten(), Rescale(1 / 255), Dense(784, 16), Activation(Tanh()), Dense(16, 10)
        )

    real = replace(RECIPES["modern"](), name="real", build=build)
    monkeypatch.setitem(RECIPES, "real", lambda: real)
    text = refused(run, 2, "train", "--recipe", "real", *SAMPLE, "-o", tmp_path / "out")
    shows(
        "commands",
        "to train it all the same: python examples/mnist.py --recipe {}",
        text,
    )
    words = re.search(r"python examples/mnist.py (--recipe \w+)", text)[1].split()
    monkeypatch.setitem(example().CHOICES, "recipe", tuple(RECIPES))
    assert example().main([*words, *SAMPLE, *EPOCH]) == 0
    assert "real recipe" in capsys.readouterr().out


def test_a_model_that_could_not_be_kept_is_rescued(run, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(train, "save_packed", fails)
    text = refused(run, 1, "train", *SAMPLE, *EPOCH, "-o", tmp_path / "out")
    shows(
        "commands",
        "its arrays are in\n  {path}\nin Python, to go on from: model = "
        "{build}.initialize(0), and\n  for part, array in "
        "zip([*model.parameters(), *model.buffers()], numpy.load(...).values()):\n"
        "      part.data = array",
        text.replace("RECIPES['modern']().build()", "{build}").replace(
            str(tmp_path / "out.rescued.npz"), "{path}"
        ),
    )
    build = re.search(r"model = (.*), and", text)[1]
    loop = text[text.index("for part") : text.index("part.data = array")] + "part.data = array"
    path = re.search(r"arrays are in\n  (.*)\n", text)[1]
    names = {"RECIPES": RECIPES, "numpy": np}
    names["model"] = eval(build, names)
    exec(loop.replace("load(...)", f"load({path!r})"), names)
    right = float(re.search(r"float (0\.\d+)", text)[1])
    data = load_sample()
    labels = names["model"].forward(data.test_images).argmax(axis=1)
    assert (labels == data.test_labels).mean() == pytest.approx(right, abs=1e-4)


# --- checkpoints ----------------------------------------------------------------------------------


def test_a_checkpoint_has_a_file(run, tmp_path):
    out = tmp_path / "out"
    train = ("train", *SAMPLE, *EPOCH, "-o", out)
    for number, words in enumerate([("--resume",), ("--checkpoint-every", "1h")]):
        text = refused(run, 2, *train, *words)
        shows("commands", "add --checkpoint FILE", text)
        done(run, *train, *words, "--checkpoint", tmp_path / f"FILE{number}")
        assert (tmp_path / f"FILE{number}").exists()


def test_a_checkpoint_of_the_example_has_a_file(run, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "main", example().main)
    text = refused(run, 2, *SAMPLE, *EPOCH, "--resume")
    shows("commands", "--resume: expected a checkpoint's file; add --checkpoint FILE", text)
    every = ("--checkpoint-every", "1h")
    text = refused(run, 2, *SAMPLE, *EPOCH, *every)
    shows(
        "commands",
        "--checkpoint-every: expected a checkpoint's file; add --checkpoint FILE",
        text,
    )
    done(run, *SAMPLE, *EPOCH, *every, "--resume", "--checkpoint", tmp_path / "FILE")
    assert (tmp_path / "FILE").exists()


def test_how_often_is_written_as_the_hint_writes_it(run, tmp_path):
    words = ("train", *SAMPLE, *EPOCH, "-o", tmp_path / "out", "--checkpoint", tmp_path / "FILE")
    text = refused(run, 2, *words, "--checkpoint-every", "often")
    shows(
        "commands",
        "--checkpoint-every: expected a count and a unit, got {}; write '200steps', '30s', "
        "'10min' or '1epoch'",
        text,
    )
    for every in re.findall(r"'(\w+)'", text.partition("; write ")[2]):
        done(run, *words, "--checkpoint-every", every)
        (tmp_path / "FILE").unlink()


def test_a_checkpoint_has_a_name_of_its_own(run, trained, tmp_path):
    own, out = tmp_path / "own", tmp_path / "out"
    shutil.copy(trained, own)
    words = ("train", *SAMPLE, *EPOCH, "--from", own)
    for option, path in (("-o", out), ("--from", own)):
        text = refused(run, 2, *words, "-o", out, "--checkpoint", path)
        assert f"expected another file than {option}, " in text
        shows("commands", "choose another name after --checkpoint", text)
    text = refused(
        run, 2, *words, "-o", tmp_path / "FILE.before", "--checkpoint", tmp_path / "FILE"
    )
    shows("commands", "choose another name after --checkpoint", text)
    text = refused(run, 2, *words, "-o", own, "--checkpoint", tmp_path / "FILE")
    shows("commands", "choose another name after -o", text)
    done(run, *words, "-o", out, "--checkpoint", tmp_path / "FILE")
    assert own.read_bytes() == trained.read_bytes()
    assert load_packed(out).training["epochs"] == 2


def test_an_interrupted_job_goes_on(run, tmp_path, monkeypatch, caplog):
    job = ("train", "--recipe", "seed", *SAMPLE, "--epochs", "2", "-o", tmp_path / "out")
    done(run, *job)
    whole = (tmp_path / "out").read_bytes()
    job = (*job, "--checkpoint", tmp_path / "FILE")
    real, steps = Adam.step, []

    def step(self):
        steps.append(1)
        if len(steps) in (70, 90):  # in the second epoch of 62 steps
            signal.raise_signal(signal.SIGINT)
        real(self)

    (tmp_path / "out").unlink()
    monkeypatch.setattr(Adam, "step", step)
    refused(run, 130, *job)
    shows("commands", "the same command with --resume goes on", caplog.text)
    text = refused(run, 2, *job)
    shows("commands", "go on from it with --resume, or delete it", text)
    assert not (tmp_path / "out").exists()
    refused(run, 130, *job, "--resume")
    shows("commands", "run the same command again to go on", caplog.text)
    done(run, *job, "--resume")
    assert len(steps) == 2 * 62
    assert (tmp_path / "out").read_bytes() == whole
    (tmp_path / "FILE").unlink()
    done(run, *job)
    assert len(steps) == 4 * 62
    assert (tmp_path / "out").read_bytes() == whole


# --- export ---------------------------------------------------------------------------------------


def test_an_empty_title_is_left_out(run, trained, tmp_path):
    words = ("export", "html", trained, "-o", tmp_path / "digits.html")
    text = refused(run, 2, *words, "--name", " ")
    shows("commands", "leave it out", text)
    done(run, *words)
    assert "<title>" in (tmp_path / "digits.html").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc")
def test_the_command_of_the_self_test_runs(run, trained, tmp_path, monkeypatch):
    text = done(run, "export", "c", trained, "-o", tmp_path / "thumb it.h", "--name", "thumb")
    command = text[text.index("  echo") :].strip()
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (ran.stdout, ran.stderr) == ("passed\n", "")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc")
def test_macros_of_the_c_header_take_what_they_say(run, trained, tmp_path):
    done(run, "export", "c", trained, "-o", tmp_path / "digits.h")
    source = '#include "digits.h"\nint main(void) { return digits_selftest(); }\n'
    (tmp_path / "main.c").write_text(source)

    def compile(**macros):
        flags = [f"-DDIGITS_{name}={value}" for name, value in {"SELFTEST": 1, **macros}.items()]
        words = ["cc", "-std=c99", *flags, "main.c", "-o", "selftest"]
        made = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        if made.returncode == 0:
            assert subprocess.run([tmp_path / "selftest"]).returncode == 0
        return made.stderr.replace("DIGITS_", "NAME_")

    shows("export", "NAME_WORD_BITS: expected 32 or 64", compile(WORD_BITS=16))
    shows("export", "NAME_POPCOUNT: expected 1, 2 or 3", compile(POPCOUNT=4))
    shows(
        "export",
        "NAME_SIMD: expected 0, or with words of 64 bits 1 or 2",
        compile(SIMD=3),
    )
    for right in ({"WORD_BITS": 32}, {"WORD_BITS": 64}, {"SIMD": 0}):
        assert compile(**right) == ""
    for popcount in (1, 2, 3):
        assert compile(POPCOUNT=popcount) == ""


# --- compare --------------------------------------------------------------------------------------


def compare(run, code, tmp_path, *words):
    own = ("--recipe", "modern") if "--recipe" not in words else ()
    return refused(run, code, "compare", *own, *EPOCH, "--dataset", "sample",
                   "--out", tmp_path / "out", *words)  # fmt: skip


def test_noise_needs_seeds(run, tmp_path):
    two = ("--quantizers", "SignSTE", "ApproxSign", "--held-out", "200")
    text = compare(run, 0, tmp_path, *two, "--seeds", "1")
    shows("comparison", "use --seeds 5", text)
    text = compare(run, 0, tmp_path, *two, "--seeds", "5")
    assert "one seed" not in text
    assert "  5 " in text


def test_a_piece_is_a_name_or_a_call(run, tmp_path):
    text = compare(run, 2, tmp_path, "--seeds", "1", "--quantizers", "SwishSign(beta=np.pi)")
    shows(
        "comparison",
        "expected a name, or a call with plain arguments such as SwishSign(beta=3), got {}",
        text,
    )
    compare(run, 0, tmp_path, "--seeds", "1", "--quantizers", "SwishSign(beta=3)")
    with advised("comparison", "there are: {}") as caught:
        parse_piece("SwishSine", Function)
    names = caught.text.partition("there are: ")[2].split(", ")
    assert "SwishSign" in names
    for name in names:
        assert issubclass(parse_piece(name, Function).kind, Function)


def test_what_has_nothing_to_replace_is_left_out(run, tmp_path, monkeypatch):
    def build():
        return Sequential(Flatten(), Rescale(1 / 255), Dense(784, 10))

    monkeypatch.setitem(RECIPES, "bare", lambda: replace(RECIPES["modern"](), build=build))
    bare = ("--recipe", "bare", "--seeds", "1")
    text = compare(run, 2, tmp_path, *bare, "--quantizers", "ApproxSign")
    shows("comparison", "leave them out, or choose another recipe", text)
    compare(run, 0, tmp_path, *bare)
    compare(run, 0, tmp_path, "--seeds", "1", "--quantizers", "ApproxSign")


def test_bop_is_compared_where_weights_have_one_bit(run, tmp_path):
    bop = ("--seeds", "1", "--optimizers", "Bop")
    text = compare(run, 2, tmp_path, *bop, "--weight-quantizers", "TernaryWeights")
    shows("comparison", "compare it without weight quantizers of more bits", text)
    assert "Bop" in compare(run, 0, tmp_path, *bop)
    assert SignSTE().bits == 1


def test_results_go_into_a_folder(run, tmp_path):
    (tmp_path / "file").write_text("no folder")
    words = (*COMPARE, "--dataset", "sample", "--out")
    code, text = run(*words, tmp_path / "file")
    assert code == 1
    shows("result_folder", "choose another name", text)
    assert run(*words, tmp_path / "folder")[0] == 0
    assert (tmp_path / "folder" / "runs.csv").exists()
