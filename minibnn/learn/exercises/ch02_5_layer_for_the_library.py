"""The layer as a class of minibnn

In minibnn a layer is a class with a forward and a backward. Write the dense
layer as one. What you need to know:

- self.W.data and self.b.data are the values, self.W.grad and self.b.grad
  the gradients. Backward overwrites all of a gradient: self.b.grad[...] = db
- forward, in training, keeps in self.saved the shape of its output, and
  then what backward needs. take_saved(dz) compares the shape of dz with
  that of the output, and gives back the rest, once for each forward.
- need_dx=False says that the caller does not want dx. You may return it all
  the same, so you need not look at need_dx.
- Uniform() makes a parameter begin with random numbers from -1 to 1.

The equations are those of the dense layer:

    z = x W + b
    dW = x.T dz        db = sum of dz over the batch        dx = dz W.T

The check uses minibnn's own, `check_gradients`, which calls the layer in
all ways that training does. Try it yourself:

    from minibnn import check_gradients
    print(check_gradients(OwnDense(3, 2), np.random.normal(size=(5, 3))))
"""

import numpy as np

from minibnn import Layer, Parameter, Uniform


class OwnDense(Layer):
    """z = x W + b, for x of shape (batch, in) and W of shape (in, out)."""

    def __init__(self, n_in, n_out):
        self.W = Parameter("W", (n_in, n_out), Uniform())
        self.b = Parameter("b", (n_out,), Uniform())

    def forward(self, x, *, train=False):
        """z; in training, keep what backward needs."""
        z = x @ self.W.data + self.b.data  # hole: the output, from x and the parameters' data
        if train:
            self.saved = (z.shape, x)
        return z

    def backward(self, dz, *, need_dx=True):
        """Overwrite the gradients of W and b; return dx."""
        (x,) = self.take_saved(dz)
        # hole: overwrite self.W.grad and self.b.grad
        self.W.grad[...] = x.T @ dz
        self.b.grad[...] = dz.sum(axis=0)
        # end of hole
        return dz @ self.W.data.T  # hole: dx


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import LayerGradients, mistake

HINTS = [
    "self.W is an object that has the array as self.W.data: z = x @ self.W.data + ...",
    "`self.W.grad[...] = v` writes the numbers of v into the array that is there. "
    "`self.W.grad = v` would put another array in its place, which the optimiser does not know.",
    "Backward has two lines for the gradients, self.W.grad[...] = x.T @ dz and self.b.grad[...] = "
    "dz.sum(axis=0), and returns dz @ self.W.data.T.",
]

X = np.random.default_rng(25).normal(size=(5, 3))
CHECKS = [LayerGradients(OwnDense, lambda Own: Own(3, 2), X, "check_gradients passes", points=4)]


@mistake(OwnDense, "a gradient added to what was there")
class AddsUp(OwnDense):
    """With += the gradients of all batches add up, and each step would repeat all former ones.
    (PyTorch does add, and has zero_grad for it.) In minibnn backward overwrites the numbers in the
    array: write self.W.grad[...] = dW."""

    def backward(self, dz, *, need_dx=True):
        (x,) = self.take_saved(dz)
        self.W.grad += x.T @ dz
        self.b.grad += dz.sum(axis=0)
        return dz @ self.W.data.T


@mistake(OwnDense, "another array in the place of the gradient")
class Replaces(OwnDense):
    """`self.W.grad = ...` makes the name mean a new array. The optimiser keeps the old one, and
    never sees what is in yours. Write into the array: self.W.grad[...] = ..."""

    def backward(self, dz, *, need_dx=True):
        (x,) = self.take_saved(dz)
        self.W.grad = x.T @ dz
        self.b.grad = dz.sum(axis=0)
        return dz @ self.W.data.T


@mistake(OwnDense, "the layer without its bias")
class WithoutBias(OwnDense):
    """The bias is a parameter of the layer, but its output does not depend on it: add
    self.b.data."""

    def forward(self, x, *, train=False):
        z = x @ self.W.data
        if train:
            self.saved = (z.shape, x)
        return z


@mistake(OwnDense, "the gradient of the bias as a mean")
class MeanBias(OwnDense):
    """If the loss is a mean over the batch, dz has been divided by the batch size already: db is
    the sum of dz over the batch."""

    def backward(self, dz, *, need_dx=True):
        (x,) = self.take_saved(dz)
        self.W.grad[...] = x.T @ dz
        self.b.grad[...] = dz.mean(axis=0)
        return dz @ self.W.data.T


@mistake(OwnDense, "a backward that hands dz back as it is")
class HandsOn(OwnDense):
    """The layer before needs dx, the gradient by its own output x, of shape (batch, in). dz is that
    by z: it has to go back through the weights, by W.T."""

    def backward(self, dz, *, need_dx=True):
        super().backward(dz)
        return dz
