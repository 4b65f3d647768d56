"""Whether all ranks do the same."""

from __future__ import annotations

import pytest

from minibnn.distributed.alike import RanksDifferError, require_alike


def refused(*facts, who="fit", hint="start them alike"):
    with pytest.raises(RanksDifferError) as raised:
        require_alike(who, facts, hint)
    return str(raised.value)


def test_equal_facts():
    require_alike("fit", [{"seed": "1", "data": "x"}] * 4, "")
    require_alike("fit", [{"seed": "1"}], "")


def test_a_difference_names_the_ranks():
    message = refused({"seed": "1", "lr": "2"}, {"seed": "1", "lr": "2"}, {"seed": "3", "lr": "2"})
    assert message == (
        "fit: expected the same on all 3 ranks, got different ones: seed: 1 on ranks 0, 1, 3 on rank "
        "2; start them alike"
    )


def test_several_differences():
    assert (
        "got different ones: a: 1 on rank 0, 2 on rank 1; b: 3 on rank 0, 4 on rank 1; "
        in refused({"a": "1", "b": "3"}, {"a": "2", "b": "4"})
    )


def test_a_fact_that_only_some_have():
    assert "a: 1 on rank 0, none on rank 1;" in refused({"a": "1"}, {})
    assert "a: none on rank 0, 1 on rank 1;" in refused({}, {"a": "1"})


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([5], "rank 5"),
        ([4, 5], "ranks 4, 5"),
        ([3, 4, 5], "ranks 3 to 5"),
        ([2, 4, 5], "ranks 2, 4, 5"),
        ([*range(0, 40, 2)], "ranks 0, 2, 4, 6, 8, 10, 12, 14, ..."),
    ],
)
def test_ranks_are_named(ranks, said):
    facts = [{"a": "other" if rank in ranks else "same"} for rank in range(50)]
    assert f"other on {said}" in refused(*facts)


def test_of_long_texts_it_shows_where_they_differ():
    one, other = (
        f"{'the same, ' * 30}rate {rate}, {'and so on, ' * 30}" for rate in ("0.1", "0.25")
    )
    message = refused({"optimizer": one}, {"optimizer": other})
    assert "rate 0.1, and so on" in message
    assert "rate 0.25, and so on" in message
    assert len(message) < 300


def test_of_long_texts_that_differ_at_once_it_shows_the_beginning():
    message = refused({"a": "x" * 100}, {"a": "y" * 100})
    assert f"{'x' * 57}... on rank 0, {'y' * 57}... on rank 1" in message


def test_it_is_a_value_error():
    """The command's exit code for it is 2."""
    assert issubclass(RanksDifferError, ValueError)
