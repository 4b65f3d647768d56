"""A trained model that could not be saved as asked: its arrays go elsewhere."""

from __future__ import annotations

import os
from itertools import chain, count

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.commands.terminal import note
from minibnn.layers import Layer
from minibnn.parameter import Buffer, Parameter

RESCUED = """\
the model is trained, but could not be kept as {output}; its arrays are in
  {path}
in Python, to go on from: model = {build}.initialize(0), and
  for part, array in zip([*model.parameters(), *model.buffers()], numpy.load(...).values()):
      part.data = array"""


def rescue(model: Layer, output: str, build: str) -> None:
    """Save the trained arrays beside `output`, or in the folder for temporary files.

    Args:
        model: trained.
        output: the file that could not be written.
        build: the Python code that makes the network anew.
    """
    import tempfile

    parts: list[Parameter | Buffer] = [*model.parameters(), *model.buffers()]
    arrays = [model.backend.to_host(part.data) for part in parts if part.data is not None]
    for folder in (os.path.dirname(os.path.realpath(output)), tempfile.gettempdir()):
        path = _free_name(folder, os.path.basename(output))
        try:
            with whole_file(path) as file:
                np.savez(file, *arrays)
        except OSError as error:
            note(f"{path}: {error}")
            continue
        note(RESCUED.format(output=output, path=path, build=build))
        return


def _free_name(folder: str, name: str) -> str:
    """A path that does not exist yet: nothing is overwritten, and no link is followed."""
    while len(os.fsencode(name)) > 200:  # saving may have failed because the name was too long
        name = name[:-1]
    numbers = chain([""], (f"-{number}" for number in count(2)))
    paths = (os.path.join(folder, f"{name}.rescued{number}.npz") for number in numbers)
    return next(path for path in paths if not os.path.lexists(path))
