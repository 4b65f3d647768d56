"""Advice about films of trainings and their pages, followed: there is a film, or a page."""

from __future__ import annotations

import numpy as np
import pytest
from advice import advised, shows
from clusters import binary_model
from command_line import SAMPLE
from films import SAMPLES, random_film, trained

from minibnn import (
    DataLoader,
    Dense,
    Sequential,
    SignSTE,
    Ternary,
    TrainingFilm,
    export_training_page,
    load_film,
    save_film,
)
from minibnn.__main__ import main
from minibnn.container import read_file, to_bytes
from minibnn.film.file import FILM


@pytest.fixture
def run(capsys):
    """Run a command; its exit code and what a person sees of it."""

    def command(*words):
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return command


def test_a_network_gets_bits():
    model = Sequential(Dense(8, 3, weight_quantizer=Ternary())).initialize(0)
    with advised("film", "give one weight_quantizer=SignSTE()"):
        trained(TrainingFilm(), model=model)
    film = TrainingFilm()
    model = Sequential(Dense(8, 3, weight_quantizer=SignSTE())).initialize(0)
    trained(film, model=model)
    assert film.film.steps[-1] == 9


def test_the_arguments_of_a_film():
    data = DataLoader((SAMPLES, np.zeros(len(SAMPLES), np.int64)), 10)
    with advised("film", "pass some training samples, such as x[:100]"):
        TrainingFilm("run.film", data)
    x = data.look()[0]
    assert len(TrainingFilm("run.film", x[:100]).samples) == 96
    with advised("film", "write TrainingFilm('run.film', samples)"):
        TrainingFilm(x[:100])
    assert TrainingFilm("run.film", x).path == "run.film"


def test_a_film_is_passed_to_fit_and_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film = TrainingFilm(None, SAMPLES)
    with advised("film", "pass the film to fit: callbacks=[film]"):
        film.film  # noqa: B018
    trained(None, film, model=binary_model())
    with advised("film", "write film.save('run.film')"):
        film.save()
    film.save("run.film")
    assert load_film("run.film").steps[-1] == 9
    with advised("export", "pass TrainingFilm(...) to fit as a callback first"):
        export_training_page(trained(None)[1], "film.html")
    export_training_page(film, "film.html")


def test_a_file_with_other_content_is_taken_anew(tmp_path):
    path = tmp_path / "run.film"
    save_film(random_film(), path)
    container = read_file(path, FILM)
    arrays = {**container.arrays(), "more": np.zeros(2)}
    path.write_bytes(to_bytes(FILM, {"film": container.metadata["film"]}, arrays))
    with advised("film", "take it anew, with TrainingFilm"):
        load_film(path)
    trained(TrainingFilm(path))
    assert load_film(path).steps[-1] == 9


def test_a_page_without_a_title_has_the_usual_one(tmp_path):
    path = tmp_path / "film.html"
    with advised("export", "None gives 'A binary network learns'") as caught:
        export_training_page(random_film(), path, title=" ")
    title = caught.text.partition("None gives ")[2].strip("'")
    export_training_page(random_film(), path, title=None)
    assert f"<title>{title}</title>" in path.read_text(encoding="utf-8")


def test_commands(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = run("export", "training-page", "FILM", "-o", "film.html")
    assert code == 3
    shows("commands", "python -m minibnn train -o FILE --film FILM makes one", text)
    quick = (*SAMPLE, "--recipe", "seed", "--epochs", "1")
    code, text = run("train", "-o", "FILE", "--film", "FILE", *quick)
    assert code == 2
    shows("commands", "choose another name after --film", text)
    code, text = run("train", "-o", "FILE", "--film", "FILM", *quick)
    assert code == 0
    code, text = run("export", "training-page", "FILM", "-o", "film.html")
    assert code == 0
    assert (tmp_path / "film.html").stat().st_size > 10_000
