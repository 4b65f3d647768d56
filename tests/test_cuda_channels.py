"""The CUDA kernels of sums over channels and batch norm, on the host, against their plain twins."""

from __future__ import annotations

from functools import partial

import cuda_on_host
import numpy as np
import pytest
import test_norms
from cuda_on_host import HOST_CUDA
from minibnn.backend.cuda.channels import Grid

from minibnn import BatchNorm, ShiftBatchNorm, TensorNorm
from minibnn.backend import CPU, Backend, select

# (batch, places, channels): of one chunk of rows, and of several.
SHORT = [(1, 1, 1), (2, 1, 3), (100, 1, 10), (65, 1, 256), (7, 5, 33), (64, 10, 1), (1024, 1, 2)]
LONG = [(1025, 1, 40), (2, 700, 32), (1100, 1, 65), (10, 3300, 1), (20, 250, 6)]

every_shape = pytest.mark.parametrize("shape", SHORT + LONG)
both_floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])


launched = partial(cuda_on_host.launched, forget=True)


def close(got, exact, size=None):
    """Within 3e-6 (1e-14) of the largest number, or of `size`.

    A sum is made of at most 32 + 5 + 5 additions, one after another, in each of two launches. The
    errors of so many roundings, of 6e-8 (1.1e-16) each, mostly cancel.
    """
    assert got.shape == exact.shape
    tolerance = {"float32": 3e-6, "float64": 1e-14}[got.dtype.name]
    size = abs(exact).max() if size is None else size
    assert (abs(got - exact) <= tolerance * size).all(), (abs(got - exact) / size).max()


def batches(rng, shape, dtype, count=2):
    """Rows around 1, as the layers hand them over."""
    a = rng.standard_normal((count, shape[0], shape[1] * shape[2])) + 1
    return a.astype(dtype)


def plain(name, *arrays, **options):
    """The plain body, in more digits than the kernel has."""
    wide = [a.astype(np.longdouble) if isinstance(a, np.ndarray) else a for a in arrays]
    return getattr(Backend, name)(HOST_CUDA, *wide, **options)


# --- How a launch lies on a matrix ------------------------------------------------------------


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
        for batch, places, channels in shapes:
            assert (Grid.over(batch * places, channels).chunks > 1) == cut


# --- Sums -------------------------------------------------------------------------------------


@both_floats
@every_shape
def test_sums(shape, dtype, rng):
    a, b = batches(rng, shape, dtype)
    channels, out = shape[2], np.full(shape[2], np.nan, dtype)
    stages = ["column_sums"] * (1 + (shape in LONG))
    got = HOST_CUDA.channel_sums(a, channels)
    launched(*stages)
    assert HOST_CUDA.channel_dots(a, b, channels, out) is out
    launched(*stages)
    for sums, terms in ((got, a), (out, a.astype(float) * b)):
        exact = terms.astype(np.longdouble).reshape(-1, channels)
        close(sums, exact.sum(axis=0), abs(exact).sum(axis=0))


@pytest.mark.parametrize("shape", [(100, 13, 13, 64), (1200, 26, 26, 1), (3, 1, 1, 5)])
def test_sums_are_accurate_in_float32(shape):
    test_norms.test_channel_sums_are_accurate_in_float32(shape, HOST_CUDA)
    assert "column_sums" in HOST_CUDA.kernels.launches


def test_sums_of_what_the_kernels_cannot_take(rng):
    a = rng.standard_normal((6, 4)).astype(np.float32)
    out = np.zeros(8, np.float32)[::2]
    np.testing.assert_allclose(HOST_CUDA.channel_sums(a, 4, out), a.sum(axis=0), rtol=1e-6)
    launched()
    np.testing.assert_allclose(out, a.sum(axis=0), rtol=1e-6)
    for b, kernels in ((a[::2], 1), (a.T, 1), (a[:0], 0), (a.astype(np.float16), 0)):
        # 1e-2: half precision adds four numbers of size 1.
        np.testing.assert_allclose(HOST_CUDA.channel_sums(b, 2), CPU.channel_sums(b, 2), rtol=1e-2)
        launched(*["column_sums"] * kernels)
    with pytest.raises(ValueError, match="reshape"):
        HOST_CUDA.channel_sums(a, 3)
    with pytest.raises(ValueError, match="broadcast"):
        HOST_CUDA.channel_dots(a, a[:5], 4)


# --- Batch norm -------------------------------------------------------------------------------


@both_floats
@every_shape
@pytest.mark.parametrize("scale", [False, True])
def test_batch_norm(scale, shape, dtype, rng):
    (rows,) = batches(rng, shape, dtype, 1)
    gamma, beta = rng.standard_normal((2, shape[2])).astype(dtype)
    gamma = gamma if scale else None
    epsilon = dtype(1e-5)
    stages = ["batch_norm"] if shape in SHORT else ["moments", "batch_norm"]
    got = HOST_CUDA.batch_norm(rows, gamma, beta, float(epsilon))
    launched(*stages)
    bare = HOST_CUDA.standardize(rows, shape[2], float(epsilon))
    launched(*stages)
    exact = plain("batch_norm", rows, gamma, beta, np.longdouble(epsilon))
    for g, e in zip(got, exact, strict=True):
        if shape == (2, 1, 3) or shape[0] == 1:  # two values can be near: x - mean has lost digits
            np.testing.assert_allclose(g, e, rtol=1e-4)
        else:
            close(g, e)
    for g, b in zip(got[1:], bare, strict=True):
        np.testing.assert_array_equal(g, b)


@both_floats
@every_shape
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("need_dx", [False, True])
def test_batch_norm_gradient(need_dx, scale, shape, dtype, rng):
    dy, standard = batches(rng, shape, dtype)
    gamma, inv_std = rng.uniform(0.5, 2, (2, shape[2])).astype(dtype)
    dbeta, dgamma = np.full((2, shape[2]), np.nan, dtype)
    parameters = (gamma, dbeta, dgamma) if scale else (None, dbeta, None)
    dx = HOST_CUDA.batch_norm_gradient(dy, standard, inv_std, *parameters, need_dx=need_dx)
    launched(*([] if shape in SHORT else ["gradient_sums"]), "batch_norm_gradient")
    sums = np.empty((2, shape[2]), np.longdouble)
    exact = plain("batch_norm_gradient", dy, standard, inv_std, gamma, sums[0], sums[1])
    assert sums.dtype == np.longdouble
    assert (dx is None) != need_dx
    if need_dx:
        unscaled = exact if scale else exact / np.tile(gamma.astype(np.longdouble), shape[1])
        close(dx, unscaled)
    terms = [
        a.astype(np.longdouble).reshape(-1, shape[2]) for a in (dy, dy.astype(float) * standard)
    ]
    close(dbeta, terms[0].sum(axis=0), abs(terms[0]).sum(axis=0))
    if scale:
        close(dgamma, terms[1].sum(axis=0), abs(terms[1]).sum(axis=0))
    else:
        assert np.isnan(dgamma).all()


@pytest.mark.parametrize("shape", [(100, 1, 5), (6000, 1, 5)])
def test_a_mean_far_from_zero_costs_the_variance_nothing(shape, rng):
    """Means of 10,000, 0.1 apart from first to last row, and a spread of 0.1."""
    x = 1e4 + np.linspace(0, 0.1, shape[0])[:, None] + 0.1 * rng.standard_normal((shape[0], 5))
    x = x.astype(np.float32)
    var = HOST_CUDA.standardize(x, 5, 1e-5)[2]
    # The mean is off by 1.4e-3 at most: floats are 1e-3 apart there. Its square is 2e-6, beside 0.011.
    np.testing.assert_allclose(var, x.astype(float).var(axis=0), rtol=2e-4)


@both_floats
@pytest.mark.parametrize("rows", [50, 6000])
def test_what_is_not_finite_stays_in_its_channel(rows, dtype, rng):
    x = rng.standard_normal((rows, 5)).astype(dtype)
    clean = HOST_CUDA.standardize(x, 5, 1e-5)
    x[7, 0], x[rows - 1, 1], x[3, 2] = np.nan, np.inf, np.finfo(dtype).max
    with np.errstate(all="ignore"):
        got, twin = HOST_CUDA.standardize(x, 5, 1e-5), Backend.standardize(CPU, x, 5, 1e-5)
    for g, t, c in zip(got, twin, clean, strict=True):
        np.testing.assert_array_equal(np.isfinite(g), np.isfinite(t))
        np.testing.assert_array_equal(g[..., 3:], c[..., 3:])
    assert np.isnan(got[0][:, :3]).all()  # never quietly zeros


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
            HOST_CUDA.update_running(*running, m, v, 0.9, 100 / 99)
            with np.errstate(over="ignore"):
                Backend.update_running(CPU, *expected, m, v, 0.9, 100 / 99)
            launched("update_running")
            for r, e in zip(running, expected, strict=True):
                np.testing.assert_array_equal(r, e)  # to the bit: nothing is fused


# --- Layers -----------------------------------------------------------------------------------


@pytest.fixture
def on_host_cuda(monkeypatch):
    """NumPy's arrays belong to the kernels' backend."""

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
        (lambda: ShiftBatchNorm(6), 7),
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
