"""Models in files, architecture and values, with or without their optimiser.

`save_model` writes such a file, and `load_model` makes the model of it again: from minibnn's own
classes (`parts`) and from those that the caller gives. `docs/model-format.md` describes the file.
"""

from minibnn.model_file.form import ModelFileError
from minibnn.model_file.load import load_model
from minibnn.model_file.save import save_model

__all__ = ["ModelFileError", "load_model", "save_model"]
