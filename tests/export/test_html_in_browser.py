"""The web page in a browser: mouse, finger and keyboard, and failures that it shows."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import struct
import zlib

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 (a fixture)
from coded_models import coded
from html_pages import (
    ONE,
    SEVEN,
    ZERO,
    branched,
    dense,
    element,
    exported,
    noise,
    packed_of,
    program,
    with_wide_scores,
)
from integer_programs import random_program

from minibnn import Flatten, Rescale, Sequential, load_sample, pack
from minibnn.export.html import export_html
from minibnn.packed.integer_stages import IntegerDense, LevelStage, ScaleStage


@pytest.fixture(scope="module")
def address(modern, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "digits of a day.html"
    export_html(modern, path)
    return path.as_uri()


@pytest.fixture
def page(chromium, address):  # noqa: F811
    page = chromium.page(address)
    yield page
    page.close()


def show(page, image):
    return page.run(f"minibnn.show({image.ravel().tolist()})")


def draw(page, strokes):
    """Draw with the mouse, in small steps."""
    box = page.run("(() => { const b = document.getElementById('draw').getBoundingClientRect();"
                   " return [b.left, b.top, b.width]; })()")  # fmt: skip
    for stroke in strokes:
        places = [(box[0] + x * box[2], box[1] + y * box[2]) for x, y in stroke]
        page.mouse("Moved", *places[0], buttons=0)
        page.mouse("Pressed", *places[0])
        for (x0, y0), (x1, y1) in itertools.pairwise(places):
            for t in (0.25, 0.5, 0.75, 1):
                page.mouse("Moved", x0 + t * (x1 - x0), y0 + t * (y1 - y0))
        page.mouse("Released", *places[-1], buttons=0)
    page.settle()


def text(page, name):
    return page.run(f"document.getElementById({name!r}).textContent")


def test_the_page_gives_the_packed_models_labels(page, modern):
    images = load_sample().test_images[:100]
    labels, scores = [], []
    for image in images:
        labels.append(show(page, image))
        scores.append([int(s) for s in page.run("minibnn.result.scores.map(String)")])
    assert labels == modern.predict(images).tolist()
    assert scores == modern.predict_scores(images).tolist()
    assert len(set(labels)) == 10


def test_the_page_says_what_it_is(page, modern, address):
    test = "self-test: 12 of 12 images give the packed model's scores and labels"
    assert text(page, "selftest") == test
    assert page.run("document.querySelector('#selftest').className") == "passed"
    assert text(page, "facts").startswith("28\u00d728 pixels → 128 bits → 64 bits → 10 scores.")
    assert f"{modern.nbytes:,} bytes" in text(page, "facts")
    assert page.requests() == [address]
    assert page.complaints() == []


def test_every_bit_and_every_score_is_shown(page, modern):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])  # fmt: skip
    image = load_sample().test_images[7]
    label = show(page, image)
    bits = modern.after(image[None], 2)[0]
    assert f"{bits.sum()} of 128 lit" in text(page, "layers")
    # The colours of the middles of the dots, read from the screen.
    places = page.run("""(() => {
        const board = document.querySelector("#layers [tabindex]");
        const pen = board.getContext("2d");
        const columns = 16, pad = Math.min(14, Math.round(board.clientWidth * 0.035));
        const cell = Math.min(26, (board.clientWidth - 2 * pad) / columns);
        const left = (board.clientWidth - columns * cell) / 2;
        return Array.from({ length: 128 }, (_, k) => [...pen.getImageData(
            left + (k % columns + 0.5) * cell, pad + (Math.floor(k / columns) + 0.5) * cell, 1, 1,
        ).data]);
    })()""")
    assert [int(red > 128) for red, *_ in places] == bits.tolist()
    rows = page.run("[...document.querySelectorAll('#scores tr')].map((row) => row.innerText)")
    shown = [int(row.split()[-1].replace("\u2212", "-").replace(",", "")) for row in rows]
    assert shown == modern.predict_scores(image[None])[0].tolist()
    best = page.run("[...document.querySelectorAll('#scores tr')].map((row) => row.className)")
    assert best == ["best" if c == label else "" for c in range(10)]
    assert text(page, "sentence").startswith(f"It says {label}.")
    page.wait(f"document.getElementById('live').textContent.startsWith('It says {label}.')")


def bounds_of(page, name):
    """Left, top, right and bottom of an element in the window."""
    return page.run(f"(() => {{ const b = document.getElementById({name!r}).getBoundingClientRect();"
                    " return [b.left, b.top, b.right, b.bottom]; })()")  # fmt: skip


@pytest.mark.parametrize("how", ["c", "Delete", "show", "clear"])
@pytest.mark.parametrize("pointer", ["mouse", "finger"])
def test_a_drawing_that_goes_while_it_is_drawn(how, pointer, page):
    if pointer == "finger":
        page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    left, top, right, bottom = bounds_of(page, "draw")

    def move(kind, x, y):
        at = (left + x * (right - left), top + y * (bottom - top))
        if pointer == "mouse":
            kinds = {"Start": "Pressed", "Move": "Moved", "End": "Released"}
            page.mouse(kinds[kind], *at, buttons=int(kind != "End"))
        else:
            page.touch(kind, *([at] if kind != "End" else []))

    page.run("document.getElementById('draw').focus()")
    move("Start", 0.3, 0.3)
    move("Move", 0.4, 0.4)
    page.settle()
    if how in ("show", "clear"):
        page.run({"show": "document.querySelectorAll('#examples button')[5].click()",
                  "clear": "document.getElementById('clear').click()"}[how])  # fmt: skip
    else:
        page.key(how, text="c" if how == "c" else None)
    page.settle()
    stays = page.run("[...minibnn.pixels]")
    assert any(stays) == (how == "show")
    for x in (0.5, 0.6, 0.7):
        move("Move", x, 0.5)
    page.settle()
    assert page.run("[...minibnn.pixels]") == stays  # that line has ended
    move("End", 0.7, 0.5)
    move("Start", 0.5, 0.2)  # and this is the next one
    move("Move", 0.5, 0.5)
    move("Move", 0.5, 0.8)
    move("End", 0.5, 0.8)
    page.settle()
    pixels = np.array(page.run("[...minibnn.pixels]")).reshape(28, 28)
    assert (np.ptp(np.nonzero(pixels)[1]) < 6, np.ptp(np.nonzero(pixels)[0]) > 18) == (True, True)
    assert page.complaints() == []


def test_the_keys_pen_ends_the_mouses_line(page):
    left, top, right, bottom = bounds_of(page, "draw")
    page.key("Tab")
    page.mouse("Pressed", left + 20, top + 20)
    page.mouse("Moved", left + 40, top + 20)
    page.key(" ", "Space")
    page.mouse("Moved", right - 20, bottom - 20)
    page.settle()
    before = page.run("[...minibnn.pixels]")
    page.mouse("Moved", left + 20, bottom - 20)
    page.settle()
    assert page.run("[...minibnn.pixels]") == before
    page.key("ArrowRight")
    page.settle()
    assert page.run("[...minibnn.pixels]") != before
    assert page.complaints() == []


def bars(page):
    """Lengths as fractions of the maximum."""
    return page.run(
        "[...document.querySelectorAll('.bar')].map((b) => parseFloat(b.style.width) / 50)"
    )


def test_a_digits_bars_do_not_depend_on_extremes(chromium, modern, tmp_path):  # noqa: F811
    # A model with far greater scores for the picture of nothing but ink.
    images = np.concatenate([load_sample().test_images[:6], np.full((1, 28, 28), 255, np.uint8)])
    most = abs(modern.predict_scores(images)).max(1)
    sizes = np.sort(most)
    path = tmp_path / "page.html"
    export_html(modern, path, images=images)
    page = chromium.page(path.as_uri())
    for image, greatest in zip([*images, images[0]], [*most, most[0]], strict=True):
        show(page, image)
        shares = bars(page)
        assert max(shares) == pytest.approx(min(1, greatest / sizes[3]), abs=1e-4)
        expected = abs(modern.predict_scores(image[None])[0]) / max(greatest, sizes[3])
        np.testing.assert_allclose(shares, expected, atol=1e-4)
    assert len(set(most > sizes[3])) == 2
    page.close()


@pytest.mark.parametrize(("strokes", "label"), [(ONE, 1), (ZERO, 0), (SEVEN, 7)])
def test_a_digit_drawn_by_hand(strokes, label, page):
    draw(page, strokes)
    assert text(page, "sentence").startswith(f"It says {label}.")
    pixels = np.array(page.run("[...minibnn.pixels]")).reshape(28, 28)
    assert pixels.sum() > 45 * 255
    page.run("document.getElementById('clear').click()")
    page.settle()
    assert not any(page.run("[...minibnn.pixels]"))
    assert text(page, "sentence").startswith("Nothing is drawn yet.")
    assert page.complaints() == []


def test_a_finger_on_a_phone(chromium, address):  # noqa: F811
    page = chromium.page(address, size=(360, 740))
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    widths = "[document.documentElement.scrollWidth, innerWidth]"
    assert page.run(widths) == [360, 360]
    page.run("document.getElementById('draw').scrollIntoView()")
    x, y, side = page.run("(() => { const b = document.getElementById('draw')"
                          ".getBoundingClientRect(); return [b.left, b.top, b.width]; })()")  # fmt: skip
    assert side > 300
    before = page.run("scrollY")
    for k, point in enumerate(ZERO[0]):
        page.touch("Move" if k else "Start", (x + side * point[0], y + side * point[1]))
    page.touch("End")
    page.settle()
    assert text(page, "sentence").startswith("It says 0.")
    assert page.run("scrollY") == before  # the finger drew and did not scroll
    assert page.complaints() == []
    page.close()


@pytest.mark.parametrize(
    "size",
    [
        (320, 568),
        (360, 740),
        (390, 664),
        (600, 700),
        (719, 1000),
        (740, 360),
        (844, 390),
        (1000, 519),
    ],
)
@pytest.mark.parametrize("touch", [True, False])
def test_a_small_screen_shows_drawing_and_answer_together(size, touch, chromium, address):  # noqa: F811
    page = chromium.page(address, size=size)
    page.call("Emulation.setTouchEmulationEnabled", enabled=touch)
    draw(page, ONE)
    assert text(page, "sentence").startswith("It says 1.")
    assert page.run("[scrollX, scrollY]") == [0, 0]
    places = {name: bounds_of(page, name) for name in ("draw", "digit", "scores", "clear")}
    for name, (left, top, right, bottom) in places.items():
        assert 0 <= left < right <= size[0], name
        assert 0 <= top < bottom <= size[1], name
    for one, other in itertools.combinations(places.values(), 2):  # and nothing hides another
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    left, top, right, bottom = places["draw"]
    assert right - left == pytest.approx(bottom - top)
    assert right - left >= 0.45 * min(size[1], 1.5 * size[0])
    assert page.run("document.documentElement.scrollWidth") <= size[0]
    keys = "document.getElementById('keys').checkVisibility()"
    assert page.run(keys) == (not touch)
    page.close()


def test_a_failure_on_a_phone(chromium, modern, tmp_path):  # noqa: F811
    whole = exported(modern, tmp_path)
    for old, new in [
        ("const stages = network", "const stages = = network"),
        ('"crc32":', '"crc32":1'),
    ]:
        assert old in whole
        path = tmp_path / "changed.html"
        path.write_text(whole.replace(old, new), encoding="utf-8")
        page = chromium.page(path.as_uri(), size=(360, 740))
        left, top, right, _ = bounds_of(page, "selftest")
        assert (left < 30, right > 330, 0 <= top < 30) == (True, True, True)
        page.close()


@pytest.mark.parametrize("width", [320, 360, 719, 721, 1060, 1920])
def test_no_width_scrolls_sideways(width, chromium, address):  # noqa: F811
    page = chromium.page(address, size=(width, 740))
    assert page.run("document.documentElement.scrollWidth") <= width
    page.close()


def focused(page):
    return page.run("document.activeElement.id || document.activeElement.tagName")


def test_the_keyboard_alone(page):
    page.key("Tab")
    assert focused(page) == "draw"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.run(outline) == "solid"
    page.key("Delete")
    page.settle()
    assert not any(page.run("[...minibnn.pixels]"))
    for _ in range(9):
        page.key("ArrowUp")
    assert not any(page.run("[...minibnn.pixels]"))  # the pen is up
    page.key(" ", "Space")
    for _ in range(18):
        page.key("ArrowDown")
    page.key("Enter")
    page.key("ArrowRight")
    page.settle()
    assert text(page, "sentence").startswith("It says 1.")
    page.wait("document.getElementById('live').textContent.startsWith('It says 1.')")
    drawn = page.run("[...minibnn.pixels]")
    page.key("ArrowRight")
    page.settle()
    assert page.run("[...minibnn.pixels]") == drawn
    page.key("c", "KeyC", text="c")
    page.settle()
    assert not any(page.run("[...minibnn.pixels]"))
    visited = []
    for _ in range(14):
        page.key("Tab")
        visited.append(focused(page))
        assert page.run(outline) == "solid"
    assert visited == ["clear"] + ["BUTTON"] * 12 + ["CANVAS"]
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.key(key)
    assert page.run("document.querySelector('.readout').textContent").startswith("dot 18: sum ")
    page.wait("document.getElementById('note').textContent.startsWith('dot 18: sum ')")


def test_examples(page):
    labels = []
    given = json.loads(page.run("document.getElementById('vectors').textContent"))
    for k, expected in enumerate(given["labels"]):
        page.run(f"document.querySelectorAll('#examples button')[{k}].click()")
        labels.append(page.run("minibnn.result.label"))
        pressed = page.run("[...document.querySelectorAll('#examples button')]"
                           ".map((b) => b.getAttribute('aria-pressed'))")  # fmt: skip
        assert [p == "true" for p in pressed] == [n == k for n in range(12)]
        assert expected == labels[-1]
    assert len(labels) == 12
    draw(page, ONE)  # takes the place of the example
    assert page.run("document.querySelectorAll('#examples [aria-pressed=true]').length") == 0
    assert text(page, "sentence").startswith("It says 1.")


def failing(page):
    state = page.run("""(() => {
        const note = document.getElementById("selftest");
        const box = note.getBoundingClientRect();
        return [note.className, getComputedStyle(note).backgroundColor, box.top, box.width];
    })()""")
    assert state[:2] == ["failed", "rgb(176, 0, 32)"]
    assert 0 <= state[2] < 100
    assert state[3] > 1000
    assert page.run("document.title").startswith("FAILED")
    assert page.run("document.getElementById('selftest').getAttribute('role')") == "alert"
    return text(page, "selftest")


def test_a_failure_cannot_be_missed(chromium, modern, tmp_path):  # noqa: F811
    whole = exported(modern, tmp_path)
    vectors = json.loads(element(whole, "vectors"))
    weights = json.loads(element(whole, "model"))["stages"][0]["weights"]
    row = vectors["scores"][4]
    right, wrong = (json.dumps([n, *row[1:]]).replace(" ", "") for n in (row[0], row[0] + 1))
    for old, new, message in [
        (weights, "zzzz" + weights[4:], r"self-test: \d+ of 12 images .*checksum"),
        (right, wrong, r"self-test: 11 of 12 images"),
        (weights, weights[:-8], "weights are missing"),
        ('"model">{', '"model">', "cannot be run"),
        ("function runNetwork(", "function runNetwork((", "cannot be run"),
        ("const stages = network", "const stages = = network", "has not run"),
        ("return sums;", "return sums.map((s) => s + 1000);", r"self-test: \d of 12 images"),
    ]:
        assert old in whole
        path = tmp_path / "changed.html"
        path.write_text(whole.replace(old, new), encoding="utf-8")
        page = chromium.page(path.as_uri())
        if message == "has not run":
            assert message in text(page, "selftest")
            assert (
                page.run("getComputedStyle(document.getElementById('selftest')).backgroundColor")
                == "rgb(176, 0, 32)"
            )
        else:
            assert re.search(message, failing(page))
        page.close()


@pytest.mark.parametrize(
    "name", ["larq-cnn", "finn-sfc", "two", "pooled signs", "conv last", "wide"]
)
def test_other_networks_in_the_browser(name, chromium, tmp_path, rng):  # noqa: F811
    packed = with_wide_scores(packed_of("modern", rng)) if name == "wide" else packed_of(name, rng)
    images = noise(rng, 5)
    title = "<b>bits</b> & 'bytes'"
    path = tmp_path / "page.html"
    export_html(packed, path, images=images, title=title)
    page = chromium.page(path.as_uri(), size=(360, 740))
    assert (
        text(page, "selftest")
        == "self-test: 5 of 5 images give the packed model's scores and labels"
    )
    assert [show(page, image) for image in images] == packed.predict(images).tolist()
    assert page.run("document.title") == page.run("document.querySelector('h1').innerText") == title
    assert page.run("document.documentElement.scrollWidth") == 360
    page.run("document.querySelectorAll('#layers [tabindex]').forEach((c) => c.focus())")
    page.key("ArrowRight")
    assert page.complaints() == []
    page.close()


# --- numbers, pictures, names --------------------------------------------------------------------


@pytest.fixture
def opened(chromium, tmp_path):  # noqa: F811
    """A function that opens the page of a model."""
    pages = []

    def open_(packed, size=(1280, 800), **options):
        path = tmp_path / "page.html"
        export_html(packed, path, **options)
        pages.append(chromium.page(path.as_uri(), size=size))
        assert pages[-1].run("minibnn.test.passed")
        assert pages[-1].requests() == [path.as_uri()]
        return pages[-1]

    yield open_
    for page in pages:
        page.close()


NUMBERS = "[...minibnn.pixels].map(String)"


def agree(page, packed):
    """What the page says is what the packed model says of the same numbers."""
    x = np.array(page.run(NUMBERS), np.float64).astype(packed.input_dtype)
    x = x.reshape(1, *packed.input_shape)
    scores = [int(score) for score in page.run("minibnn.result.scores.map(String)")]
    assert scores == packed.predict_scores(x)[0].tolist()
    (name,) = packed.predict(x, names=True)
    assert text(page, "digit") == name
    assert text(page, "sentence").startswith(f"It says {name}.")
    rows = page.run("[...document.querySelectorAll('#scores tr')].map((row) => row.textContent)")
    numbers = [f"{n:,}".replace("-", "\u2212") for n in scores]
    assert rows == [c + n for c, n in zip(packed.class_names, numbers, strict=True)]
    best = page.run("[...document.querySelectorAll('#scores .best th')].map((h) => h.textContent)")
    assert best == [name]
    return x[0]


def put(page, selector, value, event="input"):
    page.run(f"(() => {{ const e = document.querySelector({selector!r}); e.value = {value!r};"
             f" e.dispatchEvent(new Event({event!r}, {{ bubbles: true }})); }})()")  # fmt: skip


def field(k):
    return f".number:nth-child({k + 1}) [type=text]"


def slider(k):
    return f".number:nth-child({k + 1}) [type=range]"


def value(page, selector):
    return page.run(f"document.querySelector({selector!r}).value")


def test_sliders_and_fields(opened, rng):
    packed, _ = coded("thermometer", rng)
    page = opened(packed, title="Four numbers")
    thresholds = packed.stages[0].low.reshape(4, 8)
    np.testing.assert_array_equal(agree(page, packed), thresholds[:, 4])
    assert page.run("[...document.querySelectorAll('.number label')].map((l) => l.textContent)") == [
        "x0", "x1", "x2", "x3"
    ]  # fmt: skip
    seen = set()
    for k, place in itertools.product(range(4), (0, 250, 1000)):
        put(page, slider(k), str(place))
        x = agree(page, packed)
        assert float(value(page, field(k))) == pytest.approx(x[k], rel=1e-6)
        if place == 0:
            assert x[k] < thresholds[k].min()
        elif place == 1000:
            assert x[k] > thresholds[k].max()
        seen.add(tuple(packed.predict_scores(x[None])[0].tolist()))
    assert len(seen) > 3
    for typed, number in [
        ("nan", np.nan),
        ("", np.nan),
        ("-inf", -np.inf),
        ("0.1", np.float32(0.1)),
    ]:
        put(page, field(2), typed)
        np.testing.assert_array_equal(agree(page, packed)[2], number)
        assert value(page, field(2)) == typed  # as typed, while it is typed
    put(page, field(2), "", "change")
    assert page.complaints() == []


def test_keys_move_a_slider(opened, rng):
    packed, _ = coded("int16", rng)
    page = opened(packed)
    page.run(f"document.querySelector({slider(1)!r}).focus()")
    before = agree(page, packed)
    page.key("ArrowRight")
    page.settle()
    after = agree(page, packed)
    assert after[1] > before[1]
    np.testing.assert_array_equal(np.delete(after, 1), np.delete(before, 1))
    assert page.run(f"document.querySelector({slider(1)!r}).ariaValueText") == str(after[1])


def test_a_key_moves_a_small_number_by_one(opened, rng):
    packed, _ = coded("int8 one-hot", rng)
    page = opened(packed)
    put(page, field(2), "5")
    page.run(f"document.querySelector({slider(2)!r}).focus()")
    for number in (6, 7):
        page.key("ArrowRight")
        page.settle()
        assert agree(page, packed)[2] == number


def test_what_is_no_number(opened, rng):
    packed, _ = coded("int16", rng)
    page = opened(packed)
    before = agree(page, packed)
    for typed in ("40000", "1.5", "", "nan"):
        put(page, field(0), typed)
        problem = f"x0: expected a whole number from -32768 to 32767, got {typed or 'nothing'}"
        assert text(page, "problem") == problem
        assert page.run(f"document.querySelector({field(0)!r}).ariaInvalid") == "true"
        np.testing.assert_array_equal(agree(page, packed), before)
    put(page, field(1), "7")  # puts the other one back
    assert page.run(f"document.querySelector({field(0)!r}).ariaInvalid") == "false"
    assert value(page, field(0)) == str(before[0])
    assert text(page, "problem") == ""
    put(page, "#line", "1, 2, 3", "change")
    assert text(page, "problem") == "Expected 4 numbers, got 3"
    put(page, "#line", "1, 2, three, 4", "change")
    assert text(page, "problem") == "Expected a whole number from -32768 to 32767, got three"
    assert agree(page, packed)[1] == 7
    put(page, "#line", "1\t-2\t3\t-32768", "change")
    assert agree(page, packed).tolist() == [1, -2, 3, -32768]
    assert text(page, "problem") == ""
    assert [value(page, field(k)) for k in range(4)] == ["1", "-2", "3", "-32768"]
    assert page.complaints() == []


def test_examples_of_numbers(opened, rng):
    packed, _ = coded("uniform", rng)
    page = opened(packed)
    count = page.run("document.querySelectorAll('#examples button').length")
    assert count > 12
    for n in (count - 1, 5, 0):
        page.run(f"document.querySelectorAll('#examples button')[{n}].click()")
        agree(page, packed)
        pressed = page.run("[...document.querySelectorAll('#examples button')]"
                           ".map((b) => b.ariaPressed)")  # fmt: skip
        assert pressed == ["true" if k == n else "false" for k in range(count)]
    put(page, slider(0), "3")
    assert page.run("document.querySelectorAll('#examples [aria-pressed=true]').length") == 0
    page.run("document.getElementById('clear').click()")
    np.testing.assert_array_equal(
        agree(page, packed), np.median(packed.stages[0].low.reshape(4, 5), 1)
    )


def test_what_a_dot_of_a_code_says(opened, rng):
    for name, words in [
        ("int16", ["x0: \u221232767 is not at least", "so it is dark", "x0: 32767 is at least"]),
        ("int16 one-hot", ["x0: 3 = 3, so it is lit", "x0: 32767 \u2260 3, so it is dark"]),
        ("falling", ["is at most", "is not at most"]),
    ]:
        packed, _ = coded(name, rng)
        page = opened(packed)
        said = []
        for number in ("3", "32767", "-32767"):
            put(page, field(0), number)
            page.run("document.querySelector('#layers canvas').focus()")
            page.key("Escape")
            for _ in range(6):
                page.key("ArrowRight")
                said.append(page.run("document.querySelector('.readout').textContent"))
        for word in words:
            assert any(word in line for line in said), (word, said)
        assert page.complaints() == []


@pytest.mark.parametrize("name", ["float channels", "columns", "one feature", "uint8"])
def test_other_numbers(name, opened, rng):
    packed, x = coded(name, rng)
    for size in ((1280, 800), (360, 740)):
        page = opened(packed, size)
        assert page.run("document.documentElement.scrollWidth") <= size[0]
        last = min(x[0].size, 300) - 1
        put(page, slider(last), "990")
        put(page, field(0), "1")
        assert agree(page, packed).ravel()[0] == 1
        titles = page.run(
            "[...document.querySelectorAll('.number label')].map((l) => l.textContent)"
        )
        assert len(set(titles)) == len(titles) == last + 1
        if name == "float channels":
            assert titles[4] == "1, 2: x1"
        assert page.complaints() == []


def test_the_answer_stays_in_sight_on_a_phone(opened, rng):
    packed, _ = coded("float channels", rng)
    page = opened(packed, (360, 740))
    page.run("document.querySelector('.number:nth-child(60)').scrollIntoView({ block: 'center' })")
    page.settle()
    _, top, _, bottom = bounds_of(page, "says")
    assert 0 <= top < bottom < 370
    row = page.run("document.querySelector('.number:nth-child(60)').getBoundingClientRect().top")
    assert row > bottom
    assert page.run(f"document.elementFromPoint(180, {row + 10}).closest('.number') !== null")


def test_more_numbers_than_rows(opened, rng):
    packed = pack(
        Sequential(Rescale(1), dense(400, 3)).initialize(rng), (400,), class_names=["a", "b", "c"]
    )
    page = opened(packed)
    assert page.run("document.querySelectorAll('.number').length") == 300
    assert text(page, "rest").startswith("These are the first 300 of 400 numbers")
    x = rng.integers(0, 256, 400)
    put(page, "#line", " ".join(map(str, x)), "change")
    np.testing.assert_array_equal(agree(page, packed), x)
    put(page, field(299), "9")
    assert agree(page, packed)[299] == 9
    assert agree(page, packed)[399] == x[399]


def test_numbers_without_names(opened, rng):
    packed, _ = coded("thermometer", rng)
    page = opened(dataclasses.replace(packed, class_names=None, feature_names=None))
    assert page.run("[...document.querySelectorAll('.number label')].map((l) => l.textContent)") == [
        "1", "2", "3", "4"
    ]  # fmt: skip
    label = page.run("minibnn.result.label")
    assert text(page, "sentence").startswith(f"It says {label}.")
    assert page.run("document.getElementById('digit').tagName") == "CANVAS"
    assert page.complaints() == []


def png(pixels):
    """A PNG file of (rows, columns, 3)."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))  # fmt: skip


def choose(page, path):
    page.call("DOM.enable")
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


@pytest.mark.parametrize("size", [(1280, 800), (360, 740), (740, 360)])
def test_a_picture_of_ones_own(size, opened, rng, tmp_path):
    packed, x = coded("channels", rng)
    page = opened(packed, size)
    assert page.run("document.documentElement.scrollWidth") <= size[0]
    agree(page, packed)
    path = tmp_path / "own.png"
    path.write_bytes(png(x[7]))
    choose(page, path)
    page.wait(f"String([...minibnn.pixels]) === {','.join(map(str, x[7].ravel()))!r}")
    agree(page, packed)
    path = tmp_path / "none.png"
    path.write_bytes(b"no picture")
    choose(page, path)
    page.wait(
        "document.getElementById('problem').textContent.startsWith('This file is no picture')"
    )
    np.testing.assert_array_equal(agree(page, packed), x[7])
    shown = page.run("[...document.getElementById('draw').getContext('2d')"
                     ".getImageData(1, 2, 1, 1).data]")  # fmt: skip
    assert shown == [*x[7][2, 1].tolist(), 255]
    assert page.complaints() == []


def test_a_picture_in_greys(opened, rng, tmp_path):
    layers = Sequential(Rescale(1), dense(30, 3))
    model = Sequential(Flatten(), *layers).initialize(rng)
    packed = pack(model, (6, 5), class_names=["a", "b", "c"])
    page = opened(packed)
    pixels = np.zeros((6, 5, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 200, rng.integers(0, 256, (6, 5))
    path = tmp_path / "own.png"
    path.write_bytes(png(pixels))
    choose(page, path)
    greys = np.round(pixels @ np.array([0.299, 0.587, 0.114]))
    page.wait(f"minibnn.pixels[0] === {int(greys[0, 0])}")
    np.testing.assert_allclose(agree(page, packed), greys, atol=1)
    assert page.complaints() == []


def test_names_beside_a_drawing(opened, modern):
    names = tuple(f"T-shirt {n}" if n != 3 else "Dress" for n in range(9))
    packed = dataclasses.replace(modern, class_names=(*names, "a-name-without-any-blank-" * 3))
    for size in ((1280, 800), (360, 740)):
        page = opened(packed, size)
        assert page.run("document.documentElement.scrollWidth") <= size[0]
        assert text(page, "sentence").startswith("It says Dress.")  # of the example of a 3
        agree(page, packed)
        draw(page, ONE)
        assert agree(page, packed).any()
        page.run("document.getElementById('clear').click()")
        page.settle()
        assert text(page, "digit").strip() == ""
        assert page.complaints() == []


# --- networks on integers ------------------------------------------------------------------------


def marked(page, board, dot):
    """What the page says of a dot of a board, by its number along the first line of dots."""
    page.run(f"document.querySelectorAll('#layers [tabindex]')[{board}].focus()")
    page.key("Escape")
    for _ in range(dot + 1):
        page.key("ArrowRight")
    return page.run(f"document.querySelectorAll('.readout')[{board}].textContent")


def spoken(n):
    return f"{n:,}".replace("-", "\u2212")


def titles(page):
    return page.run("[...document.querySelectorAll('#layers figure:not(.seen) h3')]"
                    ".map((h) => h.textContent)")  # fmt: skip


def test_numbers_and_branches_are_shown(opened, rng):
    packed = branched(rng)
    page = opened(packed)
    image = load_sample().test_images[3]
    assert show(page, image) == packed.predict(image[None])[0]
    scores = [int(s) for s in page.run("minibnn.result.scores.map(String)")]
    assert scores == packed.predict_scores(image[None])[0].tolist()
    first, bits, total, joined = (packed.after(image[None], n)[0] for n in (3, 4, 7, 12))

    def numbers(v):
        return f"{v.size:,} numbers from {spoken(v.min())} to {spoken(v.max())}"

    assert titles(page) == [
        f"Layer 1: {numbers(first)}",
        f"Layer 1 in bits: {bits.sum()} of {bits.size} lit",
        f"Sum 1: {numbers(total)}",
        f"Join 1: {numbers(joined)}",
    ]
    assert text(page, "facts").startswith(
        "28\u00d728 pixels → 5 layers of weights, 1 shortcut, 1 join → 10 scores."
    )
    captions = page.run("[...document.querySelectorAll('#layers figure:not(.seen) figcaption')]"
                        ".map((c) => c.textContent)")  # fmt: skip
    for caption, words in zip(captions, [
        "weighs 3\u00d73 pixels by whole numbers from \u2212127 to 127, scales and shifts that, and flattens",
        "A dot takes what layer 1 has in its place, and is lit when that passes its own threshold.",
        "in layer 1 and layer 2. Layer 2: each map searches for one pattern: a dot weighs 3\u00d73 bits "
        "in 4 maps of layer 1 in bits by \u22121, 0 and +1",
        "The dots of layer 3 and layer 4, side by side. Layer 3 and layer 4: each map",
    ], strict=True):  # fmt: skip
        assert words in caption
    scales = page.run("[...document.querySelectorAll('.scale')].map((p) => p.textContent)")
    assert scales[2] == "03"  # levels from 0 to 3
    assert scales[0][0] == scales[1][0] == "\u2212"
    assert page.complaints() == []


def test_what_a_dot_of_numbers_says(opened, rng):
    packed = branched(rng)
    page = opened(packed)
    image = load_sample().test_images[3]
    show(page, image)
    values = [packed.after(image[None], n).reshape(-1, packed.stages[n - 1].out_shape[-1])
              for n in range(1, len(packed.stages))]  # fmt: skip
    A = packed.stages[2].A[0]
    for dot in (2, 5, 9):
        scaled, slope, bit, branch, total = (int(values[k][dot, 0]) for k in (1, 2, 3, 5, 6))
        place = f"map 1, row 1, column {dot + 1}: "
        way = f"({spoken(scaled)}) \u00d7 {A}, divided by 16 and rounded, is {spoken(slope)}"
        way = f"{slope}, above 0, so it stays" if scaled > 0 else way.replace("(0)", "0")
        assert marked(page, 0, dot) == place + way
        assert marked(page, 1, dot).endswith("lit" if bit else "dark")
        parts = [f"({spoken(v)})" if v < 0 else spoken(v) for v in (slope, branch)]
        assert marked(page, 2, dot) == f"{place}{' + '.join(parts)} = {spoken(total)}"
    assert marked(page, 3, 1) == f"map 1, row 1, column 2: {values[11][1, 0]}, from layer 3"
    page.key("End")
    assert page.complaints() == []


def test_colours_of_numbers(opened, rng):
    """Yellow above 0, blue below, brighter the larger; read from the middles of the dots."""
    x = np.array([0, 100, 128, 150, 200, 255, 60, 128], np.uint8)
    stage = ScaleStage((8,), (8,), "pixels", np.ones(8, int), np.full(8, -128), 0)
    last = IntegerDense((8,), (3,), np.ones((3, 8), np.int8), "numbers")
    page = opened(program((8,), stage, last), images=x[None])
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])  # fmt: skip
    page.run(f"minibnn.show({x.tolist()})")
    colours = page.run("""(() => {
        const board = document.querySelector("#layers [tabindex]");
        const pen = board.getContext("2d");
        const pad = Math.min(14, Math.round(board.clientWidth * 0.035)), cell = 26;
        const left = (board.clientWidth - 4 * cell) / 2;
        return Array.from({ length: 8 }, (_, k) => [...pen.getImageData(
            left + (k % 4 + 0.5) * cell, pad + (Math.floor(k / 4) + 0.5) * cell, 1, 1).data]);
    })()""")
    warmth = [red - blue for red, _, blue, _ in colours]
    assert (
        warmth[0]
        < warmth[6]
        < warmth[1]
        < warmth[2]
        == warmth[7]
        < warmth[3]
        < warmth[4]
        < warmth[5]
    )
    assert colours[5][:3] == pytest.approx([244, 233, 69], abs=6)
    assert colours[0][:3] == pytest.approx([96, 165, 255], abs=6)


def test_the_window_of_a_dot_is_shown_on_the_picture(opened, rng):
    packed = branched(rng)
    page = opened(packed)
    show(page, np.full((28, 28), 255, np.uint8))
    marked(page, 0, 4)
    assert text(page, "lens") == "How this dot sees it"
    colours = page.run("""(() => {
        const seen = document.getElementById("seen"), pen = seen.getContext("2d");
        const side = seen.width / 28;
        return Array.from({ length: 84 }, (_, k) => [...pen.getImageData(
            (k % 28 + 0.5) * side, (Math.floor(k / 28) + 0.5) * side, 1, 1).data.slice(0, 3)]);
    })()""")
    plain = [244, 244, 238]
    others = [k for k, colour in enumerate(colours) if colour != pytest.approx(plain, abs=2)]
    # Row 1, column 5 of stride 2, with padding of 1: pixels of rows 1 and 2, columns 8 to 10.
    assert set(others) == {7, 8, 9, 28 + 7, 28 + 8, 28 + 9}
    filters = packed.stages[0].weights[0].reshape(3, 3)[1:].ravel()
    for k, w in zip(sorted(others), filters, strict=True):
        assert (colours[k][0] > colours[k][2]) == (w > 0)
    page.key("Escape")
    assert text(page, "lens") == "The picture"


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_on_a_phone(seed, opened):
    packed = random_program(np.random.default_rng(seed))
    page = opened(packed, (360, 740))
    assert page.run("document.documentElement.scrollWidth") == 360
    boards = page.run("document.querySelectorAll('#layers [tabindex]').length")
    for board in range(boards):
        said = marked(page, board, 1)
        assert ": " in said
        for word in ("undefined", "NaN", "null", "[object"):
            assert word not in said
    for word in ("undefined", "NaN", "null", "[object"):
        assert word not in page.run("document.body.innerText")
    x = np.random.default_rng(seed).integers(0, 256, packed.input_shape, np.uint8)
    assert show(page, x) == packed.predict(x[None])[0]
    assert page.complaints() == []


@pytest.mark.parametrize("names", [None, ("a calm day", "a day of heavy storms and rain")])
@pytest.mark.parametrize("size", [(1280, 800), (360, 740)])
def test_a_single_score(names, size, opened):
    """One bar between two classes, to the side of the one that the score says."""
    stage = IntegerDense((1,), (1,), np.ones((1, 1), np.int8), "pixels")
    packed = program((1,), stage, A=10, B=-1000, class_names=names)
    page = opened(packed, size, images=np.array([[50], [150], [100]], np.uint8))
    assert page.run("document.documentElement.scrollWidth") == size[0]
    ends = page.run("[...document.querySelectorAll('#ends th')].map((h) => h.textContent)")
    assert ends == list(names or "01")
    for x, score, label in [(50, -500, 0), (99, -10, 0), (100, 0, 1), (101, 10, 1), (200, 1000, 1)]:
        assert (
            page.run(f"minibnn.show([{x}])") == label == packed.predict(np.array([[x]], np.uint8))
        )
        told = f"It says {ends[label]}: the score, {spoken(score)}, is {'not ' if label else ''}below 0."
        assert text(page, "sentence") == told
        best = page.run("[...document.querySelectorAll('#ends .best')].map((h) => h.textContent)")
        assert best == [ends[label]]
        assert page.run("document.querySelector('.score').textContent") == spoken(score)
        left, width = (
            page.run(f"parseFloat(document.querySelector('.bar').style.{name})")
            for name in ("left", "width")
        )
        share = 50 * score / max(abs(score), 500)
        assert (left, width) == pytest.approx((50 + min(0, share), abs(share)), abs=0.01)
        if names:
            assert text(page, "digit") == names[label]
        else:
            assert page.run("document.getElementById('digit').ariaLabel") == f"It says {label}"
    assert text(page, "facts").startswith("1 number → 1 layer of weights → 1 score.")
    assert page.complaints() == []


def test_a_single_score_of_nothing_drawn(opened, rng):
    page = opened(branched(rng, 1), (360, 740))
    page.run("document.getElementById('clear').click()")
    page.settle()
    assert text(page, "sentence").startswith("Nothing is drawn yet.")
    assert page.run("document.querySelectorAll('#says .best').length") == 0
    draw(page, ONE)
    assert page.run("document.querySelectorAll('#says th.best').length") == 1
    assert page.complaints() == []


def test_integers_of_a_coded_input(opened, rng):
    """Sliders, and layers of several bits behind them."""
    packed, _ = coded("int16", rng)
    n = packed.stages[1].width
    W = rng.integers(-127, 128, (6, n)).astype(np.int8)
    stages = [
        packed.stages[0],
        IntegerDense((n,), (6,), W, "bits"),
        LevelStage((6,), (6,), np.sort(rng.integers(-400, 400, (6, 3)), 1).astype(np.int32), np.zeros(6, bool)),
        IntegerDense((6,), (3,), rng.integers(-9, 10, (3, 6)).astype(np.int8), "numbers"),
    ]  # fmt: skip
    wide = program(packed.input_shape, *stages, input_dtype="int16", class_names=("a", "b", "c"),
                   feature_names=packed.feature_names)  # fmt: skip
    page = opened(wide)
    assert titles(page)[0].startswith("The input in bits: ")
    assert titles(page)[1].startswith("Layer 1: 6 numbers")
    for k, number in itertools.product(range(2), ("3", "-32767", "32767")):
        put(page, field(k), number)
        agree(page, wide)
    assert " of its 3 thresholds" in marked(page, 1, 2)
    assert page.complaints() == []
