"""The commands of ``python -m minibnn``, one file each."""
