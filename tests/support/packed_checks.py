"""Compare packed models with the models that they come from, and with exact arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from minibnn.packed.compile.lower import lower
from minibnn.packed.compile.plan import layers_of


def model_outputs(model, images):
    """The output of each layer of the model."""
    x, outputs = images, []
    with np.errstate(all="ignore"):
        for _, layer in layers_of(model):
            x = layer.forward(x)
            outputs.append(x)
    return outputs


def sign_bits(model, packed, images):
    """The packed bits and the model's, after each sign that follows a product."""
    outputs = model_outputs(model, images)
    for sign in lower(model, packed.input_shape).signs:
        theirs = outputs[sign.layers - 1] > 0
        yield packed.after(images, sign.steps).reshape(theirs.shape) > 0, theirs


def moved(packed, i, name, index, change):
    """The packed model with one number of one array changed."""
    array = packed.stages[i].arrays()[name].copy()
    array.flat[index] = (
        array.flat[index] ^ change if array.dtype == bool else array.flat[index] + change
    )
    stages = list(packed.stages)
    stages[i] = replace(stages[i], **{name: array})
    return replace(packed, stages=tuple(stages))


def decimal_of(x):
    return Decimal(x.numerator) / Decimal(x.denominator)


rationals = st.fractions(-50, 50, max_denominator=40)


positive = st.fractions(Fraction(1, 40), 50, max_denominator=40)


def true_order(lines, accs):
    """The sign of every comparison by decimals; equal in 150 digits is a tie."""
    with localcontext(prec=250):
        values = [
            [
                (decimal_of(line.slope) * a + decimal_of(line.start))
                / decimal_of(line.variance).sqrt()
                + decimal_of(line.beta)
                for a in accs
            ]
            for line in lines
        ]
        return np.array([
            [0 if abs(x - y) < Decimal("1e-150") else 1 if x > y else -1 for x in one for y in other]
            for one, other in itertools.combinations(values, 2)
        ])  # fmt: skip
