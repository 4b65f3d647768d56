"""`docs/packed-format.md`: its reader reads the files, and it names everything in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from coded_tables import FRONTS, coded, named, table
from integer_files import every_kind
from integer_programs import random_program
from packed_files import bytes_of, changed, every_array, on_images, small
from packed_models import images_models

from minibnn import pack, save_packed
from minibnn.packed.description import describe
from minibnn.packed.file import container
from minibnn.packed.file.save import metadata_of

DOC = Path(__file__).parents[3] / "docs" / "packed-format.md"


@pytest.fixture(scope="module")
def reader():
    (block,) = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)
    assert "minibnn" not in block.replace('"minibnn-packed"', "")
    namespace = {}
    exec(compile(block, DOC.name, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", [*images_models(), *range(5), "latent"])
def test_the_pages_reader(reader, name, tmp_path, rng):
    path = tmp_path / "model"
    if name == "latent":
        model, shape = every_array().initialize(0), (2, 3)
    else:
        model = small(norm=name) if isinstance(name, int) else on_images(name)
        shape = (10,) if isinstance(name, int) else (8, 9)
    packed = pack(model, shape)
    save_packed(packed, path, model=model if name == "latent" else None)
    images = rng.integers(0, 256, (30, *shape), np.uint8)
    np.testing.assert_array_equal(reader["scores"](path, images), packed.predict_scores(images))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        reader["read"](path)


@pytest.mark.parametrize("name", FRONTS)
def test_the_pages_reader_of_codes(reader, name, tmp_path):
    _, dtype, shape, _ = FRONTS[name]
    x = table(dtype, 80, shape, seed=2)[0]
    if dtype == "float32":
        x[:3] = np.array([[np.nan], [np.inf], [-np.inf]])
    for packed in (named(name), pack(coded(name))):
        save_packed(packed, tmp_path / "model")
        np.testing.assert_array_equal(
            reader["scores"](tmp_path / "model", x), packed.predict_scores(x)
        )
        architecture, _ = reader["read"](tmp_path / "model")
        assert architecture.get("input_dtype", "uint8") == dtype
        assert (architecture.get("classes") is None) == (packed.class_names is None)
    with pytest.raises(ValueError, match="another dtype"):
        reader["scores"](tmp_path / "model", x.astype(np.float64))


@pytest.mark.parametrize("part", range(4))
def test_the_pages_reader_of_stages_on_integers(reader, part, tmp_path):
    for i in range(25 * part, 25 * part + 25):
        rng = np.random.default_rng([7, i])
        packed = random_program(rng) if i else every_kind()
        write = container.write(metadata_of(packed, {}), packed.arrays())
        (tmp_path / "model").write_bytes(write)
        x = rng.integers(0, 256, (6, *packed.input_shape), np.uint8)
        found = reader["scores"](tmp_path / "model", x)
        np.testing.assert_array_equal(found, packed.predict_scores(x))


def test_the_pages_reader_refuses_other_versions(reader, tmp_path):
    data = bytes_of(pack(small(), (10,)), tmp_path)
    wrong = changed(data, lambda *a: a[3].update(format_version="3"))
    (tmp_path / "model").write_bytes(wrong)
    with pytest.raises(ValueError, match="another format"):
        reader["read"](tmp_path / "model")


def test_the_page_names_everything():
    text = DOC.read_text(encoding="utf-8")
    known = [(small(), (10,)), *((on_images(n), (8, 9)) for n in images_models())]
    files = [*(pack(model, shape) for model, shape in known), *map(named, FRONTS), every_kind()]
    for packed in files:
        described = describe(packed.interface, packed.stages)
        assert all(f"| `{name}` |" in text for name in described)
        assert all(f"`{name}`" in text for stage in described["stages"] for name in stage)
        arrays = {name.partition(".")[2] for name in packed.arrays()}
        assert all(f"`{name}`" in text for name in arrays)
        for stage in packed.stages:
            assert f"| `{stage.kind}` " in text
            assert all(f"`{name}`" in text for name in stage.arrays())
        for entry in packed.certificate["thresholds"]:
            assert all(f"`{name}`" in text for name in entry)
    metadata = set(container.read(container.write({"sha256": "", "minibnn": ""}, {}), "").metadata)
    assert all(f"`{name}`" in text for name in metadata | {"sha256", "architecture", "training"})
