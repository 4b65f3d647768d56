"""Run ONNX files in ONNX Runtime, and compare them with the packed models that they come from."""

from __future__ import annotations

import numpy as np

from minibnn.packed import PackedModel
from minibnn.packed.stages import ScoreStage, size_of


def session(runtime, file, threads=1, optimised=True):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def images_for(packed, rng, n=33):
    """Noise, and images that make sums extreme."""
    images = rng.integers(0, 256, (n, *packed.input_shape), np.uint8)
    images[: n // 3] = rng.choice(np.array([0, 255], np.uint8), images[: n // 3].shape)
    images[0], images[1] = 0, 255
    return images


def check(runtime, packed, file, images, **options):
    """Compare batches of all, one, none and seven of these images."""
    onnxruntime = session(runtime, file, **options)
    for batch in (images, images[:1], images[:0], images[1:8]):
        scores, label = onnxruntime.run(["scores", "label"], {"images": batch})
        np.testing.assert_array_equal(scores, packed.predict_scores(batch))
        np.testing.assert_array_equal(label, packed.predict(batch))
        assert (scores.dtype, label.dtype) == (np.int64, np.int64)


def scored(input_shape, *stages):
    """A program whose scores are the outputs of its last stage."""
    classes = size_of(stages[-1].out_shape)
    one, zero = np.ones(classes, np.int64), np.zeros(classes, np.int64)
    scores = ScoreStage((classes,), (classes,), one, zero, 0, False, one.astype(np.float32),
                        zero.astype(np.float32))  # fmt: skip
    return PackedModel(input_shape, (*stages, scores), {"thresholds": []})
