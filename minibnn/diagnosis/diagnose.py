"""Run a model on one batch and report what is wrong with it."""

from __future__ import annotations

import copy

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer, require
from minibnn.data.loader import DataLoader
from minibnn.diagnosis.activations import (
    constant,
    real_input,
    saturated,
    zero_at_sign,
    zero_padding,
)
from minibnn.diagnosis.gauge import Gauge
from minibnn.diagnosis.passes import Passes
from minibnn.diagnosis.report import SEVERITIES, Diagnosis
from minibnn.diagnosis.weights import at_bound, non_finite, small_scale, starved
from minibnn.inspection.recorder import Recorder, bytes_a_sample
from minibnn.layers import Layer
from minibnn.losses import LogitCrossEntropy, Loss
from minibnn.random_stream import RandomStream
from minibnn.training.evaluate import check_data

EVALUATION, TRAINING = "evaluation", "training"
# In the order of the findings; each with the passes that it examines.
CHECKS = (
    (non_finite, (EVALUATION, TRAINING)),
    (starved, (TRAINING,)),
    (saturated, (TRAINING,)),
    (at_bound, (TRAINING,)),
    (constant, (TRAINING,)),
    (small_scale, (TRAINING,)),
    (zero_at_sign, (EVALUATION,)),
    (zero_padding, (EVALUATION,)),
    (real_input, (EVALUATION,)),
)
# Memory for the arrays between the layers. Training keeps about four copies of each: values, saved
# state, and two gradients.
BYTES, TIMES = 2**27, 4


def diagnose(
    model: Layer, data: DataLoader, loss: Loss | None = None, *, samples: int = 500
) -> Diagnosis:
    """Look for what keeps a binary network from learning, or from being binary.

    A copy of the model runs one batch in evaluation mode, then forward and backward in training
    mode. This takes about twice the memory of a training step with as many samples. The model, its
    statistics and random streams, and the loader do not change. On a device, all figures are read
    back together at the end. A loss may have no gradient left (a hinge loss, say, for a sample that
    is right by the margin). Then a small random error is backpropagated in its place: the check is
    whether errors reach the layers, not how many errors a good model still makes.

    .. code-block:: text

        non-finite    nan or inf in data, parameters, outputs, loss or gradients
        starved       quantized weights whose gradient is exactly zero for every sample
        clipped       latent weights outside their quantizer's clip, where no gradient moves them
        zero-input    weights of inputs that are zero in every sample, so they cannot learn
        saturated     binary activations outside their clip, where the gradient stops
        at-bound      latent weights that lie at their bound
        constant      units with the same output for every sample
        small-scale   batch norm scales near zero
        zero-at-sign  exact zeros that enter a sign, which makes them all +1
        zero-padding  padding of zeros around the inputs of a convolution with binary weights
        real-input    real numbers that enter a layer with binary weights, except the first one

    Args:
        model: initialised, trained or not.
        data: batches ``(x, targets)`` on the model's device.
        loss: the loss it is trained with; None means ``LogitCrossEntropy()``.
        samples: the largest number of samples to examine, evenly spaced over the data set. It uses
            fewer, but at least the loader's batch size, if the arrays between the layers would take
            over 128 MiB.

    Returns:
        A report; ``bool(report)`` is True for a healthy model. It prints what was measured, where,
        what it means, and what to try. The thresholds and their reasons are next to the checks, in
        ``minibnn/diagnosis/``.

    Raises:
        TypeError: if data is not a DataLoader, or is on another device than the model.
        ValueError: if the loss does not take such targets (a label beyond the model's outputs,
            say), or fewer than 2 samples.

    >>> import numpy as np
    >>> from minibnn import Activation, DataLoader, Dense, ReLU, Sequential, SignSTE
    >>> x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    >>> data = DataLoader((x, np.arange(50) % 3), 10)
    >>> def dense(n, m):
    ...     return Dense(n, m, weight_quantizer=SignSTE(), bias=False)
    >>> good = Sequential(dense(6, 15), Activation(SignSTE()), dense(15, 3)).initialize(0)
    >>> diagnose(good, data)
    diagnosis of Sequential(3 layers) on 50 samples: healthy
    >>> odd = Sequential(dense(6, 15), Activation(ReLU()), Activation(SignSTE()), dense(15, 3))
    >>> [(f.kind, f.where) for f in diagnose(odd.initialize(0), data).findings]
    [('constant', '2'), ('zero-at-sign', '2')]
    """
    loss = LogitCrossEntropy() if loss is None else loss
    loss = copy.copy(require("diagnose", "loss", loss, Loss))
    with np.errstate(all="ignore"):  # values that are not finite become findings
        check_data(model, data, loss, "diagnose: data", in_memory=True)
        samples = integer("diagnose", "samples", samples)
        count = min(samples, data.samples, _affordable(model, data))
        if count < 2:
            raise ValueError(f"diagnose: expected at least 2 samples to compare, got {count}")
        rows = data.backend.asarray(np.linspace(0, data.samples - 1, count).astype(np.int64))
        x, labels, *_ = (data.backend.gather(a, rows) for a in data.arrays)

        recorder, gauge, blamed = Recorder(model), Gauge(model.backend), list[str]()
        recorder.model.forward(x)
        _check(EVALUATION, Passes(recorder.model, x, recorder.steps, [], None, blamed), gauge)
        recorder.clear()
        value = loss.weighted_forward(recorder.model.forward(x, train=True), labels, None)
        recorder.model.backward(_error_everywhere(model, value, loss.backward()), need_dx=False)
        _check(TRAINING, Passes(recorder.model, x, [], recorder.steps, value, blamed), gauge)
    findings = sorted(gauge.findings(), key=lambda f: SEVERITIES.index(f.severity))
    return Diagnosis(str(model), count, tuple(findings))


def _affordable(model: Layer, data: DataLoader) -> int:
    """How many samples fit into `BYTES`; at least a training batch, and 2 to compare."""
    _, all_outputs = bytes_a_sample(model, data.arrays[0][:1])
    return max(2, data.batch_size, BYTES // max(1, TIMES * all_outputs))


def _check(of: str, passes: Passes, gauge: Gauge) -> None:
    """Run the checks of one pass."""
    for rank, (check, which) in enumerate(CHECKS):
        gauge.rank = rank
        if of in which:
            check(passes, gauge)


def _error_everywhere(model: Layer, value: Array, error: Array) -> Array:
    """The loss's gradient; where it is exactly zero, small noise instead.

    If the gradient is zero everywhere although the loss is not, it stays: the loss is faulty.
    """
    backend = model.backend
    idle = (error == 0) & ((error != 0).any() | (value == 0))
    # Neither constant over the samples nor proportional to the outputs: batch norm removes both.
    stream = RandomStream()
    stream.seed = 0
    noise = (stream.uniform(backend, error.shape, error.dtype) - 0.5) / error.size
    return backend.xp.where(idle, noise, error)
