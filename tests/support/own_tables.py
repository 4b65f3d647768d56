"""Small tables that a network learns at once, and commands on them."""

from __future__ import annotations

import numpy as np

from minibnn.__main__ import main

CPU = ("--device", "cpu")
QUICK = (*CPU, "--hidden", "16", "--epochs", "30")


def rows(n=200, seed=0):
    """Two numbers, a text and a class that depends on all of them."""
    rng = np.random.default_rng(seed)
    temperature, humidity = rng.normal(20, 8, n).round(1), rng.normal(50, 15, n).round(1)
    place = rng.choice(["cellar", "garden", "roof"], n)
    person = rng.choice(["Ada", "Bo", "Cy", "Di", "Ed"], n)
    damp = humidity + 5 * (place == "cellar") > 55
    state = np.where(damp, "damp", np.where(temperature > 22, "warm", "dry"))
    level = (100 + 3 * temperature - humidity + 10 * (place == "roof")).round(2)
    return {"temperature": temperature, "humidity": humidity, "place": place, "person": person,
            "level": level, "state": state}  # fmt: skip


def table(path, columns="temperature humidity place state", *, n=200, seed=0, **others):
    """Write a table of these columns; other columns as keywords."""
    found = {**rows(n, seed), **others}
    names = [*columns.split(), *others]
    lines = [",".join(names)]
    lines += [",".join(map(str, row)) for row in zip(*(found[c] for c in names), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*words):
    return main([str(word) for word in words])


def train(data, out, *words):
    """Train quickly; it must succeed."""
    assert run("train", data, "-o", out, *QUICK, *words) == 0
    return out
