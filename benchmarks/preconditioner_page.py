"""The page of the study of preconditioners: tables and figures from what was measured."""

from __future__ import annotations

import dataclasses
import io
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from reporting import number, table

import kraft
from kraft.analysis.preconditioner_study.accuracy import Comparison, Solution
from kraft.analysis.preconditioner_study.candidates import Candidate
from kraft.analysis.preconditioner_study.iterations import IterationCount
from kraft.analysis.preconditioner_study.rules import (
    PAPER_RULES,
    RulePoint,
    best_point,
    compare_rules,
    fit_rule,
)
from kraft.analysis.preconditioner_study.spectra import Spectrum
from kraft.reports.study_figures import (
    IterationPanel,
    RuleSeries,
    SpectrumPanel,
    TimePanel,
    cost_figure,
    iterations_figure,
    rule_figure,
    spectra_figure,
    time_figure,
)
from kraft.reports.study_tables import iterations_overview, spectra_table
from kraft.solvers.rank_rule import RankRule

Rows = dict[str, dict[str, Any]]

COLORS = 128
DPI = 100
KCAL = kraft.Units("kcal/mol")
PAPER_DIFFERENCE = 0.00012  # kcal/mol/Å, the largest of paper 004's Table II
PAPER_SPEEDUP = {"ethanol": 3.6, "uracil": 5.0, "toluene": 3.6, "aspirin": 1.4, "catcher": 1.0}

HEAD = """\
# Preconditioners

Made by `benchmarks/preconditioner_study.py` after paper 004 and figures 3 and 4 of paper 000; the
same for any data: `kraft study` ([cli.md](../cli.md#kraft-study)).

The system is `(K + λI) c = y` with the Matérn-5/2 kernel, λ = 1e-10 and a length scale of 10 /Å (12
for malonaldehyde), as in the papers; it has converged when the recomputed relative residual is
below 1e-4. `n = 3NM` counts force components as the papers do. kraft leaves out the six rigid
motions of each geometry, so the *unknowns* are fewer and the null space of the papers' systems is
not there. A preconditioner `P = L Lᵀ + D` has `k` columns `L`, chosen by the method named, and a
remainder `D`: the papers' `λI` where nothing is said; *blocks*, kraft's own, is the block diagonal
of `K + λI - L Lᵀ` over whole geometries, one a block or five (*blocks:5*). *> 3000* means that it
had not converged after so many iterations or when the time allowed had run out.
"""


def render(rows: Rows, notes: str, output: Path) -> None:
    """Write the page and its figures.

    Parameters
    ----------
    rows
        What was measured, by case.
    notes
        Explanations in markdown, below headings that name the sections.
    output
        The page; figures go beside it.
    """
    explained = _explanations(notes)
    parts = [HEAD]
    for section, (title, make) in SECTIONS.items():
        some = {
            key.partition("/")[2]: row
            for key, row in rows.items()
            if key.partition("/")[0] == section
        }
        if not some:
            continue
        prose, *rest = make(some, output.parent)
        parts += [f"## {title}", textwrap.fill(prose, 100), *rest]
        if explained.get(section):
            parts += [explained[section]]
    parts += ["## How these figures were made", _colophon(rows)]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def spectra(rows: Rows, folder: Path) -> Iterable[str]:
    """Yield tables and figures of spectra."""
    yield (
        "Eigenvalues of `P⁻¹K_λ`, those that conjugate gradients see (004, figures 4, 8 and 9; "
        "000, figure 3). What counts is how far they spread. Of systems with many unknowns only "
        "the largest are computed; their smallest eigenvalue is 1 with the papers' remainder and "
        "bounded from above otherwise."
    )
    for key, row in rows.items():
        molecule, n_labels = key.split("/")
        found = {
            Candidate(**each["candidate"]): Spectrum(
                np.array(each["indices"]), np.array(each["values"]), each["smallest"],
                each["complete"],
            )
            for each in row["spectra"]
        }  # fmt: skip
        ranks = sorted({candidate.rank for candidate in found if candidate.rank})
        panels = [
            SpectrumPanel(
                f"k = {rank} ({100 * rank / row['n_labels']:.1f} % of n)",
                {c.series: s for c, s in found.items() if c.rank in (0, rank)},
            )
            for rank in ranks
        ]
        title = f"{molecule}, {row['n_train']} geometries, n = {n_labels}"
        name = f"preconditioners_spectra_{molecule}_{n_labels}.png"
        _save(spectra_figure(panels, title=title), folder / name)
        yield f"### {molecule}, {_system(row)}"
        yield f"![Spectra, {title}]({name})"
        yield spectra_table(found).markdown()


def iterations(rows: Rows, folder: Path) -> Iterable[str]:
    """Yield tables and the figure of iterations."""
    yield (
        "Iterations against the number of columns (004, figures 5 and 10). The dotted line is 10 % "
        "of n. Open symbols did not converge."
    )
    panels = []
    tables = []
    for molecule, row in rows.items():
        counts = [_count(each) for each in row["counts"]]
        panels.append(IterationPanel(f"{molecule}, n = {row['n_labels']}", row["n_labels"], counts))
        tables += [f"### {molecule}, {_system(row)}", iterations_overview(counts).markdown()]
    name = "preconditioners_iterations.png"
    _save(iterations_figure(panels), folder / name)
    yield f"![Iterations against columns]({name})"
    yield from tables


def rule(rows: Rows, folder: Path) -> Iterable[str]:
    """Yield the fitted rules and their figure."""
    yield (
        "Fits of `#/n = (k_min/k)^m` to the converged points (004, figure 6 and Table I; the paper "
        "measured at n = 31 400, with leverage scores and its own remainder)."
    )
    lines = []
    panels: dict[str, list[RuleSeries]] = {}
    for key, row in rows.items():
        molecule, n_labels = key.split("/")
        for series, points in _points(row).items():
            fitted = fit_rule(points, row["n_labels"])
            paper = PAPER_RULES[molecule]
            ranks = ", ".join(f"{point.rank}" for point in points) or "none converged"
            cells = ("", "") if fitted is None else (f"{fitted.k_min:.3g}", f"{fitted.m:.2f}")
            lines.append((molecule, n_labels, row["size"], series, ranks, *cells,
                          f"{paper.k_min:g}", f"{paper.m:g}"))  # fmt: skip
            one = RuleSeries(f"{molecule}, n = {n_labels}", row["n_labels"], points, fitted)
            panels.setdefault(series, []).append(one)
    name = "preconditioners_rule.png"
    _save(rule_figure(panels), folder / name)
    yield f"![Iterations by size against columns]({name})"
    header = ("molecule", "n", "unknowns", "preconditioner", "converged at k", "k_min", "m",
              "paper's k_min", "paper's m")  # fmt: skip
    yield table(header, lines)


def rank(rows: Rows, folder: Path) -> Iterable[str]:
    """Yield predicted against measured ranks."""
    yield (
        "Run time is that of building the preconditioner and of the iterations counted, at the "
        "measured time of a matrix-free product and of applying the preconditioner; between "
        "measured ranks it is interpolated linearly (004, figure 7). *Relative* is to the fastest "
        "measured rank of the same preconditioner; a dash: outside the ranks that converged. "
        "*Specific* is fitted to these very points, *paper* is the paper's Table I."
    )
    lines = []
    panels = []
    for molecule, row in rows.items():
        for series, given in row["points"].items():
            points = [RulePoint(**point) for point in given]
            if not points:
                lines.append((molecule, series, "none converged", *[""] * 6))
                continue
            best = best_point(points)
            rules: dict[str, RankRule] = {"default": PAPER_RULES["default"]}
            fitted = fit_rule(points, row["n_labels"])
            if fitted is not None:
                rules["specific"] = fitted
            rules["paper"] = PAPER_RULES[molecule]
            found = {each.rule: each for each in compare_rules(points, row["n_labels"], rules)}
            cells = []
            for name in ("default", "specific", "paper", "1 %"):
                if name not in found:
                    cells.append("")
                    continue
                ratio = found[name].ratio
                cells.append(f"{found[name].rank} ({'–' if ratio is None else f'{ratio:.2f}'})")  # noqa: RUF001
            lines.append((molecule, series, best.rank, number(best.seconds), *cells))
            predicted = {name: each.rank for name, each in found.items()}
            panels.append(TimePanel(f"{molecule}, {series}", points, predicted))
    if panels:
        name = "preconditioners_rank.png"
        _save(time_figure(panels), folder / name)
        yield f"![Run time against columns]({name})"
    header = ("molecule", "preconditioner", "best rank", "time, s", "default (relative)",
              "specific", "paper", "1 %")  # fmt: skip
    yield table(header, [line[: len(header)] for line in lines])


def accuracy(rows: Rows, folder: Path) -> Iterable[str]:
    """Yield errors and times of dense and iterative solutions."""
    del folder
    yield (
        "One system solved densely and iteratively (004, Table II; there n = 63 000 on an A100). "
        "Force MAE in kcal/mol/Å on geometries not trained on; the paper's largest difference is "
        f"{PAPER_DIFFERENCE:g}. Times in seconds, from the operator to the coefficients, on all "
        "threads."
    )
    lines = []
    for molecule, row in rows.items():
        for given in row["comparisons"]:
            one = Comparison(
                **{
                    **given,
                    "dense": Solution(**given["dense"]),
                    "iterative": Solution(**given["iterative"]),
                }
            )
            factor = 1.0 / KCAL.force_factor
            lines.append((
                molecule, row["n_labels"], row["size"],
                f"{one.iterative.preconditioner}, k = {one.iterative.rank}",
                f"{one.iterative.iterations} ({one.iterative.status})",
                f"{one.dense_force_mae * factor:.5f}", f"{one.mae_difference * factor:.5f}",
                number(one.dense.seconds), number(one.iterative.seconds), f"{one.speedup:.2f}",
                PAPER_SPEEDUP.get(molecule, ""),
            ))  # fmt: skip
    header = ("molecule", "n", "unknowns", "preconditioner", "iterations", "dense MAE",
              "difference", "dense, s", "iterative, s", "speed-up", "paper's")  # fmt: skip
    yield table(header, lines)


def cost(rows: Rows, folder: Path) -> Iterable[str]:
    """Yield time and memory against rank for malonaldehyde."""
    yield (
        "Time and memory against rank (000, figure 4). Memory is the most that NumPy arrays took "
        "at any one time, the caches of the product included; for the dense solver what it asks "
        "for."
    )
    for size in dict.fromkeys(key.split("/")[0] for key in rows):
        some = {key: row for key, row in rows.items() if key.startswith(f"{size}/")}
        dense = some.pop(f"{size}/dense", None)
        series: dict[str, list[Solution]] = {}
        for row in some.values():
            series.setdefault(row["series"], []).append(Solution(**row["solution"]))
        if dense is None or not series:
            continue
        exact = Solution(**dense["solution"])
        lines = [("dense", "", "", "", number(exact.seconds), number(exact.memory / 1e9))]
        for name, solutions in series.items():
            solutions.sort(key=lambda one: one.rank)
            lines += [
                (
                    name,
                    one.rank,
                    f"{100 * one.rank / dense['n_labels']:.1f} %",
                    f"{one.iterations} ({one.status})",
                    number(one.seconds),
                    number((one.peak_memory or one.memory) / 1e9),
                )
                for one in solutions
            ]
        name = f"preconditioners_cost_{size}.png"
        title = f"malonaldehyde, n = {size}"
        _save(cost_figure(dense["n_labels"], series, exact, title=title), folder / name)
        yield f"### malonaldehyde, {_system(dense)}"
        yield f"![Time and memory against columns, {title}]({name})"
        yield table(("preconditioner", "k", "k/n", "iterations", "time, s", "memory, GB"), lines)


SECTIONS: dict[str, tuple[str, Callable[[Rows, Path], Iterable[str]]]] = {
    "spectra": ("Spectra", spectra),
    "iterations": ("Iterations", iterations),
    "rule": ("The rule of thumb", rule),
    "rank": ("Predicted and best ranks", rank),
    "accuracy": ("Dense and iterative solutions", accuracy),
    "cost": ("Time and memory", cost),
}


def _points(row: dict[str, Any]) -> dict[str, list[RulePoint]]:
    """Return the converged points of every series."""
    points: dict[str, list[RulePoint]] = {}
    for each in row["counts"]:
        count = _count(each)
        some = points.setdefault(count.candidate.series, [])
        if count.converged:
            some.append(RulePoint(count.rank, count.iterations, 0.0))
    return points


def _count(figures: dict[str, Any]) -> IterationCount:
    known = {field.name for field in dataclasses.fields(IterationCount)}
    return IterationCount(**{name: figures[name] for name in known})


def _system(row: dict[str, Any]) -> str:
    return (
        f"{row['n_train']} geometries: n = {row['n_labels']}, {row['size']} unknowns, "
        f"{row['n_permutations']} symmetries"
    )


def _save(figure: Any, path: Path) -> None:
    """Save a figure with few colors, so that the file is small."""
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=DPI)
        small = Image.open(buffer).convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE)
    small.save(path, optimize=True)


def _explanations(notes: str) -> dict[str, str]:
    """Return the text below each ``## section`` of the notes."""
    text = re.sub(r"<!--.*?-->", "", notes, flags=re.DOTALL)
    parts = re.split(r"^## (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def _colophon(rows: Rows) -> str:
    """Return how the figures came about: the cases made alike share an entry."""
    made: dict[tuple[str, str, str], list[str]] = {}
    for key, row in rows.items():
        how = row["how"]
        alike = (how["command"], how["machine"], how["versions"])
        made.setdefault(alike, []).append(f"{key} ({how['date']})")
    return "\n\n".join(
        f"`{command}`\n\n- {machine}\n- {versions}\n- {', '.join(keys)}"
        for (command, machine, versions), keys in made.items()
    )
