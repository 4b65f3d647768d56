"""Export a packed model as one C99 header without dependencies."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from itertools import chain

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.export.c_program import Program, describe
from minibnn.export.c_writer import wrap
from minibnn.export.vectors import TestVectors, vectors_of
from minibnn.packed import PackedModel
from minibnn.packed.stages import HostArray, size_of
from minibnn.version import __version__

PARTS = os.path.join(os.path.dirname(__file__), "c_parts.h")
# Letters, digits and single underscores: names with two in a row are reserved in C++.
VALUES = {"pixels": "uint8_t", "numbers": "int16_t", "sums": "int32_t"}
NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*", re.ASCII)


def export_c(
    packed: PackedModel,
    path: str | os.PathLike[str],
    *,
    name: str = "digits",
    images: HostArray | None = None,
) -> None:
    """Write a packed model as one header in C99, which is also valid C++11 and needs no library.

    .. code-block:: text

        int NAME_predict(const uint8_t *image)                       the label
        void NAME_scores(const uint8_t *image, int32_t scores[10])   the integer scores
        int NAME_selftest(void)                                      0 if it works

    For a coded input, `image` is an array of the model's ``input_dtype``, such as int16_t or float;
    floats are compared as integers. ``NAME_class_name(label)`` gives the classes' names, and the
    comment lists them and the features, as far as the model has names. A model that was packed with
    ``numbers=True`` has no labels and no NAME_predict; a number is ``scores[i] * NAME_UNIT``.

    The code uses integers, constants and scratch on the stack; no floats and no allocation. The
    scores are those of ``packed.predict_scores`` (int64_t if they do not fit into 32 bits), and the
    label is the first class with the greatest score. The self-test compares the scores and labels
    of some images. These do not depend on every weight, so it also compares a checksum of all
    weights, thresholds and factors of scores. The comment at the head of the file states how much
    memory the code takes and how to call it. (Compilers may turn loops into calls of ``memset`` and
    ``memcpy``.) One model gives the same bytes every time.

    Args:
        packed: the model.
        path: of the file.
        name: prefix of all names in the file; in capitals for macros.
        images: ``(n, *input_shape)`` of the input's dtype, at least one, for the self-test; by
            default twelve examples. They take flash only if the self-test is compiled.

    Raises:
        TypeError: if `packed` is not a PackedModel.
        ValueError: for a name that is not valid in C and C++, and for no images.
        PackError: for a stage that cannot be exported.
        OSError: if the file cannot be written.
    """
    if not isinstance(packed, PackedModel):
        got = type(packed).__name__
        raise TypeError(f"export_c: expected a PackedModel, got {got}; pack the model first")
    if not NAME.fullmatch(name) or len(name) > 31:
        raise ValueError(
            f"export_c: expected a name of at most 31 letters, digits and single underscores, a "
            f"letter first, got {name!r}"
        )
    vectors = _finite(vectors_of(packed, images))
    if not len(vectors.images):
        raise ValueError("export_c: expected at least one image to test with, got none")
    with whole_file(path) as file:
        for line in _lines(
            packed, vectors
        ):  # line by line, since all lines together take much memory
            line = line.replace("NAME_", f"{name.upper()}_").replace("name_", f"{name}_")
            file.write(f"{line}\n".encode("ascii"))


def _lines(packed: PackedModel, vectors: TestVectors) -> Iterator[str]:
    program = Program().read(packed)
    parts = _parts()
    score, number = program.types["score"], program.types.get("input", "uint8_t")
    image = f"const {number} *image"
    predict = parts["predict" if packed.classes > 1 else "predict one"]
    selftest = parts["selftest"]
    if packed.numbers:
        predict = f"#define NAME_UNIT {_unit(packed)}\n"
        selftest = re.sub(r" *if \(name_predict.*\n.*\n", "", selftest).replace(" and labels", "")
    yield _head(packed, program, len(vectors.images))
    yield from ["#ifndef NAME_H", "#define NAME_H", "", "#include <stdint.h>"]
    yield from ["#include <string.h> /* memcpy */"] * ("order" in program.parts) + [""]
    if number == "uint8_t":
        yield f"#define NAME_INPUT_BYTES {size_of(packed.input_shape)}"
    else:
        yield f"#define NAME_INPUTS {size_of(packed.input_shape)}"
    yield f"#define NAME_CLASSES {packed.classes}"
    if "code" in program.parts:
        floats = "order" in program.parts
        yield f"#define NAME_NUMBER(x) {'name_order(x)' if floats else '(x)'}"
    if "sums" in program.parts:
        yield f"#define NAME_MOST_PIXELS {program.most_pixels} /* in a sum */"
    yield from [
        f"#define NAME_CONSTANT_BYTES {program.constant_bytes} /* with words of 32 bits */",
        f"#define NAME_LARGEST_CONSTANT {program.largest_constant}",
        f"#define NAME_SCRATCH_BYTES {_ram(program)}",
        f"#define NAME_VECTOR_BYTES {_vector_bytes(vectors, score)} /* of the self-test */",
    ]
    yield from ["", *(parts.pop(part) for part in ("words", "flash", "memory"))]
    simd = parts.pop("simd")
    if "sums" in program.parts:
        yield simd
    yield from ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    yield from (f"typedef {program.types[t]} name_{t};" for t in sorted(program.types))
    yield ""
    yield from (text for part, text in parts.items() if part in program.parts)
    yield from ["/* The network. */", "", *chain.from_iterable(program.constants), ""]
    yield from _scratch(program)
    yield from _class_names(packed)
    yield from [
        f"/* The score of each {'number' if packed.numbers else 'class'}. */",
        f"static inline void name_scores({image}, {score} scores[NAME_CLASSES])",
        "{",
        "    NAME_STORAGE name_scratch s;",
        f"    uint32_t {'p, g' if program.groups else 'p'};",
        *program.body,
        "}",
        "",
        predict.replace("const uint8_t *image", image),
        "#ifdef NAME_SELFTEST",
        *_vectors(vectors, score, number, labels=not packed.numbers),
        *_checksum(program, parts["checksum"]),
        selftest.replace("name_pixel ", f"{number} ") + "#endif",
        "",
        *["#ifdef __cplusplus", "}", "#endif", "", "#endif"],
    ]


def _finite(vectors: TestVectors) -> TestVectors:
    """Those that C99 has constants for: without nan and infinity."""
    if vectors.images.dtype.kind != "f":
        return vectors
    rows = np.isfinite(vectors.images.reshape(len(vectors.images), -1)).all(axis=1)
    return TestVectors(vectors.images[rows], vectors.scores[rows], vectors.labels[rows])


def _parts() -> dict[str, str]:
    """The parts of `c_parts.h`, in order; those of values for each type of values."""
    with open(PARTS, encoding="ascii") as file:
        pieces = re.split(r"^//: (.*)\n", file.read(), flags=re.MULTILINE)[1:]
    parts = {}
    for part, piece in zip(pieces[::2], pieces[1::2], strict=True):
        text = piece.strip("\n") + "\n"
        if not part.endswith(" of values"):
            parts[part] = text
            continue
        for values, ctype in VALUES.items():
            own = text.replace("value_type", ctype).replace("of_values", f"of_{values}")
            parts[part.replace("values", values)] = own
    return parts


def _unit(packed: PackedModel) -> str:
    """What one unit of a score is, of a model of numbers; exactly."""
    return f"{2.0**-packed.scores.shift!r}"


def _scratch(program: Program) -> list[str]:
    """The definition of the struct of all buffers."""
    fields = program.buffers.fields()
    return ["typedef struct {", *(f"    {field}" for field in fields), "} name_scratch;", ""]


def _ram(program: Program) -> int:
    """Bytes of scratch with words of 32 bits: the struct and the tables for sums of products."""
    numbers = any(part.startswith("plane sums") for part in program.parts)
    return program.buffers.bytes + (512 if numbers else 256 * ("sums" in program.parts))


def _vector_bytes(vectors: TestVectors, score: str) -> int:
    """Bytes of the self-test's constants, with labels of 16 bits."""
    scores = vectors.scores.size * (8 if score == "int64_t" else 4)
    return vectors.images.nbytes + scores + 2 * len(vectors.labels)


HEAD = """\
/* A binary neural network in integers; generated by minibnn {version}.

{usage}

   {input}

   {label}

   Steps:

{steps}

   {figures}
   SHA-256 of the network: {digest}

   Nothing is kept between calls, so threads may call at the same time. With NAME_STATIC defined
   the scratch is static instead of on the stack; then one call at a time.

   Weights are bits, 1 for +1 and 0 for -1. Bit i of a row is bit i % 32 of 32-bit word i / 32;
   the bits behind the last one are 0. Words of 64 bits are two of those, low and high.{weights}

   All names begin with name_ or NAME_. All functions are static: each file that includes this has
   its own copy of what it calls. Macros that may be defined before it is included:

       NAME_SELFTEST, for
           int name_selftest(void);
           which runs {vectors} images: 0, or 1 + the index of the first with another answer;
           {vectors} + 1 if only the checksum of the constants is another.
           Without the macro they take no flash.
       NAME_STATIC, see above.
       NAME_WORD_BITS, 32 or 64; else what suits the machine.
       NAME_POPCOUNT, 1 the compiler's builtin, 2 arithmetic, 3 a table; else what suits it.
       NAME_SIMD, how pixels are summed: 0 a table, 1 SSE2, 2 AVX-512; else what suits it.
       NAME_PROGMEM, 1 to read constants from flash with <avr/pgmspace.h>, 0 as memory; else 1 on
           AVR. There, constants of 64 KiB, of more than the flash, and scratch of more than the RAM
           are errors, unless NAME_NO_MEMORY_CHECK is defined.
*/"""


def _head(packed: PackedModel, program: Program, vectors: int) -> str:
    """The comment at the head of the file."""
    calls = [f"{program.types['score']} scores[NAME_CLASSES];", "name_scores(image, scores);"]
    if packed.numbers:
        calls.append("double number = scores[0] * NAME_UNIT;")
    else:
        calls.insert(0, "int label = name_predict(image);")
    n = size_of(packed.input_shape)
    shape = " x ".join(map(str, packed.input_shape))
    number = program.types.get("input", "uint8_t")
    numbers = f"{'bytes' if number == 'uint8_t' else 'numbers'} ({number})"
    image = f"image: {n} {numbers}, {shape}, the last index the fastest; as they are, without"
    contract = "scaling."
    if packed.input_shape[:2] == (28, 28):
        contract += " In MNIST 0 is paper and 255 is ink, and rows go from the top."
    if "order" in program.parts:
        contract += " A missing number is nan."
    lines = [image, contract, *_listed("Features", packed.feature_names)]
    lines += _listed("Classes", packed.class_names)
    figures = [
        f"Flash: {program.constant_bytes:,} bytes of constants, with words of 32 bits; and code.",
        f"RAM: {_ram(program):,} bytes of stack, with words of 32 bits; and what calls take.",
    ]
    for key, value in sorted(packed.training.items()):
        if re.fullmatch(r"\w*accuracy\w*", key, re.ASCII) and type(value) is float:
            figures.append(f"{key.replace('_', ' ').capitalize()}: {value:.6g}")
    return HEAD.format(
        version=__version__,
        usage="\n".join(f"       {call}" for call in calls),
        input="\n   ".join(lines),
        label=_meaning(packed),
        steps="\n".join(f"       {describe(stage)}" for stage in packed.stages),
        figures="\n   ".join(figures),
        digest=packed.sha256,
        weights="".join(f"\n   {line}" for line in _weights(program)),
        vectors=vectors,
    )


def _meaning(packed: PackedModel) -> str:
    """What the scores say."""
    if packed.numbers:
        s = packed.scores.shift
        return f"A score is a number that the network predicts, times 2^{s}. NAME_UNIT is 2^{-s}."
    label = "The label is the first class with the greatest score."
    if packed.classes == 1:
        label = "The label is 1 if the score is at least 0, else 0."
    return f"{label} Scores are whole numbers without a unit."


def _weights(program: Program) -> Iterator[str]:
    """Other forms of weights than bits, as lines of a comment."""
    names = " ".join(program.checks)
    if "name_masks_" in names:
        yield "Weights of 0 are 0 here and in a row of `masks`, which is 1 for all others."
    if "int8_t, name_weights_" in names:
        yield "Weights of 8 bits are rows of numbers."


def _listed(what: str, names: tuple[str, ...] | None) -> list[str]:
    """Names with their indices, as lines of a comment."""
    if names is None:
        return []
    texts = (ascii(name)[1:-1].replace("*/", "* /").replace("/*", "/ *") for name in names)
    words = [f"{i} {text}," for i, text in enumerate(texts)]
    return [f"{what}:", *textwrap.wrap(" ".join(words).rstrip(","), 90, break_on_hyphens=False)]


def _class_names(packed: PackedModel) -> Iterator[str]:
    """A function that gives the name of a class, if the model knows it; UTF-8."""
    if packed.class_names is None:
        return
    yield "/* The name of a class, in UTF-8. */"
    yield "static inline const char *name_class_name(int label)"
    yield "{"
    yield "    static const char *const names[] = {"
    yield from (f"        {_text(name)}," for name in packed.class_names)
    yield from ["    };", "    return names[label];", "}", ""]


def _text(text: str) -> str:
    """A string constant in C; bytes that are not plain ASCII as three octal digits."""
    plain = (
        chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}"
        for b in text.encode("utf-8", "surrogatepass")
    )
    return f'"{"".join(plain)}"'


def _vectors(vectors: TestVectors, score: str, number: str, *, labels: bool) -> Iterator[str]:
    n, size = len(vectors.images), size_of(vectors.images.shape[1:])
    yield f"#define NAME_VECTORS {n}"
    tables = {
        f"{number} name_images[NAME_VECTORS][{size}]": vectors.images.reshape(n, size),
        f"{score} name_expected[NAME_VECTORS][NAME_CLASSES]": vectors.scores,
    }
    for head, table in tables.items():
        yield f"static const {head} NAME_FLASH = {{"
        for row in table:
            yield "  {"
            if table.dtype == np.float32:  # with as many digits as give the same number again
                yield from wrap(f"{v}f" for v in row)
            else:
                whole = row.tolist()
                yield from wrap(f"INT64_C({v})" if "int64" in head else f"{v}" for v in whole)
            yield "  },"
        yield "};"
    if labels:
        yield "static const int name_labels[NAME_VECTORS] NAME_FLASH = {"
        yield from wrap(f"{v}" for v in vectors.labels.tolist())
        yield "};"
    yield ""


def _checksum(program: Program, functions: str) -> Iterator[str]:
    """The function that computes the checksum of the constants, and the expected value."""
    yield functions
    yield f"#define NAME_CHECKSUM UINT32_C(0x{program.checksum:08X})"
    yield from [
        "static inline uint32_t name_checksum(void)",
        "{",
        "    uint32_t h = 0;",
        "    int i;",
    ]
    yield from [*(f"    {check}" for check in program.checks), "    return h;", "}", ""]
