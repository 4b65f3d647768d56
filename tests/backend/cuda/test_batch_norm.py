"""The CUDA kernels of sums over the batch and batch norm, run on the host, against the references."""

from __future__ import annotations

from functools import partial

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import HOST_CUDA
from sum_checks import check_accurate_sums

from minibnn import BatchNorm, ShiftBatchNorm, TensorNorm
from minibnn.backend import CPU, select
from minibnn.backend.cuda.batch_norm import Grid
from minibnn.backend.operations import two_stage_sum
from minibnn.layers.norm import batch_norm, batch_norm_gradient, normalize, update_running

# (batch, positions, channels): of one chunk of rows, and of several.
SHORT = [(1, 1, 1), (2, 1, 3), (100, 1, 10), (65, 1, 256), (7, 5, 33), (64, 10, 1), (1024, 1, 2)]
LONG = [(1025, 1, 40), (2, 700, 32), (1100, 1, 65), (10, 3300, 1), (20, 250, 6)]

every_shape = pytest.mark.parametrize("shape", SHORT + LONG)
both_floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])


launched = partial(cuda_on_host.launched, forget=True)


def close(got, exact, size=None):
    """Within 3e-6 (1e-14) of the largest number, or of `size`.

    In each of two launches, a sum has at most 32 + 5 + 5 additions in sequence. Their rounding
    errors, of 6e-8 (1.1e-16) each, mostly cancel.
    """
    assert got.shape == exact.shape
    tolerance = {"float32": 3e-6, "float64": 1e-14}[got.dtype.name]
    size = abs(exact).max() if size is None else size
    assert (abs(got - exact) <= tolerance * size).all(), (abs(got - exact) / size).max()


def batches(rng, shape, dtype, count=2):
    """Numbers around 1; without an axis for positions if there is only one position."""
    shape = (shape[0], shape[2]) if shape[1] == 1 else shape
    return (rng.standard_normal((count, *shape)) + 1).astype(dtype)


def wide(*arguments):
    """The arrays in higher precision than the kernels'."""
    return [a.astype(np.longdouble) if isinstance(a, np.ndarray) else a for a in arguments]


# --- How a launch covers a matrix -------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 33, 1025, 67_600, 811_200, 10**9])
@pytest.mark.parametrize("columns", [1, 3, 31, 33, 1024, 100_000])
def test_every_number_is_in_one_block(rows, columns):
    grid = Grid.over(rows, columns)
    across, chunks = grid.blocks(grid.chunks)
    assert (chunks - 1) * grid.chunk < rows <= chunks * grid.chunk
    assert (across - 1) * grid.threads[0] < columns <= across * grid.threads[0]
    assert np.prod(grid.threads) == 1024
    assert 1 <= chunks <= 128
    assert across * chunks <= max(across, 264)


def test_long_matrices_are_cut():
    for shapes, cut in ((SHORT, False), (LONG, True)):
        for batch, positions, channels in shapes:
            assert (Grid.over(batch * positions, channels).chunks > 1) == cut


# --- Sums -------------------------------------------------------------------------------------


@both_floats
@every_shape
def test_sums(shape, dtype, rng):
    (x,) = batches(rng, shape, dtype, 1)
    out = np.full(shape[2], np.nan, dtype)
    stages = ["column_sums"] * (1 + (shape in LONG))
    got = HOST_CUDA.run(two_stage_sum, x, None)
    launched(*stages)
    assert HOST_CUDA.run(two_stage_sum, x, out) is out
    launched(*stages)
    exact = x.astype(np.longdouble).reshape(-1, shape[2])
    for sums in (got, out):
        close(sums, exact.sum(axis=0), abs(exact).sum(axis=0))


@pytest.mark.parametrize("shape", [(100, 13, 13, 64), (1200, 26, 26, 1), (3, 1, 1, 5)])
def test_sums_are_accurate_in_float32(shape):
    check_accurate_sums(shape, HOST_CUDA)
    assert "column_sums" in HOST_CUDA.kernels.launches


def test_sums_of_what_the_kernels_cannot_take(rng):
    a = rng.standard_normal((6, 4)).astype(np.float32)
    out = np.zeros(8, np.float32)[::2]
    np.testing.assert_allclose(HOST_CUDA.run(two_stage_sum, a, out), a.sum(axis=0), rtol=1e-6)
    launched()
    np.testing.assert_allclose(out, a.sum(axis=0), rtol=1e-6)
    for b, kernels in (
        (a[::2], 1),
        (a.T, 1),
        (a.reshape(6, 2, 2).transpose(1, 0, 2), 1),
        (a[:0], 0),
        (a.astype(np.float16), 0),
    ):
        # 1e-2: half precision adds six numbers of size 1.
        expected = b.reshape(-1, b.shape[-1]).sum(axis=0)
        got = HOST_CUDA.run(two_stage_sum, b, None)
        np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-5)
        launched(*["column_sums"] * kernels)
    for wrong in (np.zeros(3, np.float32), np.zeros((2, 4), np.float32)):
        with pytest.raises(ValueError, match=r"mismatch|dimensions|shape"):
            HOST_CUDA.run(two_stage_sum, a, wrong)
    launched()


# --- Batch norm -------------------------------------------------------------------------------


@both_floats
@every_shape
@pytest.mark.parametrize("scale", [False, True])
def test_batch_norm(scale, shape, dtype, rng):
    (x,) = batches(rng, shape, dtype, 1)
    gamma, beta = rng.standard_normal((2, shape[2])).astype(dtype)
    gamma = gamma if scale else 1
    epsilon = dtype(1e-5)
    got = HOST_CUDA.run(batch_norm, x, gamma, beta, float(epsilon))
    launched(*(["batch_norm"] if shape in SHORT else ["moments", "batch_norm"]))
    exact = batch_norm(*wide(x, gamma, beta), np.longdouble(epsilon))
    for g, e in zip(got, exact, strict=True):
        if shape == (2, 1, 3) or shape[0] == 1:  # two values can be near: x - mean has lost digits
            np.testing.assert_allclose(g, e, rtol=1e-4)
        else:
            close(g, e)
    y, x_hat, mean, var, inv_std = got  # from the sums everything else follows exactly
    np.testing.assert_array_equal(inv_std, np.sqrt(var + epsilon) / (var + epsilon))
    np.testing.assert_array_equal(x_hat, (x - mean) * inv_std)
    np.testing.assert_array_equal(y, gamma * x_hat + beta)


@both_floats
@every_shape
@pytest.mark.parametrize("scale", [False, True])
def test_batch_norm_gradient(scale, shape, dtype, rng):
    dy, x_hat = batches(rng, shape, dtype)
    gamma, inv_std = rng.uniform(0.5, 2, (2, shape[2])).astype(dtype)
    dgamma, dbeta = np.full((2, shape[2]), np.nan, dtype)
    gamma, out = (gamma, dgamma) if scale else (1, None)
    stages = [*([] if shape in SHORT else ["gradient_sums"]), "batch_norm_gradient"]
    dx = HOST_CUDA.run(batch_norm_gradient, dy, x_hat, inv_std, gamma, out, dbeta, True)
    launched(*stages)
    sums = np.empty((2, shape[2]), np.longdouble)
    exact = batch_norm_gradient(*wide(dy, x_hat, inv_std, gamma), *sums, True)
    assert sums.dtype == np.longdouble
    terms = [a.astype(np.longdouble).reshape(-1, shape[2]) for a in (dy, dy.astype(float) * x_hat)]
    close(dbeta, terms[0].sum(axis=0), abs(terms[0]).sum(axis=0))
    if scale:
        close(dgamma, terms[1].sum(axis=0), abs(terms[1]).sum(axis=0))
    else:
        assert np.isnan(dgamma).all()
    close(dx, exact)
    arguments = dy, x_hat, inv_std, gamma, dgamma, dbeta, False
    assert HOST_CUDA.run(batch_norm_gradient, *arguments) is None
    launched(*stages)
    s, n = gamma * inv_std, dy.size // shape[2]  # from the sums dx follows exactly
    np.testing.assert_array_equal(dx, s * dy - (s * dgamma / n) * x_hat - s * dbeta / n)


def test_a_gamma_of_1_as_a_float():
    """It is the same null pointer as the integer 1."""
    x, v = np.ones((4, 3), np.float32), np.ones(3, np.float32)
    expected = HOST_CUDA.run(batch_norm, x, v, v, 1e-5)
    for gamma in (1, 1.0):
        got = HOST_CUDA.run(batch_norm, x, gamma, v, 1e-5)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    launched(*["batch_norm"] * 3)


def test_batch_norm_of_what_the_kernels_cannot_take(rng):
    """The reference computes it, also from a kernel's results, or raises."""
    x, dy, images = rng.standard_normal((3, 6, 4)).astype(np.float32)
    images = images.reshape(3, 2, 4)
    v, one = rng.uniform(0.5, 2, (2, 4)).astype(np.float32), np.ones(1, np.float32)
    gaps = np.repeat(v[0], 2)[::2]
    for a, gamma, beta, kernels in (
        (np.asfortranarray(x), *v, 1),
        (images.transpose(1, 0, 2), *v, 1),
        (x, gaps, v[1], 0),
        (x, v[0], gaps, 0),
        (x, one, v[1], 0),
        (x, v[0], one, 0),
        (x, v[0].astype(np.float64), v[1], 0),
    ):
        got = HOST_CUDA.run(batch_norm, a, gamma, beta, 1e-5)
        launched(*["batch_norm"] * kernels)
        for g, e in zip(got, batch_norm(a, gamma, beta, 1e-5), strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)
    _, x_hat, _, _, inv_std = HOST_CUDA.run(batch_norm, x, v[0], v[1], 1e-5)
    launched("batch_norm")
    for a, b, scale, gamma, dtype, kernels in (
        (np.asfortranarray(dy), x_hat, inv_std, v[0], np.float32, 1),
        (dy, np.asfortranarray(x_hat), inv_std, v[0], np.float32, 1),
        (dy, x_hat, inv_std, gaps, np.float32, 0),
        (dy, x_hat, one, v[0], np.float32, 0),
        (dy, x_hat, inv_std, one, np.float32, 0),
        (dy, x_hat[:1], inv_std, v[0], np.float32, 0),
        (dy, x_hat.astype(np.float64), inv_std, v[0], np.float32, 0),
        (dy, x_hat, inv_std, v[0], np.float64, 0),
    ):
        sums = np.empty((2, 2, 4), dtype)
        got = HOST_CUDA.run(batch_norm_gradient, a, b, scale, gamma, *sums[0], True)
        launched(*["batch_norm_gradient"] * kernels)
        expected = batch_norm_gradient(a, b, scale, gamma, *sums[1], True)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(*sums, rtol=1e-5, atol=1e-5)
    short = np.ones(3, np.float32)
    for wrong in (
        lambda: HOST_CUDA.run(batch_norm, x, short, v[1], 1e-5),
        lambda: HOST_CUDA.run(batch_norm, x, v[0], short, 1e-5),
        lambda: HOST_CUDA.run(batch_norm_gradient, dy, x_hat[:5], inv_std, v[0], *v.copy(), True),
        lambda: HOST_CUDA.run(batch_norm_gradient, dy, x_hat, short, v[0], *v.copy(), True),
        lambda: HOST_CUDA.run(batch_norm_gradient, dy, x_hat, inv_std, v[0], short, v[1], True),
        lambda: HOST_CUDA.run(batch_norm_gradient, dy, x_hat, inv_std, v[0], v[1], short, True),
        lambda: HOST_CUDA.run(normalize, x, short, *v),
    ):
        with pytest.raises(ValueError, match=r"broadcast|mismatch|dimension"):
            wrong()
    launched()


@pytest.mark.parametrize("shape", [(100, 5), (6000, 5)])
def test_a_mean_far_from_zero_costs_the_variance_nothing(shape, rng):
    """Means of 10,000, 0.1 apart from first to last row, and a spread of 0.1."""
    x = 1e4 + np.linspace(0, 0.1, shape[0])[:, None] + 0.1 * rng.standard_normal(shape)
    x = x.astype(np.float32)
    var = HOST_CUDA.run(batch_norm, x, 1, np.zeros(5, np.float32), 1e-5)[3]
    # The mean is off by 1.4e-3 at most: floats are 1e-3 apart there. Its square is 2e-6, beside 0.011.
    np.testing.assert_allclose(var, x.astype(float).var(axis=0), rtol=2e-4)


@both_floats
@pytest.mark.parametrize("rows", [50, 6000])
def test_what_is_not_finite_stays_in_its_channel(rows, dtype, rng):
    x, beta = rng.standard_normal((rows, 5)).astype(dtype), np.ones(5, dtype)
    clean = HOST_CUDA.run(batch_norm, x, 1, beta, 1e-5)
    x[7, 0], x[rows - 1, 1], x[3, 2] = np.nan, np.inf, np.finfo(dtype).max
    with np.errstate(all="ignore"):
        got, expected = HOST_CUDA.run(batch_norm, x, 1, beta, 1e-5), batch_norm(x, 1, beta, 1e-5)
    for g, e, c in zip(got, expected, clean, strict=True):
        np.testing.assert_array_equal(np.isfinite(g), np.isfinite(e))
        np.testing.assert_array_equal(g[..., 3:], c[..., 3:])
    for a in got[:2]:
        assert np.isnan(a[:, :3]).all()  # never quietly zeros


@pytest.mark.parametrize("positions", [(), (2,), (2, 3)])
@both_floats
def test_normalize(positions, dtype, rng):
    x = rng.standard_normal((4, *positions, 5)).astype(dtype)
    mean, scale, shift = rng.standard_normal((3, 5)).astype(dtype)
    for a in (x, np.asfortranarray(x)):
        got = HOST_CUDA.run(normalize, a, mean, scale, shift)
        launched("normalize")
        np.testing.assert_array_equal(got, (x - mean) * scale + shift)  # to the bit
    for a, *small in (
        (x[:0], mean, scale, shift),
        (x, mean[:1], scale, shift),
        (x, mean, np.repeat(scale, 2)[::2], shift),
        (x.astype(np.float16), mean, scale, shift),
    ):
        expected = (a - small[0]) * small[1] + small[2]
        np.testing.assert_array_equal(HOST_CUDA.run(normalize, a, *small), expected)
        launched()


@both_floats
@pytest.mark.parametrize("channels", [1, 10, 1500])
def test_running_statistics(channels, dtype, rng):
    mean, var, *running = rng.uniform(0.5, 2, (4, channels)).astype(dtype)
    expected = [a.copy() for a in running]
    for bad in (None, 0, channels - 1):
        # The last is finite before it is made unbiased, and not behind it.
        for array, value in ((mean, np.nan), (var, np.inf), (var, np.finfo(dtype).max)):
            m, v = mean.copy(), var.copy()
            if bad is not None:
                (m if array is mean else v)[bad] = value
            HOST_CUDA.run(update_running, *running, m, v, 0.9, 100 / 99)
            with np.errstate(over="ignore"):
                update_running(*expected, m, v, 0.9, 100 / 99)
            launched("update_running")
            for r, e in zip(running, expected, strict=True):
                np.testing.assert_array_equal(r, e)  # to the bit: nothing is fused


# --- Layers -----------------------------------------------------------------------------------


@pytest.fixture
def on_host_cuda(monkeypatch):
    """Let NumPy's arrays belong to the backend with the kernels."""

    def enter():
        monkeypatch.setitem(select._by_array_type, np.ndarray, HOST_CUDA)
        HOST_CUDA.kernels.launches.clear()

    return enter


@pytest.mark.parametrize(
    ("layer", "launches"),
    [
        (lambda: BatchNorm(6), 3),
        (lambda: BatchNorm(6, scale=False), 3),
        (lambda: TensorNorm(), 3),
        (lambda: ShiftBatchNorm(6), 6),
    ],
    ids=["BatchNorm", "without scale", "TensorNorm", "ShiftBatchNorm"],
)
@pytest.mark.parametrize("shape", [(30, 6), (4, 3, 2, 6)])
def test_layers(layer, launches, shape, rng, on_host_cuda):
    x, dy = rng.standard_normal((2, *shape))
    results = []
    for backend in (CPU, HOST_CUDA):
        model = layer().initialize(0, np.float64)
        if backend is HOST_CUDA:
            on_host_cuda()
            model.to(HOST_CUDA)
        y = model.forward(x, train=True)
        dx = model.backward(dy)
        grads = [p.grad for p in model.parameters()]
        results.append([y, dx, *grads, model.running_mean.data, model.running_var.data])
    for got, expected in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert len(HOST_CUDA.kernels.launches) == launches
