"""The version, which result files and shipped files contain."""

__version__ = "0.1.0"
