"""Convolutions in C: of signs on their bits, and of small windows; what they leave to NumPy."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from devices import built
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from instruction_sets import NO_SIGNS, each_set, reals, same_on_each_set, signs
from sanitized import run_hostile

from minibnn import Conv2D, FixedFeedback, MagnitudeAwareSign, SignSTE, Ternary
from minibnn.backend import CPU
from minibnn.backend.cpu import convolution as cpu_convolution
from minibnn.backend.cpu.convolution import convolve_dW_in_c, convolve_dx_in_c, convolve_in_c
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx
from minibnn.windows import Windows

pytestmark = built


@pytest.fixture
def always(monkeypatch):
    """Bits are used wherever they can, and small windows never."""
    monkeypatch.setattr(cpu_convolution, "bits_pay", lambda *args: True)
    monkeypatch.setattr(cpu_convolution, "dx_pays", lambda *args: True)
    monkeypatch.setattr(cpu_convolution, "small_pays", lambda *args: False)


def check_sums(got, reference, arguments, summands):
    """Compare with float64; the error is one that so many summands allow."""
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arguments]
    sizes = reference(*(abs(a) if isinstance(a, np.ndarray) else a for a in wide))
    allowed = (summands / 4 + 3) * 2.0**-24 * sizes
    assert (abs(got - reference(*wide)) <= allowed).all()


# --- On bits ------------------------------------------------------------------------------------


@st.composite
def cases(draw, batches, channels):
    """Windows, the shape of images, whether the last row and column of dz are zeros, and a stream."""

    def two(rows, columns):
        return draw(st.integers(*rows)), draw(st.integers(*columns))

    windows = Windows(two((1, 5), (1, 5)), two((1, 3), (1, 3)), two((1, 2), (1, 3)))
    extra = zip(windows.size, windows.dilation, two((0, 9), (0, 20)), strict=True)
    shape = draw(batches), *((n - 1) * d + 1 + more for n, d, more in extra), draw(channels)
    edges = draw(st.booleans()), draw(st.booleans())
    return windows, shape, edges, np.random.default_rng(draw(st.integers(0, 99)))


def gradient(rng, windows, shape, outputs, edges):
    dz = reals(rng, shape[0], *windows.counts(shape), outputs)
    dz[:, windows.counts(shape)[0] - edges[0] :] = 0
    dz[:, :, windows.counts(shape)[1] - edges[1] :] = 0
    return dz


@settings(deadline=None, max_examples=150)
@given(
    case=cases(st.integers(1, 9), st.sampled_from([1, 3, 31, 32, 33, 64, 100])),
    outputs=st.sampled_from([1, 3, 16, 33, 70]),
)
def test_convolutions_of_any_shape(case, outputs):
    """z is exact for two operands of signs; all else to rounding; the same on each set."""
    windows, shape, edges, rng = case
    size, values = windows.size, math.prod(windows.size) * shape[-1]
    assume(math.prod(shape[:3]) * values * outputs < 2**25)
    kernel = *size, shape[-1], outputs
    x, W, real = signs(rng, *shape), signs(rng, *kernel), reals(rng, *kernel)
    dz = gradient(rng, windows, shape, outputs, edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_convolution, "bits_pay", lambda *args: True)
        patch.setattr(cpu_convolution, "dx_pays", lambda *args: True)
        patch.setattr(cpu_convolution, "small_pays", lambda *args: False)
        z = same_on_each_set(convolve_in_c, x, W, windows)
        np.testing.assert_array_equal(z, convolve(x.astype(np.float64), W, windows))
        z = same_on_each_set(convolve_in_c, x, real, windows)
        check_sums(z, convolve, (x, real, windows), values)
        dW = same_on_each_set(convolve_dW_in_c, x, dz, windows)
        check_sums(dW, convolve_dW, (x, dz, windows), dz[..., 0].size)
        dx = same_on_each_set(convolve_dx_in_c, dz, W, windows, shape)
        check_sums(dx, convolve_dx, (dz, W, windows, shape), size[0] * size[1] * outputs)


@each_set
@pytest.mark.parametrize("shape", [(2, 5, 6, 33), (40, 7, 7, 32), (3, 40, 31, 3), (1, 3, 3, 1)])
def test_a_single_value_that_is_no_sign_is_noticed(backend, shape, always, rng):
    """In the first and the last place, and in any: images far apart are in other tasks."""
    windows = Windows((3, 3))
    W = signs(rng, 3, 3, shape[-1], 20)
    dz = reals(rng, shape[0], *windows.counts(shape), 20)
    places = [(0, 0, 0, 0), (-1, -1, -1, -1), (0, 0, 0, -1), (-1, 0, 0, 0)]
    places += [tuple(int(rng.integers(n)) for n in shape) for _ in range(20)]
    for t, place in enumerate(places):
        x = signs(rng, *shape)
        assert convolve_in_c(backend, x, W, windows) is not NotImplemented
        assert convolve_dW_in_c(backend, x, dz, windows) is not NotImplemented
        x[place] = NO_SIGNS[t % len(NO_SIGNS)]
        assert convolve_in_c(backend, x, W, windows) is NotImplemented
        assert convolve_dW_in_c(backend, x, dz, windows) is NotImplemented


@each_set
def test_a_kernel_with_a_single_value_that_is_no_sign(backend, always, rng):
    """Its z is computed by tables of sums, its dx by NumPy."""
    windows, shape = Windows((2, 3)), (3, 6, 7, 33)
    x, dz = signs(rng, *shape), reals(rng, 3, 5, 5, 18)
    places = [(0, 0, 0, 0), (-1, -1, -1, -1), (0, 1, 2, 17), (1, 2, 0, 0)]
    for t, place in enumerate(places * 2):
        W = signs(rng, 2, 3, 33, 18)
        assert convolve_dx_in_c(backend, dz, W, windows, shape) is not NotImplemented
        W[place] = NO_SIGNS[t % len(NO_SIGNS)]
        assert convolve_dx_in_c(backend, dz, W, windows, shape) is NotImplemented
        with np.errstate(invalid="ignore"):
            z, expected = convolve_in_c(backend, x, W, windows), convolve(x, W, windows)
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)


@each_set
def test_nan_and_infinity_in_the_other_operand(backend, always, rng):
    windows, shape = Windows((3, 3)), (3, 7, 8, 20)
    x, W, dz = signs(rng, *shape), signs(rng, 3, 3, 20, 10), reals(rng, 3, 5, 6, 10)
    dz[0, 0, 0, 0], dz[1, 2, 3, 4], dz[2, 4, 5, 9], dz[1, 1, 1, 1] = np.nan, np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected_dW = convolve_dW(x, dz, windows)
        expected_dx = convolve_dx(dz, W, windows, shape)
    for got, expected in (
        (convolve_dW_in_c(backend, x, dz, windows), expected_dW),
        (convolve_dx_in_c(backend, dz, W, windows, shape), expected_dx),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        assert not np.isfinite(got).all()


def test_the_parts_of_a_large_weight_gradient_are_few(always, rng):
    """Each has several images then: a sum for each would take much memory."""
    windows, shape = Windows((1, 1)), (9, 24, 24, 1024)
    x, dz = signs(rng, *shape), reals(rng, *shape[:3], 1040)
    dW = convolve_dW_in_c(CPU, x, dz, windows)
    expected = x.reshape(-1, 1024).T @ dz.reshape(-1, 1040)
    np.testing.assert_allclose(dW[0, 0], expected, rtol=1e-4, atol=1e-3)


# --- Small windows ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    case=cases(st.integers(1, 5), st.integers(1, 4)),
    outputs=st.sampled_from([1, 8, 16, 31, 33, 64]),
)
def test_small_windows_of_any_shape(case, outputs):
    """Within the roundings of sums one after the other; the same on each instruction set."""
    windows, shape, edges, rng = case
    values = math.prod(windows.size) * shape[-1]
    x, W = reals(rng, *shape), reals(rng, *windows.size, shape[-1], outputs)
    dz = gradient(rng, windows, shape, outputs, edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_convolution, "bits_pay", lambda *args: False)
        patch.setattr(cpu_convolution, "small_pays", lambda *args: True)
        z = same_on_each_set(convolve_in_c, x, W, windows)
        check_sums(z, convolve, (x, W, windows), 4 * values)
        dW = same_on_each_set(convolve_dW_in_c, x, dz, windows)
        check_sums(dW, convolve_dW, (x, dz, windows), 4 * dz[..., 0].size)


@each_set
def test_windows_of_too_many_values_are_declined(backend, rng, monkeypatch):
    monkeypatch.setattr(cpu_convolution, "small_pays", lambda *args: True)
    for inputs in (128, 129):
        x, W, dz = reals(rng, 1, 3, 3, inputs), reals(rng, 1, 1, inputs, 4), reals(rng, 1, 3, 3, 4)
        for z in (
            convolve_in_c(backend, x, W, Windows((1, 1))),
            convolve_dW_in_c(backend, x, dz, Windows((1, 1))),
        ):
            assert (z is NotImplemented) == (inputs > 128)


# --- The choice ---------------------------------------------------------------------------------


def test_bits_are_chosen_where_windows_overlap():
    assert cpu_convolution.bits_pay(Windows((3, 3)), (100, 13, 13, 32))
    assert cpu_convolution.bits_pay(Windows((3, 3), (2, 2)), (100, 13, 13, 32))
    assert not cpu_convolution.bits_pay(Windows((1, 1)), (100, 13, 13, 32))
    assert not cpu_convolution.bits_pay(Windows((13, 13)), (100, 13, 13, 32))
    assert not cpu_convolution.bits_pay(Windows((2, 2)), (100, 13, 13, 1))
    huge = Windows((2, 2)), (1, 4, 4, 2**22)  # whole numbers are not exact
    assert not cpu_convolution.bits_pay(*huge)


def test_dx_is_computed_on_bits_unless_windows_are_pixels_or_have_few_values():
    assert cpu_convolution.dx_pays(Windows((13, 13)), (100, 13, 13, 32))
    assert cpu_convolution.dx_pays(Windows((3, 3)), (100, 28, 28, 1))
    assert not cpu_convolution.dx_pays(Windows((1, 1)), (100, 13, 13, 32))
    assert not cpu_convolution.dx_pays(Windows((2, 2)), (100, 28, 28, 1))


def test_small_windows_are_chosen_for_first_layers():
    for shape, outputs in (((100, 28, 28, 1), 32), ((100, 28, 28, 1), 64), ((100, 32, 32, 3), 32)):
        assert cpu_convolution.small_pays(Windows((3, 3)), shape, outputs, 1024)
    for windows, shape, outputs in (
        (Windows((3, 3)), (100, 32, 32, 3), 64),
        (Windows((3, 3)), (100, 28, 28, 1), 16),  # half a vector
        (Windows((2, 2)), (100, 28, 28, 1), 32),
        (Windows((28, 28)), (100, 28, 28, 1), 32),
        (Windows((3, 3)), (100, 5, 5, 3), 32),  # 9 windows on an image
    ):
        assert not cpu_convolution.small_pays(windows, shape, outputs, 1024)


@pytest.fixture
def kinds(monkeypatch):
    """The C functions that computed, with what they returned."""
    found = []

    def note(name):
        call = getattr(CPU.c, name)

        def noted(*args):
            kind = call(*args)
            found.extend([(name, kind)] if kind else [])
            return kind

        monkeypatch.setattr(CPU.c, name, noted)

    for name in ("convolve", "convolve_dW", "convolve_dx"):
        note(name)
    return found


def test_what_c_cannot_take_goes_to_numpy(kinds, rng):
    """Other dtypes, gaps, column order, read-only arrays, groups, and shapes that do not fit."""
    windows, shape = Windows((3, 3)), (2, 6, 7, 32)
    x, W, dz = signs(rng, *shape), signs(rng, 3, 3, 32, 8), reals(rng, 2, 4, 5, 8)
    CPU.run(convolve, x, W, windows)
    CPU.run(convolve_dW, x, dz, windows)
    CPU.run(convolve_dx, dz, W, windows, shape)
    assert [name for name, _ in kinds] == ["convolve", "convolve_dW", "convolve_dx"]
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.repeat(x, 2, axis=3)
    for y in (frozen, wide[..., ::2], np.asfortranarray(x), x[:, ::-1], x.astype(np.float64)):
        expected = convolve(y.astype(np.float64), W, windows)
        np.testing.assert_array_equal(CPU.run(convolve, y, W.astype(y.dtype), windows), expected)
        CPU.run(convolve_dW, y, dz.astype(y.dtype), windows)
        ours = W.astype(y.dtype) if y.dtype == np.float64 else np.asfortranarray(W)
        CPU.run(convolve_dx, dz.astype(y.dtype), ours, windows, shape)
    grouped = Windows((3, 3), groups=2)
    CPU.run(convolve, x, W[:, :, :16].copy(), grouped)
    CPU.run(convolve_dx, dz, W[:, :, :16].copy(), grouped, shape)
    assert CPU.run(convolve_dW, x, dz, grouped).shape == (3, 3, 16, 8)
    for call in (
        lambda: CPU.run(convolve, x, W[:, :, :31].copy(), windows),
        lambda: CPU.run(convolve_dx, dz, W[..., :7].copy(), windows, shape),
        lambda: CPU.run(convolve_dW, x[:1].copy(), dz, windows),
    ):
        with pytest.raises(ValueError, match="mismatch"):
            call()
    assert len(kinds) == 3


# --- Layers: nothing is remembered from one convolution to the next ---------------------------------


def layer_of(quantizer, **options):
    layer = Conv2D(32, 20, 3, bias=False, weight_quantizer=quantizer, **options)
    return layer.initialize(np.random.default_rng(0))


def check(layer, x, dz):
    """Compare z, dx and dW of a layer with float64 convolutions of the weights that it used."""
    z = layer.forward(x, train=True)
    X, Wq = (a.astype(np.float64) for a in layer.saved[1:])
    B = layer.backward_weights(layer.saved[2]).astype(np.float64)
    dx, windows = layer.backward(dz), layer.windows
    dWq = convolve_dW(X, dz.astype(np.float64), windows).astype(np.float32)
    for got, expected in (
        (z, convolve(X, Wq, windows)),
        (dx, layer.crop(convolve_dx(dz.astype(np.float64), B, windows, X.shape))),
        (layer.weight.grad, layer.weight_quantizer.backward(dWq, layer.weight.data)),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("quantizer", "options", "expected"),
    [
        (SignSTE(), {}, {"convolve": 3, "convolve_dW": 1, "convolve_dx": 1}),
        (SignSTE(), {"padding": 1}, {"convolve_dx": 1}),
        (
            SignSTE(),
            {"padding": 1, "padding_value": -1},
            {"convolve": 3, "convolve_dW": 1, "convolve_dx": 1},
        ),
        (SignSTE(), {"feedback": FixedFeedback()}, {"convolve": 3, "convolve_dW": 1}),
        (Ternary(), {}, {"convolve": 1, "convolve_dW": 1}),
        (MagnitudeAwareSign(), {}, {"convolve": 1, "convolve_dW": 1}),
    ],
)
def test_what_layers_compute_on_bits(quantizer, options, expected, kinds, rng):
    """A padding of -1 is signs, one of 0 is not; nor are feedback matrices, or scaled signs."""
    layer, x = layer_of(quantizer, **options), signs(rng, 4, 7, 8, 32)
    check(layer, x, reals(rng, *layer.forward(x).shape))
    assert dict(kinds) == expected


def test_a_weight_or_an_input_changed_by_hand_counts(kinds, rng):
    layer, x, dz = layer_of(SignSTE()), signs(rng, 4, 7, 8, 32), reals(rng, 4, 5, 6, 20)
    before = layer.forward(x, train=True).copy()
    layer.weight.data[1, 2, 3, 4] *= -1
    check(layer, x, dz)
    assert not np.array_equal(layer.forward(x), before)
    x[3] *= -1
    check(layer, x, dz)
    assert set(kinds) == {("convolve", 3), ("convolve_dW", 1), ("convolve_dx", 1)}


@pytest.mark.parametrize("where", ["x", "W"])
def test_a_nan_reaches_the_result(where, rng):
    layer, x = layer_of(SignSTE()), signs(rng, 4, 7, 8, 32)
    (x if where == "x" else layer.weight.data)[-1, -1, -1, -1] = np.nan
    z = layer.forward(x)
    assert np.isnan(z).sum() == (20 if where == "x" else z[..., 0].size)


# --- The C code, sanitized ----------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize(("sanitizers", "step"), [("address,undefined", 5), ("thread", 11)])
def test_the_sanitizers_find_nothing(sanitizers, step):
    """Of addresses, undefined behaviour and threads, on shapes with every kind of tail."""
    found = run_hostile("hostile_convolutions.c", sanitizers, step)
    assert found == ("all as expected\n", "")
