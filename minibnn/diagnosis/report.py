"""The findings of a diagnosis, and how they print."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.html_tables import html_line, html_report, html_table
from minibnn.renames import renamed

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        severity: ``"error"`` (the model cannot work), ``"warning"`` (it learns or packs worse than
            it could) or ``"note"`` (harmless, but good to know).
        kind: the check: non-finite, starved, clipped, zero-input, saturated, at-bound, constant,
            small-scale, zero-at-sign, zero-padding or real-input.
        where: the path of the layer or parameter; empty for the whole model.
        figure: what was measured, usually a share between 0 and 1.
        measured: the figure in words.
        meaning: what it does to the model.
        hint: what to try.
    """

    severity: str
    kind: str
    where: str
    figure: float
    measured: str
    meaning: str
    hint: str
    mend = renamed("hint", gone_in="0.3")


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Findings, the worst first: true if there is neither an error nor a warning.

    Attributes:
        title: the model's name in the report.
        samples: the number of samples examined.
        findings: errors, warnings, notes; each in the order of the layers.
    """

    title: str
    samples: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is nothing worse than a note."""
        return all(finding.severity == "note" for finding in self.findings)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        lines = [self._head()]
        for finding in self.findings:
            where = f"{finding.where}, " if finding.where else ""
            lines += [
                f"  {finding.severity:<8} {where}{finding.kind}: {finding.measured}",
                f"  {'':<8} {finding.meaning}",
                f"  {'':<8} hint: {finding.hint}",
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = ["severity", "where", "kind", "measured", "meaning", "hint"]
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        found = [html_table(columns, rows, names=range(len(columns)))] if rows else []
        return html_report(html_line(self._head(), strong=not self.ok), *found)

    def _head(self) -> str:
        counts = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        said = [f"{n} {s}{'s' if n > 1 else ''}" for s, n in counts.items() if n]
        verdict = ", ".join([*(["healthy"] if self.ok else []), *said])
        return f"diagnosis of {self.title} on {self.samples} samples: {verdict}"
