"""Export a film of a training as a web page that replays it."""

from __future__ import annotations

import html
import math
import os
import zlib
from typing import Any, TypeAlias

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.export.page_parts import base91, filled, script_json, shortened, template_of
from minibnn.film import Film, TrainingFilm, load_film
from minibnn.film.data import Distributions
from minibnn.plots.history import LABELS, OF_STEPS, stems_of

__all__ = ["export_training_page"]

HostArray: TypeAlias = np.ndarray[Any, Any]

TITLE = "A binary network learns"
MOST_BYTES = 950_000  # of a page
TO_READ = ("film",)  # the script that people may want to read
PARTS = ("steps", "train", "validation", "test")


def export_training_page(
    film: TrainingFilm | Film | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> None:
    """Write a web page that replays a training.

    The page is one file of HTML, CSS and JavaScript of less than 1 MB, which loads nothing from a
    network. It shows the bits of the first layer and lights those that flip, histograms of the
    latent weights, the margins of signs to their thresholds, and the curves of loss and accuracy.
    It plays at several speeds, and can be moved through with mouse, finger and keyboard.

    Everything on it comes from the film. If a page with all frames would be too large, every other
    frame of those at multiples of the film's stride is left out, as often as needed. When it opens,
    the page decodes all frames, and compares the last one and the whole with their checksums; any
    difference is shown in red. The same film gives the same bytes.

    Args:
        film: a `TrainingFilm` after training, what it holds, or the path of its file.
        path: of the page, which appears whole or not at all.
        title: the page's heading.

    Raises:
        FilmFileError: for a file that is not a whole film.
        TypeError: for another film, or a title that is not a string.
        ValueError: for a blank title; for a film of no training yet.
        OSError: if a file cannot be read or written.
    """
    if not isinstance(title, str | None):
        raise TypeError(f"export_training_page: expected title as text, got {type(title).__name__}")
    if title is not None and not title.strip():
        raise ValueError(
            f"export_training_page: expected a title that can be read, got {title!r}; None gives "
            f"{TITLE!r}"
        )
    if isinstance(film, str | os.PathLike):
        film = load_film(film)
    if isinstance(film, TrainingFilm):
        film = film.film
    if not isinstance(film, Film):
        raise TypeError(
            f"export_training_page: expected a TrainingFilm or the path of its file, got "
            f"{type(film).__name__}; pass TrainingFilm(...) to fit as a callback first"
        )
    page = _page(film, title)
    while len(page) > MOST_BYTES and len(film.steps) > 2:
        film = film.part(_fewer(film.steps))
        page = _page(film, title)
    with whole_file(path) as file:
        file.write(page)


def _page(film: Film, title: str | None) -> bytes:
    data = script_json(_describe(film))
    heading = html.escape(TITLE if title is None else title)
    content = {
        "title": heading,
        "heading": heading,
        "film": data,
        "crc32": str(zlib.crc32(data.encode("ascii"))),
    }
    return filled(shortened(template_of("training_page.html"), TO_READ), content)


def _fewer(steps: HostArray) -> HostArray:
    """The frames to keep when there are too many: about half, with the first and the last.

    Those at the powers of two stay: they are few, and much happens early.
    """
    inside = steps[:-1]
    early = (inside & (inside - 1)) == 0
    later = np.flatnonzero(~early)
    if len(later) == 0:  # then there are fewer than 64
        return np.append(np.arange(0, len(inside), 2), len(inside))
    # Multiples of twice the stride: the frames that a film of twice the length would keep.
    stride = int(np.gcd.reduce(inside[later]))
    kept = early | (inside % (2 * stride) == 0)
    return np.append(np.flatnonzero(kept), len(inside))


def _describe(film: Film) -> dict[str, Any]:
    """The film as the page's `loadFilm` reads it."""
    total = film.wall.shown * film.wall.inputs
    return {
        "title": film.title,
        "steps": film.steps.tolist(),
        "wall": {**vars(film.wall), "total": total},
        "first": base91(film.bits[0].tobytes()),
        "changes": [
            change_of(np.flatnonzero(np.unpackbits(one ^ other, count=total)))
            for one, other in zip(film.bits[:-1], film.bits[1:], strict=True)
        ],
        "last": zlib.crc32(film.bits[-1].tobytes()),
        "latents": _describe_distributions(film.latents),
        "margins": {
            **_describe_distributions(film.margins),
            "slopes": [list(map(_short, row)) for row in film.slopes.tolist()],
            "samples": film.samples,
        },
        "losses": {"span": film.span, "means": list(map(_short, film.losses.tolist()))},
        "epochs": _describe_history(film),
    }


def change_of(positions: HostArray) -> tuple[int, int, str]:
    """Increasing positions for the page's `positionsOf`: how many, the low bits, and a text.

    The text has the distances between them in a Rice code: the low bits of a number are written as
    they are, after its high part in ones and a zero. This is close to the shortest code for events
    that occur independently of each other.

    >>> change_of(np.array([1, 2, 7]))  # distances 1, 0, 4
    (3, 0, '#A')
    """
    gaps = np.diff(positions, prepend=-1) - 1
    sizes = [len(gaps) * (1 + low) + int((gaps >> low).sum()) for low in range(24)]
    low = int(np.argmin(sizes))
    high = gaps >> low
    ends = np.cumsum(high + 1 + low)
    zeros = ends - low - 1
    bits = np.ones(int(ends[-1]) if len(ends) else 0, np.uint8)
    bits[zeros] = 0
    for i in range(low):
        bits[zeros + 1 + i] = gaps >> i & 1
    return len(gaps), low, base91(np.packbits(bits, bitorder="little").tobytes())


def _describe_distributions(d: Distributions) -> dict[str, Any]:
    """Heights of bars as bytes, relative to each histogram's highest."""
    counts = d.counts.astype(np.int64)
    highest = counts.max(axis=2, keepdims=True, initial=1)
    heights = (-(-255 * counts // highest)).astype(np.uint8)  # rounded up, so that one is seen
    return {
        "names": d.names,
        "layers": d.layers,
        "bars": base91(heights.tobytes()),
        "reaches": d.reaches.tolist(),
        "axes": d.axes.tolist(),
        "figures": [list(map(_short, row)) for row in d.figures.tolist()],
    }


def _describe_history(film: Film) -> dict[str, Any]:
    """The curves of the history: each metric with its parts, and each weight's flips."""
    rows = film.history.T.tolist()
    columns = {name: list(map(_short, row)) for name, row in zip(film.columns, rows, strict=True)}
    curves = []
    for stem in stems_of(film.columns):
        parts = {part: columns.get(f"{stem}_{part}") for part in PARTS}
        if stem == OF_STEPS:
            parts["steps"] = columns.get(OF_STEPS)
        found = {part: values for part, values in parts.items() if values is not None}
        curves.append({"label": LABELS.get(stem, stem), "stem": stem, "parts": found})
    flips = {name: columns.get(f"flips_{name}") for name in film.latents.names}
    return {
        "steps": film.epoch_steps,
        "numbers": film.epochs.tolist(),
        "curves": curves,
        "flips": {name: values for name, values in flips.items() if values is not None},
    }


def _short(value: float) -> float | None:
    """A number of four digits; None for what JSON does not have."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
