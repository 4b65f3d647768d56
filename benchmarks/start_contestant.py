"""Run a contestant's module, so that its imports start at `benchmarks/`; the race calls it.

    python benchmarks/start_contestant.py frameworks.ours FOLDER [FORM]

The interpreter may be one of a rival's environment, which has no minibnn.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
