"""A parameter with given values, and what an optimiser makes of it step by step."""

from __future__ import annotations

import numpy as np
import strictdev

from minibnn import Parameter
from minibnn.backend import CPU


def parameter(values, backend=CPU, dtype=np.float64, **options) -> Parameter:
    values = np.asarray(values, dtype)
    p = Parameter("w", values.shape, lambda shape, rng: values, **options)
    p.initialize(np.random.default_rng(0), dtype)
    p.to(backend, dtype)
    return p


def trajectory(optimizer, p, gradients):
    """The values of one parameter on the CPU after each step."""
    path = []
    for g in gradients:
        p.grad[...] = g
        optimizer.step()
        path.append(p.data.tolist())
    return path


def path(optimizer, gradients, *parameters):
    """The values of each parameter after each step, on the host; no step may read back."""
    made = [[] for _ in parameters]
    backend = optimizer.backend
    for g in gradients:
        for p in parameters:
            p.grad[...] = g if np.isscalar(g) else backend.asarray(np.asarray(g, p.data.dtype))
        with strictdev.no_sync():
            optimizer.step()
        for p, values in zip(parameters, made, strict=True):
            values.append(backend.to_host(p.data).copy())
    return made
