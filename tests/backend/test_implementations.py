"""The tables of implementations: each name is a reference's, and each computes what it computes."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
from cases_of_operations import CASES, SIZES
from compare_implementations import (
    IMPLEMENTATIONS,
    REFERENCE,
    STYLES,
    TABLES,
    compare,
    ids,
    references_in,
)

from minibnn.backend import CPU, NumpyBackend
from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.implementations import Implementations
from minibnn.random_stream import uniform

# --- Names ------------------------------------------------------------------------------------


def test_references_are_found_where_they_are_run():
    calls = (
        "self.backend.run(f, x); run(g if x else h, y); stage.run(x); backend_of(x).run(rule, x)"
    )
    names = {name: lambda x: x for name in "fgh"} | {"rule": 3}
    found = references_in(ast.parse(calls), names)
    assert found == ({"f", "g", "h"}, ["backend_of(x).run(rule, x)"])


@pytest.mark.parametrize("table", TABLES)
def test_every_name_in_a_table_is_a_references(table):
    """An implementation with another name would never be used, without a warning."""
    assert TABLES[table].names() <= set(REFERENCE)


@pytest.mark.parametrize(("table", "name"), IMPLEMENTATIONS)
def test_parameters_are_the_references(table, name):
    first, *others = inspect.signature(TABLES[table][name]).parameters.values()
    assert first.name == "backend"
    expected = inspect.signature(REFERENCE[name]).parameters.values()
    assert [(p.name, p.kind, p.default) for p in others] == [
        (p.name, p.kind, p.default) for p in expected
    ]


@pytest.mark.parametrize("name", sorted({name for _, name in IMPLEMENTATIONS}))
def test_implementations_of_an_operation_stand_in_files_of_one_name(name):
    """In `backend/cpu/` and in `backend/cuda/`, so that both are easy to find."""
    modules = {table[name].__module__ for table in TABLES.values() if name in table.names()}
    assert {m.rpartition(".")[0] for m in modules} <= {
        "minibnn.backend.cpu",
        "minibnn.backend.cuda",
    }
    assert len({m.rpartition(".")[2] for m in modules}) == 1, modules


def test_every_operation_has_cases_and_no_others_have():
    assert set(CASES) == {name for _, name in IMPLEMENTATIONS}
    assert set(SIZES) <= {name for t, name in IMPLEMENTATIONS if TABLES[t].roundings(name)}


def test_a_users_table_serves_minibnns_references_and_their_own():
    table = Implementations()

    class Slow(NumpyBackend):
        tables = (table,)

    @table.implements("uniform")
    def uniform_of_theirs(backend, xp, shape, k0, k1, first, dtype):
        return "fast"

    def theirs(x):
        return x

    @table.implements("theirs")
    def implementation(backend, x):
        return 2 * x

    backend = Slow()
    assert backend.run(uniform, np, (2,), 1, 2, 0, np.float32) == "fast"
    assert backend.run(theirs, 3) == 6


# --- Results ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "layout", "special"), STYLES, **ids)
@pytest.mark.parametrize(("table", "name"), IMPLEMENTATIONS)
def test_implementations_compute_what_their_references_do(table, name, dtype, layout, special):
    if table == "COMPILED" and not isinstance(CPU, CompiledBackend):
        pytest.skip("the C kernels were not built")
    if table == "CUDA" and layout in ("unaligned", "read-only"):
        pytest.skip("no CuPy array is")
    taken, _ = compare(table, name, dtype, layout, special)
    if (dtype, layout) == ("f4", "contiguous"):
        assert taken > 0
