"""The format of models' files."""

from __future__ import annotations

import pytest

import minibnn
from minibnn import ModelFileError
from minibnn.__main__ import main
from minibnn.model_file.form import MODEL


def test_its_error_is_one_of_values_and_of_its_own():
    assert issubclass(ModelFileError, ValueError)
    assert not issubclass(ModelFileError, minibnn.PackedFileError)
    assert MODEL.error is ModelFileError


def test_the_command_line_counts_it_as_unusable_data(monkeypatch, capsys):
    def fail(given):
        raise ModelFileError("digits: expected a model, got none")

    monkeypatch.setattr("minibnn.commands.inspect.run", fail)
    assert main(["inspect", "digits"]) == 3
    assert capsys.readouterr().err == "error: digits: expected a model, got none\n"


def test_a_packed_model_and_a_model_are_told_apart(tmp_path):
    model = minibnn.Sequential(minibnn.Rescale(1 / 255), minibnn.Dense(4, 2)).initialize(0)
    minibnn.save_model(model, tmp_path / "model")
    with pytest.raises(minibnn.PackedFileError, match="'minibnn-packed', got 'minibnn-model'; use"):
        minibnn.load_packed(tmp_path / "model")
