"""A dense layer, forward

A dense layer has many neurons that see the same inputs. The weights of
neuron j are column j of a matrix W, and its bias is b_j. For a batch, with a
sample in each row of x, all sums of all neurons are one matrix product:

    z = x W + b

Shapes: x (batch, in), W (in, out), b (out,), z (batch, out).

Write it. Then write the same sum by sum, with three loops, as a check of
the first: z[i, j] is the sum over k of x[i, k] W[k, j], plus b[j].
"""

import numpy as np


def forward(x, W, b):
    """z = x W + b, as a matrix product."""
    return x @ W + b  # hole: shape (batch, out)


def forward_by_loops(x, W, b):
    """The same, number by number."""
    batch, n_in = x.shape
    n_out = W.shape[1]
    z = np.zeros((batch, n_out))
    for i in range(batch):
        for j in range(n_out):
            # hole: begin with the bias, then add x[i, k] W[k, j] for each k
            z[i, j] = b[j]
            for k in range(n_in):
                z[i, j] += x[i, k] * W[k, j]
            # end of hole
    return z


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Shapes, mistake

HINTS = [
    "@ is the matrix product: (batch, in) @ (in, out) is (batch, out). The inner sizes have to be "
    "equal, and vanish.",
    "b has the shape (out,). NumPy adds it to each row of an array (batch, out) by itself.",
    "In the loops, set z[i, j] = b[j]; then `for k in range(n_in):` add x[i, k] * W[k, j] with +=.",
]

_rng = np.random.default_rng(21)
CASES = [
    (
        np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]),
        np.array([[1.0, -1.0, 0.5, 2.0], [0.0, 1.0, -2.0, 1.5], [2.0, 0.5, 1.0, -1.0]]),
        np.array([0.1, 0.2, 0.3, 0.4]),
    ),
    (_rng.normal(size=(5, 2)), _rng.normal(size=(2, 3)), _rng.normal(size=3)),
]

CHECKS = [
    Shapes(forward, CASES, "the shape (batch, out)"),
    Agrees(forward, CASES, "the matrix product"),
    Agrees(forward_by_loops, CASES, "the loops"),
]


@mistake(forward, "the layer without its bias")
def without_bias(x, W, b):
    """The product is right; b is missing."""
    return x @ W


@mistake(forward, "the transpose of z")
def transposed(x, W, b):
    """This is W.T x.T, as in books where each sample is a column. In this book, in minibnn, and in
    most libraries a sample is a row: z is (batch, out), and no transpose is needed."""
    return W.T @ x.T + b[:, None]


@mistake(forward, "the product with W transposed")
def with_transposed_weights(x, W, b):
    """The inner sizes do not fit. W is (in, out) already: a row for each input, a column for each
    neuron. (PyTorch stores it the other way round, and has to transpose.)"""
    return x @ W.T + b


@mistake(forward, "the elementwise product")
def elementwise(x, W, b):
    """`*` multiplies element by element, for which the shapes would have to be equal. The matrix
    product, which adds up over the inputs as well, is @."""
    return x * W + b


@mistake(forward_by_loops, "the loops without the bias")
def loops_without_bias(x, W, b):
    """The products are added up correctly; b[j] is missing in each sum."""
    return x @ W


@mistake(forward_by_loops, "the last product alone")
def last_product(x, W, b):
    """Each k overwrites what was there before. Add to it: z[i, j] += ..."""
    return x[:, -1:] * W[-1]


@mistake(forward_by_loops, "the bias added once for each input")
def bias_often(x, W, b):
    """The bias is added inside the loop over k, so it is there as often as there are inputs. It
    belongs before that loop."""
    return x @ W + len(W) * b
