"""Tables and pictures of a race: medians, and ratios within rounds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

OURS = ("minibnn",)


def ratios(table: pd.DataFrame, ours: Sequence[str] = OURS) -> pd.DataFrame:
    """For each workload and rival, the medians and the ratio minibnn / rival over the rounds.

    minibnn's row is that of the first name in `ours` that took part in the workload.
    """
    found = []
    for work in table.work.unique():
        rows = table[table.work == work]
        values = rows.pivot(index="repeat", columns="contestant", values="value")
        base = next((name for name in ours if name in values), None)
        if base is None:  # it failed, which the run has reported
            continue
        for name in rows.contestant.unique():
            pairs = (values[base] / values[name]).dropna()
            found.append(
                {"work": work, "rival": name, "unit": rows.unit.iloc[0], "base": base,
                 "ours": values[base].median(), "its": values[name].median(),
                 "ratio": pairs.median(), "low": pairs.quantile(0.25), "high": pairs.quantile(0.75)}
            )  # fmt: skip
    return pd.DataFrame(found)


def quantity(value: float, unit: str) -> str:
    """A time or an amount of memory with three digits."""
    if unit == "MiB":
        return f"{value:.0f} MiB"
    name, factor = "s", 1.0
    if value < 1:
        name, factor = ("ms", 1e3) if value >= 1e-3 else ("us", 1e6)
    number = value * factor
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f} {name}"


def markdown(table: pd.DataFrame) -> str:
    """The table that README shows."""
    lines = [
        "| workload | minibnn | rival | rival's value | minibnn / rival |",
        "|---|---|---|---|---|",
    ]
    row: Any
    for row in ratios(table).itertuples():
        if row.rival == "minibnn":
            alone = (table[table.work == row.work].contestant == "minibnn").all()
            if alone:
                lines.append(f"| {row.work} | {quantity(row.ours, row.unit)} | | | |")
            continue
        lines.append(
            f"| {row.work} | {quantity(row.ours, row.unit)} | {row.rival} "
            f"| {quantity(row.its, row.unit)} "
            f"| {row.ratio:.2f} ({row.low:.2f} to {row.high:.2f}) |"
        )
    return "\n".join(lines)


def family_of(rival: str) -> str:
    """The framework: PyTorch for each of its forms."""
    return rival.split()[0].strip(",")


def draw(table: pd.DataFrame, file: Path, ours: Sequence[str] = OURS) -> None:
    """Each rival's time as a multiple of minibnn's, on a logarithmic axis."""
    try:
        from matplotlib.figure import Figure

        from minibnn.plots.figure import save_figure
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return
    rows = ratios(table, ours)
    rows = rows[rows.rival != rows.base]
    workloads, rivals = list(rows.work.unique()), list(rows.rival.unique())
    if not workloads:
        return
    families = list(dict.fromkeys(map(family_of, rivals)))
    figure = Figure(figsize=(9, 1.6 + 0.65 * len(workloads)), layout="constrained")
    axes = figure.subplots()
    for number, rival in enumerate(rivals):
        mine = rows[rows.rival == rival]
        middle = 1 / mine.ratio.to_numpy()
        below, above = middle - 1 / mine.high.to_numpy(), 1 / mine.low.to_numpy() - middle
        ends = [below.tolist(), above.tolist()]
        # Spread the rivals of each workload over its band of the picture.
        y = []
        for work in mine.work:
            there = list(rows[rows.work == work].rival)
            y.append(workloads.index(work) + 0.8 * (there.index(rival) + 0.5) / len(there) - 0.4)
        family = families.index(family_of(rival))
        alike = [r for r in rivals[:number] if family_of(r) == family_of(rival)]
        axes.errorbar(middle, y, xerr=ends, fmt="osD^v"[len(alike) % 5], color=f"C{family % 10}",
                      ms=5, lw=1, label=rival)  # fmt: skip
    axes.axvline(1, color="black", lw=1)
    for edge in range(1, len(workloads)):
        axes.axhline(edge - 0.5, color="0.9", lw=0.8)
    axes.set(xscale="log", ylim=(len(workloads) - 0.5, -0.5), yticks=range(len(workloads)))
    axes.set_yticklabels(workloads)
    axes.set_xlabel("rival / minibnn (time or memory): minibnn is ahead to the right of 1")
    left, right = axes.get_xlim()
    ticks = [t * 10.0**e for e in range(-3, 4) for t in (1, 2, 5)]
    axes.set_xticks([t for t in ticks if left <= t <= right])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", which="both", color="0.92")
    axes.set_axisbelow(True)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, file, dpi=130)
