"""A film as arrays."""

from __future__ import annotations

import numpy as np
from films import filmed, same

from minibnn.film.data import Film


def test_a_part_has_some_frames_of_everything():
    film = filmed()
    keep = np.array([0, 2, 9])
    part = film.part(keep)
    assert part.steps.tolist() == [0, 2, 9]
    assert same(part.bits, film.bits[keep])
    for name in ("latents", "margins"):
        ours, whole = getattr(part, name), getattr(film, name)
        for array in ("counts", "reaches", "figures"):
            assert same(getattr(ours, array), getattr(whole, array)[keep])
        assert same(ours.axes, whole.axes)
    assert same(part.losses, film.losses)
    assert same(film.part(np.arange(10)), film)


def test_flips_are_the_bits_that_differ():
    film = filmed(rate=0.05)
    total = film.wall.shown * film.wall.inputs
    bits = np.unpackbits(film.bits, axis=1, count=total)
    assert film.flips().tolist() == [0, *(bits[1:] != bits[:-1]).sum(axis=1).tolist()]
    assert film.flips().sum() > 20


def test_it_says_how_long_it_is():
    film = filmed()
    assert isinstance(film, Film)
    assert repr(film) == "Film('Sequential(5 layers)', 10 frames, 9 updates)"
