"""Capturing what a device does in a training step, to do it again without Python."""
