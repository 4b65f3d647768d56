"""The results of a gradient check, and the table that they print."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.html_tables import html_line, html_report, html_table


@dataclass(frozen=True)
class GradientResult:
    """The result for one array.

    Attributes:
        name: the parameter's path, or ``"x"`` for the input; ``"2.x"`` is the input of layer 2,
            which has a line only if this layer, checked alone at equal values, is wrong.
        checked: how many elements were compared; at least one has to be.
        size: how many elements the array has.
        index: the element with the worst relative error.
        analytic: its gradient by backward.
        numeric: its gradient by central differences.
        error: the relative error there, ``|analytic - numeric| / max(|analytic|, |numeric|,
            floor)``. The floor is a hundredth of the array's largest gradient or a ten-thousandth
            of the largest incoming one, whichever is greater.
        left_out: how many elements were not compared, because the function has a kink there (the
            slopes around it differ, and backward's is one that the kink may have) or because
            rounding hides the gradient.
        ok: whether the error is within the tolerance.
        cause: the likely mistake, or an empty string.
    """

    name: str
    checked: int
    size: int
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    left_out: int
    ok: bool
    cause: str


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The results of a gradient check: true if every gradient is right, and prints as a table."""

    title: str
    results: tuple[GradientResult, ...]

    @property
    def ok(self) -> bool:
        """Whether every array passed."""
        return all(r.ok for r in self.results)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        width = max([5, *(len(r.name) for r in self.results)])
        lines = [
            self._head(),
            f"  {'array':<{width}}  {'checked':>11}  {'worst error':>11}  "
            f"{'at':<12} {'backward':>12} {'numeric':>12}",
        ]
        for r in self.results:
            name, checked, error, at, backward, numeric, verdict = _cells(r)
            lines.append(
                f"  {name:<{width}}  {checked:>11}  {error:>11}  "
                f"{at:<12} {backward:>12} {numeric:>12}  {verdict}"
            )
            if r.cause:
                lines.append(f"  {'':<{width}}  likely cause: {r.cause}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = ["array", "checked", "worst error", "at", "backward", "numeric", ""]
        rows = []
        for r in self.results:
            *cells, verdict = _cells(r)
            rows.append([*cells, verdict + (f" (likely cause: {r.cause})" if r.cause else "")])
        found = html_table(head, rows, names=(0, 3, len(head) - 1))
        return html_report(html_line(self._head(), strong=not self.ok), found)

    def _head(self) -> str:
        return f"gradient check of {self.title}: {'passed' if self.ok else 'FAILED'}"


def _cells(r: GradientResult) -> list[str]:
    """The row of an array, without its likely mistake."""
    left_out = f" ({r.left_out} left out: kink or rounding)" if r.left_out else ""
    return [
        r.name,
        f"{r.checked}/{r.size}",
        f"{r.error:.1e}",
        str(r.index),
        f"{r.analytic:.5g}",
        f"{r.numeric:.5g}",
        ("ok" if r.ok else "WRONG") + left_out,
    ]
