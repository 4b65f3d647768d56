"""Training by a captured step: the same step as `PlainSteps`, without Python between its kernels.

On a GPU the kernels of a small network take a few microseconds each, and Python needs longer than
that to queue the next one. So a step is captured once, as a CUDA graph, and replayed for the rest
of the training. What is captured is the plain step: layers, loss and optimiser know nothing of it.

A replay repeats the same operations on the same memory. Three things differ from step to step all
the same, and the device finds them by a counter of steps that it keeps itself:

- the batch: the data set lies on the device, and the order of the epoch beside it;
- per-step scalars (an optimiser's rates, the keys of random streams): those of the whole epoch are
  written into tables before it begins, see `scalars.py`;
- the place where the loss is noted.
"""

from minibnn.training.capture.captured_steps import CapturedSteps

__all__ = ["CapturedSteps"]
