"""Which frames are kept, whatever the length of the training."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.film import frames
from minibnn.film.frames import FIELDS, MOST, Frame, Frames


def frame(tick):
    values = {name: np.full(3, tick) for name in FIELDS}
    return Frame(**{**values, "tick": np.int64(tick), "step": np.int64(10 * tick)})


def taken(last, kept=None):
    kept = Frames() if kept is None else kept
    for tick in range(last + 1):
        if kept.wanted(tick):
            kept.add(frame(tick))
    return kept


def ticks(kept):
    return kept.arrays()["tick"].tolist()


@pytest.mark.parametrize("last", [1, 5, MOST - 1, MOST, MOST + 1, 999, 10_000, 100_000])
def test_early_frames_and_multiples_of_a_stride_are_kept(last):
    found = ticks(taken(last))
    stride = 1 if last < MOST else int(np.diff(found[-5:]).min())
    early = {2**k for k in range(20) if 2**k <= last}
    assert found == sorted(early | set(range(0, last + 1, stride)))
    assert min(last, MOST // 2) < len(found) <= MOST


def test_memory_is_bounded_all_the_time(monkeypatch):
    monkeypatch.setattr(frames, "MOST", 20)
    kept, most = Frames(), 0
    for tick in range(5000):
        if kept.wanted(tick):
            kept.add(frame(tick))
        most = max(most, len(ticks(kept)))
    assert most <= 20


def test_arrays_have_the_axis_of_frames_first():
    arrays = taken(2).arrays()
    assert arrays["step"].tolist() == [0, 10, 20]
    assert arrays["bits"].tolist() == [[0] * 3, [1] * 3, [2] * 3]
    assert list(arrays) == FIELDS


def test_the_last_frame_is_there_once():
    kept = taken(300)
    before = ticks(kept)
    assert ticks(kept.with_last(frame(305))) == [*before, 305]
    assert ticks(kept.with_last(frame(300))) == before
    assert ticks(kept) == before


def test_a_state_goes_on():
    kept, other = taken(300), Frames()
    state = kept.state()
    other.restore(state)
    state["bits"][:] = 7
    assert [other.wanted(tick) for tick in range(301, 310)] == [False, True] * 4 + [False]
    for tick in range(301, 2000):
        for one in (kept, other):
            if one.wanted(tick):
                one.add(frame(tick))
    states = [{k: np.asarray(v).tolist() for k, v in one.state().items()} for one in (kept, other)]
    assert states[0] == states[1]
