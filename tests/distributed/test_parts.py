"""How a batch is divided among the ranks."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.distributed.parts import Division

SIZES = [1, 2, 3, 7, 8, 9, 13, 64, 100]


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_each_sample_is_in_one_part_of_one_rank(samples, parts):
    for ranks in range(1, parts + 1):
        division = Division(samples, parts, ranks)
        everybody = [part for rank in range(ranks) for part in division.of_rank(rank)]
        numbered = [part for part in everybody if part.number is not None]
        assert [part.number for part in numbered] == list(range(min(samples, parts)))
        rows = np.concatenate([np.arange(samples)[part.rows] for part in numbered])
        assert rows.tolist() == list(range(samples))


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_parts_do_not_depend_on_the_number_of_ranks(samples, parts):
    one = Division(samples, parts, 1).of_rank(0)
    for ranks in range(2, parts + 1):
        division = Division(samples, parts, ranks)
        everybody = [part for rank in range(ranks) for part in division.of_rank(rank)]
        assert [part for part in everybody if part.number is not None] == one


@pytest.mark.parametrize("samples", SIZES)
def test_sizes_differ_by_one_at_most(samples):
    sizes = [part.samples for part in Division(samples, 8, 1).of_rank(0)]
    assert sum(sizes) == samples
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("rank", range(4))
def test_a_rank_without_samples_computes_the_first_one(rank):
    (part,) = Division(3, 4, 4).of_rank(rank)
    assert (part.number is None) == (rank == 3)
    assert (part.rows, part.samples, part.whole) == (
        slice(min(rank, 3) % 3, min(rank, 3) % 3 + 1),
        1,
        3,
    )


def test_filled_parts():
    assert Division(3, 8, 2).filled == 3
    assert Division(100, 8, 2).filled == 8
    assert Division(3, 8, 4).numbers_of(3) == range(3, 3)
