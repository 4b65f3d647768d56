"""The kernels of packed inference, run on the host: single operations, and whole models."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cuda_on_host import CUDA_ARRAYS, HOST_CUDA, launched
from devices import open_backend
from packed_models import SIGN, dense, images_models, ink

from minibnn import Activation, BatchNorm, Rescale, Sequential, pack
from minibnn.backend import backend_of
from minibnn.backend.cuda import kernels as cuda_kernels
from minibnn.backend.cuda import packed_bits as cuda_bits
from minibnn.backend.cuda.kernels import FOLDER
from minibnn.backend.implementations import CUDA
from minibnn.layers.pooling import max_pool
from minibnn.packed.bits import pack_rows, xnor_products
from minibnn.packed.inference import (
    BitMatrix,
    DenseLayers,
    bit_products,
    dense_layers,
    integer_scores,
    pixel_products,
    score_labels,
    threshold_bits,
)
from minibnn.packed.stages import window_rows
from minibnn.recipes import RECIPES
from minibnn.windows import Windows

WIDTHS = [*range(1, 131), 784]


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def kernels(request):
    """The backend with the kernels: on the host, and on a GPU."""
    return HOST_CUDA if request.param == "host" else open_backend("gpu")


def bits(rng, *shape):
    return rng.integers(0, 2, shape, np.uint8)


def pixels(rng, *shape):
    x = rng.integers(0, 256, shape, np.uint8)
    x[0] = 255
    return x


def matrix(rng, rows, width):
    return BitMatrix(pack_rows(bits(rng, rows, width)), width)


def same(got, expected):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


def off(a):
    """The same values at an address that is not aligned for wide loads."""
    memory = np.empty(a.nbytes + 16, np.uint8)
    start = 16 - memory.ctypes.data % 16 + a.itemsize
    moved = memory[start % 16 :][: a.nbytes].view(a.dtype).reshape(a.shape)
    moved[...] = a
    return moved


@pytest.mark.parametrize("rows", [1, 5])
def test_pack_rows(rows, rng):
    for width in WIDTHS:
        x = bits(rng, rows, width)
        same(HOST_CUDA.run(pack_rows, x), pack_rows(x))
        same(HOST_CUDA.run(pack_rows, x.astype(bool)), pack_rows(x))
        same(HOST_CUDA.run(pack_rows, x * 255), pack_rows(x))  # nonzero is 1
    every = np.arange(256, dtype=np.uint8).reshape(4, 64)
    same(HOST_CUDA.run(pack_rows, every), pack_rows(every))
    launched(*["pack_rows"] * (3 * len(WIDTHS) + 1))


@pytest.mark.parametrize(("rows", "width"), [(0, 65), (3, 0), (0, 0)])
def test_empty_arrays(rows, width, rng):
    x, W = bits(rng, rows, width), matrix(rng, 2, width)
    same(HOST_CUDA.run(pack_rows, x), pack_rows(x))
    a = pack_rows(x)
    same(HOST_CUDA.run(xnor_products, a, W.words, width), xnor_products(a, W.words, width))
    for operation in (bit_products, pixel_products):
        same(on_cuda(operation, x, W), operation(x, W))
    none = BitMatrix(W.words[:0], width)
    for operation in (bit_products, pixel_products):
        same(on_cuda(operation, x, none), operation(x, none))


@pytest.mark.parametrize(("n", "kernel"), [(1, "xnor_few"), (6, "xnor_few"), (33, "xnor_tiled")])
def test_xnor_products(n, kernel, rng):
    for width in (1, 63, 64, 65, 127, 128, 129, 511, 513, 784, 1024, 4100):
        for m in (1, 10, 65) if width < 1000 else (9,):
            a, b = pack_rows(bits(rng, n, width)), pack_rows(bits(rng, m, width))
            same(HOST_CUDA.run(xnor_products, a, b, width), xnor_products(a, b, width))
    assert set(HOST_CUDA.kernels.launches) == {kernel}


def test_tiles_of_several_blocks(rng):
    a, b = pack_rows(bits(rng, 200, 700)), pack_rows(bits(rng, 130, 700))
    same(HOST_CUDA.run(xnor_products, a, b, 700), xnor_products(a, b, 700))
    launched("xnor_tiled")


def test_more_columns_than_tiles_can_have(monkeypatch, rng):
    """A grid has 65,535 blocks in y; here it has two."""
    monkeypatch.setattr(cuda_bits, "MOST_BLOCKS", 2)
    a = pack_rows(bits(rng, 40, 70))
    for columns in (128, 129):
        b = pack_rows(bits(rng, columns, 70))
        same(HOST_CUDA.run(xnor_products, a, b, 70), xnor_products(a, b, 70))
    launched("xnor_tiled", "xnor_few")


def test_few_blocks_share_many_elements(monkeypatch, rng):
    """Two blocks have 512 threads: there are more than twice as many elements."""
    monkeypatch.setattr(cuda_kernels, "MOST_BLOCKS", 2)
    x, acc = bits(rng, 110, 70), rng.integers(-5, 6, (110, 10), np.int32)
    t, falling = rng.integers(-5, 6, 10, np.int32), rng.integers(0, 2, 10).astype(bool)
    A, B = rng.integers(-9, 10, (2, 10))
    same(HOST_CUDA.run(pack_rows, x), pack_rows(x))
    same(HOST_CUDA.run(threshold_bits, acc, t, falling), threshold_bits(acc, t, falling))
    same(HOST_CUDA.run(integer_scores, acc, A, B), integer_scores(acc, A, B))
    same(cuda_bits._half_signs(HOST_CUDA, x), x.astype(np.float16) * 2 - 1)
    launched("pack_rows", "threshold_bits", "integer_scores", "half_signs")
    assert set(HOST_CUDA.kernels.grids[-4:]) == {(2, 1, 1)}


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pixel_products(n, rng):
    for width in [*range(1, 131, 3), 784, 1000]:
        W, x = matrix(rng, 1 + width % 11, width), pixels(rng, n, width)
        same(HOST_CUDA.run(pixel_products, x, W), pixel_products(x, W))
    assert set(HOST_CUDA.kernels.launches) == {"pixel_few"}


def test_pixel_products_beyond_float32(rng):
    W, x = BitMatrix(pack_rows(np.ones((1, 70_001), np.uint8)), 70_001), pixels(rng, 2, 70_001)
    same(HOST_CUDA.run(pixel_products, x, W), x.sum(axis=1, dtype=np.int32)[:, None])
    launched("pixel_few")


def move(backend, *given):
    """Arrays, weights of bits, and layers of those to a backend."""

    def moved(a):
        if isinstance(a, BitMatrix):
            return BitMatrix(backend.asarray(a.words), a.width)
        if isinstance(a, DenseLayers):
            thresholds = tuple((moved(t), moved(falling)) for t, falling in a.thresholds)
            return DenseLayers(a.pixels, tuple(map(moved, a.layers)), thresholds)
        return backend.asarray(a)

    return [moved(a) for a in given]


def on_cuda(operation, *given):
    """Run an operation so that the operations it calls also use the kernels."""
    return CUDA_ARRAYS.to_host(CUDA_ARRAYS.run(operation, *move(CUDA_ARRAYS, *given)))


def test_products_of_float16(kernels, monkeypatch, rng):
    monkeypatch.setattr(cuda_bits, "HALF_ROWS", 5)
    monkeypatch.setattr(cuda_bits, "HALF_WIDTH", 60)
    monkeypatch.setattr(cuda_bits, "HALF_PIXELS", 5 * 61 * 60)
    monkeypatch.setattr(cuda_bits, "HALF_VALUES", 2 * (130 + 2 * 61))
    for width in (60, 64, 130):
        W, x, ink = matrix(rng, 61, width), bits(rng, 5, width), pixels(rng, 5, width)
        expected = bit_products(x, W), pixel_products(ink, W)
        x, ink, there = move(kernels, x, ink, W)
        HOST_CUDA.kernels.launches.clear()
        for _ in range(2):
            same(kernels.to_host(kernels.run(bit_products, x, there)), expected[0])
            same(kernels.to_host(kernels.run(pixel_products, ink, there)), expected[1])
        assert "pack_rows" not in HOST_CUDA.kernels.launches
        assert "pixel_few" not in HOST_CUDA.kernels.launches
        assert there.form("half", None).dtype == np.float16


def test_which_products_are_of_float16(monkeypatch, rng):
    monkeypatch.setattr(cuda_bits, "HALF_ROWS", 5)
    monkeypatch.setattr(cuda_bits, "HALF_WIDTH", 60)
    monkeypatch.setattr(cuda_bits, "HALF_PIXELS", 5 * 61 * 60)
    on_cuda(bit_products, bits(rng, 5, 60), matrix(rng, 61, 60))
    on_cuda(pixel_products, pixels(rng, 5, 60), matrix(rng, 61, 60))
    on_cuda(bit_products, bits(rng, 4, 64), matrix(rng, 61, 64))
    on_cuda(bit_products, bits(rng, 5, 59), matrix(rng, 61, 59))
    on_cuda(bit_products, bits(rng, 5, 64), matrix(rng, 59, 64))
    on_cuda(pixel_products, pixels(rng, 4, 60), matrix(rng, 61, 60))
    halves = ["half_signs", "half_signs", "half_signs"]  # weights, bits; weights
    launched(*halves, *["pack_rows", "xnor_few"] * 3, "pixel_few")


@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (64, 32)])
def test_the_extreme_sums_in_float16(rows, columns, kernels, monkeypatch):
    """White images and equal weights: the greatest partial sums, just below 2^24.

    For a white image and one that is darker by 1, and for weights that are all +1 or all -1.
    """
    monkeypatch.setattr(cuda_bits, "HALF_PIXELS", 1)
    x, ones = np.full((rows, 65_793), 255, np.uint8), np.ones((columns, 65_793), np.uint8)
    x[1::2, 0] -= 1
    ones[1::2] = 0
    there, W = move(kernels, x, BitMatrix(pack_rows(ones), 65_793))
    sums, signs = 255 * 65_793 - np.arange(rows) % 2, 1 - 2 * (np.arange(columns) % 2)
    got = kernels.to_host(kernels.run(pixel_products, there, W))
    np.testing.assert_array_equal(got, sums[:, None] * signs)
    assert "half" in W._forms


def test_wider_sums_are_not_of_float16(kernels, monkeypatch):
    monkeypatch.setattr(cuda_bits, "HALF_PIXELS", 1)
    ones = BitMatrix(pack_rows(np.ones((1, 65_794), np.uint8)), 65_794)
    x, W = move(kernels, np.full((2, 65_794), 255, np.uint8), ones)
    got = kernels.to_host(kernels.run(pixel_products, x, W))
    assert got.tolist() == [[255 * 65_794]] * 2
    assert "signs" in W._forms  # float64
    assert "half" not in W._forms


def test_unaligned_arrays(rng):
    x, W = pixels(rng, 3, 128), matrix(rng, 9, 128)
    same(HOST_CUDA.run(pixel_products, off(x), W), pixel_products(x, W))
    same(HOST_CUDA.run(pack_rows, off(x)), pack_rows(x))
    a = pack_rows(x)
    expected = xnor_products(a, W.words, 128)
    same(HOST_CUDA.run(xnor_products, off(a), W.words, 128), expected)
    same(HOST_CUDA.run(xnor_products, a, off(W.words), 128), expected)
    layers = network(rng, True, [128, 3, 2])
    same(HOST_CUDA.run(dense_layers, off(x), layers), dense_layers(x, layers))


def test_both_languages_have_the_same_sizes():
    text = Path(FOLDER, "packed_bits.cu").read_text()
    sizes = {name: int(size) for name, size in re.findall(r"#define (\w+) (\d+)", text)}
    ours = {"ROWS": cuda_bits.ROWS, "TILE": cuda_bits.TILE, "MOST": cuda_bits.WIDEST}
    assert sizes == ours | {"DEPTH": 8, "LANES": 8}


@pytest.mark.parametrize("shape", [(1, 7), (300, 7), (4, 3, 5, 7), (6, 21), (0, 7)])
def test_threshold_bits(shape, rng):
    acc = rng.integers(-5, 6, shape, np.int32)
    t, falling = rng.integers(-5, 6, 7, np.int32), rng.integers(0, 2, 7).astype(bool)
    same(HOST_CUDA.run(threshold_bits, acc, t, falling), threshold_bits(acc, t, falling))
    launched(*["threshold_bits"] * bool(acc.size))


@pytest.mark.parametrize("rows", [1, 9, 300])
@pytest.mark.parametrize("classes", [1, 2, 10, 31, 32, 33, 100])
def test_scores_and_labels(rows, classes, rng):
    """Few different scores, so that there are ties; and large ones."""
    for size in (1, 2**40):
        acc = rng.integers(-2, 3, (rows, classes), np.int32)
        A, B = rng.integers(-1, 2, (2, classes)) * size
        if classes > 1:
            B -= 10 * size  # all below 0, which lanes without a class must not win with
        same(HOST_CUDA.run(integer_scores, acc, A, B), integer_scores(acc, A, B))
        same(HOST_CUDA.run(score_labels, acc, A, B), score_labels(acc, A, B))
    # A single score is compared with 0, by the reference.
    launched(*["integer_scores", *["score_labels"] * (classes > 1)] * 2)


@pytest.mark.parametrize("windows", [
    Windows((3, 3)), Windows((2, 4), (2, 1), (1, 2)), Windows((1, 1)), Windows((5, 6), (9, 9)),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_windows_of_integers(windows, channels, rng):
    x = pixels(rng, 2, 6, 9, channels)
    same(HOST_CUDA.run(window_rows, x, windows), window_rows(x, windows))
    launched("im2col")
    for values in (x, rng.integers(-9, 9, x.shape, np.int32)):
        same(HOST_CUDA.run(max_pool, values, windows, False)[0],
             max_pool(values, windows, False)[0])  # fmt: skip
    launched("im2col", "max_pool", "max_pool")


def network(rng, pixels, widths):
    layers = tuple(matrix(rng, m, k) for k, m in pairwise(widths))
    between = [
        (rng.integers(-9, 10, m, np.int32), rng.integers(0, 2, m).astype(bool))
        for m in widths[1:-1]
    ]
    return DenseLayers(pixels, layers, tuple(between))


@pytest.mark.parametrize("of_pixels", [True, False])
def test_dense_layers(of_pixels, rng):
    for width in (1, 7, 63, 64, 65, 130):
        for widths in ([width, 3], [9, width, 4], [width, 70, width, 33], [70, 64, 128, 1, 5]):
            layers = network(rng, of_pixels, widths)
            x = (pixels if of_pixels else bits)(rng, 2, widths[0])
            same(HOST_CUDA.run(dense_layers, x, layers), dense_layers(x, layers))
    assert set(HOST_CUDA.kernels.launches) == {"dense_layers"}


def test_thresholds_for_several_places(rng):
    layers = network(rng, True, [9, 12, 4])
    thresholds = tuple((t[:4], f[:4]) for t, f in layers.thresholds)
    fewer = DenseLayers(True, layers.layers, thresholds)
    x = pixels(rng, 5, 9)
    same(HOST_CUDA.run(dense_layers, x, fewer), dense_layers(x, fewer))
    launched("dense_layers")


@pytest.mark.parametrize("of_pixels", [True, False])
def test_dense_layers_as_wide_as_a_block_takes(of_pixels, rng):
    layers = network(rng, of_pixels, [4096, 6, 4096, 10])
    x = (pixels if of_pixels else bits)(rng, 1, 4096)
    same(HOST_CUDA.run(dense_layers, x, layers), dense_layers(x, layers))
    launched("dense_layers")
    wider = network(rng, of_pixels, [4097, 6, 4])
    x = (pixels if of_pixels else bits)(rng, 1, 4097)
    same(HOST_CUDA.run(dense_layers, x, wider), dense_layers(x, wider))
    assert HOST_CUDA.kernels.launches.count("dense_layers") == 1


@pytest.mark.parametrize("limit", ["CHAIN_WEIGHTS", "CHAIN_WORK"])
def test_larger_networks_run_layer_by_layer(limit, monkeypatch, rng):
    layers, x = network(rng, True, [20, 8, 4]), pixels(rng, 3, 20)
    weights = 4 * 20 * 8 + 8 * 4
    at = weights * (3 if limit == "CHAIN_WORK" else 1)
    for most, kernels in ((at, ["dense_layers"]),
                          (at - 1, ["pixel_few", "threshold_bits", "pack_rows", "xnor_few"])):  # fmt: skip
        HOST_CUDA.kernels.launches.clear()
        monkeypatch.setattr(cuda_bits, limit, most)
        same(on_cuda(dense_layers, x, layers), dense_layers(x, layers))
        launched(*kernels)


# --- What does not agree -------------------------------------------------------------------------


def test_rows_that_do_not_agree_are_refused(rng):
    """A kernel would read outside the arrays: it declines, and the reference raises."""
    W, short = matrix(rng, 5, 130), pack_rows(bits(rng, 5, 64))
    acc, falling = rng.integers(-5, 6, (4, 10), np.int32), np.zeros(10, bool)
    A, B, t = np.ones(10, np.int64), np.ones(10, np.int64), np.zeros(10, np.int32)
    x = bits(rng, 4, 129)
    cases = [
        (bit_products, (x, W), r"rows of 130 values, got \(4, 129\)"),
        (bit_products, (bits(rng, 130), W), "rows of 130 values"),
        (pixel_products, (x, W), r"rows of 130 values, got \(4, 129\)"),
        (pixel_products, (bits(rng, 130), W), "rows of 130 values"),
        (xnor_products, (W.words, short, 130), r"as many words.*\(5, 3\) and \(5, 1\)"),
        (threshold_bits, (acc, t[:7], falling[:7]), r"\(4, 10\) and \(7,\) and \(7,\)"),
        (threshold_bits, (acc, t, falling[:7]), r"\(4, 10\) and \(10,\) and \(7,\)"),
        (threshold_bits, (acc, t[None], falling[None]), r"\(4, 10\) and \(1, 10\)"),
        (integer_scores, (acc, A[:9], B), r"integers for 10 classes, got \(9,\) and \(10,\)"),
        (integer_scores, (acc, A[:1], B[:1]), "integers for 10 classes"),
        (integer_scores, (acc[0], A, B), "integers for 10 classes"),
        (score_labels, (acc, A, B[:9]), r"integers for 10 classes, got \(10,\) and \(9,\)"),
    ]
    for most in (2**26, 1):  # in kernels; in float16
        with pytest.MonkeyPatch.context() as patch:
            for limit in ("HALF_ROWS", "HALF_WIDTH", "HALF_PIXELS"):
                patch.setattr(cuda_bits, limit, most)
            for operation, arguments, message in cases:
                name = operation.__name__
                assert CUDA[name](HOST_CUDA, *arguments) is NotImplemented
                with pytest.raises(ValueError, match=f"^{name}: expected .*{message}"):
                    operation(*arguments)
                with pytest.raises(ValueError, match=f"^{name}: expected .*{message}"):
                    on_cuda(operation, *arguments)
    launched()
    for operation in (integer_scores, score_labels):
        same(HOST_CUDA.run(operation, acc, t, t), operation(acc, t, t))
    launched()  # integers of another type are the reference's


def test_weights_and_layers_that_do_not_agree_are_refused(rng):
    good, x = network(rng, True, [70, 9, 6, 4]), pixels(rng, 2, 70)
    first, second, third = good.layers
    (t, falling), other = good.thresholds
    narrow = BitMatrix(second.words, 8)
    cases = [
        ((first, narrow, third), good.thresholds, r"8 rows.*got \(9, 2\)"),
        (good.layers, ((t[:5], falling[:5]), other), r"for 9 channels"),
        (good.layers, ((t[:0], falling[:0]), other), r"for 9 channels"),
        (good.layers, ((t, falling[:3]), other), r"for 9 channels, got"),
    ]
    for layers, thresholds, message in cases:
        with pytest.raises(ValueError, match=f"^DenseLayers: expected .*{message}"):
            DenseLayers(True, layers, thresholds)
    with pytest.raises(ValueError, match="shorter"):
        DenseLayers(True, good.layers, good.thresholds[:1])
    for width in (64, 129, 193):
        with pytest.raises(ValueError, match=r"^BitMatrix: expected rows of .*got \(5, 2\)"):
            BitMatrix(pack_rows(bits(rng, 5, 65)), width)
    for values, shape in ((x[:, :-1], r"\(2, 69\)"), (x[0], r"\(70,\)")):
        message = f"^dense_layers: expected rows of 70 values, got {shape}"
        assert CUDA["dense_layers"](HOST_CUDA, values, good) is NotImplemented
        for run in (on_cuda, lambda operation, *arguments: operation(*arguments)):
            with pytest.raises(ValueError, match=message):
                run(dense_layers, values, good)
    launched()
    same(HOST_CUDA.run(dense_layers, x.reshape(2, 7, 10), good), dense_layers(x, good))


# --- whole packed models -------------------------------------------------------------------------


def tame(model, rng):
    """Give batch norm values of both signs, with which the last layer can be packed."""
    for array in (*model.parameters(), *model.buffers()):
        name, shape = array.name, array.data.shape
        if name == "gamma":
            array.data[...] = rng.choice([1, -1], shape)
        elif name in ("bias", "beta", "running_mean"):
            array.data[...] = rng.integers(-3, 4, shape)
    return model


def same_answers(packed, images):
    """Scores, labels, logits."""
    there = CUDA_ARRAYS.asarray(images)
    for method in ("predict_scores", "predict", "logits"):
        got = getattr(packed, method)(there)
        assert backend_of(got) is CUDA_ARRAYS
        same(CUDA_ARRAYS.to_host(got), getattr(packed, method)(images))


def same_stages(packed, images):
    """What is behind each stage."""
    here, there = images, CUDA_ARRAYS.asarray(images)
    for stage in packed.stages:
        here, there = stage.run(here), stage.run(there)
        same(CUDA_ARRAYS.to_host(there), here)


@pytest.mark.parametrize("recipe", ["seed", "modern"])
def test_recipes(recipe, rng):
    packed = pack(tame(RECIPES[recipe]().build().initialize(rng), rng), (28, 28))
    assert recipe == "seed" or packed.stages[1].falling.any()
    images = pixels(rng, 2, 28, 28)
    same_answers(packed, images[:1])
    same_stages(packed, images)


def test_few_launches_for_one_image(rng):
    packed = pack(RECIPES["seed"]().build().initialize(rng), (28, 28))
    packed.predict(CUDA_ARRAYS.asarray(pixels(rng, 1, 28, 28)))
    launched("dense_layers", "score_labels")


@pytest.mark.parametrize("first", ["pixels", "bits"])
@pytest.mark.parametrize("batch", [1, 33, 300])
def test_layer_by_layer_and_as_one(batch, first, monkeypatch, rng):
    start = [Rescale(1, -100)] if first == "pixels" else ink()
    model = Sequential(
        *start, dense(40, 33), BatchNorm(33), Activation(SIGN), dense(33, 16), BatchNorm(16),
        Activation(SIGN), dense(16, 5),
    )  # fmt: skip
    packed = pack(tame(model.initialize(rng), rng), (40,))
    images = pixels(rng, batch, 40)
    same_answers(packed, images)
    launched("dense_layers", "integer_scores", "dense_layers", "score_labels", "dense_layers")
    monkeypatch.setattr(cuda_bits, "CHAIN_WORK", 0)
    same_answers(packed, images)
    assert HOST_CUDA.kernels.launches.count("dense_layers") == 3
    same_stages(packed, images)


@pytest.mark.parametrize("width", range(1, 131, 8))
def test_models_of_odd_widths(width, rng):
    model = Sequential(*ink(), dense(width, 6), BatchNorm(6), Activation(SIGN), dense(6, 3))
    packed = pack(tame(model.initialize(rng), rng), (width,))
    same_answers(packed, pixels(rng, 5, width))


@pytest.mark.parametrize("name", images_models())
def test_convolutions(name, rng):
    packed, images = images_model(name, rng)
    same_stages(packed, images)
    same_answers(packed, images)
    expected = {"threshold_bits", "im2col"} | ({"max_pool"} if "pool" in name else set())
    assert expected <= set(HOST_CUDA.kernels.launches)


def test_convolutions_of_float16(monkeypatch, rng):
    monkeypatch.setattr(cuda_bits, "HALF_ROWS", 1)
    monkeypatch.setattr(cuda_bits, "HALF_WIDTH", 1)
    monkeypatch.setattr(cuda_bits, "HALF_PIXELS", 1)
    monkeypatch.setattr(cuda_bits, "HALF_VALUES", 1000)
    same_stages(*images_model("two", rng))
    assert not {"xnor_few", "xnor_tiled", "pixel_few"} & set(HOST_CUDA.kernels.launches)


def images_model(name, rng):
    model = tame(Sequential(*images_models()[name]).initialize(rng), rng)
    shape = (4, 6, 3) if name == "channels" else (8, 9)
    return pack(model, shape), pixels(rng, 2, *shape)


def test_no_images(rng):
    packed = pack(RECIPES["seed"]().build().initialize(rng), (28, 28))
    none = CUDA_ARRAYS.asarray(np.zeros((0, 28, 28), np.uint8))
    assert packed.predict(none).shape == (0,)
    assert packed.predict_scores(none).shape == (0, 10)
