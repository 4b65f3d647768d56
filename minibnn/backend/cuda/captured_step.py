"""What a captured step does around the model, on the GPU: one kernel for each operation.

The references are in `training/capture/operations.py`. The kernels take what `CapturedStep` makes:
contiguous arrays of its dtypes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS, are_scalars, blocks_for
from minibnn.backend.implementations import CUDA


@CUDA.implements("begin_step")
def begin_step(
    backend: Any,
    counter: Array,
    now: Array,
    floats: Array,
    float_table: Array,
    keys: Array,
    key_table: Array,
) -> Any:
    """For float32 and float64."""
    kinds = [a.dtype for a in (float_table, keys, key_table)]
    agree = kinds == [floats.dtype, np.uint32, np.uint32] and are_scalars(np.int64, counter, now)
    compact = _compact(floats, float_table, keys, key_table)
    if floats.dtype not in FLOATS or not agree or not compact:
        return NotImplemented
    arguments = (
        counter, now,
        floats, float_table, np.int64(floats.size),
        keys, key_table, np.int64(keys.size),
    )  # fmt: skip
    _launch(backend, "begin_step", floats.dtype, arguments)
    return None


@CUDA.implements("gather_batch")
def gather_batch(
    backend: Any, arrays: tuple[Array, ...], order: Array, now: Array, batch: int
) -> Any:
    """For two arrays of any dtype, whose bytes the kernel copies."""
    if len(arrays) != 2:
        return NotImplemented
    if order.dtype != np.int64 or not are_scalars(np.int64, now) or not _compact(*arrays, order):
        return NotImplemented
    x, y = (backend.xp.empty((batch, *a.shape[1:]), a.dtype) for a in arrays)
    rows = [np.int64(out.nbytes // batch) for out in (x, y)]
    arguments = (x, arrays[0], rows[0], y, arrays[1], rows[1], order, now, np.int64(batch))
    blocks = blocks_for(x.nbytes + y.nbytes)
    backend.kernels.launch("captured_step", "gather_batch", np.float32, arguments, blocks=blocks)
    return x, y


@CUDA.implements("note_step")
def note_step(
    backend: Any, losses: Array, verdicts: Array, now: Array, loss: Array, allowed: Array
) -> Any:
    """For float32 and float64."""
    agree = are_scalars(np.int64, now) and are_scalars(np.bool_, allowed)
    agree = agree and [a.dtype for a in (losses, verdicts)] == [np.float64, np.bool_]
    if loss.dtype not in FLOATS or not agree or not _compact(losses, verdicts):
        return NotImplemented
    _launch(backend, "note_step", loss.dtype, (losses, verdicts, now, loss, allowed))
    return None


def _compact(*arrays: Array) -> bool:
    return all(a.flags.c_contiguous for a in arrays)


def _launch(backend: Any, name: str, dtype: Any, arguments: tuple[Any, ...]) -> None:
    backend.kernels.launch("captured_step", name, dtype, arguments, blocks=1, threads=1)
