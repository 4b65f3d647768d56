"""Training and evaluation."""

from minibnn.optimizers.diverged import DivergedError
from minibnn.training.capture import CapturedSteps
from minibnn.training.checkpoint import Checkpoint, WrongCheckpointError
from minibnn.training.checkpoint_file import CheckpointError
from minibnn.training.confusion import confusion_matrix
from minibnn.training.data_parallel import DataParallel
from minibnn.training.early_stopping import EarlyStopping
from minibnn.training.evaluate import Metrics, evaluate
from minibnn.training.fit import fit
from minibnn.training.recipe import Recipe
from minibnn.training.step import PlainSteps

__all__ = [
    "CapturedSteps",
    "Checkpoint",
    "CheckpointError",
    "DataParallel",
    "DivergedError",
    "EarlyStopping",
    "Metrics",
    "PlainSteps",
    "Recipe",
    "WrongCheckpointError",
    "confusion_matrix",
    "evaluate",
    "fit",
]
