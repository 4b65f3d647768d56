"""A strict stand-in for CuPy: code that would fail or wait on a GPU fails here, without a GPU.

`import strictdev as xp` gives array code a module with CuPy's names and NumPy's arithmetic. Where
CuPy differs from NumPy, or quietly does something slow or wrong, this module raises instead:

- No mixing with the host. NumPy functions on a device array, and host arrays as operands, indices
  or assigned values, raise TypeError. (CuPy hands `np.f(x)` to itself, which hides the bug,
  and accepts host indices by copying them to the device at every call.)
- Only what CuPy has. A function or an argument that CuPy lacks, such as `where=` in a ufunc or in
  a reduction, `mode=` in `take` and `axis=` in `packbits`, is an error. So is `__index__`: a device
  integer serves neither as a shape nor as a slice bound.
- Nothing leaves unseen. Reductions and `a[i, j]` give 0-d device arrays. All that waits for the
  device (`float`, `item`, `get`, `print`, `if x`, `nonzero`, boolean masks, read or assigned) is
  counted by `readbacks()`, and raises DeviceSynchronized inside `no_sync()`; so do uploads, since a
  CUDA graph can capture neither. One deviation: `repr` shows no data, so that a failing assert
  neither waits nor hides its own message.
- No lucky memory. `empty` is poisoned; an index out of range raises (CuPy wraps it silently), and
  so does assigning an array through repeated indices (on a GPU any of the writers may win).
- No warnings. NaN, overflow and division by zero pass in silence, as they do on a GPU.

Streams capture graphs as described in `strictcuda`: `with capturing(): ...`, or `cuda.Stream`.

`__cuda_array_interface__` raises ReadTooEarly, unless the stream was synchronized after its last
work: MPI reads at once.

Kernels, float-to-unsigned casts of negative numbers and summation order are not imitated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import strictcuda as cuda
from strictcuda import Graph, perform, poison

__version__ = "strict"

# --- What crosses between host and device -----------------------------------------------------


class DeviceSynchronized(RuntimeError):  # noqa: N818 (CuPy's name)
    """The host waited for the device, or uploaded to it, inside `no_sync()`."""


class ReadTooEarly(RuntimeError):  # noqa: N818
    """Somebody who knows nothing of streams was given an array that is not computed yet."""


@dataclass(eq=False)
class Counter:
    """How often something happened while this counter was active."""

    count: int = 0


class _Traffic:
    """Counts one kind of crossing, or refuses it."""

    forbidden = 0  # how many no_sync() blocks are open; shared by both kinds

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.listeners = [Counter()]  # the first one listens for ever

    def happen(self, who: str) -> None:
        cuda.check_device()
        graph = cuda.capturing()
        if graph is not None:
            graph.invalid = True
            raise DeviceSynchronized(f"{who} is a {self.kind}, and a capture forbids it")
        if _Traffic.forbidden:
            raise DeviceSynchronized(f"{who} is a {self.kind}, and no_sync() forbids it")
        for counter in self.listeners:
            counter.count += 1

    @contextmanager
    def listen(self) -> Iterator[Counter]:
        counter = Counter()
        self.listeners.append(counter)
        try:
            yield counter
        finally:
            self.listeners.remove(counter)

    def total(self) -> int:
        return self.listeners[0].count


_readbacks, _uploads = _Traffic("read-back"), _Traffic("upload")
readbacks, count_readbacks = _readbacks.total, _readbacks.listen
uploads, count_uploads = _uploads.total, _uploads.listen


@contextmanager
def no_sync() -> Iterator[None]:
    """A context in which waiting for the device, or uploading to it, raises DeviceSynchronized."""
    _Traffic.forbidden += 1
    try:
        yield
    finally:
        _Traffic.forbidden -= 1


@contextmanager
def capturing() -> Iterator[Graph]:
    """A context in which operations are captured instead of performed; it gives their graph."""
    stream, pool = cuda.Stream(non_blocking=True), cuda.MemoryPool()
    with stream, cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        graph = stream.graph
        assert graph is not None
        try:
            yield graph
        except BaseException:
            with suppress(cuda.CaptureInvalidated):
                stream.end_capture()
            raise
        stream.end_capture()


def get_default_memory_pool() -> cuda.MemoryPool:
    """The pool for everything that is allocated outside captures."""
    return cuda.default_memory_pool


def synchronize() -> None:
    """Wait for the device; on CuPy, `cupy.cuda.Device().synchronize()`."""
    _readbacks.happen("synchronize()")


# --- Between a device array and the NumPy array inside it -------------------------------------

_SCALARS = (bool, int, float, complex, np.number, np.bool_)
_wrappers: WeakValueDictionary[int, ndarray] = WeakValueDictionary()  # id(host array) -> wrapper


def _unwrap(value: Any, who: str, scalars: bool = True) -> Any:
    if isinstance(value, ndarray):
        return value._a
    if scalars and isinstance(value, _SCALARS):
        return value
    wanted = "a device array or a scalar" if scalars else "a device array"
    raise TypeError(f"{who}: expected {wanted}, got {type(value)}; upload it with asarray()")


def _wrap(value: Any) -> Any:
    """Give the device array for a NumPy result; the same NumPy array gives the same wrapper."""
    if value is None or isinstance(value, np.dtype):
        return value
    if isinstance(value, tuple | list):
        return type(value)(_wrap(v) for v in value)
    a = np.asarray(value)
    if a.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {a.dtype}: a device array holds numbers only")
    wrapper = _wrappers.get(id(a))
    if wrapper is None:
        wrapper = _wrappers[id(a)] = object.__new__(ndarray)
        wrapper._a = a
    return wrapper


def _quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
        return function(*args, **kwargs)


# --- The device array -------------------------------------------------------------------------


class ndarray:  # noqa: N801 (CuPy's name)
    """An array on the pretended device. The loops below the class add what tables describe."""

    __slots__ = ("__weakref__", "_a")
    __array_ufunc__ = None  # NumPy's operators and ufuncs refuse it
    __hash__ = None  # type: ignore[assignment]
    _a: np.ndarray[Any, Any]

    def __init__(self) -> None:
        raise TypeError("make device arrays with asarray(), zeros(), empty(), ...")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"cupy.ndarray has no {name}, or strictdev has not been taught it")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("a device array never becomes a NumPy array by itself; call .get()")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was called on a device array; use xp's")

    # Reads: each one waits for the device.
    def get(self, *, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        _readbacks.happen("get()")
        if out is None:
            return self._a.copy()
        np.copyto(out, self._a, casting="no")
        return out

    def item(self) -> Any:
        _readbacks.happen("reading one element")
        return self._a.item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:  # pickle
        return asarray, (self.get(),)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    # Known to the host, without waiting.
    def __repr__(self) -> str:
        return f"<strictdev.ndarray shape={self.shape} dtype={self.dtype}>"

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    @property
    def flags(self) -> SimpleNamespace:
        layout = self._a.flags
        return SimpleNamespace(c_contiguous=layout.c_contiguous, f_contiguous=layout.f_contiguous)

    @property
    def base(self) -> ndarray | None:
        owner = self._a
        while getattr(owner, "base", None) is not None:
            owner = owner.base
        return None if owner is self._a else _wrap(owner)

    # Addresses, for NCCL and for an MPI that takes the arrays of a GPU.
    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self._a.ctypes.data, device_id=cuda.Device.home)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if cuda.get_current_stream().busy:
            raise ReadTooEarly("an address was taken while its stream still computes")
        return {
            "shape": self.shape, "typestr": self.dtype.str, "strides": None, "version": 3,
            "data": (self.data.ptr, False),
        }  # fmt: skip

    @property
    def T(self) -> ndarray:  # noqa: N802 (CuPy's name)
        return self.transpose()

    def __getitem__(self, key: Any) -> Any:
        key = _index(key)[0]
        return _wrap(perform("indexing", _take_item, (self._a, key), {}))

    def __setitem__(self, key: Any, value: Any) -> None:
        key, by_arrays = _index(key)
        host = _unwrap(value, "assigned value")
        if by_arrays and host is value:
            _uploads.happen("assigning a Python scalar through an index array")
        if by_arrays and np.size(host) > 1:
            positions = np.arange(self.size).reshape(self.shape)[key]
            if np.unique(positions).size < positions.size:
                raise IndexError("repeated indices in an assignment: the last writer is undefined")
        _quietly(perform, "assignment", _put_item, (self._a, key, host), {}, self._a)

    def fill(self, value: Any) -> None:
        host = _unwrap(value, "fill()")
        _quietly(perform, "fill", np.ndarray.fill, (self._a, host), {}, self._a)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> ndarray:
        return _functions["clip"](self, min, max, out)


def _take_item(a: np.ndarray[Any, Any], key: Any) -> Any:
    return a[key]


def _put_item(a: np.ndarray[Any, Any], key: Any, value: Any) -> None:
    a[key] = value


def _index(key: Any) -> tuple[tuple[Any, ...], bool]:
    """Unwrap an index; say also whether arrays are in it."""
    parts, by_arrays = [], False
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, ndarray):
            if part.dtype == bool:
                _readbacks.happen("indexing with a boolean mask")  # CuPy must count what is true
            by_arrays = True
            parts.append(part._a)
        elif (
            part is None
            or part is ...
            or (isinstance(part, slice | int | np.integer) and not isinstance(part, bool))
        ):
            parts.append(part)
        else:
            raise TypeError(f"index: expected device arrays, integers or slices, got {type(part)}")
    if not any(part is ... for part in parts):
        parts.append(...)  # a NumPy scalar becomes a 0-d view
    return tuple(parts), by_arrays


# --- The functions: CuPy's signature -> the names that have it --------------------------------

_UFUNC = "out=None, *, dtype=None, casting='same_kind'"
_TABLE = {
    f"x, {_UFUNC}": """exp expm1 log log1p log2 sqrt square reciprocal tanh sin cos abs absolute
        negative positive sign floor ceil rint trunc signbit isfinite isnan isinf logical_not
        bitwise_not invert bitwise_count frexp""",
    f"x1, x2, {_UFUNC}": """add subtract multiply divide true_divide floor_divide remainder mod
        power matmul maximum minimum copysign logical_and logical_or logical_xor equal not_equal
        less less_equal greater greater_equal bitwise_and bitwise_or bitwise_xor left_shift
        right_shift ldexp""",
    "a, axis=None, dtype=None, out=None, keepdims=False": "sum prod mean",
    "a, axis=None, dtype=None, out=None, ddof=0, keepdims=False": "var std",
    "a, axis=None, out=None, keepdims=False": "max min amax amin any all",
    "a, axis=None, *, out=None, keepdims=False": "argmax argmin",
    "a, axis=None, dtype=None, out=None": "cumsum",
    "a, axis=None": "count_nonzero squeeze flip",
    "a, axis=-1": "sort argsort",
    "a, a_min, a_max, out=None": "clip",
    "a, decimals=0, out=None": "round",
    "a, b, out=None": "dot",
    "a, b, axes=2": "tensordot",
    "a, b, rtol=1e-05, atol=1e-08, equal_nan=False": "isclose allclose",
    "a, b": "may_share_memory shares_memory",
    "a1, a2": "array_equal",
    "subscripts, *operands, dtype=None, optimize=False": "einsum",
    "*arrays_and_dtypes": "result_type",
    "condition, x=None, y=None": "where",
    "dst, src, casting='same_kind', where=None": "copyto",
    "a, indices, axis=None, out=None": "take",
    "a, indices, axis": "take_along_axis",
    "tup, axis=0, out=None, *, dtype=None, casting='same_kind'": "concatenate stack",
    "ary, indices_or_sections, axis=0": "split",
    "array, pad_width, mode='constant', *, constant_values=0": "pad",
    "a, newshape, order='C'": "reshape",
    "a, order='C'": "ravel",
    "a, axes=None": "transpose",
    "a, source, destination": "moveaxis",
    "a, axis1, axis2": "swapaxes",
    "a, axis": "expand_dims",
    "array, shape": "broadcast_to",
    "a, repeats, axis=None": "repeat",
    "a, shift, axis=None": "roll",
    "a, dtype=None": "ascontiguousarray asfortranarray",
    "a, *, bitorder='big'": "packbits unpackbits",
    "a": "nonzero",
    "ar, return_index=False, return_inverse=False, return_counts=False": "unique",
    "x, weights=None, minlength=None": "bincount",
    "start, stop=None, step=1, dtype=None": "arange",
    "N, M=None, k=0, dtype=None, order='C'": "eye",
    "shape, dtype=None, order='C'": "zeros ones empty",
    "shape, fill_value, dtype=None, order='C'": "full",
    "a, dtype=None, order='K', *, shape=None": "zeros_like ones_like",
    "prototype, dtype=None, order='K', *, shape=None": "empty_like",
    "a, fill_value, dtype=None, order='K', *, shape=None": "full_like",
    "x, shape=None, strides=None": "as_strided",
    "x, window_shape, axis=None": "sliding_window_view",
}
# Arguments of these names live on the device; all others (axes, shapes, dtypes) on the host.
_ARRAYS = ("a", "a1", "a2", "b", "ar", "ary", "array", "prototype", "condition", "dst", "out",
           "where", "weights")  # fmt: skip
_OPERANDS = ("x", "x1", "x2", "y", "a_min", "a_max", "src", "fill_value", "indices")  # or scalars
_SEQUENCES = ("tup", "operands")
# Functions whose CuPy body reads something back: a result's size, a check, a window's extent.
_WAITING = ("nonzero", "unique", "bincount", "shares_memory", "sliding_window_view")
_CONSTANTS = """float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool_
    intp dtype finfo iinfo pi inf nan newaxis"""


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("where(): give both x and y, or neither")
    if x is None:
        _readbacks.happen("where(condition)")
        return np.nonzero(condition)
    return np.where(condition, x, y)


def _poisoned(make: Callable[..., Any]) -> Callable[..., Any]:
    """Fill what `make` left unset with values that no test mistakes for a result."""

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        a = make(*args, **kwargs)
        poison(a)
        return a

    return poisoned


_HOST = {  # what does the arithmetic, where it is not NumPy's function of that name
    "where": _where,
    "empty": _poisoned(np.empty),
    "empty_like": _poisoned(np.empty_like),
    "as_strided": np.lib.stride_tricks.as_strided,
    "sliding_window_view": np.lib.stride_tricks.sliding_window_view,
}


def _admit(who: str, parameter: Parameter, value: Any) -> Any:
    """Unwrap one argument, or say what is wrong with it."""
    name, who = parameter.name, f"{who}({parameter.name})"
    if value is None and (parameter.default is None or name in ("a_min", "a_max")):
        return None
    if name in _SEQUENCES:
        return [_unwrap(v, who, scalars=False) for v in value]
    if name == "arrays_and_dtypes":
        return [v._a if isinstance(v, ndarray) else v for v in value]
    if name in _ARRAYS or name in _OPERANDS:
        return _unwrap(value, who, scalars=name in _OPERANDS)
    return value


def _function(name: str, taught: Signature) -> Callable[..., Any]:
    """Build one function: check the arguments against CuPy's signature, then let NumPy compute."""
    compute = _HOST.get(name) or getattr(np, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            arguments = taught.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}(): {error}; the stand-in knows {name}{taught}") from None
        positional, keywords = [], {}
        for key, value in arguments.items():
            parameter = taught.parameters[key]
            host = _admit(name, parameter, value)
            if parameter.kind is Parameter.VAR_POSITIONAL:
                positional += host
            elif parameter.default is Parameter.empty:
                positional.append(host)
            elif host is not None:
                keywords[key] = host
        if name in _WAITING:
            _readbacks.happen(f"{name}()")
        target = positional[0] if name == "copyto" else keywords.get("out")
        result = _quietly(perform, name, compute, positional, keywords, target)
        if name == "copyto":
            return None
        return result if name.endswith("_memory") else _wrap(result)

    function.__name__ = function.__qualname__ = name
    function.__signature__ = taught  # type: ignore[attr-defined]
    return function


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None) -> Any:
    """Give the device array itself, or upload a host array, a list or a scalar."""
    if isinstance(a, ndarray):
        options = {"dtype": dtype, "order": order or "K", "copy": copy}
        return _wrap(_quietly(perform, "asarray", np.array, (a._a,), options))
    _uploads.happen("asarray() of host data")
    return _wrap(_quietly(np.array, a, dtype=dtype, order=order or "K"))


def array(obj: Any, dtype: Any = None, copy: bool = True, order: Any = "K") -> Any:
    """As `asarray`, but copy a device array unless told not to."""
    return asarray(obj, dtype, order, copy=True if copy else None)


def asnumpy(a: Any, *, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    """Read back, explicitly."""
    return a.get(out=out) if isinstance(a, ndarray) else np.asarray(a)


_functions = {
    name: _function(name, signature(eval(f"lambda {text}: None")))
    for text, names in _TABLE.items()
    for name in names.split()
}
_tricks = {name: _functions.pop(name) for name in ("as_strided", "sliding_window_view")}
lib = SimpleNamespace(stride_tricks=SimpleNamespace(**_tricks))
_names = _functions | {name: getattr(np, name) for name in _CONSTANTS.split()}


def __getattr__(name: str) -> Any:
    # A lookup rather than globals: `sum`, `max`, `any` and `abs` stay Python's in this file.
    if name in _names:
        return _names[name]
    raise AttributeError(f"cupy has no {name}, or strictdev has not been taught it")


def __dir__() -> list[str]:
    return sorted([*globals(), *_names])


# --- What the device array has by a table -----------------------------------------------------

_ATTRIBUTES = "shape ndim size dtype nbytes itemsize strides"
_LAYOUT_METHODS = "reshape transpose view copy astype"
_FUNCTION_METHODS = """sum prod mean var std max min argmax argmin any all cumsum round take dot
    ravel squeeze swapaxes repeat argsort nonzero"""


def _attribute(name: str) -> property:
    return property(lambda self: getattr(self._a, name))


def _layout_method(name: str) -> Callable[..., Any]:
    method = getattr(np.ndarray, name)
    return lambda self, *args, **kwargs: _wrap(
        _quietly(perform, name, method, (self._a, *args), kwargs)
    )


def _reading(kind: type) -> Callable[..., Any]:
    return lambda self: kind(self.item())


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(other, self)


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(self, other, out=self)


for _name in _ATTRIBUTES.split():
    setattr(ndarray, _name, _attribute(_name))
for _name in _LAYOUT_METHODS.split():
    setattr(ndarray, _name, _layout_method(_name))
for _name in _FUNCTION_METHODS.split():
    setattr(ndarray, _name, _method(_functions[_name]))
for _type in (bool, int, float):
    setattr(ndarray, f"__{_type.__name__}__", _reading(_type))
for _operator, _name in {
    "neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert",
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal", "matmul": "matmul",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_operator}__", _method(_functions[_name]))
for _operator, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_operator}__", _method(_functions[_name]))
    setattr(ndarray, f"__r{_operator}__", _reflected(_functions[_name]))
    setattr(ndarray, f"__i{_operator}__", _in_place(_functions[_name]))
ndarray.__rmatmul__ = _reflected(_functions["matmul"])  # type: ignore[attr-defined]
