"""Recognise the mistake behind a wrong gradient."""

from __future__ import annotations

import numpy as np

from minibnn.backend import Array


def likely_cause(name: str, analytic: Array, numeric: Array, dy: Array, others_ok: bool) -> str:
    """Return the likely mistake, or an empty string if it is not recognised.

    Args:
        name: the array's name, ``"x"`` for the input.
        analytic: the gradient by backward.
        numeric: the gradient by central differences; nan where it was not computed.
        dy: the gradient given to backward.
        others_ok: whether there are parameters and all their gradients are right.
    """
    seen = ~np.isnan(numeric)
    a, n = analytic[seen], numeric[seen]
    batch = dy.shape[0]
    whole = bool(seen.all())

    def same(u: Array, v: Array) -> bool:
        return u.shape == v.shape and np.allclose(u, v, rtol=1e-4, atol=1e-6 * abs(n).max())

    if np.isnan(a).all() and name != "x":
        return (
            "backward does not set this gradient, or adds to it: it has to overwrite it; "
            "or it gives nan"
        )
    if not np.isfinite(a).all():
        return "backward gives nan or inf here"
    if not a.any():
        return "backward leaves this gradient at zero"
    if n.any():
        factor = float(a @ n / (n @ n))
        if same(a, factor * n):
            if same(a, batch * n):
                return (
                    f"too large by the batch size ({batch}): a mean whose gradient is not divided"
                )
            if same(a * batch, n):
                return f"too small by the batch size ({batch}): divided by it once too often"
            if same(a, -n):
                return "the sign is flipped"
            if abs(factor - 1) < 1e-2:
                return f"off by a relative {factor - 1:.1e} everywhere"
            return f"off by the constant factor {factor:.6g}"
    if not n.any():
        if name != "x":
            return "the output does not depend on it, or only through a function without surrogate"
        return (
            "the function is flat at every place checked: if it is to be trained through a "
            "surrogate, define surrogate(x), and keep the Function as an attribute of the layer"
        )
    flat = abs(n) <= 1e-9 * abs(n).max(initial=1.0)
    if same(a[~flat], n[~flat]):
        return "non-zero where the surrogate is flat: a clip or mask is missing in backward"
    if same(a[a != 0], n[a != 0]):
        return "zero where the surrogate has a slope: a mask in backward is too narrow"
    if whole and numeric.ndim == 2 and same(analytic.T, numeric):
        return "this is the transpose of the right gradient"
    if numeric.ndim == 1 and dy.ndim == 2 and same(analytic, dy.sum(axis=1)):
        return "dy is summed over the features; sum it over the batch, axis 0"
    if name == "x" and whole and others_ok:
        means = numeric.mean(axis=0)
        if same(analytic - analytic.mean(axis=0), numeric - means):
            return "right but for its mean over the batch: the term of the batch mean is missing"
        return (
            "the parameters' gradients are right, so the way back to x is wrong: is a term "
            "missing, or are the weights not transposed there, or not the same as in forward?"
        )
    if name == "x" and not others_ok:
        return "backward is not the derivative of the function's surrogate, or of its forward"
    return ""
