"""Capturing a device's work, to replay it without Python."""
