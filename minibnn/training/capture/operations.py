"""What a captured step does around the model: find its scalars and batch, and record its loss.

The device counts the steps, so that the host need not upload a step's number.
"""

from __future__ import annotations

import numpy as np

from minibnn.backend import Array


def begin_step(
    counter: Array, now: Array, floats: Array, float_table: Array, keys: Array, key_table: Array
) -> None:
    """Begin the next step: advance the counter, and copy the step's scalars from the tables.

    .. equations::

        now     <- counter
        floats  <- float_table[now]
        keys    <- key_table[now]
        counter <- counter + 1

    Shapes: counter and now int64 (), floats (n,), float_table (steps, n), keys uint32 (k,),
    key_table uint32 (steps, k).
    """
    now[...] = counter
    for scalars, table in ((floats, float_table), (keys, key_table)):
        if scalars.size:
            scalars[...] = table.take(counter, axis=0)
    counter += 1


def gather_batch(
    arrays: tuple[Array, ...], order: Array, now: Array, batch: int
) -> tuple[Array, ...]:
    """The samples and the labels of batch number `now`, and their weights, as new arrays.

    .. equations::

        out[i] = a[order[now batch + i]]

    Shapes: each a (n, ...), order int64 (steps * batch,), now int64 (), each out (batch, ...).
    """
    rows = order.reshape(-1, batch).take(now, axis=0)
    return tuple(a.take(rows, axis=0) for a in arrays)


def note_step(losses: Array, verdicts: Array, now: Array, loss: Array, allowed: Array) -> None:
    """Record a step: ``losses[now] = loss``, ``verdicts[now] = allowed``.

    Shapes: losses float64 (steps,), verdicts bool (steps,), now int64 (), loss (), allowed bool ().
    """
    losses[now] = loss.astype(np.float64)
    verdicts[now] = allowed
