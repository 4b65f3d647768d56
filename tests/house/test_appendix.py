"""The numbers that the book's appendix quotes from stored results are those of the results."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean, median, stdev

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
APPENDIX = re.sub(r"\s+", " ", (ROOT / "docs" / "book" / "appendix.md").read_text("utf-8"))


def rows(name):
    if name.endswith(".json"):
        return json.loads((RESULTS / name).read_text("utf-8"))["rows"]
    with (RESULTS / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def spread(values):
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


def test_the_comparison_of_surrogates():
    found = defaultdict(list)
    for row in rows("compare_modern.csv"):
        found[row["entry"]].append(float(row["accuracy"]))
    surrogates = {entry.split(" + ")[0] for entry in found}
    assert len(surrogates) == 5
    for surrogate in surrogates:
        adam, bop = (spread(found[f"{surrogate} + {by}"]) for by in ("Adam", "Bop"))
        assert f"| `{surrogate}` | {adam} | {bop} |" in APPENDIX


def test_the_choice_of_the_learning_rate():
    found = defaultdict(list)
    for row in rows("choice_modern.json"):
        found[row["lr"], row["batch_size"]].append(row["accuracy"])
    means = [mean(values) for values in found.values()]
    assert len(found) == 9
    assert f"means from {min(means):.4f} to {max(means):.4f}" in APPENDIX
    widest = max(max(values) - min(values) for values in found.values())
    assert widest >= max(means) - min(means)  # "two seeds of one setting differ by as much"


def test_the_ways_of_the_error():
    for name, recipe in [
        ("Feedback alignment", "feedback-alignment"),
        ("direct feedback", "direct-feedback"),
        ("backpropagation", "modern"),
    ]:
        values = [row["acc_test"] for row in rows(f"accuracy_{recipe}.json")]
        assert f"{name} {spread(values)}" in APPENDIX


def test_the_seeds_of_the_seed():
    *others, best = sorted(f"{row['acc_test']:.3f}" for row in rows("accuracy_seed.json"))
    assert f"gave {', '.join(others)} and {best}" in APPENDIX


def test_the_small_tables():
    summary = json.loads((RESULTS / "own_data.json").read_text("utf-8"))["summary"]
    worse = [row for row in summary if row["difference"] < 0]
    assert len(worse) == 5
    assert all(row["high"] > 0 for row in worse)
    least, most = (f(-row["difference"] for row in worse) for f in (min, max))
    assert f"are {least:.3f} to {most:.3f} less accurate" in APPENDIX


def test_the_times_of_shipped_forms():
    def time(contestant, batch):
        return median(
            float(row["value"])
            for row in rows("deploy.csv")
            if (row["work"], row["batch"], row["threads"]) == ("latency", str(batch), "1")
            and row["contestant"] == contestant
        )

    forms = ("packed NumPy", "NumPy, folded floats", "C -O3 -march=native")
    packed, floats, c = (time(form, 1) * 1e6 for form in forms)
    assert f"{packed:.3g} us packed, {floats:.3g} us as folded" in APPENDIX
    assert f"{c:.3g} us in compiled C" in APPENDIX
    packed, floats, c = (time(form, 1000) * 1e3 for form in forms)
    assert f"{packed:.2f} ms packed, {floats:.2f} ms in floats, {c:.2f} ms in C" in APPENDIX
