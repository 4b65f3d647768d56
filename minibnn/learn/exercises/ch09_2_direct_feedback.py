"""Direct feedback, backward

Any number of layers, without biases, tanh behind each but the last:

    h_0 = x,   h_i = tanh(h_(i-1) W_i),   z = h_(n-1) W_n

`hs` is the list [x, h_1, ..., h_(n-1)]; `Ds` is the list of n - 1 fixed random
matrices, one for each hidden layer: Ds[0], for h_1, has the shape (features of
h_1, outputs). error is the gradient with respect to z. No error passes from
layer to layer. Instead, at the output of each hidden layer,

    dh_i = error D_i.T

From there to dW_i it is as in every layer with tanh behind it. The last layer
gets its true gradient.

Return the list [dW_1, ..., dW_n], and leave hs as it is.
"""

import numpy as np


def backward(hs, Ds, error):
    """The gradients of all weights, first layer first."""
    # hole: one for each hidden layer, then the last one
    gradients = []
    for before, h, D in zip(hs[:-1], hs[1:], Ds, strict=True):
        gradients.append(before.T @ (error @ D.T * (1 - h**2)))
    return [*gradients, hs[-1].T @ error]
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Probe, mistake
from minibnn.learn.values import copies, same

HINTS = [
    "The hidden layers do not depend on each other here: any order will do. zip(hs[:-1], hs[1:], "
    "Ds) gives what each needs.",
    "For each: before.T @ (error @ D.T * (1 - h**2)), where h is its output and before its input.",
    "The last layer gets its true gradient, hs[-1].T @ error.",
]


def _probe(function):
    found = {}
    for sizes in ((3, 4, 2), (2, 5, 3, 4)):
        rng = np.random.default_rng(92)
        hs = [rng.normal(size=(6, sizes[0]))]
        hs += [np.tanh(rng.normal(size=(6, n))) for n in sizes[1:-1]]
        Ds = [rng.normal(size=(n, sizes[-1])) for n in sizes[1:-1]]
        given = copies(hs)
        made = function(given, Ds, rng.normal(size=(6, sizes[-1])))
        name = "-".join(map(str, sizes))
        if not same(hs, given, 0.0):
            return found | {f"{name}: hs afterwards": "changed"}
        found[f"{name}: hs afterwards"] = "as before"
        if made is None:
            return found | {f"{name}: how many gradients": None}
        found[f"{name}: how many gradients"] = float(len(made))
        found |= {f"{name}: dW of layer {i}": dW for i, dW in enumerate(made, start=1)}
    return found


CHECKS = [Probe(backward, _probe, "the gradients of two networks", points=4)]


@mistake(backward, "direct feedback without the derivative of tanh")
def without_tanh(hs, Ds, error):
    """The error arrives at the layer's output. To reach its weights it passes tanh: multiply by
    1 - h^2."""
    hidden = [b.T @ (error @ D.T) for b, D in zip(hs[:-1], Ds, strict=True)]
    return [*hidden, hs[-1].T @ error]


@mistake(backward, "the derivative of the layer before")
def layer_before(hs, Ds, error):
    """The derivative of tanh belongs to the layer's own output h_i. h_(i-1) is its input. Here
    the input's derivative went into the product."""
    hidden = [
        (b * (1 - b**2)).T @ (error @ D.T) for b, D in zip(hs[:-1], Ds, strict=True)
    ]  # fmt: skip
    return [*hidden, hs[-1].T @ error]


@mistake(backward, "the list of gradients from the last layer to the first")
def reversed_list(hs, Ds, error):
    """The gradients are right, but in the order of a backward pass. Return the first layer's
    first."""
    return backward(hs, Ds, error)[::-1]


@mistake(backward, "a list without the last layer")
def without_last(hs, Ds, error):
    """The last layer has no matrix D, but it learns: its gradient is the true one."""
    return backward(hs, Ds, error)[:-1]


@mistake(backward, "a backward pass that changes hs")
def changes_hs(hs, Ds, error):
    """`h **= 2` and `h *= ...` change an array of hs itself, and hs.pop() or hs.reverse() the list.
    Compute new arrays, and leave the list as it is: others still need it."""
    gradients = backward(hs, Ds, error)
    hs.reverse()
    return gradients
