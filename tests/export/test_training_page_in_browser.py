"""The page of a training in a browser: what it draws, mouse, finger and keyboard."""

from __future__ import annotations

import dataclasses
import json
import zlib

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 (a fixture)
from films import filmed, random_film
from html_pages import element

from minibnn.export.training_page import export_training_page

BLACK, CHALK, ON, EMBER = "off", "chalk", "on", "ember"


@pytest.fixture(scope="module")
def film():
    return random_film(units=12, share=0.05)


@pytest.fixture(scope="module")
def address(film, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "film of a day.html"
    export_training_page(film, path, title="A day")
    return path.as_uri()


@pytest.fixture
def page(chromium, address):  # noqa: F811
    page = chromium.page(address)
    yield page
    assert page.complaints() == []
    page.close()


def text(page, name):
    return page.run(f"document.getElementById({name!r}).textContent")


def show(page, frame):
    page.run(f"minibnn.show({frame})")
    page.settle()


def center(page, query):
    return page.run(
        f"(() => {{ const b = document.querySelector({query!r}).getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )


def click(page, x, y):
    page.mouse("Moved", x, y, buttons=0)
    page.mouse("Pressed", x, y)
    page.mouse("Released", x, y, buttons=0)
    page.settle()


COLORS = """
(() => {
  const style = getComputedStyle(document.documentElement);
  const hex = (name) => [1, 3, 5].map((at) => parseInt(style.getPropertyValue(`--${name}`).trim().slice(at, at + 2), 16));
  return Object.fromEntries(["off", "chalk", "on", "ember"].map((name) => [name, hex(name)]));
})()
"""


def painted(page, film):
    """The colours of all bits, (bits, 3), as the small picture has them."""
    picture = page.run("""(() => {
      const { image, across } = minibnn.wall;
      return { across, width: image.width, data: Array.from(image.data) };
    })()""")
    rows, columns = film.wall.tile
    pixels = np.array(picture["data"]).reshape(-1, picture["width"], 4)
    found = []
    for unit in range(film.wall.shown):
        y, x = divmod(unit, picture["across"])
        tile = pixels[y * (rows + 1) :, x * (columns + 1) :][:rows, :columns]
        found.append(tile.reshape(-1, 4)[: film.wall.inputs])
    colors = np.concatenate(found)
    assert (colors[:, 3] == 255).all()
    return colors[:, :3]


@pytest.mark.parametrize("frame", [0, 1, 17, 39])
def test_each_bit_has_its_colour(frame, page, film):
    show(page, frame)
    colors = {name: np.array(rgb) for name, rgb in page.run(COLORS).items()}
    bits = np.unpackbits(film.bits, axis=1, count=12 * 24)
    seen = painted(page, film)
    for name, bit, flipped in (
        (CHALK, 1, False),
        (BLACK, 0, False),
        (ON, 1, True),
        (EMBER, 0, True),
    ):
        now = bits[frame] == bit
        before = bits[max(0, frame - 3) : frame + 1]
        changed = np.diff(before, axis=0) != 0
        at = now & (changed[-1] if len(changed) else False)
        if not flipped:
            at = now & ~changed.any(axis=0)
        assert (seen[at] == colors[name]).all(), name
        assert at.any() or (flipped and frame == 0)
    if frame > 2:  # what flipped before glows
        faded = (bits[frame] == 1) & (bits[frame - 1] == 1) & (bits[frame - 2] == 0)
        glow = seen[faded]
        assert len(glow)
        assert (glow != colors[CHALK]).any(axis=1).all()
        assert (glow != colors[ON]).any(axis=1).all()


def test_flips_so_far(page, film):
    bits = np.unpackbits(film.bits, axis=1, count=12 * 24)
    counts = np.vstack([0 * bits[:1], np.diff(bits, axis=0) != 0]).cumsum(axis=0)
    click(page, *center(page, "#see-flips"))
    assert text(page, "most") == f"{counts[-1].max()} times"
    colors = {name: np.array(rgb) for name, rgb in page.run(COLORS).items()}
    for frame in (39, 5, 20, 0):  # backwards, too
        show(page, frame)
        seen = painted(page, film)
        assert (seen[counts[frame] == 0] == colors[BLACK]).all()
        assert (seen[counts[frame] == counts[-1].max()] == colors[ON]).all()
        by_count = {tuple(c) for c in seen}
        assert len(by_count) == len(set(counts[frame].tolist()))
    display = "getComputedStyle(document.getElementById('key-{}')).display"
    assert page.run(display.format("bits")) == "none"
    page.key("b")
    page.settle()
    assert page.run(display.format("flips")) == "none"
    assert page.run(display.format("bits")) == "flex"


def test_numbers_are_the_films(page, film):
    show(page, 27)
    numbers = page.run("[...document.querySelectorAll('#numbers dd')].map((d) => d.textContent)")
    row = dict(zip(film.columns, film.history[1], strict=True))  # of epoch 2
    share = film.flips()[27] / (12 * 24)
    assert float(numbers[0]) == pytest.approx(row["acc_test"], abs=1e-3)
    assert float(numbers[1]) == pytest.approx(row["loss_test"], abs=1e-3)
    assert float(numbers[2].replace("\u2009%", "")) == pytest.approx(100 * share, rel=0.06)
    assert numbers[3] == "2.7\u2009/\u20094"
    now = text(page, "now")
    assert now == f"update 270 of 390{film.flips()[27]} flips in 10 updates"
    captions = page.run(
        "[...document.querySelectorAll('#latents figcaption')].map((c) => c.textContent)"
    )
    assert captions[0].startswith("Layer(0)mean |W| 0.")
    assert captions[0].endswith("flipped in epoch 2")
    curves = page.run(
        "[...document.querySelectorAll('#curves figcaption')].map((c) => c.textContent)"
    )
    for caption, name in zip(curves, ("loss", "acc"), strict=True):
        words = caption.split()
        assert words[:-3] == ["losstraining" if name == "loss" else "accuracytraining"]
        assert words[-2] == "test"
        assert float(words[-3].rstrip(",")) == pytest.approx(row[f"{name}_train"], abs=1e-3)
        assert float(words[-1]) == pytest.approx(row[f"{name}_test"], abs=1e-3)
    show(page, 3)
    numbers = page.run("[...document.querySelectorAll('#numbers dd')].map((d) => d.textContent)")
    assert numbers[0] == "\u2013", "no epoch is complete"


def test_it_plays_and_pauses(page):
    assert not page.run("minibnn.playing")
    page.run("document.getElementById('speed').value = 4")
    click(page, *center(page, "#play"))
    page.wait("minibnn.frame > 5")
    assert page.run("document.getElementById('play').ariaLabel") == "Pause"
    page.key(" ")
    page.settle()
    frame = page.run("minibnn.frame")
    assert not page.run("minibnn.playing")
    page.settle()
    assert page.run("minibnn.frame") == frame
    page.key(" ")
    page.wait("minibnn.frame === 39")
    page.wait("!minibnn.playing")
    page.key(" ")  # from the beginning again
    page.wait("minibnn.frame > 0 && minibnn.frame < 39")
    page.run("minibnn.pause()")


def test_the_speed_is_kept(chromium, address):  # noqa: F811
    page = chromium.page(address)
    page.run("document.getElementById('speed').value = 1")
    start = page.run("minibnn.play(); performance.now()")
    page.wait("minibnn.frame >= 8")
    seconds = (page.run("performance.now()") - start) / 1000
    assert 0.9 < seconds < 2.5  # 8 frames at 8 a second; this machine may be slow
    page.close()


def test_the_keyboard_alone(page):
    def frame_after(*keys, **options):
        for key in keys:
            page.key(key, **options)
        page.settle()
        return page.run("minibnn.frame")

    assert frame_after("ArrowRight", "ArrowRight") == 2
    assert frame_after("ArrowRight", shift=True) == 12
    assert frame_after("ArrowLeft") == 11
    assert frame_after("ArrowLeft", shift=True) == 1
    assert frame_after("End") == 39
    assert frame_after("ArrowRight") == 39
    assert frame_after("Home") == 0
    assert frame_after("ArrowLeft") == 0
    page.key("ArrowUp")
    assert page.run("document.getElementById('speed').value") == "2"
    page.key("ArrowDown")
    page.key("ArrowDown")
    assert page.run("document.getElementById('speed').value") == "0.5"
    page.key("]")
    assert page.run("minibnn.unit") == 0
    page.key("[")
    assert page.run("minibnn.unit") == 11
    page.key("]")
    assert page.run("minibnn.unit") == 0
    page.key("Escape")
    assert page.run("minibnn.unit") == -1


def test_a_button_reached_by_keyboard_is_pressed_by_the_space_bar(page):
    page.run("document.getElementById('see-flips').focus({ focusVisible: true })")
    page.key(" ")
    page.settle()
    assert not page.run("minibnn.playing")
    assert page.run("document.getElementById('see-flips').ariaPressed") == "true"
    # After a click the space bar plays.
    click(page, *center(page, "#on"))
    page.key(" ")
    assert page.run("minibnn.playing")


def test_a_unit_is_seen_closely(page, film):
    show(page, 9)
    rows, columns = film.wall.tile
    box = page.run("(() => { const b = document.getElementById('wall').getBoundingClientRect();"
                   " return [b.left, b.top, b.width, b.height]; })()")  # fmt: skip
    across, down = page.run("[minibnn.wall.across, minibnn.wall.down]")
    bits = np.unpackbits(film.bits[9], count=12 * 24).reshape(12, 24)
    for unit in (0, 7, 11):
        y, x = divmod(unit, across)
        place = (box[0] + box[2] * (x + 0.5) / across, box[1] + box[3] * (y + 0.4) / down)
        page.mouse("Moved", *place, buttons=0)
        assert text(page, "which").startswith(
            f"unit {unit + 1} of 12: {bits[unit].sum()} of 24 are +1"
        )
        click(page, *place)
        assert page.run("minibnn.unit") == unit
        size = page.run("[minibnn.wall.canvas.width, minibnn.wall.canvas.height]")
        assert size == [columns, rows]
        click(page, *center(page, "#wall"))
        assert page.run("minibnn.unit") == -1


def test_a_finger_moves_through_the_training(chromium, address):  # noqa: F811
    page = chromium.page(address, size=(390, 844), media={"pointer": "coarse"})
    page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)
    box = page.run("(() => { const b = document.getElementById('seek').getBoundingClientRect();"
                   " return [b.left, b.top, b.width, b.height]; })()")  # fmt: skip
    y = box[1] + box[3] / 2
    page.touch("Start", (box[0] + 0.25 * box[2], y))
    page.touch("Move", (box[0] + 0.5 * box[2], y))
    page.touch("Move", (box[0] + 0.75 * box[2], y))
    page.touch("End")
    page.settle()
    assert page.run("minibnn.frame") in (28, 29, 30)
    page.run("document.querySelector('#curves canvas').scrollIntoView({ block: 'center' })")
    page.settle()
    x, y = center(page, "#curves canvas")
    page.touch("Start", (x, y))
    page.touch("End")
    page.settle()
    assert page.run("minibnn.frame") in range(17, 24)
    assert page.complaints() == []
    page.close()


def test_a_curve_is_dragged(page, film):
    left, top, width, height = page.run(
        "(() => { const b = document.querySelector('#curves canvas').getBoundingClientRect();"
        " return [b.left, b.top, b.width, b.height]; })()"
    )
    inside = width - 52  # beside the numbers of its axis
    for part, frame in ((0.0, 0), (0.5, 20), (1.0, 39)):
        page.mouse("Moved", left + 40 + part * inside, top + height / 2, buttons=0)
        page.mouse("Pressed", left + 40 + part * inside, top + height / 2)
        page.mouse("Released", left + 40 + part * inside, top + height / 2, buttons=0)
        page.settle()
        assert abs(page.run("minibnn.frame") - frame) <= 1


@pytest.mark.parametrize(
    ("ending", "frame"), [("#7", 7), ("#end", 39), ("#99", 39), ("#x", 0), ("", 0)]
)
def test_an_address_opens_at_a_frame(ending, frame, chromium, address):  # noqa: F811
    page = chromium.page(address + ending)
    page.settle()
    assert page.run("minibnn.frame") == frame
    page.close()


SIZES = [(320, 600), (390, 844), (844, 390), (820, 1180), (1024, 700), (1400, 1000), (2560, 1300)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_size(size, scheme, chromium, address):  # noqa: F811
    page = chromium.page(address, size=size, media={"prefers-color-scheme": scheme})
    page.settle()
    width, inner = page.run("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner, "it does not scroll sideways"
    box = page.run("(() => { const b = document.getElementById('play').getBoundingClientRect();"
                   " return [b.top, b.bottom, b.width]; })()")  # fmt: skip
    assert 0 <= box[0] <= box[1] <= size[1], "the player is always there"
    assert box[2] >= 44
    wall = page.run("(() => { const b = document.getElementById('wall').getBoundingClientRect();"
                    " return [b.left, b.right, b.height]; })()")  # fmt: skip
    assert 0 <= wall[0] < wall[1] <= size[0]
    if size[0] >= 1000:
        assert page.run("document.getElementById('key').getBoundingClientRect().bottom") <= box[0]
    assert page.complaints() == []
    assert [a for a in page.requests() if not a.startswith(("file:", "data:"))] == []
    page.close()


def test_a_turned_phone_lays_the_tiles_anew(page):
    before = page.run("minibnn.wall.scale")
    page.resize(390, 844)
    page.wait(f"minibnn.wall.scale < {before}")


@pytest.mark.parametrize("part", ["data", "crc32", "last"])
def test_damage_is_shown(part, film, address, chromium, tmp_path):  # noqa: F811
    path = tmp_path / "film.html"
    export_training_page(film, path)
    page = path.read_text(encoding="utf-8")
    if part == "crc32":
        page = page.replace(f'"crc32">{element(page, "crc32")}<', '"crc32">5<')
    elif part == "last":
        data = element(page, "data")
        wrong = data.replace(f'"last":{json.loads(data)["last"]}', '"last":7')
        crc = zlib.crc32(wrong.encode())
        page = page.replace(data, wrong).replace(element(page, "crc32"), str(crc))
    else:
        page = page.replace(element(page, "data"), element(page, "data")[:-30])
    path.write_text(page, encoding="utf-8")
    shown = chromium.page(path.as_uri())
    assert "selftest" in shown.run("document.querySelector('.failed').id")
    assert "get the file anew" in text(shown, "selftest")
    assert shown.run("document.title").startswith("FAILED")
    assert shown.complaints() == []
    shown.close()


def long_names():
    film = random_film()
    long = "<&>" + 300 * "L"
    latents = dataclasses.replace(film.latents, layers=(long, long))
    return dataclasses.replace(
        film,
        latents=latents,
        title=long,
        wall=dataclasses.replace(film.wall, layer=long, meaning=long),
    )


CASES = {
    "no margins": lambda: filmed(samples=None),
    "one frame": lambda: random_film(frames=1),
    "no history": lambda: random_film(epoch_steps=0, epochs=np.zeros(0, np.int64), history=np.zeros((0, 5)), losses=np.zeros(0)),
    "no evaluation": lambda: filmed(evaluate_train=None),
    "zeros and ones": lambda: dataclasses.replace(random_film(), wall=dataclasses.replace(random_film().wall, low=0)),
    "long names": long_names,
    "a wide tile": lambda: random_film(units=3, tile=(2, 700)),
    "a last row that is not whole": lambda: random_film(tile=(3, 3), inputs=7),
    "values that are none": lambda: random_film(history=np.full((4, 5), np.nan)),
    "losses below zero": lambda: random_film(losses=-np.arange(40.0) * 1e6),
}  # fmt: skip


@pytest.mark.parametrize("size", [(390, 844), (1400, 1000)])
@pytest.mark.parametrize("case", CASES)
def test_films_of_other_kinds(case, size, chromium, tmp_path):  # noqa: F811
    film = CASES[case]()
    export_training_page(film, tmp_path / "film.html")
    page = chromium.page((tmp_path / "film.html").as_uri() + "#end", size=size)
    page.settle()
    for key in ("Home", "b", "]", "ArrowRight", "End", "b", "Escape", "ArrowLeft"):
        page.key(key)
        page.settle()
    assert page.complaints() == []
    assert page.run("document.getElementById('margins').hidden") == (case == "no margins")
    assert page.run("document.getElementById('curves').hidden") == (
        case in ("no history",) and not len(film.losses)
    )
    assert ("are +1" in text(page, "which")) is False
    shown = page.run("document.getElementById('key-bits').textContent").split()
    assert ("+1" in shown) == (film.wall.low == -1)
    width, inner = page.run("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner
    page.close()
