"""The parts of `confirm_gpu.py`."""
