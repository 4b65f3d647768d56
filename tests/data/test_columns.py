"""Names of features that say which text each number is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn.data import SamplesError
from minibnn.data.columns import categories_of, feature_name, plain_name

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=20))
def test_categories_are_read_again_or_refused(name, texts):
    try:
        coded, categories = feature_name("t.csv", name, texts)
    except SamplesError:
        assert ": 0 " in name or any(", " in text for text in texts)
        return
    assert categories == tuple(sorted(set(texts)))
    assert categories_of(coded) == categories
    assert plain_name(coded) == name


def test_what_could_not_be_read_again():
    with pytest.raises(SamplesError, match=r"'a, 1 b'"):
        feature_name("t.csv", "place", ["a, 1 b", "c"])
    with pytest.raises(SamplesError, match="256 different texts"):
        feature_name("t.csv", "place", map(str, range(257)))
    assert len(categories_of(feature_name("t.csv", "p", map(str, range(256)))[0])) == 256


def test_other_names_list_nothing():
    assert categories_of("ratio 1: 0.5") is None
    assert plain_name("ratio 1: 0.5") == "ratio 1: 0.5"
