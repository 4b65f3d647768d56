"""Optimisers against paths worked out by hand, in fractions, on each device, in both dtypes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import strictdev
from hypothesis import given
from hypothesis import strategies as st

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    AdaSTE,
    ApproxSign,
    Bop,
    Cosine,
    DivergedError,
    Exponential,
    Parameter,
    PerEpoch,
    ShiftAdaMax,
    SignSTE,
    SwishSign,
    glorot_lr_scale,
)
from minibnn.optimizers.adamax import nearest_exponent

GRADIENTS = [5, -1, 3]

# How far each of the three steps goes down, for a parameter without scale.
STEPS = {
    # u: 5, 5/2 - 1, 3/4 + 3; each times 1/4
    "sgd": (
        lambda p: SGD(p, 1 / 4, momentum=1 / 2),
        [Fraction(5, 4), Fraction(3, 8), Fraction(15, 16)],
    ),
    # m, a mean: 5/2, 5/4 - 1/2 = 3/4, 3/8 + 3/2 = 15/8; over 1 - 1/2^t: 5, 1, 15/7
    # v, a mean of squares: 25/2, 25/4 + 1/2 = 27/4, 27/8 + 9/2 = 63/8; over 1 - 1/2^t: 25, 9, 9
    # step: 1/4 of 5/(5+1), 1/(3+1), 15/7/(3+1)
    "adam": (
        lambda p: Adam(p, 1 / 4, beta1=1 / 2, beta2=1 / 2, epsilon=1.0),
        [Fraction(5, 24), Fraction(1, 16), Fraction(15, 112)],
    ),
    # m and its correction as Adam's; u: 5, max(15/4, 1) = 15/4, max(45/16, 3) = 3
    # step: 1/4 of 5/5, 1/(15/4), 15/7/3
    "adamax": (
        lambda p: AdaMax(p, 1 / 4, beta1=1 / 2, beta2=3 / 4, epsilon=2**-60),
        [Fraction(1, 4), Fraction(1, 15), Fraction(5, 28)],
    ),
    # m as before, not corrected; 5/16 over 1 - 1/2^t: 5/8, 5/12, 5/14, and log2 of these is -0.68,
    # -1.26, -1.49, so all are rounded to 1/2
    # v: 5, max(25/16, 1) = 25/16, max(125/256, 3) = 3, rounded: 4, 2, 4 (log2 3 is 1.585).
    # Had the rounded v been kept, the second one would be max(20/16, 1), rounded 1.
    # step: 1/2 of 5/2 / 4, 3/4 / 2, 15/8 / 4
    "shift-adamax": (
        lambda p: ShiftAdaMax(p, 5 / 16, beta1=1 / 2, beta2=5 / 16, epsilon=2**-60),
        [Fraction(5, 16), Fraction(3, 16), Fraction(15, 64)],
    ),
}


def parameter(start, backend, dtype, **options):
    values = np.asarray(start, dtype)
    p = Parameter("w", values.shape, lambda shape, rng: values, **options)
    p.initialize(np.random.default_rng(0), dtype)
    p.to(backend, dtype)
    return p


def path(optimizer, gradients, *parameters):
    """The values of each parameter after each step, on the host."""
    made = [[] for _ in parameters]
    backend = optimizer.backend
    for g in gradients:
        for p in parameters:
            p.grad[...] = g if np.isscalar(g) else backend.asarray(np.asarray(g, p.data.dtype))
        with strictdev.no_sync():
            optimizer.step()
        for p, values in zip(parameters, made, strict=True):
            values.append(backend.to_host(p.data).copy())
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STEPS)
def test_three_steps(name, dtype, backend):
    make, (a, b, c) = STEPS[name]
    free = parameter([1.0], backend, dtype)
    # From a bound of 3.5 a with the scale 4, two steps end inside the bound and the third beyond.
    edge = float(7 * a / 2)
    scaled = parameter([edge], backend, dtype, lr_scale=4.0, bound=edge)
    got_free, got_scaled = path(make([free, scaled]), GRADIENTS, free, scaled)
    expected_free = [1 - a, 1 - a - b, 1 - a - b - c]
    expected_scaled = [-a / 2, -a / 2 - 4 * b, -7 * a / 2]
    assert -a / 2 - 4 * b - 4 * c < -7 * a / 2 < -a / 2 - 4 * b
    rtol = 1e-6 if dtype == np.float32 else 1e-12  # a few roundings of the dtype
    for got, expected in ((got_free, expected_free), (got_scaled, expected_scaled)):
        assert all(v.dtype == dtype for v in got)
        np.testing.assert_allclose(
            np.concatenate(got), [float(w) for w in expected], rtol=rtol, atol=rtol / 10
        )


@pytest.mark.parametrize("make", [AdaMax, ShiftAdaMax])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_gradient_no_step(make, dtype, backend):
    """A pixel that is always black: 0 / 0 without an epsilon."""
    p = parameter([0.5], backend, dtype)
    assert path(make([p], 0.1), [0.0, 0.0], p) == [[[0.5], [0.5]]]


def test_adamax_adds_its_epsilon_to_the_gradient_not_to_the_largest(backend):
    """u: 1 + 1/2, max(3/4, 1/4 + 1/2) = 3/4, max(3/8, 1/8 + 1/2) = 5/8; w falls by g / u each time."""
    p = parameter([1.0], backend, np.float64)
    optimizer = AdaMax([p], 1.0, beta1=0.0, beta2=1 / 2, epsilon=1 / 2)
    (values,) = path(optimizer, [1.0, 1 / 4, 1 / 8], p)
    falls = [Fraction(2, 3), Fraction(1, 3), Fraction(1, 5)]
    expected = [float(1 - sum(falls[: k + 1])) for k in range(3)]
    np.testing.assert_allclose(np.concatenate(values), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 0.1, momentum=0.9), Adam, AdaMax, ShiftAdaMax, lambda p: Bop(p, 0.0, 1.0)],
    ids=["sgd", "adam", "adamax", "shift-adamax", "bop"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_that_the_device_forbids_leaves_everything(make, dtype, device):
    """Also the moments: a gradient of 0 afterwards moves nothing. One that it allows is a step."""
    start = np.array([1.0, -1.0, 1.0])
    p = parameter(start, device, dtype)
    optimizer = make([p])
    for allowed, gradient in ((False, start), (True, 0 * start), (False, start)):
        p.grad[...] = device.asarray(gradient.astype(dtype))
        with device.update(device.asarray(np.array(allowed))):
            optimizer.step()
        np.testing.assert_array_equal(device.to_host(p.data), start)
    with device.update(device.asarray(np.array(True))):
        optimizer.step()
    assert (device.to_host(p.data) != start).all()


@pytest.mark.parametrize("make", [AdaMax, ShiftAdaMax, Bop])
def test_nan_goes_into_no_parameter(make, backend):
    p = parameter([0.5, 0.5], backend, np.float32)
    p.quantizer = SignSTE()
    optimizer = make([p])
    before = backend.to_host(p.data).copy()
    p.grad[...] = backend.asarray([np.nan, 0.0])
    if backend.host:
        with pytest.raises(DivergedError, match=r"the gradient of Parameter.* became nan"):
            optimizer.step()
    else:
        optimizer.step()
    np.testing.assert_array_equal(backend.to_host(p.data), before)


def test_shift_adamax_rounds_rate_and_scale_together(backend):
    p = parameter([0.0], backend, np.float64, lr_scale=5.0)
    # 5/8 * 5 = 3.125, rounded 4; each rounded alone they would give 1/2 * 4
    optimizer = ShiftAdaMax([p], 5 / 8, beta1=0.0, beta2=0.0)
    assert path(optimizer, [1.0], p) == [[[-4]]]


def test_shift_adamax_at_the_end_of_a_schedule(backend):
    p = parameter([0.5], backend, np.float32)
    first, *rest = path(ShiftAdaMax([p], Cosine(0.5, 0.0, 1)), [1.0, 1.0, 1.0], p)[0]
    assert first < 0.5
    assert rest == [first, first]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.data())
def test_nearest_exponent(dtype, data):
    """2^k is next to a in the logarithm where a^2 lies between 2^(2k - 1) and 2^(2k + 1)."""
    a = data.draw(st.floats(2.0**-60, 2.0**60, width=8 * np.dtype(dtype).itemsize))
    k = int(nearest_exponent(np.array([a], dtype))[0])
    assert Fraction(2) ** (2 * k - 1) <= Fraction(a) ** 2 <= Fraction(2) ** (2 * k + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_exponent_at_the_edges(dtype, backend):
    half = np.array(0.5, dtype) ** dtype(0.5)  # next to the root; its neighbours lie on two sides
    a = np.array([np.nextafter(half, dtype(0)), np.nextafter(half, dtype(1)), 1, 2, 5, 6, 1e-8])
    a = a.astype(dtype)
    got = backend.to_host(nearest_exponent(backend.asarray(a))).tolist()
    # log2: -0.5 and a little less, a little more; 0; 1; 2.32; 2.58; -26.6
    assert got == [-1, 0, 0, 1, 2, 3, -27]


def test_bop_three_steps(backend):
    """gamma 1/2, threshold 1/4; the starts 0.3, -0.0 and -2 become +1, +1 and -1.

    =====  ====  ==================  =====  ==========
    w      g     m                   w m    new w
    =====  ====  ==================  =====  ==========
    +1     1     0 + 1/2             1/2    -1
    -1     -1    1/4 - 1/2 = -1/4    1/4    -1: not above the threshold
    -1     -1    -1/8 - 1/2          5/8    +1
    +1     -1    0 - 1/2             -1/2   +1
    +1     1     -1/4 + 1/2 = 1/4    1/4    +1
    +1     1/2   1/8 + 1/4 = 3/8     3/8    -1
    -1     -1/2  0 - 1/4             1/4    -1
    -1     -1/4  -1/8 - 1/8          1/4    -1
    -1     -1    -1/8 - 1/2          5/8    +1
    =====  ====  ==================  =====  ==========
    """
    for dtype in (np.float32, np.float64):
        # Neither scale nor bound changes anything.
        p = parameter([0.3, -0.0, -2.0], backend, dtype, lr_scale=7.0, bound=0.5)
        p.quantizer = SignSTE()
        optimizer = Bop([p], threshold=1 / 4, gamma=1 / 2)
        assert backend.to_host(p.data).tolist() == [1, 1, -1]
        (values,) = path(optimizer, [[1, -1, -0.5], [-1, 1, -0.25], [-1, 0.5, -1]], p)
        assert [v.tolist() for v in values] == [[-1, 1, -1], [-1, 1, -1], [1, -1, 1]]
        assert {v.dtype for v in values} == {np.dtype(dtype)}


def test_bop_flips_exactly_as_the_paper_says(backend, rng):
    size, gamma, threshold = 50, Fraction(1, 8), Fraction(1, 16)
    start = rng.standard_normal(size)
    p = parameter(start, backend, np.float64)
    p.quantizer = SignSTE()
    optimizer = Bop([p], threshold=float(threshold), gamma=float(gamma))
    w = [1 if value >= 0 else -1 for value in start]
    m = [Fraction(0)] * size
    flips = 0
    for _ in range(14):  # each adds three bits to m, and float64 holds them all
        g = rng.integers(-8, 9, size) / 8
        ((got,),) = path(optimizer, [g], p)
        for i in range(size):
            m[i] = (1 - gamma) * m[i] + gamma * Fraction(g[i])
            if abs(m[i]) > threshold and (m[i] > 0) == (w[i] > 0):
                w[i] = -w[i]
                flips += 1
        np.testing.assert_array_equal(got, w)
    assert flips > size


@pytest.mark.parametrize(
    ("quantizer", "slopes"),  # for gradients that ask for a flip, and for those that do not
    [
        (SignSTE(), [1, 1]),
        (SignSTE(clip=1.0), [1, 1]),
        (SignSTE(clip=0.9), [0, 0]),
        (ApproxSign(), [0, 0]),
        (SwishSign(), [-0.195, -0.195]),
        (AdaSTE(), [1, 0]),
    ],
    ids=repr,
)
def test_what_bop_gets_from_a_quantizer(quantizer, slopes):
    """As its docstring says: Bop's weights are always at -1 or +1."""
    w = np.array([1.0, -1.0])
    got = [quantizer.backward(dy, w) / dy for dy in (w, -w)]
    np.testing.assert_allclose(got, np.repeat(slopes, 2).reshape(2, 2), atol=1e-4)


def test_gamma_is_a_number_or_a_schedule(backend):
    p = parameter([1.0], backend, np.float64)
    optimizer = Bop([p], gamma=Exponential(0.5, 0.125, 2))
    assert optimizer.gamma == 0.5
    # m: 1/2 (flip to -1); then gamma 1/4: 3/8 - 1/4 = 1/8; then 1/8: 7/64 - 1/8 < 0 (flip to +1)
    assert path(optimizer, [1, -1, -1], p) == [[[-1], [-1], [1]]]
    optimizer.gamma = 0.5
    assert repr(optimizer) == "Bop(1 parameters, 1 values, next gamma 0.5, after 3 steps)"
    assert not hasattr(optimizer, "learning_rate")
    with pytest.raises(ValueError, match=r"Bop: expected gamma in \(0, 1\], got 2"):
        optimizer.gamma = 2


# --- BinaryNet's rates ------------------------------------------------------------------------


def test_binarynets_scales():
    widths = [784, 4096, 4096, 4096, 10]
    scales = [glorot_lr_scale(n, m) for n, m in pairwise(widths)]
    assert [round(s, 1) for s in scales] == [57.0, 73.9, 73.9, 52.3]


def test_binarynets_update_is_scaled_and_then_clipped(backend):
    """``W = clip(W + s dAdam, -1, 1)``: Adam's first step is the rate, against the gradient's sign."""
    s, rate = glorot_lr_scale(784, 4096), 1e-3
    p = parameter([0.9, 0.97, -0.97, 0.0], backend, np.float64, lr_scale=s, bound=1.0)
    ((got,),) = path(Adam([p], rate, epsilon=1e-12), [[-1.0, -1.0, 1.0, 1.0]], p)
    # 0.97 + 0.057 is outside, 0.97 + 0.001 would not be
    np.testing.assert_allclose(got, [0.9 + s * rate, 1, -1, -s * rate], rtol=1e-9)


def test_binarynets_rate_of_the_second_epoch():
    rate = PerEpoch(Exponential(3e-3, 3e-7, 1000), steps_per_epoch=500)
    assert rate(0) == rate(499) == 3e-3
    assert round(rate(500), 7) == round(rate(999), 7) == 0.0029725
    assert rate(500_000) == pytest.approx(3e-7, rel=1e-12)
