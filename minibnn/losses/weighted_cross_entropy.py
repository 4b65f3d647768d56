"""The cross-entropy with weights of samples: w[n] / sum(w) in the place of 1/N."""

from __future__ import annotations

import numpy as np

from minibnn.backend import Array, backend_of, batch_total
from minibnn.losses.label_rows import probabilities, smoothed
from minibnn.losses.weights import total_weight


def weighted_cross_entropy(logp: Array, labels: Array, smoothing: float, weights: Array) -> Array:
    """``-1/sum(w) sum_n w[n] sum_k t[n, k] log p[n, k]``, where t are the smoothed labels.

    Shapes: logp (N, K); labels as in `LogitCrossEntropy`; weights (N,); the loss ().
    """
    t = smoothed(probabilities(labels, logp.shape[1], logp.dtype), smoothing, logp.dtype)
    score = backend_of(logp).xp.where(t > 0, t * logp, 0).sum(axis=1)
    return -batch_total(weights * score) / total_weight(weights)


def weighted_cross_entropy_gradient(
    p: Array, labels: Array, smoothing: float, weights: Array
) -> Array:
    """The gradient with respect to the logits: ``w[n] / sum(w) (p - t)``.

    The steps have the order of `cross_entropy_gradient`, so the gradient of a sample with weight 2
    is exactly twice that of the sample alone.

    Shapes: p and the result (N, K); labels as in `LogitCrossEntropy`; weights (N,).
    """
    classes, w, total = p.shape[1], weights[:, None], total_weight(weights)
    if labels.ndim == 1:
        wide = weights.astype(np.float64)  # as the numbers are that meet p there
        dlogits = p * w / total
        at_label = (1 - smoothing) * wide / total
        dlogits[backend_of(p).xp.arange(len(p)), labels] -= at_label.astype(p.dtype)
        if smoothing:
            everywhere = smoothing * wide / (total * classes)
            dlogits -= everywhere[:, None].astype(p.dtype)
        return dlogits
    t = w * smoothed(labels, smoothing, p.dtype)
    return (p * t.sum(axis=1, keepdims=True) - t) / total
