"""A diagnosis prints its findings."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from diagnosed_models import dark_pixels, diagnosed, relu_before_sign

from minibnn import Finding


def test_the_report_prints_what_it_found():
    model, _ = relu_before_sign()
    model[1].gamma.data[0] = np.nan
    lines = str(diagnosed(model)).splitlines()
    assert lines[0].startswith("diagnosis of Sequential(9 layers) on 300 samples: 1 error, ")
    assert lines[1].startswith("  error    1.gamma, non-finite: 4.76% of the parameter's values")
    assert lines[3].startswith("           hint: initialize the model anew")
    assert "  warning  3, constant: " in str(diagnosed(relu_before_sign()[0]))
    model, data = dark_pixels()
    assert str(diagnosed(model, data)).splitlines()[0].endswith("samples: healthy, 1 note")


def test_the_hint_still_has_its_old_name():
    finding = Finding("note", "zero-input", "0.weight", 0.5, "50%", "harmless", "use Rescale")
    with pytest.warns(DeprecationWarning, match="Finding.mend is now Finding.hint"):
        assert finding.mend == "use Rescale"
    assert pickle.loads(pickle.dumps(finding)) == finding
