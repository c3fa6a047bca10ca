"""The page: curves by descriptor size, bars, importance, maps, robustness."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from reporting import Figures, number, table, verdict

import kraft
from kraft.analysis.feature_patterns import feature_scaling, range_shares
from kraft.analysis.importance import FeatureImportance
from kraft.reports.reduction_figures import (
    CurvePoint,
    reduction_figure,
    save_figure,
    scaling_figure,
)

from .cases import CASES, PAPER_SPEED, Case

KCAL = kraft.Units("kcal/mol")
IMPORTANCE_BAR = 60.0
_FIGURES = {
    "importance": "importance of every feature against its distance",
    "maps": "mean distances and interaction maps (forces from the coefficients of other atoms)",
    "trends": "contributions against distance, and how linear they are",
    "partners": "partners that some atoms keep",
}


def page_renderer(output: Path, folder: Path) -> Callable[[dict[str, Figures]], str]:
    """Return what makes the text of the page and puts its figures beside it."""

    def render(rows: dict[str, Figures]) -> str:
        cases = [case for case in CASES.values() if f"{case.name}:importance" in rows]
        parts = [
            "# Reduced descriptors",
            "Features are removed by what masking them changes in the forces (paper 003, eq. 4), "
            "whole orbits of the symmetries together, and the model is trained again with its own "
            "length scale and regularization. Made by `benchmarks/reduction.py`.",
        ]
        for case in cases:
            parts += _case(case, rows, output, folder)
        parts += _scaling(cases, rows, output)
        return "\n\n".join(part.rstrip() for part in parts) + "\n"

    return render


def _case(case: Case, rows: dict[str, Figures], output: Path, folder: Path) -> list[str]:
    found = {k: rows[f"{case.name}:{k:g}"] for k in case.keeps if f"{case.name}:{k:g}" in rows}
    parts = [f"## {case.label}", case.cut, _importance(case, rows)]
    if found:
        parts += [_curve(case, found), _bars(case, found)]
        _draw_curve(case, found, rows, output)
        parts.append(f"![errors and speed by size](reduction_{case.name}_curve.png)")
    for name, text in _FIGURES.items():
        figure = folder / f"reduction_{case.name}_{name}.png"
        if figure.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            if figure.parent != output.parent:
                shutil.copy(figure, output.parent / figure.name)
            parts.append(f"![{text}]({figure.name})")
    parts += [_linearity(case, rows), _robustness(case, rows), _extent(case, rows)]
    return [part for part in parts if part]


def _importance(case: Case, rows: dict[str, Figures]) -> str:
    row = rows[f"{case.name}:importance"]
    found = row["importance"]
    timed = rows.get(f"{case.name}:importance-time")
    more = ""
    if timed:
        more = (
            f" With {timed['n_train']} frames (random coefficients, which change no time): "
            f"{number(timed['seconds'])} s on {timed['threads']} threads for {timed['n_frames']} "
            f"frames, bar {IMPORTANCE_BAR:.0f} s: "
            f"{verdict(timed['seconds'] <= IMPORTANCE_BAR)}."
        )
    return (
        f"Importance of all {len(found['losses'])} features, {found['n_orbits']} orbits, with a "
        f"model of {row['n_train']} frames and {row['n_permutations']} symmetries, on "
        f"{found['n_frames']} frames: {number(found['seconds'])} s.{more}"
    )


def _curve(case: Case, found: dict[float, Figures]) -> str:
    whole = found.get(1.0)
    lines = []
    for keep, row in found.items():
        speed = whole and whole["prediction_seconds"] / row["prediction_seconds"]
        paper = PAPER_SPEED.get(case.name, {}).get(keep)
        faster = None
        if whole and whole["iteration_seconds"] and row["iteration_seconds"]:
            faster = whole["iteration_seconds"] / row["iteration_seconds"]
        lines.append(
            [
                f"{keep:g}",
                row["n_features"],
                number(row["test"]["force_mae"]),
                number(row["test"]["force_rmse"]),
                number(row["test"]["energy_mae"]),
                number(1e3 * row["prediction_seconds"]),
                "-" if speed is None else f"{speed:.2f}",
                "-" if paper is None else f"{paper:.2f}",
                row["iterations"] or "-",
                number(1e3 * row["iteration_seconds"]) if row["iteration_seconds"] else "-",
                "-" if faster is None else f"{faster:.2f}",
                number(row["choice"]["length_scale"]),
                f"{row['choice']['regularization']:.0e}",
                number(row["seconds"]["total"]),
            ]
        )
    n_train = next(iter(found.values()))["n_train"]
    header = [
        "kept",
        "features",
        "force MAE, kcal/mol/Å",
        "force RMSE",
        "energy MAE, kcal/mol",
        "prediction, ms",
        "times faster",
        "Table S1",
        "iterations",
        "CG iteration, ms",
        "times faster",
        "length scale, /Å",
        "regularization",
        "training, s",
    ]
    text = f"{n_train} training frames. Predictions in a batch of 64, for each geometry.\n\n"
    return text + table(header, lines)


def _bars(case: Case, found: dict[float, Figures]) -> str:
    whole = found.get(1.0)
    if whole is None:
        return ""
    lines = []
    for keep, speed_bar, error_bar in case.bars:
        if keep not in found:
            continue
        row = found[keep]
        error = row["test"]["force_mae"] / whole["test"]["force_mae"]
        speed = whole["prediction_seconds"] / row["prediction_seconds"]
        lines.append([f"force error at {keep:g}, of that with all", f"{error:.3f}", error_bar,
                      verdict(error <= error_bar)])  # fmt: skip
        lines.append([f"speed of predictions at {keep:g}", f"{speed:.2f}", speed_bar,
                      verdict(speed >= speed_bar)])  # fmt: skip
    return table(["bar", "measured", "wanted", ""], lines) if lines else ""


def _linearity(case: Case, rows: dict[str, Figures]) -> str:
    row = rows.get(f"{case.name}:maps")
    if row is None:
        return ""
    lines = [
        [
            name,
            each["n_pairs"],
            f"{100 * each['share_linear']:.0f} %",
            "-" if each["decay_exponent"] is None else f"{each['decay_exponent']:.2f}",
        ]
        for name, each in row.items()
        if name != "how"
    ]
    return table(["model", "pairs", "with R² above 0.5", "their decay with distance"], lines)


def _robustness(case: Case, rows: dict[str, Figures]) -> str:
    row = rows.get(f"{case.name}:robustness")
    if row is None:
        return ""
    triples = zip(row["names"], row["rank_correlations"], row["overlaps"], strict=True)
    lines = [[name, f"{rank:.3f}", f"{100 * share:.0f} %"] for name, rank, share in triples]
    text = (
        f"Importance from other models (SI, considerations 1 to 4): the first is of "
        f"{row['n_first']} frames with a regularization of 1e-10; removed features are those of a "
        f"descriptor of {row['keep']:g}, {100 * row['common']:.0f} % of them common to all.\n\n"
    )
    header = ["importance", "rank correlation with the first", "removed features in common with it"]
    return text + table(header, lines)


def _extent(case: Case, rows: dict[str, Figures]) -> str:
    row = rows.get(f"{case.name}:extent")
    if row is None:
        return ""
    lines = []
    for name, other in (("compact", "extended"), ("extended", "compact")):
        for keep in (1.0, case.mapped):
            each = row[f"{name}:{keep:g}"]
            lines.append(
                [
                    name,
                    f"{keep:g}",
                    other,
                    number(each["test"]["energy_rmse"]),
                    number(each["test"]["force_rmse"]),
                    number(each["valid"]["force_rmse"]),
                ]
            )
    text = f"Frames below and above {row['threshold']:g} Å in length (Table S2).\n\n"
    header = [
        "trained on",
        "kept",
        "tested on",
        "energy RMSE, kcal/mol",
        "force RMSE, kcal/mol/Å",
        "force RMSE on frames like those of training",
    ]
    return text + table(header, lines)


def _draw_curve(
    case: Case, found: dict[float, Figures], rows: dict[str, Figures], output: Path
) -> None:
    points = [
        CurvePoint(
            keep,
            row["test"]["force_mae"],
            row["test"]["energy_mae"],
            row["prediction_seconds"],
            row["iteration_seconds"],
        )
        for keep, row in found.items()
    ]
    measured = rows[f"{case.name}:importance"]["importance"]
    labels = np.array(measured["labels"])
    importance = FeatureImportance(
        n_atoms=case.n_atoms,
        features=np.arange(len(labels)),
        labels=labels,
        orbit_losses=np.bincount(labels, np.array(measured["losses"])),
        mean_distances=np.array(measured["mean_distances"]),
        largest_distances=np.array(measured["largest_distances"]),
        n_frames=measured["n_frames"],
    )
    shares = range_shares(importance, list(found))
    figure = reduction_figure(points, shares=shares, units=KCAL, title=case.label)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, output.parent / f"reduction_{case.name}_curve.png")


def _scaling(cases: list[Case], rows: dict[str, Figures], output: Path) -> list[str]:
    sizes = {}
    for case in cases:
        row = rows.get(f"{case.name}:{case.mapped:g}")
        if row is not None:
            sizes[f"{case.name}, {case.mapped:g}"] = (case.n_atoms, row["n_features"])
    if len(sizes) < 2:
        return []
    scaling = feature_scaling(sizes)
    save_figure(scaling_figure(scaling), output.parent / "reduction_scaling.png")
    return [
        "## Features and atoms",
        f"Features kept grow as the power {scaling.exponent:.2f} of the number of atoms.",
        "![features against atoms](reduction_scaling.png)",
    ]
