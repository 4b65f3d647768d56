"""The version, which results and shipped files state."""

__version__ = "0.1.0"
