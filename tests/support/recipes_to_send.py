"""A recipe in a file, for comparisons in other processes, and few digits to train it on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minibnn import load_sample

RECIPE = """
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

from minibnn.recipes import seed

HERE = Path({folder!r})


def network():
    if multiprocessing.parent_process() is not None:  # it is made here, too, to be described
        from threadpoolctl import threadpool_info

        blas = [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]
        (HERE / "threads").write_text(f"{{os.environ['OMP_NUM_THREADS']}} {{max(blas)}}")
        time.sleep({seconds})
        if (HERE / "fail").exists():
            why = (HERE / "fail").read_text()
            if why == "exit":
                os._exit(7)
            if why == "kill":
                os.kill(os.getpid(), 9)
            raise ValueError(why)
    return seed().build()


def build():
    return replace(seed(), name="slow", build=network, epochs=1)
"""


def own_recipe(folder, seconds=0.0):
    """Write the recipe; its name. What it does in other processes depends on files beside it.

    With a file ``fail`` it raises an error, or ends the process if "exit" or "kill" is in it.
    """
    file = folder / "slow.py"
    file.write_text(RECIPE.format(folder=str(folder), seconds=seconds))
    return f"{file}:build"


def few_digits():
    """To train on 200 and to compare on 100."""
    data = load_sample().validation_split(100, np.random.default_rng(0))
    few = slice(200)
    return replace(data, train_images=data.train_images[few], train_labels=data.train_labels[few])
