"""Updates: a write is whole or none, and a device keeps the verdict."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

from minibnn.backend import NotFinite
from minibnn.backend.updates import note_finite


def test_a_write_is_whole_or_none(backend):
    old = [backend.asarray(np.array([1.0, 2.0])) for _ in range(2)]
    good, bad = (backend.asarray(np.array(a)) for a in ([3.0, 4.0], [np.inf, 4.0]))

    def write(*new):
        backend.masked_write(*zip(old, new, strict=True))
        return [backend.to_host(a).tolist() for a in old]

    for pair in ((good, bad), (bad, good)):
        if backend.host:
            with pytest.raises(NotFinite, match="expected finite values, got") as caught:
                write(*pair)
            assert caught.value.array is bad
        else:
            write(*pair)
        assert [backend.to_host(a).tolist() for a in old] == [[1.0, 2.0]] * 2
    assert write(good, good) == [[3.0, 4.0]] * 2


def test_what_overflows_when_it_is_written_is_not_written(backend):
    """A float64 may be finite, and too large for the float32 that it is written into."""
    w = backend.asarray(np.ones(2, np.float32))
    new = backend.asarray(np.array([2, 1e300]))
    with pytest.raises(NotFinite) if backend.host else nullcontext():
        backend.masked_write((w, new))
    assert backend.to_host(w).tolist() == [1, 1]
    backend.masked_write((w, new * 1e-300))
    assert backend.to_host(w).tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(), (0,), (2, 1)])
def test_arrays_of_any_shape_are_written(shape, backend):
    w = backend.asarray(np.ones(shape, np.float32))
    backend.masked_write((w, w + 1))
    assert (backend.to_host(w) == 2).all()


def test_a_device_keeps_the_verdict_of_an_update(device):
    """What is not finite refuses all that is written after it, in updates inside of it, too."""
    xp, nan = device.xp, float("nan")
    a, allowed = xp.zeros(2), xp.ones((), bool)

    def write(value):
        device.masked_write((a, xp.full(2, value)))
        return device.to_host(a)[0]

    assert device.allowed is None
    assert write(1.0) == 1
    assert write(nan) == 1
    assert write(2.0) == 2, "each write outside of an update is one for itself"
    with device.update(allowed):
        assert device.allowed is allowed
        assert device.all_finite(xp.zeros(3)) is True
        assert write(3.0) == 3
        with device.update():
            assert device.allowed is allowed
            assert device.all_finite(xp.asarray([0.0, nan])) is True
        assert write(4.0) == 3
        with device.update(xp.ones((), bool)):
            assert write(5.0) == 5
        assert device.allowed is allowed
    assert not bool(allowed)
    assert device.allowed is None
    with pytest.raises(ZeroDivisionError), device.update(allowed):
        1 / 0  # noqa: B018
    assert device.allowed is None


def test_each_thread_has_an_update_of_its_own(device):
    with ThreadPoolExecutor(1) as pool, device.update():
        assert device.allowed is not None
        assert pool.submit(lambda: device.allowed).result() is None


@pytest.mark.parametrize(
    "make", [lambda xp: True, lambda xp: xp.ones(1, bool), lambda xp: xp.ones(())]
)
def test_only_a_truth_refuses_an_update(make, backend):
    with pytest.raises(TypeError, match="update: expected allowed to be a 0-d boolean, got"):
        backend.update(allowed=make(backend.xp))


@pytest.mark.parametrize("shape", [(1,), (), (2, 3), (4,)])
def test_a_masked_write_does_not_broadcast(shape, backend):
    xp = backend.xp
    a, b = xp.zeros(3, np.float32), xp.zeros(3, np.float32)
    with pytest.raises(
        ValueError, match=r"expected new values of shape \(3,\), like the state, got"
    ):
        backend.masked_write((a, a + 1), (b, xp.ones(shape, np.float32)))
    assert backend.to_host(a).tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_note_finite_clears_a_flag_and_never_sets_it(value, backend):
    flag = backend.xp.ones((), bool)
    good, bad = (backend.asarray(np.array([0.0, v])) for v in (1e300, value))
    for a, expected in ((good, True), (bad, False), (good, False)):
        backend.run(note_finite, flag, a)
        assert bool(flag) is expected
