"""The saver of `fit`: what decides the result is compared, and what cannot be saved is refused."""

from __future__ import annotations

import pytest
from checkpointed import Training

from minibnn import Checkpoint
from minibnn.training.saving import saving, settings_of
from minibnn.training.together import Alone


def test_only_settings_that_were_made_are_compared():
    assert settings_of(clip_norm=None, class_weight=None) == {}
    found = settings_of(clip_norm=1.0, class_weight={0: 2.0})
    assert found["clip_norm"] == 1.0
    assert "2.0" in str(found["class_weight"])
    assert settings_of(class_weight={0: 2.0}) != settings_of(class_weight={0: 3.0})


def test_without_a_checkpoint_there_is_no_saver():
    with saving(None, {}, None, {}, Alone()) as saver:
        assert saver is None


def test_a_path_is_no_checkpoint(tmp_path):
    path = str(tmp_path / "run")
    with pytest.raises(TypeError, match=r"expected a Checkpoint, got '.*; write Checkpoint"):
        Training().fit(path)
    with pytest.raises(TypeError, match="checkpoint of type Checkpoint, got the class Checkpoint"):
        Training().fit(Checkpoint)
