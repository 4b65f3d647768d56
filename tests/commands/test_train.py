"""``python -m minibnn train``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from checkpointed import killed_after_save
from command_line import SAMPLE, refuses

from minibnn import (
    Activation,
    Adam,
    Dense,
    Flatten,
    PackedModel,
    PackError,
    Rescale,
    Sequential,
    Tanh,
    load_latents,
    load_packed,
    pack,
    save_packed,
)
from minibnn.__main__ import main
from minibnn.commands import rescue, train
from minibnn.recipes import RECIPES
from minibnn.training.recipe import Recipe

COLUMNS = ["epoch", "loss_train", "loss_test", "acc_train", "acc_test"]


def tables(printed):
    return [line.split() for line in printed.splitlines() if re.match(r"epoch |\d+ ", line)]


def test_train_prints_each_epoch_and_saves_what_it_measured(tmp_path, capsys, sample):
    path = tmp_path / "seed.safetensors"
    options = ("--recipe", "seed", "--epochs", "2", "--lr", "1e-3", "--seed", "5")
    assert main(["train", *options, *SAMPLE, "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("MNIST sample (4,000 + 1,000 images), seed recipe, seed 5, cpu\n")

    model, history = RECIPES["seed"]().train(sample, epochs=2, learning_rate=1e-3, seed=5)
    head, *rows = tables(printed)
    assert head == COLUMNS
    expected = [
        [str(epoch), *(f"{v:.3f}" for v in row[:4])] for epoch, *row in history.itertuples()
    ]
    assert rows == expected

    packed, same = load_packed(path), pack(model, (28, 28))
    for name, array in same.arrays().items():
        np.testing.assert_array_equal(packed.arrays()[name], array)
    right = (same.predict(sample.test_images) == sample.test_labels).mean()
    floats = model.forward(sample.test_images).argmax(axis=1)
    differ = int((floats != same.predict(sample.test_images)).sum())
    assert packed.training == {
        "recipe": "seed",
        "seed": 5,
        "epochs": 2,
        "lr": 1e-3,
        "dataset": sample.name,
        "accuracy": right,
        "float_accuracy": history.acc_test[2],
        "float_loss": pytest.approx(history.loss_test[2], abs=1e-6),
        "labels_differ": differ,
        "test_images": 1000,
    }
    for said in (
        f"float {history.acc_test[2]:.4f} (loss {history.loss_test[2]:.4f}), packed {right:.4f}",
        f"another label {differ}\n",
        f"{path}: {path.stat().st_size:,} bytes, with latent weights",
        f"takes {packed.nbytes:,}\n",
    ):
        assert said in printed
    again = load_latents(path, RECIPES["seed"]().build())
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_going_on_starts_where_the_file_stands(trained, tmp_path, capsys):
    # Steps of nothing: the weights must still be the file's.
    path = tmp_path / "on.safetensors"
    options = ("--from", str(trained), "--epochs", "2", "--lr", "1e-30")
    assert main(["train", *options, *SAMPLE, "-o", str(path)]) == 0
    assert "modern recipe, seed 3, cpu" in capsys.readouterr().out
    before, after = load_packed(trained), load_packed(path)
    for i in (0, 2, 4):
        np.testing.assert_array_equal(before.stages[i].weights, after.stages[i].weights)
    assert (before.training["epochs"], after.training["epochs"]) == (1, 3)
    assert after.training["seed"] == 3
    fresh = tmp_path / "fresh.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "--lr", "1e-30", "-o", str(fresh)]) == 0
    assert (load_packed(fresh).stages[0].weights != before.stages[0].weights).any()


def test_going_on_into_the_same_file(trained, tmp_path, capsys):
    path = tmp_path / "digits.safetensors"
    path.write_bytes(trained.read_bytes())
    accuracies = [load_packed(path).training["float_accuracy"]]
    for seed in ("4", "5"):
        options = ("--from", str(path), "--epochs", "2", "--seed", seed)
        assert main(["train", *options, *SAMPLE, "-o", str(path)]) == 0
        accuracies.append(load_packed(path).training["float_accuracy"])
    assert f"{path} is there and will be replaced" in capsys.readouterr().err
    assert load_packed(path).training["epochs"] == 5
    assert accuracies[2] > accuracies[0] + 0.01


def test_without_latents(tmp_path, capsys):
    path = tmp_path / "bits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "--no-latents", "-o", str(path)]) == 0
    assert "the bits only" in capsys.readouterr().out
    assert path.stat().st_size < 16_000
    assert main(["train", *SAMPLE, "--from", str(path), "-o", str(tmp_path / "on")]) == 3
    said = capsys.readouterr()
    assert "expected latent weights to go on from, got the bits only" in said.err
    assert said.out == ""


def test_a_recipe_without_a_packed_form_is_refused_before_training(tmp_path, capsys, monkeypatch):
    def build():
        return Sequential(Flatten(), Rescale(1 / 255), Dense(784, 10), Activation(Tanh()))

    monkeypatch.setitem(RECIPES, "mine", lambda: Recipe("mine", build, 1, 100, 1e-2))
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    path = tmp_path / "relu.safetensors"
    assert main(["train", "--recipe", "mine", *SAMPLE, "-o", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "the recipe mine cannot be packed, so it is not trained here" in said.err
    assert "Activation(Tanh())" in said.err
    assert not path.exists()


@pytest.mark.parametrize("name", [n for n in RECIPES if n != "binarynet"])
def test_every_recipe_can_be_packed(name):
    assert isinstance(pack(RECIPES[name]().build().initialize(0), (28, 28)), PackedModel)


def test_another_network_cannot_go_on(trained, tmp_path, capsys):
    options = ("--from", str(trained), "--recipe", "seed")
    assert main(["train", *options, *SAMPLE, "-o", str(tmp_path / "x")]) == 3
    said = capsys.readouterr().err
    assert "expected the latent weights of the recipe seed, got those of another network" in said
    assert said.endswith("; leave out --recipe\n")


def with_figures(path, **training):
    """A file of a modern network, with latent weights and anybody's figures."""
    model = RECIPES["modern"]().build().initialize(0)
    save_packed(pack(model, (28, 28)), path, training=training, model=model)
    return str(path)


def test_another_network_cannot_go_on_under_the_files_own_name(tmp_path, capsys):
    source = with_figures(tmp_path / "own", recipe="seed")
    assert main(["train", "--from", source, *SAMPLE, "-o", str(tmp_path / "x")]) == 3
    assert "name the recipe it was trained by: --recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"epochs": "10"}, "as epochs in its figures, got '10'; train from"),
        ({"epochs": -1}, "as epochs in its figures, got -1; train from"),
        ({"epochs": None}, "as epochs in its figures, got None; train from"),
        ({"epochs": True}, "as epochs in its figures, got True; train from"),
        ({"seed": None}, "as seed in its figures, got None; name one with --seed"),
        ({"seed": -1}, "as seed in its figures, got -1; name one with --seed"),
        ({"seed": 1.0}, "as seed in its figures, got 1.0; name one with --seed"),
        ({"recipe": ["modern"]}, "got ['modern']; name it with --recipe"),
    ],
)
def test_figures_of_anybody_are_checked_before_training(
    figures, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    source = with_figures(tmp_path / "own", **{"recipe": "modern", **figures})
    out = tmp_path / "out"
    words = ["train", "--from", source, *SAMPLE, "-o", str(out)]
    refuses(capsys, words, 3, f"{source}: expected ")
    main(words)
    assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("few")
def test_a_named_seed_does_for_one_that_is_none(tmp_path):
    path = with_figures(tmp_path / "own", recipe="modern", seed=None)
    words = ["train", "--from", path, "--seed", "2", "--epochs", "1", *SAMPLE, "-o", path]
    assert main(words) == 0
    assert load_packed(path).training["seed"] == 2


@pytest.mark.parametrize("what", ["pack", "disagreements", "save_packed"])
@pytest.mark.parametrize("error", [PackError("no"), OSError("no"), KeyboardInterrupt()])
def test_what_was_trained_outlives_a_failure(tmp_path, capsys, monkeypatch, what, error, few):
    """Its arrays are enough to have the same model again, as the message says."""
    real, calls = getattr(train, what), []

    def fails(*args, **options):
        calls.append(args)
        if what == "pack" and len(calls) == 1:  # before training
            return real(*args, **options)
        raise error

    monkeypatch.setattr(train, what, fails)
    path = tmp_path / "digits.safetensors"
    code = {PackError: 2, OSError: 1, KeyboardInterrupt: 130}[type(error)]
    assert main(["train", *SAMPLE, "--epochs", "1", "--seed", "3", "-o", str(path)]) == code
    said = capsys.readouterr().err
    rescued = tmp_path / "digits.safetensors.rescued.npz"
    assert f"could not be kept as {path}; its arrays are in\n  {rescued}\n" in said
    assert [p.name for p in tmp_path.iterdir()] == [rescued.name]

    model = RECIPES["modern"]().build().initialize(0)
    with np.load(rescued) as arrays:
        values = list(arrays.values())
    for part, array in zip([*model.parameters(), *model.buffers()], values, strict=True):
        part.data = array
    expected, _ = RECIPES["modern"]().train(few, epochs=1, seed=3)
    images = few.test_images
    np.testing.assert_array_equal(model.forward(images), expected.forward(images))


@pytest.mark.usefixtures("few")
def test_what_was_trained_outlives_a_full_disk(tmp_path, capsys, monkeypatch):
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))
    real = rescue.whole_file

    def full(path):
        if os.path.dirname(path) != str(spare):
            raise OSError(28, "No space left on device")
        return real(path)

    monkeypatch.setattr(rescue, "whole_file", full)
    monkeypatch.setattr("minibnn.packed.file.save.whole_file", full)
    path = tmp_path / "digits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "-o", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"{path}.rescued.npz: [Errno 28] No space left on device\n" in said
    assert f"  {spare / path.name}.rescued.npz\n" in said
    assert said.endswith("error: [Errno 28] No space left on device\n")
    assert [p.name for p in spare.iterdir()] == [f"{path.name}.rescued.npz"]


@pytest.mark.usefixtures("few")
def test_what_was_rescued_earlier_stays(tmp_path, capsys, monkeypatch):
    def fails(*arguments, **options):
        raise OSError("no")

    monkeypatch.setattr(train, "save_packed", fails)
    for name in ("digits", "ü" * 120):
        for _ in range(3):
            assert main(["train", *SAMPLE, "--epochs", "1", "-o", str(tmp_path / name)]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{name}.rescued{number}.npz"
        for name in ("digits", "ü" * 100)
        for number in ("", "-2", "-3")
    )


@pytest.mark.usefixtures("few")
def test_a_wrong_packed_model_is_called_wrong(tmp_path, capsys, monkeypatch):
    def wrong(model, shape=None):
        packed = pack(model, (28, 28))
        packed.stages[1].thresholds.flags.writeable = True
        packed.stages[1].thresholds[3] += 10_000
        return packed

    monkeypatch.setattr(train, "pack", wrong)
    path = tmp_path / "digits.safetensors"
    words = ["train", *SAMPLE, "--epochs", "1", "--no-latents", "-o", str(path)]
    monkeypatch.setattr(train, "save_packed", lambda packed, path, **_: open(path, "w").close())
    assert main(words) == 1
    assert "*** The packed model is wrong" in capsys.readouterr().err


@pytest.mark.usefixtures("few")
def test_a_file_that_names_no_recipe(tmp_path, capsys):
    model = RECIPES["modern"]().build().initialize(0)
    path = tmp_path / "own.safetensors"
    save_packed(pack(model, (28, 28)), path, model=model)
    out = str(tmp_path / "on.safetensors")
    assert main(["train", "--from", str(path), *SAMPLE, "-o", out]) == 3
    assert "name it with --recipe" in capsys.readouterr().err
    options = ("--from", str(path), "--recipe", "modern", "--epochs", "1")
    assert main(["train", *options, *SAMPLE, "-o", out]) == 0
    assert load_packed(out).training["epochs"] == 1


def test_images_held_out_stay_held_out(tmp_path, capsys, monkeypatch):
    recipe = RECIPES["modern"]()
    object.__setattr__(recipe, "held_out", 500)
    monkeypatch.setitem(RECIPES, "modern", lambda: recipe)
    path = str(tmp_path / "digits.safetensors")
    assert main(["train", *SAMPLE, "--epochs", "1", "-o", path]) == 0
    capsys.readouterr()
    assert load_packed(path).training["test_images"] == 1000, "not the images held out"
    assert main(["train", *SAMPLE, "--from", path, "--seed", "1", "-o", path]) == 2
    assert "--seed: expected the file's own (0), got 1" in capsys.readouterr().err
    assert main(["train", *SAMPLE, "--from", path, "--epochs", "1", "-o", path]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("steps", [5, 50])
def test_ctrl_c_saves_complete_epochs(tmp_path, capsys, monkeypatch, steps):
    step, done = Adam.step, []

    def interrupted(self, **options):
        done.append(self)
        if len(done) == steps:  # an epoch has 40
            signal.raise_signal(signal.SIGINT)
        step(self, **options)

    monkeypatch.setattr(Adam, "step", interrupted)
    path = tmp_path / "digits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "9", "-o", str(path)]) == 130
    assert f"interrupted after {steps // 40} of 9 epochs" in capsys.readouterr().err
    assert path.exists() == (steps == 50)
    if path.exists():
        assert load_packed(path).training["epochs"] == 1


def test_commands_on_a_device(tmp_path, capsys, monkeypatch, device, sample):
    for command in ("train", "evaluate"):
        monkeypatch.setattr(f"minibnn.commands.{command}.get_backend", lambda name: device)
    path = str(tmp_path / "digits.safetensors")
    for options in ((), ("--from", path)):
        assert main(["train", *SAMPLE, *options, "--epochs", "1", "-o", path]) == 0
    packed = load_packed(path)
    right = (packed.predict(sample.test_images) == sample.test_labels).mean()
    assert packed.training["accuracy"] == right
    capsys.readouterr()
    assert main(["evaluate", path, *SAMPLE]) == 0
    printed = capsys.readouterr().out
    assert f"accuracy      {right:.4f}, " in printed
    assert f"({device.name}, once" in printed


def test_a_diverged_training_leaves_no_file(tmp_path, capsys):
    path = tmp_path / "digits.safetensors"
    assert main(["train", "--recipe", "seed", "--lr", "1e38", *SAMPLE, "-o", str(path)]) == 5
    assert "the loss became" in capsys.readouterr().err
    assert not path.exists()


# --- Checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path):
    """The words of a whole job: a command that can be repeated until it ends with 0."""
    words = ["train", "--recipe", "seed", *SAMPLE, "--epochs", "3", "-o", str(tmp_path / "digits")]
    return [*words, "--checkpoint", str(tmp_path / "run"), "--resume"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("uninterrupted") / "digits"
    assert main(["train", "--recipe", "seed", *SAMPLE, "--epochs", "3", "-o", str(path)]) == 0
    return path.read_bytes()


def sends(number, step):
    """Adam's step, with a signal in one of them; an epoch has 62."""
    real, done = Adam.step, []

    def step_(self, **options):
        done.append(1)
        if len(done) == step:
            signal.raise_signal(number)
        real(self, **options)

    return step_


def test_a_killed_job_ends_with_the_same_bytes(tmp_path, job, uninterrupted, capsys):
    for saves in (1, 1):
        with killed_after_save(saves):
            main(job)
    capsys.readouterr()
    assert main(job) == 0
    assert [row[0] for row in tables(capsys.readouterr().out)] == ["epoch", "1", "2", "3"]
    assert (tmp_path / "digits").read_bytes() == uninterrupted
    os.unlink(tmp_path / "digits")  # a kill between the last checkpoint and the model's file
    assert main(job) == 0
    assert (tmp_path / "digits").read_bytes() == uninterrupted


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_training_and_not_the_model(
    tmp_path, job, uninterrupted, capsys, name, caplog
):
    number = signal.Signals[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "step", sends(number, 70))
        with pytest.raises(SystemExit) as stop:
            main(job)
    assert stop.value.code == 128 + number
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: training is saved in {tmp_path / 'run'} after 1 epoch and 8 steps; "
        "run the same command again to go on"
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run.before"]
    assert main(job) == 0
    assert (tmp_path / "digits").read_bytes() == uninterrupted


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_real_kills(tmp_path, job, uninterrupted):
    """At moments from before the first import to the end."""
    command, wait, codes = [sys.executable, "-m", "minibnn", *job], 0.4, []
    numbers = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP]
    while not codes or codes[-1] != 0:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            if numbers:
                time.sleep(wait)
                process.send_signal(numbers.pop())
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
        codes.append(process.returncode)
        wait += 0.25
        assert b"Traceback" not in said
        assert len(codes) < 6
    ends = {-9, 143, 129, 0, -signal.SIGTERM, -signal.SIGHUP}  # the last two before Python runs
    assert set(codes) <= ends
    assert (tmp_path / "digits").read_bytes() == uninterrupted


def test_a_checkpoint_that_is_there_is_not_overwritten(tmp_path, job, capsys):
    with killed_after_save(1):
        main(job)
    before = (tmp_path / "run").read_bytes()
    assert main(job[:-1]) == 2
    assert (
        f"error: {tmp_path / 'run'}: expected no file yet, got one; go on from it with --resume, or"
        in capsys.readouterr().err
    )
    assert main([*job, "--seed", "1"]) == 2
    assert "got one of another: seed: 0 then, 1 now; " in capsys.readouterr().err
    assert main([*job, "--lr", "0.5"]) == 2
    assert "learning_rate" in capsys.readouterr().err
    assert (tmp_path / "run").read_bytes() == before
    (tmp_path / "run").write_bytes(before[:-1])
    assert main(job) == 3
    assert "it is cut off" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume"], "--resume: expected a file to save the training in; add --checkpoint FILE"),
        (["--checkpoint-every", "3s"], "--checkpoint-every: expected a file to save the training"),
        (["--checkpoint", "run", "--checkpoint-every", "often"],
         "error: --checkpoint-every: expected a count and a unit, got 'often'; write '200steps'"),
        (["--checkpoint", "out"], "--checkpoint: expected another file than -o, also with .before"),
        (["--checkpoint", "./out"], "--checkpoint: expected another file than -o, also with .before"),
        (["--checkpoint", "file", "--from", "file"], "another file than --from, also"),
        (["--checkpoint", "run", "--from", "out"], "--output: with --checkpoint, expected another file than --from has"),
    ],
)  # fmt: skip
def test_wrong_usage_of_checkpoints(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").write_bytes(b"")
    assert main(["train", *SAMPLE, "-o", "out", *words]) == 2
    assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_job_from_another_file_is_another_job(trained, tmp_path, capsys):
    other = tmp_path / "other"
    other.write_bytes(trained.read_bytes())
    words = ["train", *SAMPLE, "--epochs", "1", "-o", str(tmp_path / "out")]
    words += ["--checkpoint", str(tmp_path / "run"), "--resume", "--from"]
    with killed_after_save(1):
        main([*words, str(trained)])
    assert main([*words, str(other)]) == 0, "a copy is the same"
    with_figures(other, recipe="modern", seed=3)
    assert main([*words, str(other)]) == 2
    assert "--from, its sha256: " in capsys.readouterr().err


def test_a_name_that_the_disk_may_lose_is_no_lost_model(tmp_path, capsys, monkeypatch):
    from minibnn.atomic_file import UnsyncedError

    real = train.save_packed

    def save(packed, path, **options):
        real(packed, path, **options)
        raise UnsyncedError(5, "the new file is in place, but", path)

    monkeypatch.setattr(train, "save_packed", save)
    path = tmp_path / "digits"
    assert main(["train", *SAMPLE, "--epochs", "1", "-o", str(path)]) == 1
    assert "error: [Errno 5] the new file is in place" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["digits"]


def test_the_help_explains_checkpoints(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    for option in ("--checkpoint FILE", "--checkpoint-every N", "--resume"):
        assert f"\n  {option}" in said
    assert "if it is repeated until it ends with 0" in said
