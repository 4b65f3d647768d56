"""Count a training step

A binary network of dense layers, such as sizes (784, 1024, 1024, 10), makes
a step with a batch of n samples. A MAC is a multiplication and the addition
that follows it. The product of an (n, k) and a (k, m) matrix has n k m of
them.

    macs(sizes, n)       the MACs of all forward products, of all dW, and of
                         all dx: three numbers. Nobody needs the gradient of
                         the network's input.

    by_signs(sizes, n)   the MACs whose operands are both signs; of which one
                         is signs; and of which none is: three numbers.
                         Weights and hidden activations are signs. The input
                         and all gradients are real.

    adam_bytes(sizes)    the bytes that Adam has to move at least: for each
                         weight it reads w, dw, m and v, and writes those
                         that it changes. A number has 4 bytes.
"""

from itertools import pairwise


def macs(sizes, n):
    """The MACs of the forward products, of dW and of dx."""
    # hole: three whole numbers
    layers = [n * k * m for k, m in pairwise(sizes)]
    return sum(layers), sum(layers), sum(layers[1:])
    # end of hole


def by_signs(sizes, n):
    """The MACs with two, one and no operand of signs."""
    # hole: three whole numbers
    first, *others = (n * k * m for k, m in pairwise(sizes))
    return sum(others), first + 2 * sum(others), first
    # end of hole


def adam_bytes(sizes):
    """The bytes that Adam has to read and to write."""
    return 28 * sum(k * m for k, m in pairwise(sizes))  # hole: for all weights


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "pairwise(sizes) gives (k, m) of each layer. In each of its three products every sample meets "
    "every weight once: n k m MACs.",
    "dx of the first layer would be the gradient of the input: leave that layer out.",
    "Layer by layer. Forward: x Wq. Backward: x.T dz, and dz Wq.T. Wq is signs, dz is real, x is "
    "real in the first layer and signs in the others.",
    "Adam changes w, m and v. So it reads four numbers and writes three.",
]

CASES = [((5, 7, 3), 4), ((6, 4, 4, 2), 10), ((9, 2), 3), ((784, 1024, 1024, 10), 128)]
CHECKS = [
    Agrees(macs, CASES, "the MACs: forward, dW, dx", points=3),
    Agrees(by_signs, CASES, "operands of signs: two, one, none", points=3),
    Agrees(adam_bytes, [(case[0],) for case in CASES], "the bytes of Adam"),
]


def _layers(sizes, n):
    return [n * k * m for k, m in pairwise(sizes)]


@mistake(macs, "a dx of the first layer, too")
def first_dx(sizes, n):
    """dx of the first layer is the gradient of the pixels. Nothing stands before them that could
    learn from it, so no step computes it."""
    return (sum(_layers(sizes, n)),) * 3


@mistake(macs, "dW and dx exchanged")
def exchanged(sizes, n):
    """The counts are right, but the second is asked for dW, and the third for dx."""
    forward, dW, dx = macs(sizes, n)
    return forward, dx, dW


@mistake(macs, "a count of the weights, without the batch")
def without_batch(sizes, n):
    """Every *sample* meets every weight: n times as many."""
    return macs(sizes, 1)


@mistake(macs, "a count of operations, not of MACs")
def operations(sizes, n):
    """A MAC is a multiplication *and* an addition. Counted as two operations it would be twice
    this number."""
    return tuple(2 * count for count in macs(sizes, n))


@mistake(macs, "a dx that lacks the last layer")
def last_dx(sizes, n):
    """The error starts at the end: the last layer has to send it to the layer before. It is the
    first one that has nobody to send it to."""
    forward, dW, _ = macs(sizes, n)
    return forward, dW, sum(_layers(sizes, n)[:-1])


@mistake(by_signs, "an input of signs")
def input_of_signs(sizes, n):
    """The network's input, such as pixels, is real. So the first layer's forward product has one
    operand of signs, and its dW has none."""
    layers = _layers(sizes, n)
    return sum(layers), sum(layers) + sum(layers[1:]), 0


@mistake(by_signs, "a first forward product with two operands of signs")
def first_forward(sizes, n):
    """The weights of the first layer are signs, but the input, such as pixels, is real."""
    first, *others = _layers(sizes, n)
    return first + sum(others), 2 * sum(others), first


@mistake(by_signs, "an answer in the reverse order")
def reverse(sizes, n):
    """These are the right numbers, but the first is asked for two operands of signs, and the last
    for none."""
    return by_signs(sizes, n)[::-1]


@mistake(by_signs, "a count of the forward products alone")
def forward_only(sizes, n):
    """The step goes back, too: x.T dz has signs in x, and dz Wq.T has signs in Wq."""
    first, *others = _layers(sizes, n)
    return sum(others), first, 0


@mistake(by_signs, "gradients that are signs")
def gradients_of_signs(sizes, n):
    """dz says how wrong each sum is, so it is real. Going back at most one operand is signs."""
    first, *others = _layers(sizes, n)
    return 3 * sum(others), 2 * first, 0


@mistake(by_signs, "a hidden layer's dW or dx counted as real")
def real_backward(sizes, n):
    """Going back, products have an operand of signs, too. In x.T dz it is the hidden activations,
    in dz Wq.T the weights. Only the first layer's dW has none."""
    first, *others = _layers(sizes, n)
    return sum(others), first + sum(others), first + sum(others)


@mistake(adam_bytes, "a count of numbers, not of bytes")
def numbers(sizes):
    """Seven numbers are moved for each weight, but each has 4 bytes."""
    return adam_bytes(sizes) // 4


@mistake(adam_bytes, "what is read, without what is written")
def reads_only(sizes):
    """That is what Adam reads. What it changes has to be written back: w, m and v."""
    return adam_bytes(sizes) // 28 * 16


@mistake(adam_bytes, "a gradient that is written, too")
def writes_gradient(sizes):
    """Adam changes w, m and v. It reads dw and leaves it as it is."""
    return adam_bytes(sizes) // 28 * 32


@mistake(adam_bytes, "an Adam that moves five numbers")
def five_numbers(sizes):
    """Five numbers for each weight are too few. Is a moment missing? Or are m and v read, but not
    written back?"""
    return adam_bytes(sizes) // 28 * 20
