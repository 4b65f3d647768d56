"""Every piece of advice in the package is followed by a test, or is known not to be executable."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
# Advice that no test can follow, and why.
NOT_EXECUTABLE = {}
# What looks like advice and asks for nothing.
INFORMATION = set()
