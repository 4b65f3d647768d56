"""Checks of what passes through the layers: gradients, signs, and who feeds whom."""

from __future__ import annotations

from collections.abc import Iterator

from minibnn.backend import backend_of
from minibnn.diagnosis.gauge import Gauge
from minibnn.diagnosis.passes import Passes, percent
from minibnn.diagnosis.report import Finding
from minibnn.functions import activation_bits, weight_bits
from minibnn.inspection.costs import value_bits
from minibnn.inspection.recorder import Step
from minibnn.layers import Activation, Conv2D
from minibnn.parameter import Parameter

# Of normal values with the clip's standard deviation, as batch norm makes them, 32% lie outside. At
# three and a half times the deviation it is 78%: three of four gradients lost, no accident.
SATURATED_SHARE = 0.75
# A unit or two of a hundred that never change are a waste, not a fault.
CONSTANT_SHARE = 0.05
# A sum of n products of +1 and -1 is zero with probability sqrt(2 / (pi n)) for even n: 7% for 128
# inputs, 25% for 10. Half of a ReLU's outputs are.
ZERO_SHARE = 0.25


def saturated(passes: Passes, gauge: Gauge) -> None:
    """Quantized activations at which most of the gradient stops."""
    for step in passes.training:
        layer = step.layer
        if not isinstance(layer, Activation) or activation_bits(layer.function) == 32:
            continue
        if step.dy is None or step.dx is None:
            continue
        came = step.dy != 0
        stopped = came & (step.dx == 0)

        def judge(came: float, stopped: float, step: Step = step) -> Finding | None:
            if not came or stopped / came <= SATURATED_SHARE:
                return None
            share = stopped / came
            return Finding(
                "warning",
                "saturated",
                step.path,
                share,
                f"{percent(share)} of the gradients that reach {step.layer} stop at its clip",
                "the layers below learn from the few samples whose values lie near zero",
                "put BatchNorm before it, or widen the clip",
            )

        gauge.ask(judge, came.sum(), stopped.sum())


def constant(passes: Passes, gauge: Gauge) -> None:
    """Units of an activation that give the same for every sample."""
    for step in _after_first_weight(passes.training):
        if not isinstance(step.layer, Activation):
            continue
        axes = tuple(range(step.y.ndim - 1))
        same = step.y.max(axis=axes) == step.y.min(axis=axes)

        def judge(count: float, step: Step = step, n: int = step.y.shape[-1]) -> Finding | None:
            if not count:
                return None
            share = count / n
            return Finding(
                "warning" if share > CONSTANT_SHARE else "note",
                "constant",
                step.path,
                share,
                f"{count:.0f} of {n} units of {step.layer} give the same for every sample",
                "the next layer sees a bias instead of a feature",
                "put BatchNorm before it; if it is there, look at its shift beta",
            )

        gauge.ask(judge, same.sum())


def zero_at_sign(passes: Passes, gauge: Gauge) -> None:
    """Exact zeros that enter a 1-bit activation together with the positive values."""
    for step in passes.evaluation:
        layer = step.layer
        if not isinstance(layer, Activation) or activation_bits(layer.function) != 1:
            continue
        xp = backend_of(step.x).xp
        # A step function that puts zero with the negative values loses nothing after a ReLU.
        below = layer.function.forward(xp.full((1, 1), -1, dtype=step.x.dtype))
        at = layer.function.forward(xp.zeros((1, 1), dtype=step.x.dtype))

        def judge(share: float, differ: float, step: Step = step) -> Finding | None:
            if share <= ZERO_SHARE or not differ:
                return None
            return Finding(
                "warning",
                "zero-at-sign",
                step.path,
                share,
                f"{percent(share)} of the values that enter {step.layer} are exactly zero",
                "sign(0) is +1, so they say the same as positive ones",
                "leave out the ReLU (or what else makes zeros) before a sign; use an odd number of "
                "inputs, or BatchNorm, which moves them once it is trained",
            )

        gauge.ask(judge, (step.x == 0).mean(), (below != at).sum())


def real_input(passes: Passes, gauge: Gauge) -> None:
    """Real numbers that enter a layer with 1-bit weights, the first layer apart."""
    steps = passes.evaluation
    bits = value_bits(steps)
    binary = any(
        isinstance(s.layer, Activation) and activation_bits(s.layer.function) == 1 for s in steps
    )
    weighted = [step for step in steps if any(True for _ in _weights(step))]
    for step in weighted[1:]:
        quantized = step.layer.named_quantized()
        if not any(weight_bits(f, len(p.shape), p.shape[-1]) == 1 for _, p, f in quantized):
            continue
        if bits.get(id(step.x), 32) < 32:
            continue

        def judge(share: float, step: Step = step) -> Finding | None:
            if not share:
                return None
            return Finding(
                "warning" if binary else "note",
                "real-input",
                step.path,
                share,
                f"{percent(share)} of the inputs of {step.layer} are neither +1 nor -1",
                "its weights are binary, but its products cannot be counted bits"
                + ("" if binary else "; a network of binary weights and real activations"),
                "let Activation(SignSTE(clip=1.0)) be the last before it: normalise and pool "
                "before the sign, not after",
            )

        gauge.ask(judge, (abs(step.x) != 1).mean())


def zero_padding(passes: Passes, gauge: Gauge) -> None:
    """Borders of zeros, a value that the inputs of a convolution with 1-bit weights never have."""
    first = next((s for s in passes.evaluation if any(True for _ in _weights(s))), None)
    for step in passes.evaluation:
        layer = step.layer
        if not isinstance(layer, Conv2D) or layer.padding_value != 0:
            continue
        quantized = layer.named_quantized()
        if not any(weight_bits(f, len(p.shape), p.shape[-1]) == 1 for _, p, f in quantized):
            continue
        (above, below), (left, right) = layer.padding
        height, width = step.x.shape[1:3]
        border = 1 - height * width / ((above + height + below) * (left + width + right))
        if not border:
            continue

        def judge(
            others: float, zeros: float, step: Step = step, border: float = border
        ) -> Finding | None:
            measured = f"{percent(border)} of what the windows of {step.layer} see is a border of 0"
            if not others:
                return Finding(
                    "warning",
                    "zero-padding",
                    step.path,
                    border,
                    measured,
                    "beside inputs of +1 and -1 it is a third value: the products are no counted "
                    "bits, and the model does not pack",
                    "use padding_value=-1 or padding_value=1, or padding=0",
                )
            if zeros or step is not first:
                return None  # of later layers `real_input` says what their inputs are
            return Finding(
                "note",
                "zero-padding",
                step.path,
                border,
                measured,
                "no input is 0, so the border is no pixel either, and the model does not pack",
                "use padding_value=-1 behind Rescale(2 / 255, -1), or padding=0",
            )

        gauge.ask(judge, (abs(step.x) != 1).mean(), (step.x == 0).mean())


def _weights(step: Step) -> Iterator[Parameter]:
    """The parameters of a layer that are more than one value a channel."""
    return (p for p in step.layer.own_parts()[0] if len(p.shape) >= 2)


def _after_first_weight(steps: list[Step]) -> list[Step]:
    for i, step in enumerate(steps):
        if any(True for _ in _weights(step)):
            return steps[i + 1 :]
    return []
