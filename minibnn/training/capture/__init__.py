"""Training by a captured step: the same step as `PlainSteps`, without Python between its kernels.

On a GPU each kernel of a small network takes a few microseconds, and Python needs longer than that
to queue the next one. So a step is captured once, as a CUDA graph, and replayed for the rest of the
training. The plain step itself is captured; layers, loss and optimiser contain no code for it.

A replay repeats the same operations on the same memory. Three things still differ from step to
step. The device counts the steps, and finds them by this number:

- the batch: the data set and the epoch's order are on the device;
- per-step scalars, such as learning rates and the keys of random streams: tables with the scalars
  of the whole epoch are filled before it begins, see `scalars.py`;
- the position where the loss is recorded.
"""

from minibnn.training.capture.captured_steps import CapturedSteps

__all__ = ["CapturedSteps"]
