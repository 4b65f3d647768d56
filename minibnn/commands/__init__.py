"""The commands of ``python -m minibnn``, a file each."""
