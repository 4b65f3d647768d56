"""Look at a model on one batch and say what is wrong with it."""

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
# In the order of the findings, and of which pass they look at the steps.
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
# For the arrays between the layers, each of which training keeps about four times: values, saved
# state, and two gradients.
BYTES, TIMES = 2**27, 4


def diagnose(
    model: Layer, data: DataLoader, loss: Loss | None = None, *, samples: int = 500
) -> Diagnosis:
    """Look for what keeps a binary network from learning, or from being binary.

    A copy of the model runs one batch in evaluation, then forward and backward in training, which
    takes about twice the memory of a training step of so many samples. The
    model itself, its statistics and its draws are left alone, and so is the loader. On a device
    all figures are read back together at the end. Where a loss asks for nothing any more (a hinge
    of a sample that is right by the margin), a small error is sent back in its place: what is
    judged is the way that errors take, not how few a good model has left.

    .. code-block:: text

        non-finite    nan or inf in data, parameters, outputs, loss or gradients
        starved       quantized weights whose gradient is exactly zero, whatever the sample
        clipped       latent weights outside their quantizer's clip, where no gradient moves them
        zero-input    weights of an input that is zero in every sample, so they cannot learn
        saturated     binary activations outside their clip, where the gradient stops
        at-bound      latent weights that lie at their bound
        constant      units with the same output for every sample
        small-scale   batch norm scales near zero
        zero-at-sign  exact zeros that enter a sign, which makes them all +1
        zero-padding  borders of zeros around the inputs of a convolution with binary weights
        real-input    real numbers that enter a layer with binary weights, past the first one

    Args:
        model: initialised, trained or not.
        data: batches ``(x, labels)`` on the model's device.
        loss: what it is trained with; None for ``LogitCrossEntropy()``.
        samples: how many to look at, at most, evenly spread over the data set: fewer, but at least
            the loader's batch, where their arrays between the layers would take over 128 MiB.

    Returns:
        A report that is true for a healthy model and prints as a list: what was measured, where,
        what it means, and what to try. The thresholds and their reasons stand where the
        checks are, in ``minibnn/diagnosis/``.

    Raises:
        TypeError: for data that is no DataLoader, or on another device than the model.
        ValueError: for labels without an output, or fewer samples than 2.

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
    with np.errstate(all="ignore"):  # what is not finite becomes a finding
        check_data(model, data, "diagnose: data")
        samples = integer("diagnose", "samples", samples)
        count = min(samples, data.samples, _affordable(model, data))
        if count < 2:
            raise ValueError(f"diagnose: expected at least 2 samples to compare, got {count}")
        rows = data.backend.asarray(np.linspace(0, data.samples - 1, count).astype(np.int64))
        x, labels = (data.backend.gather(a, rows) for a in data.arrays)

        recorder, gauge, blamed = Recorder(model), Gauge(model.backend), list[str]()
        recorder.model.forward(x)
        _check(EVALUATION, Passes(recorder.model, x, recorder.steps, [], None, blamed), gauge)
        recorder.clear()
        value = loss.forward(recorder.model.forward(x, train=True), labels)
        recorder.model.backward(_everywhere(model, value, loss.backward()), need_dx=False)
        _check(TRAINING, Passes(recorder.model, x, [], recorder.steps, value, blamed), gauge)
    findings = sorted(gauge.findings(), key=lambda f: SEVERITIES.index(f.severity))
    return Diagnosis(str(model), count, tuple(findings))


def _affordable(model: Layer, data: DataLoader) -> int:
    """How many samples fit into `BYTES`; not fewer than training takes, nor than a comparison."""
    _, all_outputs = bytes_a_sample(model, data.arrays[0][:1])
    return max(2, data.batch_size, BYTES // max(1, TIMES * all_outputs))


def _check(of: str, passes: Passes, gauge: Gauge) -> None:
    """Run the checks of a pass."""
    for rank, (check, which) in enumerate(CHECKS):
        gauge.rank = rank
        if of in which:
            check(passes, gauge)


def _everywhere(model: Layer, value: Array, error: Array) -> Array:
    """The loss's gradient, and where that is exactly zero an error of no meaning.

    A gradient without anything but zeros stays, if there is a loss: that is a fault of the loss.
    """
    backend = model.backend
    idle = (error == 0) & ((error != 0).any() | (value == 0))
    # Not the same for all samples, nor in step with the outputs: batch norm would take it out.
    stream = RandomStream()
    stream.seed = 0
    noise = (stream.uniform(backend, error.shape, error.dtype) - 0.5) / error.size
    return backend.xp.where(idle, noise, error)
