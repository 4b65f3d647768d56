"""Products on bits: what they compute on each instruction set, and what they leave to the BLAS."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from devices import built
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import NO_SIGNS, SETS, reals, signs
from sanitized import run_hostile

from minibnn import (
    Dense,
    FixedFeedback,
    MagnitudeAwareSign,
    SignSTE,
    StochasticSign,
    Ternary,
)
from minibnn.backend import CPU
from minibnn.backend.cpu.products import BOTH, LEFT, RIGHT, by_address, on_bits, worthwhile

pytestmark = built
ANY = LEFT | RIGHT | BOTH
CS = [backend.c for backend in SETS]
each = pytest.mark.parametrize("c", CS, ids=lambda c: c.instruction_set)
SIZES = 1, 3, 63, 64, 65, 1000


def stored(a, layout):
    """The same values, stored by rows, by columns, or as a part of a larger array."""
    if layout == "columns":
        return np.asfortranarray(a)
    if layout == "part":
        larger = np.full((a.shape[0] + 2, a.shape[1] + 5), np.nan, a.dtype)
        part = larger[1:-1, 2:-3]
        part[...] = a
        return part
    if layout == "part, by columns":
        return stored(a.T, "part").T
    return np.ascontiguousarray(a)


def error(z, a, b):
    """The largest error of a product, in units of what its k summands allow: at most 1."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    allowed = (a.shape[1] / 4 + 3) * 2.0**-24 * (abs(a) @ abs(b))
    return (abs(z - a @ b) / np.maximum(allowed, np.finfo(np.float32).tiny)).max()


# --- What is computed on bits -------------------------------------------------------------------

layouts = st.sampled_from(["rows", "columns", "part", "part, by columns"])


@settings(deadline=None, max_examples=150)
@given(
    shape=st.tuples(*[st.sampled_from(SIZES) | st.integers(1, 200)] * 3).filter(
        lambda shape: np.prod(shape) < 2**23
    ),
    left=layouts,
    right=layouts,
    kind=st.sampled_from([LEFT, RIGHT, BOTH]),
    given_out=st.booleans(),
    seed=st.integers(0, 99),
)
def test_products_of_any_shape(shape, left, right, kind, given_out, seed):
    """Exact for two operands of signs; to rounding for one; the same on each instruction set."""
    (n, k, m), rng = shape, np.random.default_rng(seed)
    a = stored(reals(rng, n, k) if kind == RIGHT else signs(rng, n, k), left)
    b = stored(reals(rng, k, m) if kind == LEFT else signs(rng, k, m), right)
    results = []
    for c in CS:
        out = np.full((n, m), np.nan, np.float32) if given_out else None
        z = on_bits(c, a, b, out, kind)
        assert out is None or z is out
        results.append(z)
    for z in results:
        if kind == BOTH:
            np.testing.assert_array_equal(z, a @ b)
        else:
            assert error(z, a, b) <= 1
        np.testing.assert_array_equal(z.view(np.uint32), results[0].view(np.uint32))


@each
@pytest.mark.parametrize("shape", [(1000, 65, 100), (65, 1000, 100), (100, 64, 1000)])
@pytest.mark.parametrize("kind", [LEFT, RIGHT, BOTH])
def test_large_products(c, shape, kind, rng):
    """Of several tiles and blocks."""
    n, k, m = shape
    a = reals(rng, n, k) if kind == RIGHT else signs(rng, n, k)
    b = reals(rng, k, m) if kind == LEFT else signs(rng, k, m)
    assert error(on_bits(c, a, b, None, kind), a, b) <= (1 if kind != BOTH else 0)


@each
def test_a_large_result_at_any_address(c, rng):
    """The first columns of a large result are fewer, up to a line of the cache."""
    a, b = signs(rng, 520, 20), reals(rng, 20, 300)
    expected = on_bits(c, a, b, None, LEFT)
    assert error(expected, a, b) <= 1
    room = np.empty(a.shape[0] * b.shape[1] + 32, np.float32)
    for start in range(0, 17, 5):
        out = room[start:][: expected.size].reshape(expected.shape)
        assert on_bits(c, a, b, out, LEFT) is out
        np.testing.assert_array_equal(out, expected)


@each
def test_which_kinds_are_allowed(c, rng):
    x, w, dz = signs(rng, 9, 40), signs(rng, 40, 70), reals(rng, 9, 70)
    for a, b, needed in ((x, w, ANY), (dz, w.T, RIGHT), (x.T, dz, LEFT)):
        for kinds in range(0, 16, 2):
            z = on_bits(c, a, b, None, kinds)
            assert (z is NotImplemented) == (not kinds & needed)
            if z is not NotImplemented:
                np.testing.assert_allclose(z, a @ b, rtol=1e-5, atol=1e-5)


@each
def test_nan_and_infinity_in_the_other_operand(c, rng):
    a, b = signs(rng, 20, 70), reals(rng, 70, 33)
    b[3, 4], b[50, 6], b[51, 7], b[69, 32] = np.nan, np.inf, -np.inf, np.inf
    with np.errstate(invalid="ignore"):
        expected = a @ b
    z = on_bits(c, a, b, None, LEFT)
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)
    assert not np.isfinite(z[:, [4, 6, 7, 32]]).any()


@each
def test_zeros_in_the_other_operand_give_a_positive_zero(c, rng):
    """As the BLAS does."""
    for zero in (0.0, -0.0):
        z = on_bits(c, signs(rng, 5, 9), np.full((9, 20), zero, np.float32), None, LEFT)
        assert not z.any()
        assert not np.signbit(z).any()


# --- What is not signs --------------------------------------------------------------------------


@each
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(33, 65), (64, 64), (130, 31), (3, 1000), (1, 1)])
def test_a_single_value_that_is_no_sign_is_noticed(c, layout, shape, rng):
    """In the last lane of a tail, in the first, and anywhere: `looks_like_signs` sees only 16."""
    a, b = signs(rng, *shape), reals(rng, shape[1], 17)
    places = [(0, 0), (-1, -1), (0, -1), (-1, 0)]
    places += [tuple(int(rng.integers(n)) for n in shape) for _ in range(20)]
    for t, place in enumerate(places):
        x = stored(a, layout)
        x = x.copy(order="K")
        assert on_bits(c, x, b, None, ANY) is not NotImplemented
        x[place] = NO_SIGNS[t % len(NO_SIGNS)]
        assert on_bits(c, x, b, None, ANY) is NotImplemented
        assert on_bits(c, b.T, x.T, None, ANY) is NotImplemented


@each
def test_if_one_of_two_operands_is_not_signs_the_other_may_be(c, rng):
    x, w = signs(rng, 40, 65), signs(rng, 65, 30)
    for place in ((-1, -1), (17, 3)):
        a, b = x.copy(), w.copy()
        a[place], b[place] = 0.0, 0.0
        for left, right in ((a, w), (x, b)):
            np.testing.assert_array_equal(on_bits(c, left, right, None, ANY), left @ right)
        assert on_bits(c, a, b, None, ANY) is NotImplemented
        assert on_bits(c, x, b, None, BOTH) is NotImplemented
        assert on_bits(c, a, w, None, BOTH) is NotImplemented


@built
def test_what_c_cannot_take_goes_to_numpy(rng, monkeypatch):
    """Other dtypes, classes, strides and shapes; an output with gaps, or that is an operand."""
    a, b = signs(rng, 128, 128), signs(rng, 128, 128)
    c, out = CPU.c, np.empty((128, 128), np.float32)
    assert worthwhile(c.instruction_set, 128, 128, 128)
    assert on_bits(c, a, b, None, ANY) is not NotImplemented
    frozen = a.copy()
    frozen.flags.writeable = False
    assert on_bits(c, frozen, frozen.T, None, ANY) is not NotImplemented

    unaligned = np.empty(a.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(a.shape)
    unaligned[...] = a
    declined = [
        (a.astype(np.float64), b, None),
        (a, b.astype(np.float64), None),
        (a.astype(">f4"), b, None),
        (unaligned, b, None),
        (a[::-1], b, None),
        (a[:, ::-1], b, None),
        (np.repeat(a, 2, axis=1)[:, ::2], b, None),
        (a.view(np.memmap), b, None),
        (np.broadcast_to(a[:1], a.shape), b, None),
        (np.broadcast_to(a.T[:, :1], a.shape), b, None),
        (reals(rng, 128, 128), a.astype(np.int32).view(np.float32), None),
        (a[None], b, None),
        (a, b[0], None),
        (a, b, np.empty((128, 256), np.float32)[:, ::2]),
        (a, b, np.empty((128, 128), np.float32).T),
        (a, b, np.empty((128, 128))),
    ]
    for x, y, z in declined:
        if x.ndim == y.ndim == 2:
            assert on_bits(c, x, y, z, ANY) is NotImplemented
        np.testing.assert_array_equal(CPU.matmul(x, y, z), np.matmul(x, y))
    for x, y in ((out, b), (a, out)):
        out[...] = reals(rng, 128, 128)
        expected = x.copy() @ y.copy()
        np.testing.assert_array_equal(CPU.matmul(x, y, out=out), expected)
    for x, y, z in ((a, b[1:], None), (a, b, out[1:]), (a, b, np.empty(3, np.float32))):
        with pytest.raises(ValueError, match=r"mismatch|broadcast"):
            CPU.matmul(x, y, z)
    assert CPU.matmul(a[:0], b).shape == (0, 128)
    assert not CPU.matmul(a[:, :0], b[:0]).any()


@each
def test_beyond_exact_whole_numbers_the_blas_computes(c):
    assert worthwhile(c.instruction_set, 256, 2**24 - 1, 64)
    assert not worthwhile(c.instruction_set, 256, 2**24, 64)


@each
def test_the_choice_by_shape(c):
    """Large products on bits; small ones, and those with few rows for a table, on the BLAS."""
    name = c.instruction_set
    assert worthwhile(name, 100, 1024, 1024) == ANY
    for shape in ((1, 1024, 1024), (8, 8, 8), (64, 32, 10), (1024, 1024, 1)):
        assert not worthwhile(name, *shape)
    assert worthwhile(name, 8, 2048, 512) in (RIGHT | BOTH, BOTH)


# --- Zeros are skipped ----------------------------------------------------------------------------


def sparse(rng, *shape, density=0.15):
    """Mostly zeros."""
    return np.where(rng.random(shape) < density, reals(rng, *shape), np.float32(0))


@settings(deadline=None, max_examples=150)
@given(
    shape=st.tuples(*[st.sampled_from(SIZES) | st.integers(1, 200)] * 3).filter(
        lambda shape: np.prod(shape) < 2**23
    ),
    layout=layouts,
    right=st.sampled_from(["rows", "part"]),
    seed=st.integers(0, 99),
)
def test_sparse_products_of_any_shape(shape, layout, right, seed):
    """To rounding, and the same on each instruction set; what looks dense by chance is declined."""
    (n, k, m), rng = shape, np.random.default_rng(seed)
    a, b = stored(sparse(rng, n, k), layout), stored(reals(rng, k, m), right)
    results = [by_address(c.sparse_product, a, b, np.full((n, m), np.nan, np.float32)) for c in CS]
    if results[0] is NotImplemented:
        assert n * k < 200
        assert all(z is NotImplemented for z in results)
        return
    for z in results:
        assert error(z, a, b) <= 1
        np.testing.assert_array_equal(z.view(np.uint32), results[0].view(np.uint32))


@each
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_only_an_operand_that_is_mostly_zeros_is_sparse(c, layout, rng):
    b = reals(rng, 300, 70)
    for density, taken in ((0.0, True), (0.2, True), (0.3, False), (1.0, False)):
        a = stored(sparse(rng, 90, 300, density=density), layout)
        z = by_address(c.sparse_product, a, b, None)
        assert (z is not NotImplemented) == taken
        if taken:
            np.testing.assert_allclose(z, a @ b, rtol=1e-5, atol=1e-5)
    by_columns = stored(b, "columns")
    assert by_address(c.sparse_product, sparse(rng, 90, 300), by_columns, None) is NotImplemented


@each
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_zero_times_infinity_is_not_skipped(c, value, rng):
    """In a row that only zeros meet, in the last lane of a tail, in the first value."""
    a, b = sparse(rng, 64, 100), reals(rng, 100, 37)
    a[:, [0, 50, 99]] = 0
    a[0, 0] = -0.0
    assert by_address(c.sparse_product, a, b, None) is not NotImplemented
    for place in ((0, 0), (50, 20), (99, 36), (99, 35), (3, 31)):
        wrong = b.copy()
        wrong[place] = value
        assert by_address(c.sparse_product, a, wrong, None) is NotImplemented


@each
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_nan_and_infinity_in_a_sparse_operand(c, layout, rng):
    a, b = sparse(rng, 64, 100), reals(rng, 100, 37)
    a[3, 4], a[63, 99], a[0, 0] = np.nan, np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = a @ b
    z = by_address(c.sparse_product, stored(a, layout), b, None)
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)
    assert not np.isfinite(z[[0, 3, 63]]).any()


@each
def test_a_sum_of_no_products_is_a_positive_zero(c):
    a = np.full((20, 40), -0.0, np.float32)
    z = by_address(c.sparse_product, a, np.full((40, 19), -2, np.float32), None)
    assert not z.any()
    assert not np.signbit(z).any()


def test_pixels_are_sparse_in_the_gradient_of_the_first_layer(rng, monkeypatch):
    """Both products of a real layer; with a nan in the weight of a pixel that is always black."""
    calls, sparse_product = [], CPU.c.sparse_product
    monkeypatch.setattr(
        CPU.c, "sparse_product", lambda *a: calls.append(sparse_product(*a)) or calls[-1]
    )
    layer = Dense(784, 128, bias=False).initialize(0)
    x, dz = sparse(rng, 64, 784), reals(rng, 64, 128)
    x[:, [0, 5]] = 0
    assert error(layer.forward(x, train=True), x, layer.weight.data) <= 1
    layer.backward(dz, need_dx=False)
    assert error(layer.weight.grad, x.T, dz) <= 1
    assert calls == [1, 1]
    layer.weight.data[5, 7] = np.nan
    assert np.isnan(layer.forward(x)[:, 7]).all()
    assert calls == [1, 1, 0]


# --- Layers: nothing is remembered from one product to the next -------------------------------------

N, K, M = 128, 130, 140  # worth computing on bits, with tails


@pytest.fixture
def kinds(monkeypatch):
    """Which kinds of products the C code computed: 1 for a left operand of signs, 2 right, 3 both."""
    found, call = [], CPU.c.product

    def noted(*args):
        kind = call(*args)
        found.extend([kind] if kind else [])
        return kind

    monkeypatch.setattr(CPU.c, "product", noted)
    return found


def check(layer, x, dz):
    """Compare z, dx and dW of a layer with float64 products of the weights that it used."""
    z = layer.forward(x, train=True)
    Wq = layer.saved[2].copy()
    dx = layer.backward(dz)
    assert error(z, x, Wq) <= 1
    assert error(dx, dz, layer.backward_weights(Wq).T) <= 1
    dWq = (x.astype(np.float64).T @ dz).astype(x.dtype)
    dW = layer.weight_quantizer.backward(dWq, layer.weight.data)
    np.testing.assert_allclose(layer.weight.grad, dW, rtol=1e-4, atol=1e-5)


def dense(quantizer=None, **options):
    layer = Dense(K, M, bias=False, weight_quantizer=quantizer, **options)
    return layer.initialize(np.random.default_rng(0))


def test_a_binary_layer_computes_on_bits(kinds, rng):
    check(dense(SignSTE()), signs(rng, N, K), reals(rng, N, M))
    assert kinds == [3, 1, 2]


def test_the_first_layer_computes_on_the_bits_of_its_weights(kinds, rng):
    check(dense(SignSTE()), reals(rng, N, K), reals(rng, N, M))
    assert kinds == [2, 2]


def test_a_weight_changed_by_hand_between_two_forwards_counts(kinds, rng):
    layer, x, dz = dense(SignSTE()), signs(rng, N, K), reals(rng, N, M)
    before = layer.forward(x, train=True).copy()
    layer.weight.data[7, 9] *= -1
    check(layer, x, dz)
    assert not np.array_equal(layer.forward(x), before)
    x[3] *= -1  # and an input
    check(layer, x, dz)
    assert set(kinds) == {1, 2, 3}


@pytest.mark.parametrize("where", ["x", "W"])
def test_a_nan_in_the_input_or_a_weight_reaches_the_result(where, kinds, rng):
    layer, x = dense(SignSTE()), signs(rng, N, K)
    (x if where == "x" else layer.weight.data)[-1, -1] = np.nan
    with np.errstate(invalid="ignore"):
        z = layer.forward(x)
        np.testing.assert_array_equal(z, np.matmul(x, layer.quantized_weight(False)))
    assert np.isnan(z).any(axis=1 if where == "x" else 0).sum() == 1
    assert kinds == [2 if where == "x" else 1]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_in_x_is_no_sign(zero, kinds, rng):
    layer, x = dense(SignSTE()), signs(rng, N, K)
    x[-1, -1] = zero
    check(layer, x, reals(rng, N, M))
    assert kinds == [2, 2]


def test_ternary_weights_are_no_signs(kinds, rng):
    """Also if only the last one is 0."""
    layer = dense(Ternary())
    check(layer, signs(rng, N, K), reals(rng, N, M))
    layer.weight.data[...] = signs(rng, K, M)
    layer.weight.data[-1, -1] = 0
    check(layer, signs(rng, N, K), reals(rng, N, M))
    assert kinds == [1, 1] * 2


def test_real_feedback_matrices_are_no_signs(kinds, rng):
    """Also if only the last value is not."""
    layer = dense(SignSTE(), feedback=FixedFeedback())
    check(layer, signs(rng, N, K), reals(rng, N, M))
    layer.feedback.weights.data[...] = signs(rng, K, M)
    layer.feedback.weights.data[-1, -1] = 0.5
    check(layer, signs(rng, N, K), reals(rng, N, M))
    assert kinds == [3, 1] * 2


def test_the_scales_of_a_magnitude_aware_sign_count(kinds, rng):
    """Also if only the last output has another scale than 1."""
    layer = dense(MagnitudeAwareSign())
    check(layer, signs(rng, N, K), reals(rng, N, M))
    layer.weight.data[...] = signs(rng, K, M)
    layer.weight.data[:, -1] *= 0.5
    check(layer, signs(rng, N, K), reals(rng, N, M))
    assert kinds == [1, 1] * 2


def test_each_draw_of_a_stochastic_sign_counts(kinds, rng):
    layer, x, dz = dense(StochasticSign()), signs(rng, N, K), reals(rng, N, M)
    check(layer, x, dz)
    first = layer.forward(x, train=True).copy()
    check(layer, x, dz)
    assert not np.array_equal(layer.forward(x, train=True), first)
    assert kinds == [3, 1, 2, 3, 3, 1, 2, 3]


def test_float64_goes_to_the_blas(kinds, rng):
    layer = Dense(K, M, bias=False, weight_quantizer=SignSTE())
    layer.initialize(np.random.default_rng(0), dtype=np.float64)
    x = signs(rng, N, K).astype(np.float64)
    np.testing.assert_array_equal(layer.forward(x), x @ layer.quantized_weight(False))
    layer.forward(x, train=True)
    assert layer.backward(rng.standard_normal((N, M))).dtype == np.float64
    assert kinds == []


# --- The C code, sanitized ----------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize(("sanitizers", "step"), [("address,undefined", 3), ("thread", 11)])
def test_the_sanitizers_find_nothing(sanitizers, step):
    """Of addresses, undefined behaviour and threads, on shapes with every kind of tail."""
    found = run_hostile("hostile_products.c", sanitizers, step)
    assert found == ("all as expected\n", "")
