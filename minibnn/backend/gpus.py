"""Dividing the GPUs of a machine among several processes."""

from __future__ import annotations

from collections.abc import Callable


class Share:
    """What this process knows of its GPU.

    Attributes:
        place: its number among the processes of this machine, and how many they are; None if it
            takes the current GPU.
        require_place: raises DeviceError if another place needs another GPU than the one that is
            open; None before it is.
    """

    place: tuple[int, int] | None = None
    require_place: Callable[[int, int], None] | None = None


share = Share()


def divide_gpus(number: int, processes: int) -> None:
    """Let each process of this machine have a GPU of its own, when it first requests one.

    Args:
        number: of this process among those on this machine, from 0.
        processes: how many there are.

    Raises:
        DeviceError: if this process has opened the GPU of another one before.
    """
    if share.require_place is not None:
        share.require_place(number, processes)
    share.place = number, processes
