"""What a diagnosis found, as a list."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.renames import renamed

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        severity: ``"error"`` (the model cannot work), ``"warning"`` (it learns or ships worse than
            it could) or ``"note"`` (as it should be, or harmless, and good to know).
        kind: which check: non-finite, starved, clipped, zero-input, saturated, at-bound, constant,
            small-scale, zero-at-sign, zero-padding or real-input.
        where: path of the layer or parameter; empty for the model as a whole.
        figure: what was measured, mostly a share between 0 and 1.
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
        title: of the model.
        samples: how many it looked at.
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
        counts = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        said = [f"{n} {s}{'s' if n > 1 else ''}" for s, n in counts.items() if n]
        verdict = ", ".join([*(["healthy"] if self.ok else []), *said])
        lines = [f"diagnosis of {self.title} on {self.samples} samples: {verdict}"]
        for finding in self.findings:
            place = f"{finding.where}, " if finding.where else ""
            lines += [
                f"  {finding.severity:<8} {place}{finding.kind}: {finding.measured}",
                f"  {'':<8} {finding.meaning}",
                f"  {'':<8} hint: {finding.hint}",
            ]
        return "\n".join(lines)
