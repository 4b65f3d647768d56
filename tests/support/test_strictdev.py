"""The stand-in must be as strict as it says, or the tests that trust it prove nothing."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
import strictdev as xp

X = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)
N = np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::-1]
BITS = np.array([[1, 0, 1, 1, 0, 0, 1, 0, 1]], dtype=np.uint8)


def dev(a=X):
    return xp.asarray(a)


def raising(error, cases):
    return pytest.mark.parametrize(
        ("error", "match", "act"), [pytest.param(error, *case, id=case[0]) for case in cases]
    )


# --- Agreement with NumPy -----------------------------------------------------------------------

SAME = {  # written for either module: f(xp, floats, integers)
    "operators": lambda m, x, n: (2 - x) * x / 3 + -(x**2) - abs(x) // 2 % 3,
    "reflected": lambda m, x, n: 1 + x - (5 % (n + 1)) + 2**n - (7 // (n + 1)),
    "integer operators": lambda m, x, n: ((n & 6) | (n ^ 3)) + ~n + (n << 2) - (n >> 1),
    "comparisons": lambda m, x, n: (x >= 0) & (x != 3) | (x < -1) | (x == x[1]),
    "matmul": lambda m, x, n: x @ x.T + m.matmul(x, x.T) + m.dot(x, x.T) + x.dot(x.T),
    "tensordot": lambda m, x, n: m.tensordot(x, x, axes=((0,), (0,))),
    "einsum": lambda m, x, n: m.einsum("ij,kj->ik", x, x),
    "sum": lambda m, x, n: m.sum(x, axis=1, keepdims=True),
    "sum of int8": lambda m, x, n: n.astype(m.int8).sum(),
    "mean var std": lambda m, x, n: x.mean(0) + m.var(x, axis=0, ddof=1) + x.std(axis=0),
    "max min": lambda m, x, n: x.max() - m.min(x, 0),
    "argmax": lambda m, x, n: m.argmax(n, axis=1) + n.argmin(0)[:3],
    "any all": lambda m, x, n: m.any(x > 0, axis=0) & (n >= 0).all(),
    "cumsum": lambda m, x, n: m.cumsum(x, axis=1),
    "elementwise": lambda m, x, n: m.log1p(m.exp(x)) + m.sqrt(m.abs(x)) + m.tanh(x),
    "where": lambda m, x, n: m.where(x >= 0, x.dtype.type(1), x.dtype.type(-1)),
    "clip": lambda m, x, n: m.clip(x, -1, None) + x.clip(max=0.5),
    "maximum": lambda m, x, n: m.maximum(x, 0) * m.sign(x) + m.copysign(1.0, x),
    "concatenate": lambda m, x, n: m.concatenate([x, x], axis=1) + m.stack([x[0]] * 3).mean(),
    "split": lambda m, x, n: m.split(x, 2, axis=1)[1],
    "pad": lambda m, x, n: m.pad(x, ((1, 1), (0, 2)), constant_values=1),
    "transpose": lambda m, x, n: m.moveaxis(x.reshape(3, 2, 2), 0, 2).transpose(1, 0, 2).ravel(),
    "new axes": lambda m, x, n: m.expand_dims(x, 1) + x[:, None] + m.squeeze(x[None]),
    "broadcast_to": lambda m, x, n: m.broadcast_to(x[0], (3, 4)),
    "take": lambda m, x, n: m.take(x, n[:, :2] % 3, axis=0) + x.take(1),
    "take_along_axis": lambda m, x, n: m.take_along_axis(x, n % 3, 1),
    "index arrays": lambda m, x, n: x[n[0] % 3, n[1] % 4] + x[1, -1] + x[..., 0][n[0, 0] % 3],
    "packbits": lambda m, x, n: m.unpackbits(m.packbits(x > 0, bitorder="little")),
    "bitwise_count": lambda m, x, n: m.bitwise_count(n.astype(m.uint8)),
    "sort": lambda m, x, n: m.sort(-x, axis=0) + m.argsort(x, axis=1) + x.argsort(),
    "creation": lambda m, x, n: m.zeros((3, 4), m.float16) + m.full_like(x, 2) + m.arange(4),
    "astype view": lambda m, x, n: x.astype(m.float64).astype(m.int8) + x.view(m.int32),
    "counting": lambda m, x, n: m.count_nonzero(x > 0) + m.bincount(n.ravel())[0],
    "rounding": lambda m, x, n: m.floor(x) + m.rint(x) + m.round(x, 1) + m.ceil(x),
    "isclose": lambda m, x, n: m.isclose(x, x + 1e-9) & m.isfinite(x) & m.logical_not(x > 9),
    "windows": lambda m, x, n: m.lib.stride_tricks.sliding_window_view(x, (2, 2)).sum((2, 3)),
    "as_strided": lambda m, x, n: m.lib.stride_tricks.as_strided(x, (3, 2), x.strides),
    "array_equal": lambda m, x, n: m.add(m.array_equal(x, x), m.allclose(x, n)),
    "where, nonzero": lambda m, x, n: m.where(x > 1)[1] + m.nonzero(x > 1)[0] + m.unique(n)[:5],
    "repeat": lambda m, x, n: m.repeat(x, 2, axis=0)[::2] + m.roll(x, 1) + m.flip(x, 0),
}


@pytest.mark.parametrize("name", SAME)
def test_values_types_and_layouts_are_numpys(name):
    want = np.asarray(SAME[name](np, X, N))
    got = SAME[name](xp, dev(), dev(N))
    assert type(got) is xp.ndarray
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    if np.__version__.startswith("2.0."):  # whose loops round by where in memory an array begins
        np.testing.assert_allclose(got.get(), want, rtol=3e-7, atol=0)
        return
    np.testing.assert_array_equal(got.get(), want)


def test_scalars_promote_as_in_numpy_2():
    x = dev()
    assert (x * 2.0 + 1).dtype == xp.float32  # Python scalars are weak
    assert (x * np.float64(2)).dtype == xp.float64  # NumPy scalars are not
    assert (np.float32(2) * x).dtype == xp.float32
    assert xp.result_type(x, xp.int8) == xp.float32


def test_attributes_are_numpys():
    for name in ("shape", "ndim", "size", "dtype", "nbytes", "itemsize", "strides"):
        assert getattr(dev(N), name) == getattr(N.copy("K"), name)
    assert dev().flags.c_contiguous
    assert dev().T.flags.f_contiguous
    assert not dev().T.flags.c_contiguous


# --- Memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "see",
    [
        lambda x: x[1:],
        lambda x: x[0, 0],
        lambda x: x.T,
        lambda x: x.reshape(-1),
        lambda x: x.ravel()[2:].reshape(2, 5),
        lambda x: xp.lib.stride_tricks.as_strided(x, (2,), (4,)),
    ],
)
def test_views_share_memory_and_know_their_owner(see):
    x = dev()
    view = see(x)
    view[...] = 7
    assert view.base is x
    assert x.base is None
    assert (x.get() == 7).sum() == view.size


def test_uploads_index_arrays_and_copies_do_not_share_memory():
    host = X.copy()
    x = xp.asarray(host)
    rows = xp.asarray([0, 1])
    for other in (x[rows], x[rows[0]], x.copy(), xp.array(x), x.get(), copy.deepcopy(x), x.T @ x):
        other[...] = 7
    np.testing.assert_array_equal(host, X)
    np.testing.assert_array_equal(x.get(), X)
    assert xp.asarray(x) is x
    assert x.astype(xp.float32, copy=False) is x


def test_in_place_and_out_write_into_the_same_array():
    x = same = dev()
    x += 1
    x *= dev()
    assert xp.maximum(x, 0, out=x) is x
    assert x.sum(axis=0, out=x[0]).base is x
    assert x is same


@pytest.mark.parametrize("make", [xp.empty, lambda s, t: xp.empty_like(xp.zeros(s, t))])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint64"])
def test_empty_is_poisoned(make, dtype):
    a = make((2, 3), dtype).get()
    assert np.isnan(a).all() if dtype == "float32" else (a.view(np.uint8) == 0xCD).all()


@raising(
    IndexError,
    [
        ("out of bounds", lambda x: x[dev(np.array([3]))]),
        ("out of bounds", lambda x: x[3]),
        ("out of bounds", lambda x: xp.take(x, xp.asarray([12]))),
        ("out of bounds", lambda x: xp.take_along_axis(x, xp.full((3, 1), 4), 1)),
        ("out of bounds", lambda x: x.__setitem__(xp.asarray([5]), 0.0)),
        ("repeated", lambda x: x.__setitem__(xp.asarray([1, 1]), x[:2])),
        ("repeated", lambda x: x.__setitem__((xp.asarray([1, 1]), xp.asarray([2, 2])), x[0, :2])),
        ("repeated", lambda x: x.__setitem__(xp.asarray([2, -1]), x[:2])),
    ],
)
def test_indices_that_cupy_mistakes_in_silence(error, match, act):
    with pytest.raises(error, match=match):
        act(dev())


def test_defined_index_assignments_work():
    x, rows = dev(), xp.asarray([2, 0])
    x[rows, xp.asarray([1, 1])] = xp.asarray([5, 6])
    x[xp.asarray([1, 1])] = 0.5  # one value: every writer agrees
    x[0, :2] = 9
    assert x.tolist()[0][:2] == [9, 9]
    assert x.tolist()[1] == [0.5] * 4
    assert x[2, 1].item() == 5


# --- No mixing with the host ----------------------------------------------------------------------


@raising(
    TypeError,
    [
        ("never becomes", lambda x: np.asarray(x)),
        ("never becomes", lambda x: np.array([x, x])),
        ("never becomes", lambda x: X.copy().__setitem__(0, x[0])),
        ("never becomes", lambda x: xp.asarray([x, x])),
        ("numpy.sum", lambda x: np.sum(x)),
        ("numpy.concatenate", lambda x: np.concatenate([x, x])),
        ("ufunc", lambda x: np.exp(x)),
        ("ufunc", lambda x: np.add(X, x)),
        ("add.x1", lambda x: X + x),
        ("add.x2", lambda x: x + X),
        ("add.x2", lambda x: x.__iadd__(X)),
        ("matmul", lambda x: X.T @ x),
        ("equal", lambda x: x == X),
        ("equal", lambda x: x == None),  # noqa: E711
        ("add.x2", lambda x: x + [1, 2, 3, 4]),  # noqa: RUF005
        ("add.x2", lambda x: x + np.array(1.0)),
        ("index", lambda x: x[np.array([0])]),
        ("index", lambda x: x[[0, 1]]),
        ("index", lambda x: x[True]),
        ("index", lambda x: x.__setitem__(np.array([0]), 1.0)),
        ("assigned", lambda x: x.__setitem__(0, X[0])),
        ("assigned", lambda x: x.__setitem__(0, [1, 2, 3, 4])),
        ("fill", lambda x: x.fill(np.array(1.0))),
        ("sum.a", lambda x: xp.sum(X)),
        ("exp.x", lambda x: xp.exp([1.0])),
        ("sum.a", lambda x: xp.sum(1.0)),
        ("concatenate", lambda x: xp.concatenate([x, X])),
        ("concatenate", lambda x: xp.concatenate([x[0], 1.0])),
        ("where", lambda x: xp.where(x > 0, X, x)),
        ("where", lambda x: xp.where(X > 0, x, x)),
        ("copyto", lambda x: xp.copyto(x, X)),
        ("take", lambda x: xp.take(x, np.array([0]))),
        ("exp.out", lambda x: xp.exp(x, out=X.copy())),
        ("exp.out", lambda x: xp.exp(x, X.copy())),
        ("integer", lambda x: range(x.argmax())),
        ("integer", lambda x: xp.zeros(x.argmax())),
        ("slice indices", lambda x: x[: x.argmax()]),
        ("unhashable", lambda x: {x}),
        ("asarray", lambda x: xp.ndarray()),
    ],
)
def test_no_mixing_with_the_host(error, match, act):
    with pytest.raises(error, match=match):
        act(dev())


# --- Only what CuPy has ---------------------------------------------------------------------------


@raising(
    TypeError,
    [
        ("add.*where", lambda x: xp.add(x, x, where=x > 0)),
        ("sum.*where", lambda x: xp.sum(x, where=x > 0)),
        ("sum.*initial", lambda x: x.sum(initial=1)),
        ("max.*initial", lambda x: xp.max(x, initial=1)),
        ("mean.*where", lambda x: xp.mean(x, where=x > 0)),
        ("take.*mode", lambda x: xp.take(x, x.argmax(), mode="clip")),
        ("packbits.*axis", lambda x: xp.packbits(x > 0, axis=1)),
        ("unpackbits.*axis", lambda x: xp.unpackbits(dev(BITS), axis=1)),
        ("unpackbits.*count", lambda x: xp.unpackbits(dev(BITS), count=3)),
        ("einsum.*out", lambda x: xp.einsum("ij->i", x, out=x[:, 0])),
        ("clip.*a_max", lambda x: xp.clip(x, 0)),
        ("var.*correction", lambda x: xp.var(x, correction=1)),
    ],
)
def test_arguments_that_cupy_lacks(error, match, act):
    with pytest.raises(error, match=match):
        act(dev())


@pytest.mark.parametrize("name", ["random", "vectorize", "nan_to_nonsense", "matrix"])
def test_what_it_was_not_taught_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"no {name}, or strictdev has not"):
        getattr(xp, name)
    with pytest.raises(AttributeError, match=f"no {name}, or strictdev has not"):
        getattr(dev(), name)


def test_other_refusals():
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.asarray(["text"])
    with pytest.raises(ValueError, match="output array"):
        xp.dot(dev(), dev().T, out=xp.empty((3, 3), xp.float64))
    with pytest.raises(ValueError, match="output array"):
        xp.dot(dev(), dev().T, out=xp.empty((3, 3), xp.float32).T)
    with pytest.raises(ValueError, match="both"):
        xp.where(dev() > 0, dev())


def test_every_name_and_argument_exists_in_cupy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy looks for a CUDA installation
        cupy = pytest.importorskip("cupy", exc_type=ImportError)
    for name, function in {**xp._names, **xp._tricks}.items():
        real = getattr(cupy.lib.stride_tricks if name in xp._tricks else cupy, name)
        if not inspect.isfunction(real) or not hasattr(function, "__signature__"):
            continue  # ufuncs and dtypes: that the name exists is all that can be asked
        theirs = list(inspect.signature(real).parameters.values())
        places = {p.name: i for i, p in enumerate(theirs)}
        open_ended = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in theirs)
        for i, p in enumerate(function.__signature__.parameters.values()):
            assert p.name in places or open_ended, f"{name}({p.name})"
            assert open_ended or p.kind is p.KEYWORD_ONLY or places[p.name] == i, f"{name}({p})"
    ours_alone = {"_a", "__getattr__", "__slots__", "__weakref__", "__annotations__"}
    assert set(dir(xp.ndarray)) - set(dir(cupy.ndarray)) <= ours_alone


# --- Nothing leaves unseen -----------------------------------------------------------------------

READS = {
    "float": lambda x: float(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "bool": lambda x: bool(x[0, 0]),
    "if": lambda x: 1 if x.sum() else 0,
    "item": lambda x: x[0, 0].item(),
    "tolist": lambda x: x.tolist(),
    "get": lambda x: x.get(),
    "get into": lambda x: x.get(out=np.empty_like(X)),
    "asnumpy": lambda x: xp.asnumpy(x),
    "str": lambda x: str(x),
    "format": lambda x: f"{x.sum():.2f}",
    "pickle": lambda x: pickle.dumps(x),
    "in a list": lambda x: x[0, 0] in [x[0, 1] - x[0, 1]],
    "nonzero": lambda x: xp.nonzero(x),
    "one-argument where": lambda x: xp.where(x > 0),
    "unique": lambda x: xp.unique(x),
    "bincount": lambda x: xp.bincount(x.argmax(axis=1)),
    "mask read": lambda x: x[x > 0],
    "mask assignment": lambda x: x.__setitem__(x > 0, x.dtype.type(0) * x[0, 0]),
    "shares_memory": lambda x: xp.shares_memory(x, x),
    "sliding_window_view": lambda x: xp.lib.stride_tricks.sliding_window_view(x, (2, 2)),
    "synchronize": lambda x: xp.synchronize(),
}
UPLOADS = {
    "array": lambda x: xp.asarray(X),
    "list": lambda x: xp.array([1.0, 2.0]),
    "scalar": lambda x: xp.asarray(1.0),
    "scalar through indices": lambda x: x.__setitem__(x.argmax(axis=1) % 3, 1.0),
}
FREE = {
    "knowledge": lambda x: (len(x), x.shape, x.size, x.dtype, x.flags, x.base, x.nbytes),
    "repr": lambda x: repr(x),
    "iteration": lambda x: [row + 1 for row in x],
    "arithmetic": lambda x: (x @ x.T).sum() / 3,
    "reductions": lambda x: (x.max(), x.argmax(), xp.count_nonzero(x), xp.allclose(x, x)),
    "three-argument where": lambda x: xp.where(x > 0, x, 0),
    "copyto": lambda x: xp.copyto(x, 0.0, where=x > 0),
    "take": lambda x: x[xp.arange(3), x.argmax(axis=1)],
    "slice assignment": lambda x: x.__setitem__(slice(1), 0),
    "device asarray": lambda x: xp.asarray(x, xp.float64),
    "creation": lambda x: xp.full((), 3.0) + xp.empty_like(x),
    "may_share_memory": lambda x: xp.may_share_memory(x, x.T),
}


@pytest.mark.parametrize("name", READS)
def test_reads_are_counted_and_forbidden(name):
    x = dev()
    before = xp.readbacks()
    with xp.count_readbacks() as reads, xp.count_uploads() as ups:
        READS[name](x)
    assert (reads.count, ups.count) == (1, 0)
    assert xp.readbacks() == before + 1
    with xp.no_sync(), pytest.raises(xp.DeviceSynchronized, match="read-back"):
        READS[name](x)


@pytest.mark.parametrize("name", UPLOADS)
def test_uploads_are_counted_and_forbidden(name):
    x = dev()
    before = xp.uploads()
    with xp.count_readbacks() as reads, xp.count_uploads() as ups:
        UPLOADS[name](x)
    assert (reads.count, ups.count) == (0, 1)
    assert xp.uploads() == before + 1
    with xp.no_sync(), pytest.raises(xp.DeviceSynchronized, match="upload"):
        UPLOADS[name](x)


@pytest.mark.parametrize("name", FREE)
def test_free_operations_are_neither(name):
    x = dev()
    with xp.no_sync(), xp.count_readbacks() as reads, xp.count_uploads() as ups:
        FREE[name](x)
    assert (reads.count, ups.count) == (0, 0)


def test_guards_nest_and_close_after_an_error():
    x = dev()
    with xp.no_sync():
        with xp.no_sync(), pytest.raises(xp.DeviceSynchronized):
            x.get()
        with pytest.raises(xp.DeviceSynchronized):
            x.get()
    with pytest.raises(ZeroDivisionError), xp.no_sync(), xp.count_readbacks() as outer:
        1 / 0  # noqa: B018
    x.get()
    assert outer.count == 0


@pytest.mark.parametrize("illegal", [float, lambda x: xp.asarray(1.0), lambda x: x.get()])
def test_an_illegal_call_invalidates_a_capture_until_its_end(illegal):
    """As CUDA says: every use of the stream is an error then, the question included."""
    cuda, x = xp.cuda, xp.asarray(2.0)
    stream, pool = cuda.Stream(non_blocking=True), cuda.MemoryPool()
    with stream, cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        assert stream.is_capturing()
        with pytest.raises(xp.DeviceSynchronized, match="a capture forbids it"):
            illegal(x)
        for use in (stream.is_capturing, stream.record, lambda: x + 1, lambda: illegal(x)):
            with pytest.raises(cuda.CaptureInvalidated, match="StreamCaptureInvalidated"):
                use()
        with pytest.raises(cuda.CaptureInvalidated):
            stream.end_capture()
        assert not stream.is_capturing()
        with pytest.raises(RuntimeError, match="IllegalState"):
            stream.end_capture()
        assert float(x + 1) == 3
        stream.begin_capture()
        y = x * 2
        graph = stream.end_capture()
        graph.launch()
        assert float(y) == 4


def test_a_graph_whose_memory_was_given_back_is_not_launched(monkeypatch):
    cuda, x = xp.cuda, xp.asarray([2.0])
    stream, pool = cuda.Stream(non_blocking=True), cuda.MemoryPool()
    with stream, cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        y = x * 2
        graph = stream.end_capture()
    graph.launch()
    assert y.tolist() == [4]
    before = cuda.Memory.used
    pool.free_all_blocks()
    assert cuda.Memory.used == before - y.nbytes
    with pytest.raises(cuda.IllegalAddress):
        graph.launch()
    monkeypatch.setattr(cuda.Memory, "limit", cuda.Memory.used + 10)
    assert pool.malloc(8).mem.size == 8
    assert pool.malloc(9).mem.size == 9  # after it gave the 8 back
    with pytest.raises(cuda.CUDARuntimeError, match="out of memory"):
        pool.malloc(11)


def test_reductions_and_elements_stay_on_the_device():
    x = dev()
    for value in (x.sum(), x[0, 0], xp.add(1, 2), xp.count_nonzero(x), xp.array_equal(x, x)):
        assert type(value) is xp.ndarray
        assert value.shape == ()
    assert repr(x) == "<strictdev.ndarray shape=(3, 4) dtype=float32>"
    assert pickle.loads(pickle.dumps(x)).tolist() == X.tolist()
    assert xp.may_share_memory(x, x.T) is True
    assert xp.shares_memory(x, x.copy()) is False
    assert (x.get(out=np.zeros_like(X)) == X).all()
    with pytest.raises(ValueError, match="size 1"):
        bool(x)


@pytest.mark.parametrize("mode", ["warn", "raise"])  # pytest turns warnings into errors
def test_bad_arithmetic_passes_in_silence(mode):
    x = xp.asarray([0.0, -1.0, 3e38], xp.float32)
    n = xp.asarray([1, 0])
    with np.errstate(all=mode):
        bad = [x / 0, xp.log(x), x * 10, x * xp.inf, n // 0, x[:0].mean(), xp.exp(x), x.astype(int)]
        n[:] = x[1:] * xp.nan
    assert [b.size for b in bad] == [3, 3, 3, 3, 2, 1, 3, 3]
