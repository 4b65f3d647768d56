"""``python -m minibnn train --film``, and `export training-page` of the film."""

from __future__ import annotations

import argparse
import os

import numpy as np
import pytest
from checkpointed import KilledError, killed_after_save
from command_line import SAMPLE, refuses
from devices import STRICT
from films import SAMPLES
from films import trained as filmed_by
from own_tables import CPU, QUICK, run

from minibnn import DivergedError, get_backend, load_film
from minibnn.__main__ import main
from minibnn.commands.filming import filming

RECIPE = ["train", "--recipe", "seed", *SAMPLE, "--epochs", "1"]


def test_a_recipe_and_its_page(tmp_path, capsys):
    film, page = tmp_path / "a run.film", tmp_path / "film.html"
    assert run(*RECIPE, "-o", tmp_path / "digits", "--film", film) == 0
    printed = capsys.readouterr().out
    found = load_film(film)
    assert f"{film}: {film.stat().st_size:,} bytes, a film of 63 frames\n" in printed
    *_, line = [line for line in printed.splitlines() if line.startswith("next: ")]
    assert (
        line == f"next: python -m minibnn export training-page '{film}' -o '{tmp_path}/a run.html'"
    )
    assert (found.steps[-1], found.wall.tile, found.samples) == (62, (28, 28), 125)
    assert found.margins.names == ("3", "5")
    assert run("export", "training-page", film, "-o", page, "--name", "Digits & co") == 0
    said = capsys.readouterr().out
    assert said == f"{page}: {page.stat().st_size:,} bytes, a web page; open it in a browser\n"
    assert "<title>Digits &amp; co</title>" in page.read_text(encoding="utf-8")


def test_a_film_changes_no_model(own, tmp_path):
    data, model = own
    out = tmp_path / "sensor"
    assert run("train", data, "-o", out, *QUICK, "--film", tmp_path / "run.film") == 0
    assert out.read_bytes() == model.read_bytes()
    film = load_film(tmp_path / "run.film")
    assert film.wall.meaning == "3 numbers, a row of 8 bits for each"
    assert film.epochs.tolist() == list(range(1, 31))


def test_with_validation_the_film_shows_the_whole_training(own, tmp_path):
    """The model has the values of the best epoch; the film ends with the last one."""
    words = ["train", own[0], "-o", tmp_path / "m", *QUICK, "--validation", "0.2"]
    assert run(*words, "--film", tmp_path / "run.film") == 0
    film = load_film(tmp_path / "run.film")
    assert film.steps[-1] == film.epoch_steps * 30
    assert "loss_validation" in film.columns


def test_a_killed_job_ends_with_the_same_film(tmp_path, capsys):
    whole, film = tmp_path / "whole.film", tmp_path / "run.film"
    words = [str(w) for w in (*RECIPE[:-1], "3", "-o", tmp_path / "digits")]
    assert main([*words, "--film", str(whole)]) == 0
    words += ["--film", str(film), "--checkpoint", str(tmp_path / "run"), "--resume"]
    with killed_after_save(2):
        main(words)
    assert not film.exists()
    assert main(words) == 0
    assert film.read_bytes() == whole.read_bytes()
    os.unlink(film)
    assert main(words) == 0
    assert film.read_bytes() == whole.read_bytes()
    assert issubclass(KilledError, BaseException)


def options(film, **others):
    return argparse.Namespace(film=None if film is None else str(film), **others)


def test_on_a_device_steps_stay_captured(tmp_path):
    for backend, within in ((STRICT, False), (get_backend("cpu"), True)):
        with filming(options(tmp_path / "run.film"), SAMPLES, backend) as (film,):
            assert film.within_epochs == within
            filmed_by(film)
    with filming(options(None), SAMPLES, STRICT) as callbacks:
        assert callbacks == []


def test_a_training_that_diverges_leaves_its_film(tmp_path, capsys):
    path = tmp_path / "run.film"
    with (
        pytest.raises(DivergedError),
        filming(options(path), SAMPLES, get_backend("cpu")) as (film,),
    ):
        filmed_by(film, Break())
    assert load_film(path).epochs.tolist() == [1]
    assert f"{path}: " in capsys.readouterr().out


class Break:
    def on_begin(self, model, history):
        self.model = model

    def on_epoch(self, history):
        self.model[4].gamma.data[...] = np.nan


def test_other_errors_write_no_film(tmp_path):
    path = tmp_path / "run.film"

    def fail():
        with filming(options(path), SAMPLES, STRICT) as (film,):
            filmed_by(film)
            path.unlink()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not path.exists()


@pytest.fixture
def no_training(monkeypatch):
    for place in ("minibnn.training.recipe.fit", "minibnn.commands.train_own.fit"):
        monkeypatch.setattr(place, pytest.fail)


def test_the_film_has_a_name_of_its_own(trained, own, tmp_path, capsys, no_training):
    out, film = tmp_path / "out", tmp_path / "film"
    data = str(own[0])
    before = own[0].read_bytes(), trained.read_bytes()
    recipe = ["train", *SAMPLE, "-o", str(out), "--film"]
    mine = ["train", data, *CPU, "-o", str(out), "--film"]
    for words in (recipe, mine):
        refuses(capsys, [*words, str(out)], 2, "--film: expected another file than -o, got")
        for name in (film, f"{film}.before"):
            check = ["--checkpoint", str(film)]
            said = "--film: expected another file than --checkpoint, got"
            refuses(capsys, [*words, str(name), *check], 2, said)
        said = "expected a folder"
        refuses(capsys, [*words, str(tmp_path / "none" / "film")], 1, said)
    said = "than the one that is read"
    refuses(capsys, [*recipe, str(trained), "--from", str(trained)], 2, said)
    refuses(capsys, [*mine, data], 2, "choose another name after --film")
    assert (own[0].read_bytes(), trained.read_bytes()) == before


def test_what_is_no_film_is_refused(trained, tmp_path, capsys):
    page = tmp_path / "film.html"
    words = ["export", "training-page"]
    said = "no such file; python -m minibnn train -o FILE --film FILM makes one"
    refuses(capsys, [*words, str(tmp_path / "none"), "-o", str(page)], 3, said)
    refuses(capsys, [*words, str(trained), "-o", str(page)], 3, "use a file of TrainingFilm")
    refuses(capsys, [*words, str(trained), "-o", str(trained)], 2, "choose another name after -o")
    refuses(capsys, [*words, "x", "-o", str(page), "--name", " "], 2, "--name: expected a title")
    assert not page.exists()


def test_a_network_without_bits_is_refused(own, tmp_path, capsys):
    script = tmp_path / "mine.py"
    script.write_text("""
from minibnn import Activation, Dense, Sequential, SignSTE, Ternary, Thermometer

def build():
    first = Dense(24, 8, bias=False, weight_quantizer=Ternary())
    last = Dense(8, 3, bias=False, weight_quantizer=Ternary())
    return Sequential(Thermometer(3, 8), first, Activation(SignSTE()), last)
""")
    words = ["train", own[0], *CPU, "--recipe", f"{script}:build", "-o", tmp_path / "m"]
    code = run(*words, "--film", tmp_path / "film")
    said = capsys.readouterr().err
    assert code == 2
    assert "TrainingFilm: expected a layer with weights of two values" in said
