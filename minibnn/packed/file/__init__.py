"""Packed models in files: `save`, `load`, and `latents` to continue training.

`container` is the file format. `architecture` checks and rebuilds the program that a file
describes.
"""
