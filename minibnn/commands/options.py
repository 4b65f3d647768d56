"""Hints of Python functions, rewritten for the command line."""

from __future__ import annotations

import logging

_HINTS = {
    "pass micro_batches=": "add --micro-batches ",
    "run it again to go on": "run the same command again to go on",
    "Checkpoint(..., resume=True) goes on from there": "the same command with --resume goes on",
    "Checkpoint(..., resume=True)": "--resume",
    "compare(..., resume=True)": "--resume",
    "Checkpoint: expected every as a count": "--checkpoint-every: expected a count",
    "checkpoint_every: expected a checkpoint": "--checkpoint-every: expected a checkpoint",
    "resume: expected a checkpoint": "--resume: expected a checkpoint",
    "name it with checkpoint": "add --checkpoint FILE",
    'load_mnist(data_dir="FOLDER")': "--data-dir FOLDER",
    "call load_mnist(data_dir, verify=False)": "add --no-verify",
    "load_sample() has": "--dataset sample has",
    "use more images, or train(..., held_out=0)": "use all of MNIST: --dataset mnist",
    "is this a file of MNIST?": "name the folder of another set as DATA: train FOLDER -o FILE",
    "EMNIST letters are not a drop-in set": "name the folder of another set as DATA: train FOLDER "
    "-o FILE",
    'use device "cpu"': "--device cpu",
}


def in_options(advice: str) -> str:
    """A message for the command line: options in place of the names of Python functions.

    >>> in_options("start without them: load_sample() has 5,000 of the digits")
    'start without them: --dataset sample has 5,000 of the digits'
    """
    for function, option in _HINTS.items():
        advice = advice.replace(function, option)
    return advice


def rewrite_log(record: logging.LogRecord) -> bool:
    """A filter for loggers: messages name options instead of functions; none is dropped."""
    record.msg, record.args = in_options(record.getMessage()), ()
    return True
