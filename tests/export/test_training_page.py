"""The page of a training as a file, and its script for the film, in node."""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from itertools import pairwise

import numpy as np
import pytest
from films import SAMPLES, filmed, random_film, same, trained
from html_pages import element, needs_node, node

from minibnn import FilmFileError, TrainingFilm, export_training_page, save_film
from minibnn.export.page_parts import template_of
from minibnn.export.training_page import _fewer, change_of


def page_of(film, folder, **options):
    export_training_page(film, folder / "film.html", **options)
    return (folder / "film.html").read_text(encoding="utf-8")


def bits_of(film):
    """(frames, bits), 0 and 1."""
    return np.unpackbits(film.bits, axis=1, count=film.wall.shown * film.wall.inputs)


# --- the file ------------------------------------------------------------------------------------


def test_a_training_its_film_and_its_file_give_the_same_bytes(tmp_path):
    film = TrainingFilm(tmp_path / "run.film", SAMPLES)
    trained(film)
    pages = {page_of(one, tmp_path) for one in (film, film.film, film.path, str(film.path))}
    assert len(pages) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.html", "run.film"]


def test_what_is_on_it_is_the_films(tmp_path):
    film = filmed()
    data = json.loads(element(page_of(film, tmp_path), "data"))
    assert data["steps"] == film.steps.tolist()
    assert data["title"] == film.title
    assert data["wall"]["layer"] == "Dense(8 -> 32)"
    assert [count for count, _, _ in data["changes"]] == film.flips()[1:].tolist()
    assert data["losses"]["means"] == pytest.approx(film.losses.tolist(), rel=1e-3)
    table = dict(zip(film.columns, film.history.T.tolist(), strict=True))
    loss, accuracy = data["epochs"]["curves"]
    assert (loss["label"], accuracy["label"]) == ("loss", "accuracy")
    assert loss["parts"]["train"] == pytest.approx(table["loss_train"], rel=1e-3)
    assert accuracy["parts"]["train"] == pytest.approx(table["acc_train"], rel=1e-3)
    flips = data["epochs"]["flips"]
    assert list(flips) == list(film.latents.names)
    assert flips["0.weight"] == pytest.approx(table["flips_0.weight"], rel=1e-3)
    figures = np.array(data["latents"]["figures"])
    np.testing.assert_allclose(figures, film.latents.figures, rtol=1e-3)


def test_what_is_not_known_is_null(tmp_path):
    film = random_film()
    film.history[0, 0] = np.nan
    film.losses[3] = np.inf
    data = json.loads(element(page_of(film, tmp_path), "data"))
    assert data["epochs"]["curves"][0]["parts"]["train"][0] is None
    assert data["losses"]["means"][3] is None


LARGE = {
    "the largest film": {"frames": 200, "units": 128, "tile": (32, 32), "layers": 6, "share": 0.5},
    "many flips": {"frames": 200, "units": 128, "tile": (28, 28), "share": 0.15},
    "few flips": {"frames": 200, "units": 128, "tile": (28, 28), "share": 0.01},
    "one unit of 2^17 inputs": {"frames": 150, "units": 1, "tile": (363, 362), "inputs": 2**17},
}


@pytest.mark.parametrize("case", LARGE)
def test_a_page_is_below_one_megabyte(case, tmp_path):
    film = random_film(**LARGE[case])
    page = page_of(film, tmp_path)
    assert len(page.encode()) < 1_000_000
    steps = json.loads(element(page, "data"))["steps"]
    assert (steps[0], steps[-1]) == (0, film.steps[-1])
    assert set(steps) <= set(film.steps.tolist())
    assert len(steps) == len(film.steps) or len(page) > 450_000, (
        "no more frames left out than needed"
    )
    assert len(steps) > 20


@pytest.mark.parametrize("last", [3, 10, 63, 64, 200, 1000, 99_999])
@pytest.mark.parametrize("each", [1, 7])
def test_frames_are_left_out_evenly(last, each):
    """The rest is what a film of twice the length would have; the early frames stay longest."""
    early = {2**k for k in range(20) if 2**k <= last}
    stride = max(1, 2 ** int(np.ceil(np.log2(last / 100))))
    steps = each * np.array(sorted({*early, *range(0, last + 1, stride), last}))
    while len(steps) > 2:
        kept = steps[_fewer(steps)]
        assert len(kept) < len(steps)
        assert (kept[0], kept[-1]) == (steps[0], steps[-1])
        assert np.isin(kept, steps).all()
        if each == 1 and not set(steps.tolist()) <= early | {0, last}:
            assert early <= set(kept.tolist()) | {last}
        if each == 1 and len(steps) > 30:
            assert len(kept) > 0.4 * len(steps)
            gaps = np.diff(kept[kept >= 16 * stride][:-1])
            assert len(set(gaps.tolist()) - {0}) <= 1 or last < 100
        steps = kept


def test_it_names_no_address(tmp_path):
    page = page_of(filmed(), tmp_path)
    page = page.replace(element(page, "data"), "")
    assert set(re.findall(r"\w+://[^'\" ]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|<link(?! rel=\"icon\" href=\"data:)|\bsrc=", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "text", ["</title><script>alert(1)</script>", "a & b \"c\" 'd'", "{{film}}", "\\1 \ud800 é"]
)
def test_texts_are_texts(text, tmp_path):
    film = random_film()
    plain = page_of(film, tmp_path)
    page = page_of(film, tmp_path, title=text)
    assert page.count("<script") == plain.count("<script") == page.count("</script>") == 4
    assert element(page, "data") == element(plain, "data")
    assert "<" not in re.search("<title>(.*?)</title>", page, re.DOTALL)[1]
    wall = dataclasses.replace(film.wall, layer=text, meaning=text)
    page = page_of(dataclasses.replace(film, wall=wall, title=text), tmp_path)
    assert page.count("<script") == page.count("</script>") == 4
    assert json.loads(element(page, "data"))["wall"]["layer"] == text


def test_what_is_refused(tmp_path):
    path = tmp_path / "film.html"
    path.write_text("before")
    film = random_film()
    with pytest.raises(TypeError, match="title as text, got int"):
        export_training_page(film, path, title=3)
    with pytest.raises(ValueError, match="expected a title that can be read, got ' '"):
        export_training_page(film, path, title=" ")
    with pytest.raises(TypeError, match=r"got dict; pass TrainingFilm\(...\) to fit"):
        export_training_page({}, path)
    with pytest.raises(ValueError, match="expected a training to film"):
        export_training_page(TrainingFilm(), path)
    with pytest.raises(FilmFileError):
        export_training_page(path, path)
    with pytest.raises(FileNotFoundError):
        export_training_page(tmp_path / "none", path)
    assert path.read_text() == "before"


def test_the_template_can_be_shortened():
    """Line by line, so no text or comment in the source may span several."""
    template = template_of("training_page.html")
    for line in template.splitlines():
        assert line.count("`") % 2 == 0
        if line.strip().startswith(("/*", "<!--")):
            assert line.endswith(("*/", "-->")) or "Content-Security" in line
    style = re.search("<style>(.*?)</style>", template, re.DOTALL)[1]
    assert not [text for text in re.findall('"[^"]*"', style) if re.search("[:;,{]", text)]


def test_the_script_of_the_film_can_be_read(tmp_path):
    script = element(page_of(random_film(), tmp_path), "film")
    assert "\n// Bit i of the wall, as the bytes of a frame have it.\n" in script
    assert "\n const positions" in script, "half of the indentation"


# --- the film, in node ---------------------------------------------------------------------------

LOAD = """
const film = loadFilm(JSON.parse(given.data));
const total = film.wall.total;
const bits = film.frames.map((bytes) => Array.from({ length: total }, (_, i) => bitAt(bytes, i)));
"""


def in_node(page, run, **given):
    given |= {"data": element(page, "data")}
    return node(element(page, "film"), LOAD + run, given=given)


FILMS = {
    "a training": lambda: filmed(rate=0.05),
    "few flips": lambda: random_film(units=40, share=0.001),
    "some flips": lambda: random_film(units=40, share=0.1),
    "half": lambda: random_film(units=40, share=0.5),
    "all": lambda: random_film(share=1.0),
    "none": lambda: random_film(share=0.0),
    "odd sizes": lambda: random_film(units=3, tile=(3, 3), inputs=7, share=0.3),
    "one bit": lambda: random_film(units=1, tile=(1, 1), share=0.5),
    "one frame": lambda: random_film(frames=1),
    "no margins": lambda: filmed(samples=None),
    "far apart": lambda: random_film(frames=5, units=128, tile=(32, 32), share=2e-5),
}


@needs_node
@pytest.mark.parametrize("case", FILMS)
def test_each_frame_is_decoded_to_the_last_bit(case, tmp_path):
    film = FILMS[case]()
    bits = bits_of(film)
    run = """
    const digests = film.frames.map((bytes) => checksum(String.fromCharCode(...bytes)));
    const flips = film.flips.map((positions) => Array.from(positions));
    const first = bits[0].join(""), last = bits[bits.length - 1].join("");
    console.log(JSON.stringify({ digests, flips, first, last, intact: film.intact }));
    """
    found = in_node(page_of(film, tmp_path), run)
    assert found["intact"]
    assert found["digests"] == [zlib.crc32(row.tobytes()) for row in film.bits]
    assert found["first"] == "".join(map(str, bits[0]))
    assert found["last"] == "".join(map(str, bits[-1]))
    changed = [np.flatnonzero(a != b).tolist() for a, b in pairwise(bits)]
    assert found["flips"] == [[], *changed]


@needs_node
def test_bars_are_the_histograms(tmp_path):
    film = filmed()
    run = """
    const all = ["latents", "margins"].map((part) => {
      const { at, size, names } = film[part];
      return film.frames.map((_, f) => names.map((_, k) =>
        Array.from({ length: size }, (_, b) => at(f, k, b))));
    });
    console.log(JSON.stringify(all));
    """
    for part, bars in zip(
        (film.latents, film.margins), in_node(page_of(film, tmp_path), run), strict=True
    ):
        counts = part.counts.astype(float)
        highest = counts.max(axis=2, keepdims=True)
        assert np.shape(bars) == counts.shape
        np.testing.assert_allclose(bars, counts / highest, atol=1 / 255)
        assert ((np.array(bars) > 0) == (counts > 0)).all(), "a single value is seen"


@needs_node
def test_damage_is_found(tmp_path):
    page = page_of(random_film(share=0.3), tmp_path)
    data = json.loads(element(page, "data"))
    run = """
    const results = given.damaged.map((text) => {
      try {
        return loadFilm(JSON.parse(text)).intact;
      } catch (error) {
        return error.message;
      }
    });
    console.log(JSON.stringify(results));
    """
    damaged = []
    for k in (0, 7, len(data["changes"]) - 1):
        other = json.loads(element(page, "data"))
        count, low, text = other["changes"][k]
        other["changes"][k] = [count - 1, low, text]
        damaged.append(other)
    damaged.append({**data, "changes": data["changes"][:-1]})
    damaged.append({**data, "first": "!!" + data["first"][2:]})
    damaged.append({**data, "wall": {**data["wall"], "total": 50}})
    found = in_node(page, run, damaged=[json.dumps(one) for one in damaged])
    assert all(result is not True for result in found), found
    assert found[3] == "frames are missing"


@needs_node
def test_a_code_is_decoded_for_any_distances(tmp_path, rng):
    page = page_of(random_film(frames=2), tmp_path)
    cases = [np.zeros(0, int), np.array([0]), np.array([2**24]), np.arange(1000)]
    for k in range(1, 20):
        cases.append(np.cumsum(rng.geometric(2.0**-k, 50)) - 1)
    cases.append(np.cumsum([1, 1, 1, 100_000, 1, 1, 3]))
    run = """
    const found = given.changes.map((change) => Array.from(positionsOf(change)));
    console.log(JSON.stringify(found));
    """
    found = in_node(page, run, changes=[change_of(case) for case in cases])
    assert found == [case.tolist() for case in cases]


def test_a_code_is_close_to_the_shortest(rng):
    for share in (0.001, 0.01, 0.05, 0.15, 0.3):
        flips = rng.random(100_000) < share
        _, _, text = change_of(np.flatnonzero(flips))
        entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * len(flips)
        assert len(text) * 6.5 < 1.05 * entropy + 100


@needs_node
def test_places_in_the_training(tmp_path):
    run = """
    const epochs = { steps: 10, numbers: [1, 2, 5] };
    const steps = [0, 1, 2, 4, 8, 16];
    console.log(JSON.stringify([
      [0, 9, 10, 19, 20, 49, 50, 99].map((step) => epochAt(epochs, step)),
      [epochAt({ steps: 0, numbers: [] }, 5)],
      [-5, 0, 0.4, 3.1, 6.1, 99].map((step) => frameAt(steps, step)),
    ]));
    """
    assert in_node(page_of(random_film(), tmp_path), run) == [
        [-1, -1, 0, 0, 1, 1, 2, 2], [-1], [0, 0, 0, 3, 4, 5],
    ]  # fmt: skip


@needs_node
def test_tiles_fit_on_the_board_and_are_as_large_as_possible(tmp_path):
    cases = [
        [count, tile, gap, width, height]
        for count in (1, 5, 32, 128, 170)
        for tile in ([28, 28], [3, 3], [30, 8], [16, 48], [1, 1])
        for gap, width, height in ((1, 724, 600), (1, 360, 500), (2, 1400, 300), (1, 60, 60))
    ]
    run = "console.log(JSON.stringify(given.cases.map((c) => arrange(...c))));"
    for (count, (rows, columns), gap, width, height), found in zip(
        cases, in_node(page_of(random_film(), tmp_path), run, cases=cases), strict=True
    ):
        scale, across, down = (found[name] for name in ("scale", "across", "down"))
        assert across * down >= count > across * (down - 1)

        def largest(
            across, count=count, rows=rows, columns=columns, gap=gap, width=width, height=height
        ):
            down = -(-count // across)
            return min(
                width / (across * (columns + gap) - gap), height / (down * (rows + gap) - gap)
            )

        best = max(map(largest, range(1, count + 1)))
        assert scale == pytest.approx(best if best < 3 else int(best))
        assert scale <= largest(across) * (1 + 1e-9)


@needs_node
def test_round_numbers_on_axes(tmp_path):
    run = "console.log(JSON.stringify(given.cases.map((c) => ticksOf(...c))));"
    cases = [
        [0, 10, 5],
        [0, 1, 4],
        [0.88, 0.97, 3],
        [-2, 2, 4],
        [0, 176, 4],
        [3e-5, 9e-5, 3],
        [0, 0.9, 2],
    ]
    found = in_node(page_of(random_film(), tmp_path), run, cases=cases)
    assert found == [
        [0, 2, 4, 6, 8, 10], [0, 0.5, 1], [0.9, 0.95], [-2, -1, 0, 1, 2], [0, 50, 100, 150],
        [4e-05, 6e-05, 8e-05], [0, 0.5],
    ]  # fmt: skip


def test_a_film_of_a_file_is_the_film(tmp_path):
    film = random_film()
    save_film(film, tmp_path / "a.film")
    assert page_of(tmp_path / "a.film", tmp_path) == page_of(film, tmp_path)
    assert same(film, random_film())
