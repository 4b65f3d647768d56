"""Films as files: equal bytes, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from films import filmed, same

from minibnn import FilmFileError, load_film, save_film
from minibnn.container import read_file, to_bytes
from minibnn.film.file import FILM


@pytest.fixture(scope="module")
def film():
    return filmed()


@pytest.fixture
def path(film, tmp_path):
    save_film(film, tmp_path / "run.film")
    return tmp_path / "run.film"


@pytest.mark.parametrize("options", [{}, {"samples": None}, {"epochs": 1}])
def test_a_film_comes_back(options, tmp_path):
    film = filmed(**options)
    save_film(film, tmp_path / "run.film")
    assert same(load_film(tmp_path / "run.film"), film)
    assert same(load_film(str(tmp_path / "run.film")), film)
    save_film(load_film(tmp_path / "run.film"), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "run.film").read_bytes()


def test_damage_is_found(path):
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"x", b"", whole[:40], whole[:-5] + b"12345"):
        path.write_bytes(data)
        with pytest.raises(FilmFileError):
            load_film(path)
    with pytest.raises(FileNotFoundError):
        load_film(path.with_name("none"))


def test_another_kind_of_file_is_refused(tmp_path):
    from minibnn import Dense, Sequential, save_model

    save_model(Sequential(Dense(2, 3)).initialize(0), tmp_path / "model")
    with pytest.raises(FilmFileError, match=r"minibnn-film.*use a file of TrainingFilm"):
        load_film(tmp_path / "model")


def changed(path, change):
    """The file with other content, and a digest of that."""
    container = read_file(path, FILM)
    about, arrays = json.loads(container.metadata["film"]), container.arrays()
    change(about, arrays)
    text = json.dumps(about, separators=(",", ":"))
    path.write_bytes(to_bytes(FILM, {"minibnn": "0", "film": text}, arrays))


def put(place, *keys, value):
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value


WRONG = {
    "no frames": lambda about, arrays: arrays.update(
        {k: a[:0] for k, a in arrays.items() if k in ("steps", "bits") or k.endswith(("counts", "reaches", "figures"))}
    ),
    "steps backwards": lambda about, arrays: put(arrays, "steps", value=arrays["steps"][::-1].copy()),
    "a frame too few": lambda about, arrays: put(arrays, "bits", value=arrays["bits"][1:]),
    "bits of another wall": lambda about, arrays: put(arrays, "bits", value=arrays["bits"][:, 1:]),
    "another dtype": lambda about, arrays: put(arrays, "losses", value=arrays["losses"].astype(np.float32)),
    "another axis": lambda about, arrays: put(arrays, "losses", value=arrays["losses"][None]),
    "an array too many": lambda about, arrays: put(arrays, "more", value=np.zeros(2)),
    "an array too few": lambda about, arrays: arrays.pop("slopes"),
    "a column too many": lambda about, arrays: about["columns"].append("more"),
    "a name that is none": lambda about, arrays: put(about, "latents", 0, 0, value=3),
    "a title that is none": lambda about, arrays: put(about, "title", value=["x"]),
    "no wall": lambda about, arrays: about.pop("wall"),
    "a wall of text": lambda about, arrays: put(about, "wall", value="wall"),
    "a wall with more": lambda about, arrays: put(about, "wall", "more", value=1),
    "a wall of nothing": lambda about, arrays: put(about, "wall", "shown", value=0),
    "more tiles than units": lambda about, arrays: put(about, "wall", "units", value=3),
    "a tile too small": lambda about, arrays: put(about, "wall", "tile", value=[1, 2]),
    "a tile in space": lambda about, arrays: put(about, "wall", "tile", value=[1, 2, 9]),
    "another lower value": lambda about, arrays: put(about, "wall", "low", value=-3),
    "a span that is none": lambda about, arrays: put(about, "span", value=1.5),
    "a span below zero": lambda about, arrays: put(about, "span", value=-1),
    "a range that is none": lambda about, arrays: put(arrays, "margins/reaches", (2, 0), value=np.inf),
    "a range of nothing": lambda about, arrays: put(arrays, "latents/axes", 0, value=0.0),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_content_that_is_no_film_is_refused(case, path):
    """Anybody can write a file with a digest that is right."""
    changed(path, WRONG[case])
    with pytest.raises(FilmFileError, match=r"run.film: expected a film.*take it anew"):
        load_film(path)


def test_a_change_that_is_none_is_read(path, film):
    changed(path, lambda about, arrays: None)
    assert same(load_film(path), film)


def test_a_file_that_cannot_be_written_leaves_the_old_one(film, path):
    before = path.read_bytes()
    wrong = dataclasses.replace(film, losses=film.losses.astype(complex))
    with pytest.raises(TypeError, match="losses"):
        save_film(wrong, path)
    assert path.read_bytes() == before
