"""The results of a gradient check, and the table that they print."""

from __future__ import annotations

from dataclasses import dataclass


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
            f"gradient check of {self.title}: {'passed' if self.ok else 'FAILED'}",
            f"  {'array':<{width}}  {'checked':>11}  {'worst error':>11}  "
            f"{'at':<12} {'backward':>12} {'numeric':>12}",
        ]
        for r in self.results:
            lines.append(
                f"  {r.name:<{width}}  {f'{r.checked}/{r.size}':>11}  {r.error:>11.1e}  "
                f"{r.index!s:<12} {r.analytic:>12.5g} {r.numeric:>12.5g}  "
                + ("ok" if r.ok else "WRONG")
                + (f" ({r.left_out} left out: kink or rounding)" if r.left_out else "")
            )
            if r.cause:
                lines.append(f"  {'':<{width}}  likely cause: {r.cause}")
        return "\n".join(lines)
