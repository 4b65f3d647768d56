"""The CPU's primitives in C: equal to NumPy's, and left out whenever anything about them is wrong."""

from __future__ import annotations

import ctypes.util
import os
import re
import shutil
import subprocess
import sys
import types
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cases_of_operations import adam_scalars
from devices import built

from minibnn.backend import CPU, NumpyBackend
from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.cpu import c_kernels as compiled
from minibnn.functions.signs import binary_sign, straight_through_gradient
from minibnn.layers.norm import batch_norm, batch_norm_gradient, normalize
from minibnn.layers.reshape import rescale
from minibnn.losses.cross_entropy import log_softmax
from minibnn.optimizers.adam import adam

NUMPY = NumpyBackend()
SHAPES = [(1, 1), (3, 7), (64, 10), (65, 1024), (130, 1025), (2, 3000), (5, 0)]


def awkward(rng, shape):
    """Ordinary values, both zeros, infinities, nan, and numbers too small for full precision."""
    x = rng.standard_normal(shape).astype(np.float32)
    for value in (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0):
        x[rng.random(shape) < 0.03] = value
    return x


def same_bits(got, expected):
    """Except that there is more than one nan."""
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), ~number)
    assert (got.view(np.uint32) == expected.view(np.uint32))[number].all()


@built
@pytest.mark.parametrize("shape", SHAPES)
def test_c_equals_numpy_to_the_last_bit(shape, rng):
    x, dy = awkward(rng, shape), awkward(rng, shape)
    with np.errstate(invalid="ignore"):
        for got, expected in (
            (CPU.run(binary_sign, x), NUMPY.run(binary_sign, x)),
            (
                CPU.run(straight_through_gradient, dy, x, 1.0),
                NUMPY.run(straight_through_gradient, dy, x, 1.0),
            ),
        ):
            assert got.dtype == np.float32
            assert got.shape == shape
            same_bits(got, expected)


@built
@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0.0), (2 / 255, -1.0), (-0.5, 3.0)])
def test_pixels_in_c_equal_numpy_to_the_last_bit(scale, offset):
    x = np.arange(256, dtype=np.uint8).reshape(4, 64)
    for a in (x, x[:, ::2], x.astype(np.int8), x[:0]):
        got = CPU.run(rescale, a, scale, offset, np.dtype(np.float32))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, NUMPY.run(rescale, a, scale, offset, np.float32))
    wide = CPU.run(rescale, x, scale, offset, np.dtype(np.float64))
    np.testing.assert_array_equal(wide, x * scale + offset)


@built
@pytest.mark.parametrize("size", [1, 15, 4097])
@pytest.mark.parametrize("bound", [None, 0.5])
def test_adam_in_c_equals_numpy_to_the_last_bit(size, bound, rng):
    ours = [awkward(rng, size) for _ in range(2)] + [np.zeros(size, np.float32) for _ in range(2)]
    theirs = [a.copy() for a in ours]
    with np.errstate(invalid="ignore"):
        for step in range(1, 8):
            given = *adam_scalars(0.01, step), 0.9, 0.999, bound
            CPU.run(adam, *ours, *given)
            NUMPY.run(adam, *theirs, *given)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# (batch, ..., channels): wider and longer than the blocks in which C adds up, and beside their ends.
BATCHES = [(2, 3), (100, 256), (65, 1025), (9, 26, 26, 32), (50, 64, 1), (20, 50177, 1), (3, 1, 2)]
# Each takes float32 in a body of its own: C, NumPy, and the reference as it is written.
BODIES = [CPU.run, NUMPY.run, lambda reference, *args: reference(*args)]
every_body = pytest.mark.parametrize("run", BODIES, ids=["C", "NumPy", "reference"])


def norm_case(rng, shape):
    """x, dy, gamma and beta, with another mean of x for each position and channel."""
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    gamma, beta = (rng.standard_normal(shape[-1]).astype(np.float32) for _ in range(2))
    return x + 3 * rng.standard_normal(shape[1:]).astype(np.float32), dy, gamma, beta


def by_channel(a, channels):
    """A value of each channel in a row; what there is one of for each is one row."""
    return a.reshape(-1, channels)


@built
@every_body
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", BATCHES)
def test_batch_norm_is_as_good_as_float64s(shape, scale, run, rng):
    """They add up in other orders; measured against float64, none is worse than 3 roundings."""
    x, _, gamma, beta = norm_case(rng, shape)
    gamma, channels = (gamma if scale else 1), shape[-1]
    got = run(batch_norm, x, gamma, beta, 1e-5)
    wide = [a if isinstance(a, int) else a.astype(np.float64) for a in (x, gamma, beta)]
    exact = batch_norm(*wide, 1e-5)
    # A mean is off by roundings of its channel's greatest number, which the spread then divides.
    values = by_channel(x, channels)
    spread = np.sqrt(values.var(axis=0, dtype=np.float64) + 1e-5)
    three = 3 * np.finfo(np.float32).eps * abs(values).max(axis=0) / spread
    for g, e in list(zip(got, exact, strict=True))[1:]:  # y follows from them: see below
        assert (g.dtype, g.shape) == (np.float32, e.shape)
        error = abs(by_channel(g - e, channels))
        assert (error <= three + 2e-6 * abs(by_channel(e, channels))).all()


@built
@every_body
@pytest.mark.parametrize("shape", BATCHES)
def test_the_sums_of_batch_norms_gradient_are_accurate(shape, run, rng):
    x_hat, dy, gamma, inv_std = norm_case(rng, shape)
    sums = np.full((2, shape[-1]), np.nan, np.float32)
    run(batch_norm_gradient, dy, x_hat, inv_std, gamma, *sums, True)
    again = np.full((2, shape[-1]), np.nan, np.float32)
    assert run(batch_norm_gradient, dy, x_hat, inv_std, gamma, *again, False) is None
    np.testing.assert_array_equal(sums, again)
    alone = np.full(shape[-1], np.nan, np.float32)
    assert run(batch_norm_gradient, dy, x_hat, inv_std, 1, None, alone, False) is None
    np.testing.assert_array_equal(alone, sums[1])
    for got, terms in zip(
        sums, (dy.astype(np.float64) * x_hat, dy.astype(np.float64)), strict=True
    ):
        terms = by_channel(terms, shape[-1])
        assert (abs(got - terms.sum(axis=0)) <= 3e-7 * abs(terms).sum(axis=0)).all()


@built
@every_body
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", BATCHES)
def test_but_for_its_sums_batch_norm_is_the_same_to_the_last_bit(shape, scale, run, rng):
    """From the sums that a body has found, everything else follows exactly."""
    x, dy, gamma, beta = norm_case(rng, shape)
    gamma, n = (gamma if scale else 1), x.size // shape[-1]
    x[..., 0], dy[..., 0] = awkward(rng, shape[:-1]), awkward(rng, shape[:-1])
    with np.errstate(all="ignore"):
        y, x_hat, mean, var, inv_std = run(batch_norm, x, gamma, beta, 1e-5)
        same_bits(inv_std, np.sqrt(var + np.float32(1e-5)) / (var + np.float32(1e-5)))
        same_bits(x_hat, (x - mean) * inv_std)
        same_bits(y, gamma * x_hat + beta)

        dgamma, dbeta = np.empty((2, shape[-1]), np.float32)
        dx = run(batch_norm_gradient, dy, x_hat, inv_std, gamma, dgamma, dbeta, True)
        s = gamma * inv_std
        same_bits(dx, s * dy - (s * dgamma / n) * x_hat - s * dbeta / n)
        same_bits(dx, run(batch_norm_gradient, dy, x_hat, inv_std, gamma, None, dbeta, True))

        same_bits(run(normalize, x, mean, inv_std, beta), (x - mean) * inv_std + beta)


@built
@pytest.mark.parametrize("shape", [(1, 1), (64, 10), (7, 40), (7, 41)])
def test_softmax_in_c_equals_numpys(shape, rng):
    """To a few roundings of the larger term: the exponential is another one."""
    x = (rng.standard_normal(shape) * 20).astype(np.float32)
    for got, expected in zip(CPU.run(log_softmax, x), log_softmax(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)
    x = np.array([[1e4, 0], [np.inf, 0], [np.nan, 0], [0, np.nan], [-np.inf, 0]], np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        for got, expected in zip(CPU.run(log_softmax, x), log_softmax(x), strict=True):
            np.testing.assert_array_equal(got, expected)


@built
@every_body
def test_a_variance_that_overflows_shows_as_nan(run):
    x, beta = np.array([[1e30, 1.0], [-1e30, 2.0]], np.float32), np.zeros(2, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        y, x_hat, _, var, inv_std = run(batch_norm, x, 1, beta, 1e-5)
    assert np.isinf(var[0])
    assert np.isnan(inv_std[0])
    for a in (y, x_hat):
        assert np.isnan(a[:, 0]).all()
        assert np.isfinite(a[:, 1]).all()


@built
def test_what_c_cannot_take_goes_to_numpy(rng, monkeypatch):
    """Gaps, column order, float64, read-only arrays; and shapes that do not fit raise as ever."""

    def refuse(*args):
        raise AssertionError("the C body was called")

    x = rng.standard_normal((8, 6)).astype(np.float32)
    frozen = x.copy()
    frozen.flags.writeable = False
    strange = [x[::2], x[:, ::2], np.asfortranarray(x), x.astype(np.float64), frozen]
    for name in (
        "binary_sign",
        "straight_through_gradient",
        "adam",
        "batch_norm",
        "batch_norm_dx",
        "column_dots",
    ):
        monkeypatch.setattr(CPU.c, name, refuse)
    for a in strange:
        v = np.ones(a.shape[1], a.dtype)
        np.testing.assert_array_equal(CPU.run(binary_sign, a), NUMPY.run(binary_sign, a))
        np.testing.assert_array_equal(
            CPU.run(straight_through_gradient, a, a, 1.0),
            NUMPY.run(straight_through_gradient, a, a, 1.0),
        )
        for x3 in (a, a[:, None], a[..., None]):
            one = np.ones(x3.shape[-1], a.dtype)
            for got, expected in zip(
                CPU.run(batch_norm, x3, one, one, 1e-5), batch_norm(x3, one, one, 1e-5), strict=True
            ):
                assert got.dtype == a.dtype
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
            sums = np.empty((2, 2, *one.shape), a.dtype)
            got = CPU.run(batch_norm_gradient, x3, x3, one, one, *sums[0], True)
            expected = batch_norm_gradient(x3, x3, one, one, *sums[1], True)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(*sums, rtol=1e-5, atol=1e-6)
    short, v = np.ones(5, np.float32), np.ones(6, np.float32)
    for call in (
        lambda: CPU.run(straight_through_gradient, x, x[:7].copy(), 1.0),
        lambda: CPU.run(batch_norm, x, short, x[0], 1e-5),
        lambda: CPU.run(batch_norm, x, x[0], short, 1e-5),
        lambda: CPU.run(batch_norm_gradient, x, x[:, :5].copy(), v, v, v.copy(), v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, short, v, v.copy(), v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, v, short, v.copy(), v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, v, v, short, v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, v, v, v.copy(), short, True),
        lambda: CPU.run(normalize, x, short, v, v),
        lambda: CPU.run(adam, x[0], short, x[1], x[2], 0.01, 1e-8, 0.9, 0.999, None),
    ):
        with pytest.raises(ValueError, match=r"broadcast|mismatch"):
            call()
    deep = rng.standard_normal((3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(
        CPU.run(straight_through_gradient, x, x, x), NUMPY.run(straight_through_gradient, x, x, x)
    )
    # What NumPy repeats, C would read beyond: each array alone in another shape.
    one = np.ones(1, np.float32)
    for gamma, beta in ((one, v), (v, one), (one, one), (x, v), (v, x)):
        for got, expected in zip(
            CPU.run(batch_norm, x, gamma, beta, 1e-5), batch_norm(x, gamma, beta, 1e-5), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
    wide = x.astype(np.float64), v.astype(np.float64)
    for x_hat, inv_std, gamma in (
        (x[:1].copy(), v, v),
        (wide[0], v, v),
        (x, wide[1], v),
        (x, v, wide[1]),
        (x, one, v),
        (x, v, one),
        (x, v, x),
    ):
        got, expected = (
            run(batch_norm_gradient, x, x_hat, inv_std, gamma, v.copy(), v.copy(), True)
            for run in BODIES[::2]
        )
        np.testing.assert_array_equal(got, expected)
    for small in ((one, v, v), (v, one, v), (v, v, one), (x, v, v)):
        np.testing.assert_array_equal(CPU.run(normalize, x, *small), normalize(x, *small))
    empty = np.zeros((0, 4, 6), np.float32)
    assert CPU.run(normalize, empty, v, v, v).shape == (0, 4, 6)
    assert CPU.run(batch_norm_gradient, empty, empty, v, v, v * 7, v * 7, False) is None
    for call in (
        lambda: CPU.run(log_softmax, deep[0, 0]),
        lambda: CPU.run(log_softmax, deep[:, :0, 0]),
    ):
        with pytest.raises((ValueError, IndexError)):
            call()


@built
def test_a_library_of_another_source_is_left_out(tmp_path, monkeypatch, caplog):
    changed = tmp_path / "kernels.c"
    changed.write_bytes(Path(compiled.SOURCE).read_bytes() + b"\n")
    monkeypatch.setattr(compiled, "SOURCE", str(changed))
    assert compiled.open_library() is None
    assert "_kernels.so is left out: it was built from another kernels.c" in caplog.text
    assert 'pip install -e "."' in caplog.text


def sealed(library):
    """Write the seal that a build would have written beside a file."""
    data = library.read_bytes()
    library.with_suffix(".seal").write_text(f"{len(data)} {zlib.crc32(data)}\n")


@built
@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (b"", "file too short"),
        (b"not a library" * 9, "invalid ELF header"),
        ("another machine's", "wrong ELF class|cannot open shared object file|invalid ELF"),
        ("another one", "undefined symbol"),
    ],
)
def test_what_is_no_library_of_ours_is_left_out(library, reason, tmp_path, monkeypatch, caplog):
    if not sys.platform.startswith("linux"):
        pytest.skip("the messages are Linux's")
    file = tmp_path / "_kernels.so"
    if library == "another one":
        mapped = Path("/proc/self/maps").read_text().split()  # NumPy has loaded it
        shutil.copy(next(w for w in mapped if ctypes.util.find_library("m") in w), file)
    elif isinstance(library, str):
        header = bytearray(Path(compiled.LIBRARY).read_bytes())
        header[4] = 3 - header[4]  # 32 bits for 64
        file.write_bytes(header)
    else:
        file.write_bytes(library)
    sealed(file)
    monkeypatch.setattr(compiled, "LIBRARY", str(file))
    assert compiled.open_library() is None
    assert re.search(reason, caplog.text)


@built
def test_no_damaged_library_is_loaded():
    """Cut off, with pages of zeros, with a bit changed: a warning, where loading ends the process."""
    command = [sys.executable, str(Path(__file__).parents[2] / "fuzz" / "fuzz_kernels.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": 0 not as they should be\n")


@built
@pytest.mark.parametrize("kind", ["no seal", "a folder", "a pipe", "a device", "a seal of nothing"])
def test_what_cannot_be_a_library_is_left_out(kind, tmp_path, monkeypatch, caplog):
    file = tmp_path / "_kernels.so"
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a device":
        file.symlink_to("/dev/zero")
    else:
        shutil.copy(compiled.LIBRARY, file)
    if kind == "a seal of nothing":
        (tmp_path / "_kernels.seal").write_text("")
    monkeypatch.setattr(compiled, "LIBRARY", str(file))
    assert compiled.open_library() is None
    assert "_kernels.so is left out" in caplog.text
    assert 'pip install -e "."' in caplog.text


@built
@pytest.mark.parametrize("name", ["SEAL", "SOURCE"])
def test_a_pipe_beside_the_library_is_not_waited_for(name, tmp_path):
    pipe = tmp_path / "_kernels.seal"
    os.mkfifo(pipe)
    shutil.copy(compiled.LIBRARY, tmp_path / "_kernels.so")
    change = {"SEAL": ("LIBRARY", tmp_path / "_kernels.so"), "SOURCE": ("SOURCE", pipe)}[name]
    code = (
        "from minibnn.backend.cpu import c_kernels as compiled\n"
        f"compiled.{change[0]} = {str(change[1])!r}\n"
        "print(compiled.open_library())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "None\n"
    assert "_kernels.so is left out" in done.stderr


@built
def test_without_its_source_the_library_is_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "SOURCE", str(tmp_path / "kernels.c"))
    assert compiled.open_library() is None
    assert "No such file" in caplog.text


def test_without_the_library_everything_runs_on_numpy(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "LIBRARY", str(tmp_path / "none.so"))
    assert compiled.open_library() is None
    code = "import minibnn; print(type(minibnn.get_backend('cpu')).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MINIBNN_COMPILED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "NumpyBackend\n"


@pytest.fixture
def build(monkeypatch):
    """`tools/build_kernels.py`, without hatchling, which only an installation has."""
    hook = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    hook.BuildHookInterface = dict  # something that can be subscripted and derived from
    tags = types.ModuleType("packaging.tags")
    tags.platform_tags = lambda: iter(["linux_x86_64"])
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "hatchling.builders.hooks.plugin", types.ModuleType("plugin"))
    monkeypatch.setitem(sys.modules, hook.__name__, hook)
    monkeypatch.setitem(sys.modules, tags.__name__, tags)
    path = Path(compiled.SOURCE).parents[3] / "tools" / "build_kernels.py"
    module = types.ModuleType("build_kernels")
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_kernels_compile_without_a_warning(build, tmp_path, monkeypatch):
    shutil.copy(compiled.SOURCE, tmp_path)
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-Wall", "-Wextra", "-Werror"])
    assert build.compile_kernels(tmp_path) is None
    monkeypatch.delenv("MINIBNN_COMPILED", raising=False)
    monkeypatch.setattr(compiled, "LIBRARY", str(tmp_path / "_kernels.so"))
    library = compiled.open_library()
    assert library is not None
    assert CompiledBackend(library).run(binary_sign, np.zeros(3, np.float32)).tolist() == [1, 1, 1]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "_kernels.seal",
        "_kernels.so",
        "kernels.c",
    ]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_failed_build_says_why_and_leaves_no_old_library(build, tmp_path):
    (tmp_path / "kernels.c").write_text("this is not C\n")
    (tmp_path / "_kernels.so").write_text("of yesterday")
    sealed(tmp_path / "_kernels.so")
    problem = build.compile_kernels(tmp_path)
    assert "kernels.c:1" in problem
    assert [p.name for p in tmp_path.iterdir()] == ["kernels.c"]


def test_a_build_that_is_killed_leaves_nothing_that_is_loaded(build, tmp_path, monkeypatch, caplog):
    """At each of its writes; the next one that is whole clears up what the killed ones left."""
    shutil.copy(compiled.SOURCE, tmp_path)
    compiler = tmp_path / "compiler"  # which writes what it is told to into the file after -o
    compiler.write_text(f"""#!{sys.executable}
import sys
open(sys.argv[sys.argv.index("-o") + 1], "wb").write({"x" * 9999!r}.encode())
""")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.delenv("MINIBNN_COMPILED", raising=False)
    monkeypatch.setattr(compiled, "LIBRARY", str(tmp_path / "_kernels.so"))
    (tmp_path / "_kernels.so").write_bytes(b"of yesterday")
    sealed(tmp_path / "_kernels.so")
    for name, when in product(("write_bytes", "replace"), (1, 2)):
        calls, do = [], getattr(Path, name)

        def killed(self, *args, name=name, when=when, calls=calls, do=do):
            calls.append(self)
            if len(calls) < when:
                return do(self, *args)
            if name == "write_bytes":
                do(self, args[0][: len(args[0]) // 2])
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, name, killed)
            with pytest.raises(KeyboardInterrupt):
                build.compile_kernels(tmp_path)
        assert (tmp_path / "_kernels.so").read_bytes() == b"of yesterday"
    left = sorted(p.name for p in tmp_path.iterdir() if p.name.endswith(".part"))
    assert left
    for name in left:
        os.utime(tmp_path / name, (0, 0))
    assert build.compile_kernels(tmp_path) is None
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]
    assert compiled.open_library() is None  # it is whole, and no library
    assert "invalid ELF header" in caplog.text or "file too short" in caplog.text


def test_no_compiler_is_no_failure(build, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.sysconfig, "get_config_var", lambda name: None)
    assert build.compile_kernels(tmp_path) == "no C compiler was found"
