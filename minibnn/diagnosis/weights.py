"""Checks of what is trained: weights, scales, and whether the numbers are numbers."""

from __future__ import annotations

from collections.abc import Iterator

from minibnn.backend import Array, backend_of
from minibnn.diagnosis.gauge import Gauge
from minibnn.diagnosis.passes import Passes, percent
from minibnn.diagnosis.report import Finding
from minibnn.functions import Function
from minibnn.inspection.recorder import Step
from minibnn.parameter import Parameter

# A healthy gradient is a sum of floats and never exactly zero. One in a hundred is left to units
# that happen to be outside their clip for each of a few hundred samples.
STARVED_SHARE = 0.01
# Latent weights start inside the clip, and a few may step over its edge.
CLIPPED_SHARE = 0.05
# Where a network is used to it (dark pixels), a note is enough; below this it is not worth one.
ZERO_INPUT_SHARE = 0.01
# Some bounded latent weights always gather at their bound; a tenth in a good training on MNIST,
# more in longer ones. Nearly all means that a step carries a weight from one end to the other.
AT_BOUND_SHARE = 0.9
# Scales start at 1. A hundredth of the layer's mean, or of the channel's own shift, moves nothing:
# normalised values stay within about 5. A layer of scales that are all below the last is off.
SMALL_SCALE = 0.01
SMALL_SCALE_ALONE = 1e-3

VALUES = "parameter's values"


def non_finite(passes: Passes, gauge: Gauge) -> None:
    """Nan or inf: the data, each parameter, each layer's own doing, the loss, the gradients."""
    found = passes.blamed  # only the first cause matters; what follows from it is not told again

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
    """Quantized weights whose gradient is exactly zero, sorted by the reason for it."""
    for path, step, parameter, function in _quantized(passes.training):
        if step.dy is None:
            continue
        xp = backend_of(parameter.data).xp
        zero = parameter.grad == 0
        ones = xp.ones_like(parameter.data)
        # Some functions let a gradient pass only if it leads back inside: at their edge a zero is
        # no fault, and a weight is stuck only if it can go neither way.
        up = function.backward(-ones, parameter.data) == 0
        down = function.backward(ones, parameter.data) == 0
        stuck = up & down
        # An input that never changes teaches its weights nothing that a bias does not learn, and
        # batch norm takes out even that: their gradients are zero but for rounding.
        idle = dark = xp.zeros_like(zero)
        if parameter.data.ndim >= 2 and parameter.shape[-2] == step.x.shape[-1]:
            axes = tuple(range(step.x.ndim - 1))
            low, high = step.x.min(axis=axes), step.x.max(axis=axes)
            idle = idle | (low == high)[:, None]
            dark = dark | ((low == 0) & (high == 0))[:, None]
        unfed = zero & ~(up | down) & ~idle
        axes = tuple(range(unfed.ndim - 1))
        units = zero.all(axis=axes) & unfed.any(axis=axes)
        unfed = unfed | units  # all of such a unit's weights, the idle ones too

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
                "batch" + (f", all those of {units:.0f} of {n} units" if units else ""),
                "they stay as they are: no error reaches them",
                "look at what follows: units outside their activation's clip, a scale of zero, "
                "a feedback that blocks the error",
            )

        def judge_clipped(share: float, path: str = path) -> Finding | None:
            if share <= CLIPPED_SHARE:
                return None
            return Finding(
                "warning",
                "clipped",
                path,
                share,
                f"{percent(share)} of the latent weights lie where their quantizer stops every "
                "gradient",
                "they never come back, so their bits are frozen",
                "keep them inside: weight_bound equal to the clip, and a weight_init within it",
            )

        def judge_dark(share: float, path: str = path) -> Finding | None:
            if share <= ZERO_INPUT_SHARE:
                return None
            return Finding(
                "note",
                "zero-input",
                path,
                share,
                f"{percent(share)} of the weights belong to inputs that are zero in every sample",
                "they keep their first values at random: harmless as long as those inputs stay "
                "zero, noise when they do not",
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

        def judge(share: float, path: str = path) -> Finding | None:
            if share <= AT_BOUND_SHARE:
                return None
            return Finding(
                "warning",
                "at-bound",
                path,
                share,
                f"{percent(share)} of the latent weights lie at their bound",
                "steps as large as the bound carry them from one end to the other, and nothing "
                "of the gradients before is remembered",
                "a smaller learning rate, or a smaller lr_scale; Bop's weights always lie at 1, so "
                "give them no weight_bound",
            )

        gauge.ask(judge, (abs(parameter.data) >= parameter.bound).mean())


def small_scale(passes: Passes, gauge: Gauge) -> None:
    """Channels that a normalisation multiplies by next to nothing."""
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
                "what such a channel gives is its shift beta, and no error passes it; as a "
                "threshold for a sign it lies far outside of what occurs",
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
