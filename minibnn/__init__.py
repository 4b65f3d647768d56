"""minibnn: binary neural networks on NumPy and CuPy, with every backward pass written out.

Layers       Dense, Conv2D, Conv1D, Radial, Activation, PReLU, Dropout, BatchNorm, ShiftBatchNorm,
             TensorNorm, MaxPool2D, AveragePool2D, GlobalAveragePool2D, Flatten, Reshape, Rescale,
             Sequential, Residual, Concatenate; your own: Layer
Input codes  Thermometer, OneHotCode, Standardize, fit_codes
Functions    ReLU, Tanh, HardTanh, Sigmoid, Identity, PowerOfTwo; your own: Function
Quantizers   SignSTE, ApproxSign, SwishSign, MagnitudeAwareSign, StochasticSign, AdaSTE, Ternary,
             TernaryWeights, Heaviside, DoReFaActivations, DoReFaWeights; plot_function draws one
Feedback     Transpose (backpropagation), FixedFeedback, Blocked; DirectFeedback, a container;
             your own: Feedback
Losses       LogitCrossEntropy, BinaryCrossEntropy, SquaredHinge, Hinge; MeanSquaredError, Huber;
             your own: Loss
Optimisers   SGD, Adam, AdaMax, ShiftAdaMax, Bop; OptimizerGroup, split_parameters; schedules
Training     fit, evaluate, plot_history; Checkpoint; PlainSteps, CapturedSteps;
             Ranks and DataParallel, on several processes and machines
Seeing it    live_plot, TrainingFilm, export_training_page
Saving       save_model, load_model
Recipes      minibnn.recipes.RECIPES, your own: Recipe; compare, Entry, parse_piece, rank, mpi_jobs;
             python -m minibnn train, compare
Data         read_samples, read_parts, Samples, load_named, load_mnist, load_sample, DataLoader,
             read_idx, write_idx, one_hot, one_cold
Inspecting   model.summary(), diagnose, confusion_matrix, plot_confusion, plot_weight_bits
Checking     check_gradients
Shipping     InputContract, pack, disagreements, save_packed, load_packed, load_latents, export_c,
             export_onnx, export_html
Learning     python -m minibnn learn: the exercises of the book; in a notebook minibnn.learn.check

>>> import numpy as np
>>> from minibnn import Activation, Dense, Sequential, SignSTE
>>> model = Sequential(
...     Dense(784, 128, weight_quantizer=SignSTE()),
...     Activation(SignSTE()),
...     Dense(128, 10, weight_quantizer=SignSTE()),
... ).initialize(np.random.default_rng(0))
>>> model.forward(np.zeros((1, 784), dtype=np.float32)).shape
(1, 10)
"""

import importlib
import sys
from typing import TYPE_CHECKING

from minibnn.version import __version__ as __version__

# Type checkers and editors read these imports. At run time, `__getattr__` imports a room when one
# of its names is first used.
if TYPE_CHECKING:
    from minibnn.backend import Backend, DeviceError, backend_of, get_backend
    from minibnn.comparison import (
        Entry,
        FailedRunsError,
        compare,
        mpi_jobs,
        parse_piece,
        rank,
    )
    from minibnn.data import (
        Cutout,
        DataError,
        DataLoader,
        DatasetMismatchError,
        DatasetNotFoundError,
        IdxFormatError,
        ImageDataset,
        IterableLoader,
        RandomShift,
        Samples,
        SamplesError,
        load_mnist,
        load_mnist_or_sample,
        load_named,
        load_sample,
        one_cold,
        one_hot,
        read_idx,
        read_parts,
        read_samples,
        write_idx,
    )
    from minibnn.diagnosis import Diagnosis, Finding, diagnose
    from minibnn.distributed import Ranks, RanksDifferError
    from minibnn.encoding import OneHotCode, Standardize, Thermometer, fit_codes
    from minibnn.export import export_c, export_html, export_onnx, export_training_page
    from minibnn.feedback import Blocked, Feedback, FixedFeedback, Transpose
    from minibnn.film import Film, FilmFileError, TrainingFilm, load_film, save_film
    from minibnn.functions import (
        AdaSTE,
        ApproxSign,
        DoReFaActivations,
        DoReFaWeights,
        Function,
        HardTanh,
        Heaviside,
        Identity,
        MagnitudeAwareSign,
        PowerOfTwo,
        ReLU,
        Sigmoid,
        SignSTE,
        StochasticSign,
        StraightThrough,
        SwishSign,
        Tanh,
        Ternary,
        TernaryWeights,
    )
    from minibnn.gradcheck import GradientReport, GradientResult, check_gradients
    from minibnn.initializers import Fill, GlorotUniform, Uniform, glorot_lr_scale
    from minibnn.input_contract import InputContract
    from minibnn.layers import (
        Activation,
        AveragePool2D,
        BatchNorm,
        Concatenate,
        Conv1D,
        Conv2D,
        Dense,
        DirectFeedback,
        Dropout,
        Flatten,
        GlobalAveragePool2D,
        Layer,
        MaxPool2D,
        PReLU,
        Radial,
        Rescale,
        Reshape,
        Residual,
        Sequential,
        ShiftBatchNorm,
        TensorNorm,
    )
    from minibnn.losses import (
        F1,
        R2,
        Accuracy,
        BalancedAccuracy,
        BinaryCrossEntropy,
        Hinge,
        Huber,
        LabelAccuracy,
        LogitCrossEntropy,
        Loss,
        MeanAbsoluteError,
        MeanSquaredError,
        SquaredHinge,
    )
    from minibnn.model_file import ModelFileError, load_model, save_model
    from minibnn.optimizers import (
        SGD,
        Adam,
        AdaMax,
        AdamW,
        Bop,
        Optimizer,
        OptimizerGroup,
        ShiftAdaMax,
        clip_gradients,
        split_parameters,
    )
    from minibnn.packed import (
        Disagreements,
        PackedFileError,
        PackedModel,
        PackError,
        disagreements,
        load_latents,
        load_packed,
        pack,
        save_packed,
    )
    from minibnn.parameter import Buffer, Parameter
    from minibnn.plots import (
        live_plot,
        plot_confusion,
        plot_function,
        plot_history,
        plot_weight_bits,
    )
    from minibnn.random_stream import RandomStream
    from minibnn.schedules import Constant, Cosine, Exponential, PerEpoch, WarmUp
    from minibnn.training import (
        CapturedSteps,
        Checkpoint,
        CheckpointError,
        DataParallel,
        DivergedError,
        EarlyStopping,
        Metrics,
        PlainSteps,
        Recipe,
        WrongCheckpointError,
        confusion_matrix,
        evaluate,
        fit,
    )

__all__ = [
    "F1",
    "R2",
    "SGD",
    "Accuracy",
    "Activation",
    "AdaMax",
    "AdaSTE",
    "Adam",
    "AdamW",
    "ApproxSign",
    "AveragePool2D",
    "Backend",
    "BalancedAccuracy",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Blocked",
    "Bop",
    "Buffer",
    "CapturedSteps",
    "Checkpoint",
    "CheckpointError",
    "Concatenate",
    "Constant",
    "Conv1D",
    "Conv2D",
    "Cosine",
    "Cutout",
    "DataError",
    "DataLoader",
    "DataParallel",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "Dense",
    "DeviceError",
    "Diagnosis",
    "DirectFeedback",
    "Disagreements",
    "DivergedError",
    "DoReFaActivations",
    "DoReFaWeights",
    "Dropout",
    "EarlyStopping",
    "Entry",
    "Exponential",
    "FailedRunsError",
    "Feedback",
    "Fill",
    "Film",
    "FilmFileError",
    "Finding",
    "FixedFeedback",
    "Flatten",
    "Function",
    "GlobalAveragePool2D",
    "GlorotUniform",
    "GradientReport",
    "GradientResult",
    "HardTanh",
    "Heaviside",
    "Hinge",
    "Huber",
    "Identity",
    "IdxFormatError",
    "ImageDataset",
    "InputContract",
    "IterableLoader",
    "LabelAccuracy",
    "Layer",
    "LogitCrossEntropy",
    "Loss",
    "MagnitudeAwareSign",
    "MaxPool2D",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metrics",
    "ModelFileError",
    "OneHotCode",
    "Optimizer",
    "OptimizerGroup",
    "PReLU",
    "PackError",
    "PackedFileError",
    "PackedModel",
    "Parameter",
    "PerEpoch",
    "PlainSteps",
    "PowerOfTwo",
    "Radial",
    "RandomShift",
    "RandomStream",
    "Ranks",
    "RanksDifferError",
    "ReLU",
    "Recipe",
    "Rescale",
    "Reshape",
    "Residual",
    "Samples",
    "SamplesError",
    "Sequential",
    "ShiftAdaMax",
    "ShiftBatchNorm",
    "Sigmoid",
    "SignSTE",
    "SquaredHinge",
    "Standardize",
    "StochasticSign",
    "StraightThrough",
    "SwishSign",
    "Tanh",
    "TensorNorm",
    "Ternary",
    "TernaryWeights",
    "Thermometer",
    "TrainingFilm",
    "Transpose",
    "Uniform",
    "WarmUp",
    "WrongCheckpointError",
    "backend_of",
    "check_gradients",
    "clip_gradients",
    "compare",
    "confusion_matrix",
    "diagnose",
    "disagreements",
    "evaluate",
    "export_c",
    "export_html",
    "export_onnx",
    "export_training_page",
    "fit",
    "fit_codes",
    "get_backend",
    "glorot_lr_scale",
    "live_plot",
    "load_film",
    "load_latents",
    "load_mnist",
    "load_mnist_or_sample",
    "load_model",
    "load_named",
    "load_packed",
    "load_sample",
    "mpi_jobs",
    "one_cold",
    "one_hot",
    "pack",
    "parse_piece",
    "plot_confusion",
    "plot_function",
    "plot_history",
    "plot_weight_bits",
    "rank",
    "read_idx",
    "read_parts",
    "read_samples",
    "save_film",
    "save_model",
    "save_packed",
    "split_parameters",
    "write_idx",
]

# The rooms, and the public names of each one.
_ROOMS = {
    "backend": "Backend DeviceError backend_of get_backend",
    "checks": "",
    "renames": "",
    "data": (
        "Cutout DataError DataLoader DatasetMismatchError DatasetNotFoundError IdxFormatError "
        "ImageDataset IterableLoader RandomShift Samples SamplesError load_mnist "
        "load_mnist_or_sample load_named load_sample one_cold one_hot read_idx "
        "read_parts read_samples write_idx"
    ),
    "diagnosis": "Diagnosis Finding diagnose",
    "encoding": "OneHotCode Standardize Thermometer fit_codes",
    "feedback": "Blocked Feedback FixedFeedback Transpose",
    "functions": (
        "AdaSTE ApproxSign DoReFaActivations DoReFaWeights Function HardTanh Heaviside "
        "Identity MagnitudeAwareSign PowerOfTwo ReLU Sigmoid SignSTE StochasticSign "
        "StraightThrough SwishSign Tanh Ternary TernaryWeights"
    ),
    "initializers": "Fill GlorotUniform Uniform glorot_lr_scale",
    "input_contract": "InputContract",
    "gradcheck": "GradientReport GradientResult check_gradients",
    "layers": (
        "Activation AveragePool2D BatchNorm Concatenate Conv1D Conv2D Dense DirectFeedback "
        "Dropout Flatten GlobalAveragePool2D Layer MaxPool2D PReLU Radial Rescale Reshape Residual "
        "Sequential ShiftBatchNorm TensorNorm"
    ),
    "losses": (
        "F1 R2 Accuracy BalancedAccuracy BinaryCrossEntropy Hinge Huber LabelAccuracy "
        "LogitCrossEntropy Loss MeanAbsoluteError MeanSquaredError SquaredHinge"
    ),
    "optimizers": (
        "SGD Adam AdaMax AdamW Bop Optimizer OptimizerGroup ShiftAdaMax clip_gradients "
        "split_parameters"
    ),
    "packed": (
        "Disagreements PackError PackedFileError PackedModel disagreements load_latents "
        "load_packed pack save_packed"
    ),
    "model_file": "ModelFileError load_model save_model",
    "parameter": "Buffer Parameter",
    "plots": "live_plot plot_confusion plot_function plot_history plot_weight_bits",
    "random_stream": "RandomStream",
    "schedules": "Constant Cosine Exponential PerEpoch WarmUp",
    "training": (
        "DivergedError EarlyStopping Metrics PlainSteps CapturedSteps DataParallel Checkpoint "
        "CheckpointError Recipe WrongCheckpointError confusion_matrix evaluate fit"
    ),
    "atomic_file": "",
    "bit_words": "",
    "commands": "",
    "comparison": "Entry FailedRunsError compare mpi_jobs parse_piece rank",
    "container": "",
    "description": "",
    "distributed": "Ranks RanksDifferError",
    "export": "export_c export_html export_onnx export_training_page",
    "film": "Film FilmFileError TrainingFilm load_film save_film",
    "default_network": "",
    "target_scale": "",
    "recipes": "",
    "sklearn": "",
    "regular_file": "",
    "gradient_clock": "",
    "html_tables": "",
    "inspection": "",
    "notebook": "",
    "learn": "",
    "result_folder": "",
    "file_lock": "",
    "signals": "",
    "state": "",
    "state_file": "",
    "windows": "",
    "version": "",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a room, or the room of a public name, at its first use (PEP 562)."""
        room = name if name in _ROOMS else _ROOM_OF.get(name)
        if room is None:
            # Without obj=..., Python does not add its own suggestion to the traceback.
            raise AttributeError(_no_such_name(name), name=name)
        try:
            module = importlib.import_module(f"{__name__}.{room}")
            value = module if name == room else getattr(module, name)
        except AttributeError as error:
            # With an AttributeError, `from minibnn import ...` would report a missing name.
            raise ImportError(f"{__name__}.{room} cannot be imported: {error}") from error
        globals()[name] = value  # the next use is an ordinary lookup
        return value


def __dir__() -> list[str]:
    """The public names and the rooms, for `dir` and for completion, which imports what it lists."""
    names = {*(name for name in globals() if name.startswith("__")), *__all__, *_ROOMS}
    if sys._getframe(1).f_globals.get("__name__") == "inspect":
        # pydoc would print all that public classes have, on 16,000 lines. The docstring lists them.
        names -= {*__all__, *_ROOMS, "__dir__", "__getattr__"}
    elif "sklearn" not in globals():
        names.remove("sklearn")  # completion would fail without scikit-learn
    return sorted(names)


def _no_such_name(name: str) -> str:
    message = f"module {__name__!r} has no attribute {name!r}"
    if name.startswith("_"):  # tools ask for such names; nobody mistyped them
        return message
    import difflib

    close = difflib.get_close_matches(name, [*__all__, *_ROOMS], n=1)
    return f"{message}; did you mean {close[0]!r}?" if close else message
