"""Checks of parameters: weights, scales, and values that are not finite."""

from __future__ import annotations

from collections.abc import Iterator

from minibnn.backend import Array, backend_of
from minibnn.diagnosis.gauge import Gauge, above
from minibnn.diagnosis.passes import Passes, percent
from minibnn.diagnosis.report import Finding
from minibnn.functions import Function
from minibnn.inspection.recorder import Step
from minibnn.parameter import Parameter

# A healthy gradient is a sum of floats and never exactly zero. One in a hundred may be zero: a few
# units happen to be outside their clip for all of a few hundred samples.
STARVED_SHARE = 0.01
# Latent weights start inside the clip; a few may leave it.
CLIPPED_SHARE = 0.05
# Dark pixels are common, so this is only a note; a smaller share is not worth one.
ZERO_INPUT_SHARE = 0.01
# Some latent weights always gather at their bound: a tenth in good training on MNIST, more if it is
# longer. If nearly all do, one step carries a weight from one bound to the other.
AT_BOUND_SHARE = 0.9
# Scales start at 1. Normalised values stay within about 5, so a scale of a hundredth of the layer's
# mean, or of the channel's own shift, has no effect. SMALL_SCALE_ALONE is for a layer whose scales
# are all small.
SMALL_SCALE = 0.01
SMALL_SCALE_ALONE = 1e-3

VALUES = "parameter's values"


def non_finite(passes: Passes, gauge: Gauge) -> None:
    """Nan or inf in the data, the parameters, the layers' outputs, the loss or the gradients."""
    found = passes.blamed  # only the first cause is reported, not what follows from it

    def ask(where: str, what: str, array: Array, hint: str, *unless: Array) -> None:
        def judge(share: float, *others: float) -> Finding | None:
            if not share or any(others) or (found and what != VALUES):
                return None
            found.append(where)
            return Finding(
                "error",
                "non-finite",
                where,
                share,
                f"{percent(share)} of the {what} are nan or inf",
                "whatever is computed from them is lost, and a step would spoil the weights",
                hint,
            )

        gauge.ask(judge, *(_non_finite(a) for a in (array, *unless)))

    before_training = passes.loss is None
    if before_training:
        ask("", "inputs", passes.x, "clean the data: look for division by zero in its preparation")
        for path, parameter in passes.model.named_parameters():
            hint = "initialize the model anew, and try a smaller learning rate"
            ask(path, VALUES, parameter.data, hint)
    for step in (*passes.evaluation, *passes.training):
        hint = "look at this layer's forward: a division, a root or an overflow"
        ask(step.path, "layer's outputs", step.y, hint, step.x)
    if before_training:
        return
    ask("", "losses", passes.loss, "look at the loss and its labels")
    for path, parameter in passes.model.named_parameters():
        hint = "look at the backward of the layers from here to the loss"
        ask(path, "parameter's gradients", parameter.grad, hint)


def starved(passes: Passes, gauge: Gauge) -> None:
    """Quantized weights whose gradient is exactly zero, by cause: starved, clipped, zero-input."""
    for path, step, parameter, function in _quantized(passes.training):
        if step.dy is None:
            continue
        xp = backend_of(parameter.data).xp
        zero = parameter.grad == 0
        ones = xp.ones_like(parameter.data)
        # Some functions pass a gradient outside the clip only if it leads back inside. So a zero
        # there is no fault, and a weight is stuck only if it can move in neither direction.
        up = function.backward(-ones, parameter.data) == 0
        down = function.backward(ones, parameter.data) == 0
        stuck = up & down
        # The weights of a constant input act as a bias, which batch norm removes: their gradients
        # are zero except for rounding.
        idle = dark = xp.zeros_like(zero)
        if parameter.data.ndim >= 2 and parameter.shape[-2] == step.x.shape[-1]:
            axes = tuple(range(step.x.ndim - 1))
            low, high = step.x.min(axis=axes), step.x.max(axis=axes)
            idle = idle | (low == high)[:, None]
            dark = dark | ((low == 0) & (high == 0))[:, None]
        unfed = zero & ~(up | down) & ~idle
        axes = tuple(range(unfed.ndim - 1))
        units = zero.all(axis=axes) & unfed.any(axis=axes)
        unfed = unfed | units  # all weights of such a unit, including the idle ones

        def judge_starved(
            share: float, units: float, path: str = path, n: int = parameter.shape[-1]
        ) -> Finding | None:
            if share <= STARVED_SHARE:
                return None
            return Finding(
                "warning",
                "starved",
                path,
                share,
                f"{percent(share)} of the weights get a gradient of exactly zero from the whole "
                "batch"
                + (f", including all weights of {units:.0f} of the {n} units" if units else ""),
                "they stay as they are: no error reaches them",
                "look at what follows: units outside their activation's clip, a scale of zero, "
                "a feedback that blocks the error",
            )

        judge_clipped = above(
            CLIPPED_SHARE,
            "warning",
            "clipped",
            path,
            "the latent weights lie where their quantizer stops every gradient",
            "they never come back, so their bits are frozen",
            "keep them inside: weight_bound equal to the clip, and a weight_init within it",
        )
        judge_dark = above(
            ZERO_INPUT_SHARE,
            "note",
            "zero-input",
            path,
            "the weights belong to inputs that are zero in every sample",
            "they keep their random initial values: harmless as long as those inputs stay zero, "
            "noise when they do not",
            "for pixels, Rescale(2 / 255, -1) makes dark ones -1 instead of 0; for a hidden "
            "layer, look at the units below",
        )
        gauge.ask(judge_starved, unfed.mean(), units.sum())
        gauge.ask(judge_clipped, (stuck & ~idle).mean())
        gauge.ask(judge_dark, dark.mean())


def at_bound(passes: Passes, gauge: Gauge) -> None:
    """Latent weights that lie at their bound."""
    for path, _, parameter, _ in _quantized(passes.training):
        if parameter.bound is None:
            continue
        judge = above(
            AT_BOUND_SHARE,
            "warning",
            "at-bound",
            path,
            "the latent weights lie at their bound",
            "steps as large as the bound carry them from one end to the other, and earlier "
            "gradients are forgotten",
            "a smaller learning rate, or a smaller lr_scale; Bop's weights always lie at 1, so "
            "give them no weight_bound",
        )
        gauge.ask(judge, (abs(parameter.data) >= parameter.bound).mean())


def small_scale(passes: Passes, gauge: Gauge) -> None:
    """Channels that batch norm multiplies by almost zero."""
    for step in passes.training:
        gamma = getattr(step.layer, "gamma", None)
        beta = getattr(step.layer, "beta", None)
        if not isinstance(gamma, Parameter):
            continue
        scale = abs(gamma.data)
        xp = backend_of(scale).xp
        least = SMALL_SCALE * scale.mean()
        if isinstance(beta, Parameter):
            least = xp.maximum(least, SMALL_SCALE * abs(beta.data))
        small = scale <= xp.maximum(least, SMALL_SCALE_ALONE)

        def judge(count: float, step: Step = step, n: int = gamma.size) -> Finding | None:
            if not count:
                return None
            return Finding(
                "warning",
                "small-scale",
                f"{step.path}.gamma" if step.path else "gamma",
                count / n,
                f"{count:.0f} of {n} scales of {step.layer} are next to zero",
                "such a channel outputs only its shift beta, and no error passes it; its threshold "
                "for a sign lies far outside the values that occur",
                "set these scales to 1 and try a smaller learning rate",
            )

        gauge.ask(judge, small.sum())


def _quantized(steps: list[Step]) -> Iterator[tuple[str, Step, Parameter, Function]]:
    for step in steps:
        own = {id(parameter) for parameter in step.layer.own_parts()[0]}
        for name, parameter, function in step.layer.named_quantized():
            if id(parameter) in own:
                yield f"{step.path}.{name}" if step.path else name, step, parameter, function


def _non_finite(a: Array) -> Array:
    xp = backend_of(a).xp
    return 1 - xp.isfinite(a).mean() if a.dtype.kind == "f" else xp.zeros(())
