"""What every layer must do, on every row of `cases.CASES`."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from cases import CASES, Case, pieces

import minibnn
from minibnn import (
    Activation,
    Dropout,
    Feedback,
    Function,
    Layer,
    StochasticSign,
    check_gradients,
)
from minibnn.gradcheck.passes import streams

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def replay(layer: Layer) -> None:
    """Reset every random stream, so that a layer repeats its draws."""
    for stream in streams(layer):
        stream.count = 0


def run(layer, x, dy_rng, *, need_dx=True, dy=None):
    """A forward and a backward on the layer's device: the output, dx and all gradients, on the host.

    Two runs of one layer draw the same random numbers.
    """
    backend = layer.backend
    replay(layer)
    y = layer.forward(backend.asarray(x), train=True)
    if dy is None:
        dy = np.random.default_rng(dy_rng).standard_normal(y.shape).astype(x.dtype)
    dx = layer.backward(backend.asarray(dy), need_dx=need_dx)
    host = backend.to_host
    gradients = {name: host(p.grad).copy() for name, p in layer.named_parameters()}
    return host(y), None if dx is None else host(dx), gradients


def batch(case: Case, size: int, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((size, *case.shape)).astype(dtype)


def saved_anywhere(layer: Layer) -> bool:
    return layer.saved is not None or any(saved_anywhere(child) for child in layer.children())


def test_every_public_piece_has_a_case():
    public = {
        value
        for name in minibnn.__all__
        if inspect.isclass(value := getattr(minibnn, name))
        and issubclass(value, Layer | Function | Feedback)
        and not inspect.isabstract(value)
    }
    assert len(public) >= 15
    covered = set().union(*(pieces(case.make()) for case in CASES))
    assert public <= covered, f"no case for {public - covered}; add a row to tests/support/cases.py"


@each_case
def test_gradients(case):
    report = check_gradients(case.make(), batch(case, 5, np.float64), rng=11)
    assert report, str(report)
    assert all(r.checked == r.size and not r.left_out for r in report.results)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(case, dtype, backend):
    layer = case.make().initialize(0, dtype).to(backend)
    y, dx, gradients = run(layer, batch(case, 4, dtype), 1)
    assert {y.dtype, dx.dtype, *(g.dtype for g in gradients.values())} == {np.dtype(dtype)}
    assert layer.forward(backend.asarray(batch(case, 4, dtype))).dtype == dtype


@each_case
def test_device_equals_host(case, device):
    x = batch(case, 6)
    host = run(case.make().initialize(5), x, 1)
    other = run(case.make().initialize(5).to(device), x, 1)
    for expected, got in zip(
        (*host[:2], *host[2].values()), (*other[:2], *other[2].values()), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@each_case
def test_arguments_and_weights_are_left_alone(case, backend):
    layer = case.make().initialize(0).to(backend)
    x = backend.asarray(batch(case, 4))
    y = layer.forward(x, train=True)
    dy = backend.asarray(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
    held = [x, dy, y, *(p.data for p in layer.parameters()), *(b.data for b in layer.buffers())]
    before = [backend.to_host(a).copy() for a in held]
    layer.backward(dy)
    for array, value in zip(held, before, strict=True):
        np.testing.assert_array_equal(backend.to_host(array), value)


@each_case
def test_only_forward_in_training_draws(case, backend):
    layer = case.make().initialize(0).to(backend)
    x = backend.asarray(batch(case, 4))
    layer.forward(x)
    assert not any(stream.count for stream in streams(layer)), "evaluation must draw nothing"
    y = layer.forward(x, train=True)
    counts = [stream.count for stream in streams(layer)]
    layer.backward(backend.asarray(np.ones(y.shape, np.float32)))
    assert [stream.count for stream in streams(layer)] == counts, "backward must draw nothing"


# Batches larger than the blocks of the code: 32 steps, 64 rows of C's sums, 256 packed images, 1000
# in evaluation, and several blocks of a convolution's scratch memory.
PARTS, COPIES = 11, (3, 6, 24, 94)  # 33, 66, 264 and 1034 samples


def draws_for_each_sample(layer: Layer) -> bool:
    own = isinstance(layer, Activation | Dropout) and any(streams(layer))
    return own or any(map(draws_for_each_sample, layer.children()))


ALIKE = [case for case in CASES if not draws_for_each_sample(case.make())]


@pytest.mark.parametrize("case", ALIKE, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_sample_of_a_large_batch_counts(case, dtype):
    """In a batch of copies of a few samples, each copy has its sample's output and weight.

    So each gradient equals that of the few samples for the summed dy of their copies, even if
    samples interact, as in batch norm. Layers that draw are tested in
    `test_random_layers_on_a_large_batch`, since a larger batch draws other numbers.
    """
    layer = case.make().initialize(0, dtype)
    x = batch(case, PARTS, dtype)
    # In float32 the order of a sum matters: a thousand numbers against a few partial sums.
    near = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-9}
    for copies in COPIES:
        rng = np.random.default_rng(copies)
        order = rng.permutation(np.repeat(np.arange(PARTS), copies))
        y, _, _ = run(layer, x, 1)
        # Copies differ by positive factors: AdaSTE's gradient depends on the sign of dy.
        factors = rng.uniform(0.1, 2, (len(order), *[1] * (y.ndim - 1)))
        dy = (rng.standard_normal(y.shape)[order] * factors).astype(dtype)
        large_y, large_dx, large = run(layer, x[order], 1, dy=dy)
        np.testing.assert_allclose(large_y, y[order], **near)
        _, dx, few = run(layer, x, 1, dy=_sum_of_copies(dy, order))
        np.testing.assert_allclose(_sum_of_copies(large_dx, order), dx, **near)
        for name, gradient in few.items():
            np.testing.assert_allclose(large[name], gradient, **near, err_msg=name)


def _sum_of_copies(values, order):
    sums = np.zeros((PARTS, *values.shape[1:]), np.float64)
    np.add.at(sums, order, values)
    return sums.astype(values.dtype)


@pytest.mark.parametrize("samples", [33, 66, 264, 1034])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_layers_on_a_large_batch(samples, dtype):
    """Each sample's gradient depends on its own draws, in the last sample as in the first."""
    rng = np.random.default_rng(samples)
    x, dy = (rng.uniform(-2, 2, (samples, 7)).astype(dtype) for _ in range(2))
    for rescale, factor in ((True, 1 / 0.6), (False, 1.0)):
        layer = Dropout(0.4, rescale=rescale).initialize(0, dtype)
        y = layer.forward(x, train=True)
        kept = y != 0
        assert all(0.2 < part.mean() < 0.95 for part in np.array_split(kept, 3))
        np.testing.assert_allclose(y[kept], (x * factor)[kept], rtol=1e-6)
        np.testing.assert_allclose(layer.backward(dy), dy * kept * factor, rtol=1e-6)
    layer = Activation(StochasticSign(clip=1.0)).initialize(0, dtype)
    y = layer.forward(x, train=True)
    np.testing.assert_array_equal(abs(y), 1)
    np.testing.assert_array_equal(y[abs(x) >= 1], np.sign(x)[abs(x) >= 1])
    inside = abs(x) <= 1
    assert all((y * np.sign(x))[rows][inside[rows]].min() < 0 for rows in (np.s_[:33], np.s_[-33:]))
    np.testing.assert_array_equal(layer.backward(dy), dy * inside)


@each_case
def test_gradients_are_overwritten(case, backend):
    layer = case.make().initialize(0).to(backend)
    x = batch(case, 4)
    _, dx, first = run(layer, x, 1)
    for p in layer.parameters():
        p.grad[...] = float("nan")
    replay(layer)
    _, dx_again, second = run(layer, x, 1)
    np.testing.assert_array_equal(dx, dx_again)
    for name, gradient in first.items():
        np.testing.assert_array_equal(second[name], gradient)


@each_case
def test_gradients_without_dx(case, backend):
    layer = case.make().initialize(0).to(backend)
    x = batch(case, 4)
    _, _, with_dx = run(layer, x, 1)
    replay(layer)
    _, dx, without = run(layer, x, 1, need_dx=False)
    assert dx is None
    for name, gradient in with_dx.items():
        np.testing.assert_array_equal(without[name], gradient)
    assert not saved_anywhere(layer)


@each_case
def test_batch_of_one(case):
    layer = case.make().initialize(0)
    x = batch(case, 1)
    assert layer.forward(x).shape[0] == 1
    if case.min_batch > 1:
        with pytest.raises(ValueError, match="expected at least 2 values a channel"):
            layer.forward(x, train=True)
    else:
        _, dx, _ = run(layer, x, 1)
        assert dx.shape == x.shape


@each_case
def test_non_contiguous_arrays(case):
    layer = case.make().initialize(0)
    x = batch(case, 6)
    y, dx, gradients = run(layer, x, 1)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)

    def scattered(a):
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]

    replay(layer)
    y2, dx2, gradients2 = run(layer, scattered(x), 1, dy=scattered(dy))
    np.testing.assert_allclose(y2, y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dx2, dx, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradients2[name], gradient, rtol=1e-5, atol=1e-6)


@each_case
def test_saved_state(case):
    layer = case.make().initialize(0)
    x = batch(case, 3)
    y = layer.forward(x)
    assert not saved_anywhere(layer), "evaluation must save nothing"
    if pieces(layer) != {minibnn.Sequential}:
        with pytest.raises(RuntimeError, match="backward needs a forward"):
            layer.backward(np.ones_like(y))
        layer.forward(x, train=True)
        with pytest.raises(ValueError, match="expected dy of shape"):
            layer.backward(np.ones((7, 7), np.float32))
    layer.forward(x, train=True)
    layer.backward(np.ones_like(y))
    assert not saved_anywhere(layer), "backward must release what forward saved"


@each_case
def test_training_and_evaluation_agree(case):
    layer = case.make().initialize(0)
    x = batch(case, 5)
    same = np.array_equal(layer.forward(x), layer.forward(x, train=True))
    assert same == case.same_in_training


@each_case
def test_a_seed_gives_one_layer(case):
    one, two = (case.make().initialize(np.random.default_rng(9)) for _ in range(2))
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    for p, q in zip(one.buffers(), two.buffers(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    seeds = [stream.seed for stream in streams(one)]
    assert None not in seeds
    assert [stream.seed for stream in streams(two)] == seeds
