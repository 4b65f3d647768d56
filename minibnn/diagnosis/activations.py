"""Checks of the values between the layers: gradients, signs and the inputs of binary layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from minibnn.backend import backend_of
from minibnn.diagnosis.gauge import Gauge, Judge, above
from minibnn.diagnosis.passes import Passes, percent
from minibnn.diagnosis.report import Finding
from minibnn.functions import activation_bits, weight_bits
from minibnn.inspection.costs import value_bits
from minibnn.inspection.recorder import Step
from minibnn.layers import Activation
from minibnn.layers.conv import Convolution
from minibnn.parameter import Parameter

# After batch norm, values are about normal with the clip as standard deviation: 32% lie outside. At
# 3.5 times this deviation it is 78%. A loss of three gradients in four is no accident.
SATURATED_SHARE = 0.75
# If one or two units in a hundred never change, that is a waste, but not a fault.
CONSTANT_SHARE = 0.05
# A sum of n products of +1 and -1 is zero with probability sqrt(2 / (pi n)) for even n: 7% for 128
# inputs, 25% for 10. Of a ReLU's outputs, half are zero.
ZERO_SHARE = 0.25


def saturated(passes: Passes, gauge: Gauge) -> None:
    """Quantized activations that stop most of the gradient."""
    for step in passes.training:
        layer = step.layer
        if not isinstance(layer, Activation) or activation_bits(layer.function) == 32:
            continue
        if step.dy is None or step.dx is None:
            continue
        came = step.dy != 0
        stopped = came & (step.dx == 0)

        judge_share = above(
            SATURATED_SHARE,
            "warning",
            "saturated",
            step.path,
            f"the gradients that reach {layer} stop at its clip",
            "the layers below learn from the few samples whose values lie near zero",
            "put BatchNorm before it, or widen the clip",
        )

        def judge(came: float, stopped: float, judge_share: Judge = judge_share) -> Finding | None:
            return judge_share(stopped / came) if came else None

        gauge.ask(judge, came.sum(), stopped.sum())


def constant(passes: Passes, gauge: Gauge) -> None:
    """Units of an activation that have the same output for every sample."""
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
    """Exact zeros that a 1-bit activation treats as positive values."""
    for step in passes.evaluation:
        layer = step.layer
        if not isinstance(layer, Activation) or activation_bits(layer.function) != 1:
            continue
        xp = backend_of(step.x).xp
        # A step function that treats zero as negative loses nothing after a ReLU.
        below = layer.function.forward(xp.full((1, 1), -1, dtype=step.x.dtype))
        at = layer.function.forward(xp.zeros((1, 1), dtype=step.x.dtype))

        judge_share = above(
            ZERO_SHARE,
            "warning",
            "zero-at-sign",
            step.path,
            f"the values that enter {layer} are exactly zero",
            "sign(0) is +1, so they say the same as positive ones",
            "leave out the ReLU (or what else makes zeros) before a sign; use an odd number of "
            "inputs, or BatchNorm, which moves them once it is trained",
        )

        def judge(share: float, differ: float, judge_share: Judge = judge_share) -> Finding | None:
            return judge_share(share) if differ else None

        gauge.ask(judge, (step.x == 0).mean(), (below != at).sum())


def real_input(passes: Passes, gauge: Gauge) -> None:
    """Real numbers that enter a layer with 1-bit weights, except the first layer."""
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
        judge = above(
            0.0,
            "warning" if binary else "note",
            "real-input",
            step.path,
            f"the inputs of {step.layer} are neither +1 nor -1",
            "its weights are binary, but its products cannot be computed by counting bits"
            + ("" if binary else "; a network of binary weights and real activations"),
            "let Activation(SignSTE(clip=1.0)) be the last before it: normalise and pool "
            "before the sign, not after",
        )
        gauge.ask(judge, (abs(step.x) != 1).mean())


def zero_padding(passes: Passes, gauge: Gauge) -> None:
    """Padding of zeros around inputs that are never zero, for convolutions with 1-bit weights."""
    first = next((s for s in passes.evaluation if any(True for _ in _weights(s))), None)
    for step in passes.evaluation:
        layer = step.layer
        if not isinstance(layer, Convolution) or layer.padding_value != 0:
            continue
        quantized = layer.named_quantized()
        if not any(weight_bits(f, len(p.shape), p.shape[-1]) == 1 for _, p, f in quantized):
            continue
        sizes = step.x.shape[1:-1]
        padded = (a + n + b for (a, b), n in zip(layer.padding, sizes, strict=True))
        share = 1 - math.prod(sizes) / math.prod(padded)
        if not share:
            continue
        finding = partial(
            Finding,
            kind="zero-padding",
            where=step.path,
            figure=share,
            measured=f"{percent(share)} of the padded input of {layer} is padding of 0",
        )

        def judge(
            others: float,
            zeros: float,
            step: Step = step,
            finding: Callable[..., Finding] = finding,
        ) -> Finding | None:
            if not others:
                return finding(
                    severity="warning",
                    meaning="beside inputs of +1 and -1, 0 is a third value, for which packed "
                    "products need a mask",
                    hint="use padding_value=-1 or padding_value=1, or padding=0",
                )
            if zeros or step is not first:
                return None  # `real_input` reports the inputs of later layers
            return finding(
                severity="note",
                meaning="no input is 0, so the padding is not a pixel value, and the model does "
                "not pack",
                hint="use padding_value=-1 behind Rescale(2 / 255, -1), or padding=0",
            )

        gauge.ask(judge, (abs(step.x) != 1).mean(), (step.x == 0).mean())


def _weights(step: Step) -> Iterator[Parameter]:
    """The parameters of a layer that have more than one value per channel."""
    return (p for p in step.layer.own_parts()[0] if len(p.shape) >= 2)


def _after_first_weight(steps: list[Step]) -> list[Step]:
    for i, step in enumerate(steps):
        if any(True for _ in _weights(step)):
            return steps[i + 1 :]
    return []
