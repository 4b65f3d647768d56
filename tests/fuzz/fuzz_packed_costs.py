"""Packed files with valid digests and absurd sizes: the cost of each use.

Each file is small and well-formed, and describes a program of absurd sizes. A child process uses it
in every way, with limited memory. Every use must end in time, with a result or an error that names
the limit.

    python tests/fuzz/fuzz_packed_costs.py --rounds 1000 --seed 1

Half of them have stages on integers and branches.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from integer_files import certified

from minibnn.packed.bits import pack_rows
from minibnn.packed.file import container
from minibnn.packed.file.save import metadata_of
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    DenseStage,
    PoolStage,
    ScoreStage,
    ThresholdStage,
    size_of,
)
from minibnn.windows import Windows

MEMORY = 2**29  # bytes that one use may take, in addition to Python's own
SECONDS = 60  # processor time for one use
GIVEN = 20 * SECONDS


class Program:
    """A sequence of stages of any size; weights and thresholds are zeros."""

    def __init__(self, *input_shape: int) -> None:
        self.input_shape = self.shape = input_shape
        self.stages: list = []
        self.pixels = True
        self.numbers = False
        self.dtype = "uint8"

    def add(self, stage) -> Program:
        self.stages.append(stage)
        self.shape = stage.out_shape
        return self

    def reshape(self, *shape: int) -> Program:
        self.shape = shape
        return self

    def binarize(self) -> Program:
        self.pixels = False
        return self.add(Binarize(self.shape, self.shape, 128, False))

    def code(self, signs: int, dtype: str) -> Program:
        """So many comparisons of each value along the last axis."""
        self.pixels, self.dtype = False, dtype
        features = self.shape[-1]
        feature = np.repeat(np.arange(features, dtype=np.int32), signs)
        low, high = np.zeros((2, len(feature)), dtype)
        out_shape = (*self.shape[:-1], len(feature))
        return self.add(CodeStage(self.shape, out_shape, dtype, feature, low, high))

    def product(self, kind, out_shape, width, *more) -> Program:
        weights = pack_rows(np.zeros((out_shape[-1], width), np.uint8))
        return self.add(kind(self.shape, out_shape, weights, width, self.pixels, *more))

    def dense(self, channels: int) -> Program:
        self.shape = (size_of(self.shape),)
        return self.product(DenseStage, (channels,), *self.shape)

    def conv(self, channels, size, stride=(1, 1), dilation=(1, 1), border=((0, 0), (0, 0))):
        image = [n + sum(b) for n, b in zip(self.shape, border, strict=False)]
        counts = Windows(size, stride, dilation).counts((1, *image))
        width = size_of(size) * self.shape[2]
        more = (size, stride, dilation, border, 0)
        return self.product(ConvStage, (*counts, channels), width, *more)

    def pool(self, size, stride=(1, 1)) -> Program:
        counts = Windows(size, stride).counts((1, *self.shape))
        return self.add(PoolStage(self.shape, (*counts, self.shape[2]), size, stride))

    def sign(self) -> Program:
        n, self.pixels, self.numbers = self.shape[-1], False, False
        zeros = np.zeros(n, np.int32), np.zeros(n, bool)
        return self.add(ThresholdStage(self.shape, self.shape, *zeros))

    # --- on integers ------------------------------------------------------------------------------

    @property
    def takes(self) -> str:
        return "numbers" if self.numbers else "pixels" if self.pixels else "bits"

    def gives_numbers(self, stage) -> Program:
        self.numbers, self.pixels = True, False
        return self.add(stage)

    def integer_dense(self, channels: int) -> Program:
        (n,) = self.shape = (size_of(self.shape),)
        weights = np.zeros((channels, n), np.int8)
        return self.add(IntegerDense(self.shape, (channels,), weights, self.takes))

    def integer_conv(self, channels, size, stride=(1, 1), border=((0, 0), (0, 0)), groups=1):
        image = [n + sum(b) for n, b in zip(self.shape, border, strict=False)]
        counts = Windows(size, stride).counts((1, *image))
        weights = np.zeros((channels, size_of(size) * self.shape[2] // groups), np.int8)
        more = (size, stride, (1, 1), border, 0, groups)
        return self.add(IntegerConv(self.shape, (*counts, channels), weights, self.takes, *more))

    def sum_pool(self, size, stride=(1, 1)) -> Program:
        out_shape = (*Windows(size, stride).counts((1, *self.shape)), self.shape[2])
        return self.add(SumPoolStage(self.shape, out_shape, self.takes, size, stride))

    def levels(self, count: int) -> Program:
        n = self.shape[-1]
        thresholds = np.zeros((n, count), np.int32), np.zeros(n, bool)
        return self.gives_numbers(LevelStage(self.shape, self.shape, *thresholds))

    def scale(self) -> Program:
        zeros = np.zeros((2, self.shape[-1]), np.int64)
        return self.gives_numbers(ScaleStage(self.shape, self.shape, "acc", *zeros, 0))

    def slope(self) -> Program:
        zeros = np.zeros(self.shape[-1], np.int64)
        return self.gives_numbers(SlopeStage(self.shape, self.shape, zeros, 3))

    def join(self, *sources: int) -> Program:
        return self.gives_numbers(AddStage(self.shape, self.shape, sources=sources))

    def concat(self, *sources: int) -> Program:
        """Of this shape."""
        *image, n = self.shape
        parts = (n,) * len(sources)
        out_shape = (*image, n * len(sources))
        return self.add(ConcatStage(self.shape, out_shape, parts, sources=sources))

    @property
    def here(self) -> int:
        return len(self.stages) - 1

    def scores(self) -> Program:
        n = self.shape[-1]
        A, B = np.ones(n, np.int64), np.zeros(n, np.int64)
        floats = np.ones(n, np.float32), np.zeros(n, np.float32)
        return self.add(ScoreStage(self.shape, self.shape, A, B, 0, True, *floats))

    def file(self) -> bytes:
        """The file, without the checks of `save_packed`."""
        packed = certified(
            PackedModel(self.input_shape, tuple(self.stages), {}, input_dtype=self.dtype)
        )
        return container.write(metadata_of(packed, {}), packed.arrays())


def end(program: Program, classes: int = 2) -> Program:
    last = program.integer_dense if program.numbers else program.dense
    return last(classes).scores()


K = 2**10
# One of each kind of excess. Each takes little to write down.
CRAFTED = {
    "many pixels": lambda: end(Program(2**14, 2**14, 1).binarize().pool((2**14, 1)).pool((1, 2**14))),
    "many pixels, one value": lambda: end(Program(2**14, 2**14, 1).binarize().pool((2, 2), (2**14, 2**14))),
    "many pixels to sums": lambda: end(Program(2**11, 2**11, 1).conv(1, (1, 1), (2**10, 2**10)).sign()),
    "many pixels to bits": lambda: end(Program(2**23)),
    "windows of one value": lambda: end(
        Program(2**14, 2**14 - 1, 1).binarize().conv(1, (1, 1)).pool((1, 1), (2**13, 2**13)).sign()
    ),
    "windows of two values": lambda: end(
        Program(2**13, 2**13, 1).conv(1, (1, 2)).pool((1, 1), (2**13, 2**12)).sign()
    ),
    "many windows on a pixel": lambda: end(
        Program(1, 1, 1).conv(1, (2, 2), border=((8 * K, 8 * K), (8 * K, 8 * K))).pool((1, 1), (4 * K, 4 * K)).sign()
    ),
    "padding far out": lambda: end(
        Program(1, 1, 1).conv(1, (2, 2), dilation=(16000, 16000), border=((8 * K, 8 * K), (8 * K, 8 * K))).sign()
    ),
    "a window of many positions": lambda: end(Program(2900, 2900, 1).conv(1, (2900, 2900)).sign()),
    "a pool of many positions": lambda: end(Program(2**11, 2**11, 1).binarize().pool((2**11, 2**11))),
    "pools over pools": lambda: end(
        Program(K, K, 1).conv(1, (1, 1)).pool((512, 512)).pool((256, 256)).pool((128, 128)).sign()
    ),
    "many sums": lambda: end(Program(K, K, 1).conv(256, (1, 1)).pool((1, 1), (K, K)).sign()),
    "many sums of bits": lambda: end(
        Program(K, K, 1).binarize().conv(256, (1, 1)).pool((1, 1), (K, K)).sign()
    ),
    "many channels": lambda: end(Program(1).dense(2**20 - 1).sign()),
    "many classes": lambda: end(Program(1), 2**20 - 1),
    "many classes of bits": lambda: end(Program(1).binarize(), 2**18),
    "many comparisons": lambda: end(Program(K, K, 1).code(2**7, "int16").pool((1, 1), (K, K))),
    "many comparisons of floats": lambda: end(Program(2**13, 2**13, 1).code(1, "float32").pool((1, 1), (4 * K, 4 * K))),
    "many stages": lambda: end(_repeat(Program(64, 64, 1).binarize(), lambda p: p.pool((1, 1)), 20_000)),
    "many large stages": lambda: end(
        _repeat(Program(2 * K, 2 * K, 1).binarize(), lambda p: p.pool((1, 1)), 900).pool((1, 1), (2 * K, 2 * K))
    ),
    "many layers": lambda: end(_repeat(Program(1), lambda p: p.dense(1).sign(), 3_000)),
    "a page's pixels, many sums": lambda: end(
        Program(28, 28, 1).conv(1, (1, 1), border=((2000, 2000), (2000, 2000))).pool((2, 2), (2000, 2000)).sign()
    ),
    "a page's pixels, many operations": lambda: end(
        _repeat(Program(28, 28, 1).conv(64, (1, 1), border=((500, 500), (500, 500))).sign(), lambda p: p.conv(64, (3, 3)).sign(), 20)
        .pool((1, 1), (400, 400))
    ),
    "many values for later": lambda: end(_to_all(_repeat(Program(K, K, 1).scale(), lambda p: p.slope(), 300))),
    "many sources": lambda: end(_repeat(Program(K, K, 1).scale(), lambda p: p.join(*[p.here] * 1000), 9).sum_pool((K, K)).scale()),
    "too many sources": lambda: end(Program(1).scale().join(*[0] * 100_000)),
    "ever more values": lambda: end(
        _repeat(Program(4 * K, 1, 1).scale(), lambda p: p.concat(p.here, p.here), 16).integer_conv(1, (1, 1)).scale()
    ),
    "many channels of numbers": lambda: end(
        _repeat(Program(1).integer_dense(2**16).scale(), lambda p: p.join(p.here, p.here), 900)
    ),
    "many levels": lambda: end(Program(K, K, 1).integer_conv(60, (1, 1)).levels(255).sum_pool((K, K)).scale()),
    "many groups": lambda: end(
        _repeat(Program(2, 2, 1).integer_conv(2**16, (1, 1)), lambda p: p.levels(1).integer_conv(2**16, (1, 1), groups=2**16), 9)
        .scale().sum_pool((2, 2)).scale()
    ),
    "many sums of numbers": lambda: end(Program(K, K, 1).scale().integer_conv(128, (1, 1)).scale().sum_pool((1, 1), (K, K)).scale()),
    "windows of numbers": lambda: end(Program(2 * K, 2 * K, 1).scale().integer_conv(1, (9, 9)).levels(1).sum_pool((1, 1), (K, K)).scale()),
    "sums of large windows": lambda: end(Program(2 * K, 2 * K, 1).scale().sum_pool((K, K)).scale().sum_pool((K, K)).scale()),
    "padding of numbers": lambda: end(
        Program(1, 1, 1).scale().integer_conv(1, (1, 1), border=((4 * K, 4 * K), (4 * K, 4 * K))).levels(1).sum_pool((1, 1), (4 * K, 4 * K))
        .scale()
    ),
}  # fmt: skip


def _repeat(program: Program, add, times: int) -> Program:
    for _ in range(times):
        add(program)
    return program


def _to_all(program: Program) -> Program:
    return program.concat(*range(len(program.stages))).sum_pool(program.shape[:2]).scale()


def random_graph(rng: np.random.Generator) -> Program:
    """A few stages on integers with sizes from 1 to absurd, and branches."""

    def some(most: int) -> int:
        return int(2 ** rng.uniform(0, np.log2(max(1, most))))

    sizes = (28, 28, 1) if rng.random() < 0.3 else (some(2**13), some(2**13), some(4))
    program = Program(*sizes)
    for _ in range(some(16)):
        height, width, channels = program.shape
        size, stride = (some(height), some(width)), (some(height), some(width))
        stride = (1, 1) if rng.random() < 0.5 else stride
        last = program.stages[-1] if program.stages else None
        if isinstance(last, ConvStage | IntegerConv | SumPoolStage):
            choices = [program.scale, program.sign, lambda: program.levels(some(255))]
            choices[rng.integers(len(choices))]()
            continue
        choice = rng.integers(8)
        if choice < 3 or program.pixels:
            groups = channels if rng.random() < 0.3 and channels <= 2**16 else 1
            size = (some(min(size[0], 64)), some(min(size[1], 64)))
            each = max(1, min(2**12, 2**20 // (size_of(size) * channels)) // groups)
            border = ((0, 0), (0, 0))
            if rng.random() < 0.3:
                border = tuple((some(K) - 1, some(K) - 1) for _ in range(2))
            program.integer_conv(groups * some(each), size, stride, border, groups)
        elif choice == 3:
            program.sum_pool(size, stride)
        elif choice == 4:
            program.pool(size, stride)
        elif choice == 5:
            program.concat(*[program.here] * some(8), program.here)
        elif not program.numbers:
            program.gives_numbers(
                ScaleStage(
                    program.shape, program.shape, "bits", *np.zeros((2, channels), np.int64), 0
                )
            )
        elif choice == 6:
            program.slope()
        else:  # several branches, and what they have in common is kept
            start = program.here
            for _ in range(some(4)):
                program.slope()
            program.join(start, *range(start + 1, program.here + 1), *[start] * (some(100) - 1))
    last = program.stages[-1] if program.stages else None
    if isinstance(last, ConvStage | IntegerConv | SumPoolStage) or program.pixels:
        program.scale()
    if size_of(program.shape) > 2**20:
        program.pool((1, 1), program.shape[:2])
    return end(program, some(64))


def random_program(rng: np.random.Generator) -> Program:
    """A few stages with sizes from 1 to absurd, and few weights in each."""

    def some(most: int) -> int:
        return int(2 ** rng.uniform(0, np.log2(max(1, most))))

    page = rng.random() < 0.3
    program = Program(28, 28, 1) if page else Program(some(2**14), some(2**14), some(4))
    if rng.random() < 0.4:
        program.binarize()
    for _ in range(some(12)):
        height, width, channels = program.shape
        size = some(min(height, 4 * K)), some(min(width, 4 * K))
        stride = some(height), some(width)
        if rng.random() < 0.5:
            stride = 1, 1
        if isinstance(program.stages[-1] if program.stages else None, ConvStage):
            if rng.random() < 0.5:
                program.pool(size, stride)
            program.sign()
        elif not program.pixels and rng.random() < 0.3:
            program.pool(size, stride)
        else:
            width = size_of(size) * channels
            if 255 * width >= 2**31:
                continue
            border = [(some(4 * K) - 1, some(4 * K) - 1) for _ in range(2)]
            if rng.random() < 0.7:
                border = [(0, 0), (0, 0)]
            most = max(1, 2**22 // width)
            program.conv(some(min(most, 2**12)), size, stride, border=tuple(border))
    if isinstance(program.stages[-1] if program.stages else None, ConvStage):
        program.sign()
    if size_of(program.shape) > 2**22:  # whose weights would make a large file
        program = program.binarize() if program.pixels else program
        program.pool((1, 1), program.shape[:2])
    return end(program, some(2**22 // size_of(program.shape)) if rng.random() < 0.5 else 2)


# --- in the child ---------------------------------------------------------------------------------


def uses(path: str, folder: str, exports: bool) -> dict:
    """All uses of a file, by name; also exports, or all others."""
    import minibnn
    from minibnn import SignSTE
    from minibnn.__main__ import main
    from minibnn.export import export_c, export_html, export_onnx

    packed = []

    def load():
        packed.append(minibnn.load_packed(path))

    def images(n=2):
        return np.zeros((n, *packed[0].input_shape), packed[0].input_dtype)

    def model():
        last = minibnn.Dense(4, 2, weight_quantizer=SignSTE())
        return minibnn.Sequential(minibnn.Flatten(), minibnn.Rescale(1), last)

    def command(*words):
        def run():
            code = main([*words])
            if code == 3:
                raise minibnn.PackedFileError(f"exit code 3 of {words[0]}")
            if code == 2:
                raise minibnn.PackError(f"exit code 2 of {words[0]}")
            if code:
                raise RuntimeError(f"exit code {code}")

        return run

    out = os.path.join(folder, "out")
    given = {
        "load_packed": load,
        "packed_file_info": lambda: minibnn.packed.packed_file_info(path),
        "inspect": command("inspect", path),
        "load_latents": lambda: minibnn.load_latents(path, model().initialize(0)),
        "evaluate": command("evaluate", path, "--dataset", "sample", "--device", "cpu"),
        "pack": command("pack", path, "-o", out),
        "export c": command("export", "c", path, "-o", out),
        "export html": command("export", "html", path, "-o", out),
    }
    own = {
        "summary": lambda: str(packed[0].summary()) + repr(packed[0]) + packed[0].sha256,
        "predict": lambda: packed[0].predict(images()),
        "predict_scores": lambda: packed[0].predict_scores(images()),
        "logits": lambda: packed[0].logits(images()),
        "after": lambda: packed[0].after(images(1), len(packed[0].stages)),
        "verify": lambda: packed[0].verify(model().initialize(0)),
        "disagreements": lambda: minibnn.disagreements(model().initialize(0), packed[0], images()),
        "save_packed": lambda: minibnn.save_packed(packed[0], out),
        "export_c": lambda: export_c(packed[0], out, images=images(1)),
        "export_html": lambda: export_html(packed[0], out, images=images(1)),
    }
    if importlib.util.find_spec("onnx"):
        given["export onnx"] = command("export", "onnx", path, "-o", out)
        own["export_onnx"] = lambda: export_onnx(packed[0], out)
    if not os.path.getsize(path) or _loads(load):
        given |= own
    return {name: use for name, use in given.items() if exports or not name.startswith("export")}


def _loads(load) -> bool:
    import minibnn

    try:
        load()
    except (minibnn.PackedFileError, MemoryError):
        return False
    return True


def child(path: str, exports: bool) -> None:
    """Use a file in every way, and print one line of JSON for each."""
    import minibnn

    for name in ("onnx", "onnx.helper", "onnx.numpy_helper"):
        if importlib.util.find_spec("onnx"):
            importlib.import_module(name)
    minibnn.load_sample().test_images.sum()
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null:
        with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
            todo = uses(path, folder, exports)
        for name, use in todo.items():
            start = time.process_time()
            try:
                with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                    use()
                result = "done"
            except (minibnn.PackedFileError, minibnn.PackError) as error:
                result = f"refused: {error}"
            except MemoryError:
                result = "MemoryError"
            seconds = round(time.process_time() - start, 2)
            print(json.dumps([name, result, seconds]), flush=True)


# --- in the parent --------------------------------------------------------------------------------


def costs(data: bytes, exports: bool = True) -> list[tuple[str, str, float]]:
    """The outcome of each use of a file, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "crafted.safetensors")
        Path(path).write_bytes(data)
        command = [sys.executable, __file__, "--use", path]
        command += [] if exports else ["--no-exports"]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=GIVEN
            )
            said, end = done.stdout, f"exit code {done.returncode}: {done.stderr[-400:]}"
        except subprocess.TimeoutExpired as error:
            done, said, end = None, (error.stdout or b"").decode(), "timeout"
    lines = [tuple(json.loads(line)) for line in said.splitlines()]
    if done is None or done.returncode:
        lines.append(("the next one", end, 0.0))
    return lines


def faults(lines) -> list:
    """The uses that took too much, or ended unexpectedly."""
    return [
        (use, result, seconds)
        for use, result, seconds in lines
        if seconds > SECONDS or not (result == "done" or result.startswith("refused: "))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--use", metavar="FILE", help="use one file, and say what it costs")
    parser.add_argument("--named", action="store_true", help="the named files first")
    parser.add_argument("--no-exports", action="store_true", help="all other uses only")
    given = parser.parse_args()
    if given.use:
        child(given.use, not given.no_exports)
        return 0
    files = [(name, make) for name, make in CRAFTED.items() if given.named]
    for i in range(given.rounds):
        rng = np.random.default_rng([given.seed, i])
        make = (random_program, random_graph)[i % 2]
        files.append((f"seed {given.seed}, round {i}", lambda rng=rng, make=make: make(rng)))
    wrong, loaded, worst = 0, 0, ("", "", 0.0)
    for name, make in files:
        data = make().file()
        lines = costs(data, not given.no_exports)
        loaded += any(result == "done" for _, result, _ in lines)
        bad = faults(lines)
        wrong += bool(bad)
        for use, result, seconds in bad:
            print(f"{name}, {len(data):,} bytes: {use}: {result}, {seconds} s", flush=True)
        worst = max([worst, *((name, use, s) for use, _, s in lines)], key=lambda row: row[2])
    print(f"{len(files)} files, {loaded} of them load; {wrong} cost too much; the slowest: {worst}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
