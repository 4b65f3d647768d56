"""A fault in a fast function is noticed: a sample of what `plant_faults.py` breaks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from devices import built


@built
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each fault is tried in a forked process")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_fault_in_each_operation_on_the_cpu_is_noticed():
    script = Path(__file__).parents[1] / "support" / "plant_faults.py"
    command = [sys.executable, str(script), "--kinds", "NUMPY", "C", "--first"]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("functions without one: none\n")
    assert done.stdout.count("\n| NUMPY | ") > 10
    assert done.stdout.count("\n| C | ") >= 7
