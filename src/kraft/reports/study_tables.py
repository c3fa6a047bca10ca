"""Tables of a study of preconditioners: one content for the console, markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kraft.analysis.preconditioner_study.candidates import Candidate
from kraft.analysis.preconditioner_study.iterations import IterationCount
from kraft.analysis.preconditioner_study.rules import Prediction, RulePoint, best_point
from kraft.analysis.preconditioner_study.spectra import Spectrum


@dataclass(frozen=True)
class StudyTable:
    """Cells as text.

    Attributes
    ----------
    header
        Names of the columns.
    rows
        As many cells each.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table in markdown; all columns but the first are aligned to the right."""
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        lines = [self.header, rule, *self.rows]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)

    def csv(self) -> str:
        """Return the table as comma-separated values."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def iterations_overview(counts: Sequence[IterationCount]) -> StudyTable:
    """Return iterations with a row for each method and remainder, a column for each rank."""
    ranks = sorted({count.rank for count in counts if count.rank})
    series = list(dict.fromkeys(count.candidate.series for count in counts))
    rows = []
    for name in series:
        some = {count.rank: count for count in counts if count.candidate.series == name}
        if set(some) == {0}:
            rows.append((name, *[steps(some[0])] * max(1, len(ranks))))
            continue
        rows.append((name, *(steps(some[rank]) if rank in some else "" for rank in ranks)))
    return StudyTable(("preconditioner", *(f"k = {rank}" for rank in ranks or [0])), tuple(rows))


def iterations_details(counts: Sequence[IterationCount]) -> StudyTable:
    """Return everything measured, a row for each preconditioner."""
    header = (
        "method", "remainder", "rank", "columns", "iterations", "status", "relative_residual",
        "memory_bytes", "seconds_build", "seconds_apply",
    )  # fmt: skip
    rows = tuple(
        (
            count.method,
            count.remainder,
            str(count.rank),
            str(count.columns),
            str(count.iterations),
            count.status,
            f"{count.relative_residual:.3e}",
            str(count.memory),
            f"{count.seconds_build:.4g}",
            f"{count.seconds_apply:.3e}",
        )
        for count in counts
    )
    return StudyTable(header, rows)


def spectra_table(spectra: Mapping[Candidate, Spectrum]) -> StudyTable:
    """Return extreme eigenvalues and condition numbers of ``P⁻¹ K_λ``."""
    rows = tuple(
        (
            candidate.series,
            str(candidate.rank or ""),
            f"{spectrum.values[0]:.3g}",
            ("" if spectrum.complete else "≤ ") + f"{spectrum.smallest:.3g}",
            ("" if spectrum.complete else "≥ ") + f"{spectrum.condition_number:.3g}",
        )
        for candidate, spectrum in spectra.items()
    )
    return StudyTable(("preconditioner", "rank", "largest", "smallest", "condition number"), rows)


def prediction_table(points: Sequence[RulePoint], predictions: Sequence[Prediction]) -> StudyTable:
    """Return the fastest measured rank and the ranks that rules predict, with their run times."""
    best = best_point(points)
    rows = [("best measured", str(best.rank), f"{best.seconds:.3g}", "1")]
    rows += [
        (
            each.rule,
            str(each.rank),
            "not measured" if each.seconds is None else f"{each.seconds:.3g}",
            "" if each.ratio is None else f"{each.ratio:.2f}",
        )
        for each in predictions
    ]
    return StudyTable(("rule", "rank", "time, s", "relative to best"), tuple(rows))


def steps(count: IterationCount) -> str:
    """Return the iterations, or where they ended without convergence.

    >>> capped = IterationCount("uniform", "shift", 9, 9, 500, "max_iterations", 0.3, 0, 0.0, 0.0)
    >>> steps(capped)
    '> 500'
    """
    if count.converged:
        return str(count.iterations)
    if count.status == "breakdown":
        return f"rounding at {count.iterations}"
    return f"> {count.iterations}"
