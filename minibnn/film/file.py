"""Films as files: safetensors with a digest, as all files of minibnn."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.container import Format, read_file, write
from minibnn.film.data import Distributions, Film
from minibnn.film.histogram import BINS
from minibnn.film.wall import Wall
from minibnn.state_file import from_json, to_json
from minibnn.version import __version__


class FilmFileError(ValueError):
    """A file is not a whole film."""


FILM = Format(
    name="minibnn-film",
    version=1,
    content="a film of a training",
    writer="TrainingFilm",
    error=FilmFileError,
    max_bytes=2**25,
)
PARTS = ("latents", "margins")
ARRAYS = {  # with their dtypes and axes: f frames, b bytes, m margins, n spans, e epochs, c columns
    "steps": ("int64", "f"),
    "bits": ("uint8", "fb"),
    "slopes": ("float64", "mB"),
    "losses": ("float64", "n"),
    "epochs": ("int64", "e"),
    "history": ("float64", "ec"),
}
OF_PARTS = {
    "counts": ("uint32", "f*H"),
    "reaches": ("float64", "f*"),
    "axes": ("float64", "*"),
    "figures": ("float64", "f*"),
}
NUMBERS = ("samples", "span", "epoch_steps")


def save_film(film: Film, path: str | os.PathLike[str]) -> None:
    """Write a film; equal films give equal bytes.

    Raises:
        OSError: if the file cannot be written.
    """
    arrays = {name: getattr(film, name) for name in ARRAYS}
    about: dict[str, Any] = {name: getattr(film, name) for name in ("title", *NUMBERS)}
    about |= {"wall": {**asdict(film.wall), "tile": list(film.wall.tile)}}
    about |= {"columns": list(film.columns)}
    for part in PARTS:
        distributions: Distributions = getattr(film, part)
        about[part] = [list(distributions.names), list(distributions.layers)]
        arrays |= {f"{part}/{name}": getattr(distributions, name) for name in OF_PARTS}
    metadata = {"minibnn": __version__, "film": to_json(about)}
    with whole_file(path) as file:
        write(file, os.fsdecode(path), FILM, metadata, arrays)


def load_film(path: str | os.PathLike[str]) -> Film:
    """The film in a file.

    Raises:
        FilmFileError: for a file that is damaged, from another program or from a newer version.
        OSError: if it cannot be read.
    """
    container = read_file(path, FILM)
    try:
        about: Any = from_json(container.metadata["film"])
        return _film(about, container.arrays())
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FilmFileError(
            f"{os.fsdecode(path)}: expected a film of a training, got something else ({error}); "
            "take it anew, with TrainingFilm"
        ) from None


def _film(about: Any, arrays: dict[str, Any]) -> Film:
    wall = _wall(about["wall"])
    numbers = {name: _number(about[name]) for name in NUMBERS}
    sizes = {"B": BINS, "H": BINS + 2, "c": len(about["columns"])}
    sizes["b"] = -(-wall.shown * wall.inputs // 8)
    parts = {}
    for part in PARTS:
        names, layers = map(_texts, about[part])
        sizes["*"] = sizes[part[0]] = len(names)
        own = {n: _array(arrays, f"{part}/{n}", *form, sizes) for n, form in OF_PARTS.items()}
        parts[part] = Distributions(names, layers, **own)
        if not all((a > 0).all() and (a < np.inf).all() for a in (own["reaches"], own["axes"])):
            raise ValueError("expected positive ranges")
    rest = {name: _array(arrays, name, *form, sizes) for name, form in ARRAYS.items()}
    if arrays:
        raise ValueError(f"expected no array but a film's, got {sorted(arrays)[0]!r}")
    steps = rest["steps"]
    if len(steps) == 0 or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise ValueError("expected frames one after the other")
    (title,) = _texts([about["title"]])
    found: dict[str, Any] = {**parts, **rest, **numbers}
    return Film(title=title, wall=wall, columns=_texts(about["columns"]), **found)


def _wall(about: Any) -> Wall:
    wall = Wall(**{**about, "tile": tuple(about["tile"])})
    _texts([wall.path, wall.layer, wall.meaning])
    rows, columns = map(_number, wall.tile)
    units, shown, inputs = map(_number, (wall.units, wall.shown, wall.inputs))
    if not (0 < shown <= units and 0 < inputs <= rows * columns and wall.low in (-1, 0)):
        raise ValueError("expected a wall of some bits")
    return wall


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("expected whole numbers")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if type(values) is not list or not all(type(value) is str for value in values):
        raise ValueError("expected texts as names")
    return tuple(values)


def _array(arrays: dict[str, Any], name: str, dtype: str, axes: str, sizes: dict[str, int]) -> Any:
    """Take an array out, whose axes have the known sizes; learn the sizes of the others."""
    array = arrays.pop(name)
    if array.dtype != np.dtype(dtype) or array.ndim != len(axes):
        raise ValueError(f"expected {name} of {dtype} with {len(axes)} axes")
    for axis, size in zip(axes, array.shape, strict=True):
        if sizes.setdefault(axis, size) != size:
            raise ValueError(f"expected {name} of another size")
    return array
