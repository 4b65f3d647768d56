"""Exercises that check themselves: ``python -m minibnn learn``, and `check` in a notebook.

How to write an exercise. An exercise is one file, ``exercises/ch03_2_softmax.py``: chapter 3,
number 2. Nothing is registered; the tests in ``tests/learn/test_exercises.py`` run it as soon as
it exists. Copy one that is like it.

The upper part is the reference solution, a file that runs by itself. Its docstring is the title,
an empty line, and the text: what to do, the equation, the shapes; at most 79 columns. Marks make
the starter file from it, with ``...`` in the place of the answer:

.. code-block:: text

    dW = x.T @ dz  # hole: the gradient of the weights, shape (in, out)     becomes  dW = ...
    return dW      # (no mark: this line is given)
    # hole: go through the batches                        this line, and all lines down to
    # end of hole                                         this one, become one ...

The line ``# ---- the learner's file ends here ---`` ends it. Below stands what the learner does
not see: it can use everything above, and imports from `minibnn.learn.author` what it needs.

``HINTS``: three or so texts, from a push in the right direction to nearly all of it.

``CHECKS``: a list; each has a title, points, and names one function (or class) of the solution:

- ``Agrees(f, cases, title)``: f gives what the solution gives, for each tuple of arguments.
  ``parts(f, cases, "dx dW db")`` makes one for each value that f returns.
  ``Shapes(f, cases, title)``: only their shapes.
- ``Differences(df, f, "x", cases, title)``: df is the gradient of f by x, by central differences.
- ``LayerGradients(Own, lambda Own: Own(3), x, title)``: a layer or function of the learner's
  passes minibnn's `check_gradients`.
- ``Probe(f, probe, title, tolerance=)``: the probe is given f, uses it, and returns a dict of
  numbers by what they are: a loss after an epoch, a standard deviation.
- ``Answer(f, title)``: f takes nothing and returns the answer to a question, which is not shown.
- ``CatchesMutants(test, right, title)``: the learner has written a test, which is given an
  implementation and raises if that is wrong. ``@mutant(test, "the bias is left out")`` marks each
  wrong implementation that it has to catch.

Mistakes: at least three typical wrong answers, each a function (or class) marked with
``@mistake(f, "the gradient without the transpose")``. Its code is the wrong answer, its docstring
is what the learner reads below "This is the gradient without the transpose": why it is wrong and
what to think of, not the answer. A learner's function that gives the same wrong values in a check
as this code is recognised; so choose cases in which the mistakes differ: no square matrices, no
zeros, more than one sample. A wrong test (for `CatchesMutants`) is recognised by which mutants it
catches.

Rules:

- A function is checked with the solution of the others, so one mistake costs points once.
- No check needs what a later chapter explains. Cases are float64, and small enough to read.
- Load data and train inside a probe, not at the top: the list of exercises imports every file.
- Checks together take less than half a second. ``SECONDS = 20`` at the top level changes the time
  limit of a learner's code, which is 10.
- British English, plain words, *you*. Names of mistakes complete "This is ...". Look at it once
  as a learner does: ``python -m minibnn learn start 3.2``.
"""

from minibnn.learn.notebook import check

__all__ = ["check"]
