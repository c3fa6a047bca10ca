"""What ``kraft reduce`` shows and writes for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kraft.analysis.errors import ErrorReport
from kraft.analysis.importance import FeatureImportance
from kraft.analysis.reduction import ReducedModel
from kraft.cli.console import out
from kraft.cli.results import error_figures, model_figures
from kraft.cli.summary import (
    counted,
    duration,
    length_scale_of,
    number,
    print_errors,
    print_facts,
)
from kraft.data import Units
from kraft.models import ForceField
from kraft.models.parameters import Parameters
from kraft.reports.reduction_figures import CurvePoint


@dataclass(frozen=True, eq=False)
class Reduction:
    """A model, the importance of its features, and what was trained with fewer of them.

    Attributes
    ----------
    force_field, errors, prediction_seconds
        The model to reduce, its errors on the test frames, and the time of a prediction.
    importance, importance_seconds
        Of its features.
    points, chosen
        The models trained, and the one that is taken.
    """

    force_field: ForceField
    errors: ErrorReport
    prediction_seconds: float
    importance: FeatureImportance
    importance_seconds: float
    points: tuple[ReducedModel, ...]
    chosen: ReducedModel

    @property
    def speed_up(self) -> float:
        """How many times faster the reduced model predicts."""
        return self.prediction_seconds / self.chosen.prediction_seconds


def print_reduction(done: Reduction, units: Units, title: str) -> None:
    """Print which features are kept, and errors before and after."""
    chosen, importance = done.chosen, done.importance
    selection, parameters = chosen.selection, chosen.force_field.parameters
    kept = (
        f"{len(selection.features)} of {counted(selection.n_pairs, 'pair')} of atoms "
        f"({100 * selection.fraction:.1f} %)"
    )
    if selection.n_short_range:
        kept += f", {selection.n_short_range} of them because they are short-ranged"
    orbits = counted(len(importance.orbit_losses), "orbit")
    facts = [
        ("features kept", kept),
        (
            "importance",
            f"of {counted(len(importance.features), 'feature')} in {orbits} on "
            f"{counted(importance.n_frames, 'frame')}, {duration(done.importance_seconds)}",
        ),
        ("trained on", counted(parameters.n_train, "frame")),
        ("kernel", parameters.radial_kernel.label),
        (
            "length scale",
            length_scale_of(parameters)
            if isinstance(parameters, Parameters)
            else f"{parameters.length_scale:.4g} /Å",
        ),
        ("regularization", f"{parameters.regularization:.2g}"),
        (
            "prediction",
            f"{duration(chosen.prediction_seconds)}, {done.speed_up:.2f} times as fast as before "
            f"({duration(done.prediction_seconds)})",
        ),
        ("training", duration(chosen.training_seconds)),
    ]
    print_facts(title, facts)
    print_errors(
        f"Errors before, on {counted(done.errors.n_test, 'test frame')}", _in(done.errors, units)
    )
    if chosen.test is not None:
        print_errors("Errors of the reduced model", _in(chosen.test, units))


def print_curve(done: Reduction, units: Units) -> None:
    """Print a row for each size."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    iterated = any(point.iteration_seconds is not None for point in done.points)
    headings = ["kept", "features", "valid", "forces", "energy", "predict"]
    for heading in (*headings, *(["iterate"] if iterated else []), "train"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for point in done.points:
        valid, test = (None if e is None else _in(e, units) for e in (point.valid, point.test))
        iteration = point.iteration_seconds
        table.add_row(
            f"{100 * point.selection.fraction:.1f} %",
            str(len(point.selection.features)),
            "" if valid is None else number(valid.force_mae),
            "" if test is None else number(test.force_mae),
            "" if test is None or test.energy_mae is None else number(test.energy_mae),
            duration(point.prediction_seconds),
            *([] if not iterated else ["" if iteration is None else duration(iteration)]),
            duration(point.training_seconds),
            "taken" if point is done.chosen and len(done.points) > 1 else "",
        )
    out.print(
        Text(
            f"Sizes (mean absolute errors: validation and test forces in {units.force_label}, test "
            f"energies in {units.energy_label})",
            style="bold",
        ),
        soft_wrap=True,
    )
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def curve_points(done: Reduction, units: Units) -> list[CurvePoint]:
    """Return the curve to draw, from test errors."""
    points = []
    for point in done.points:
        errors = point.test or point.valid
        if errors is None:
            continue
        shown = _in(errors, units)
        points.append(
            CurvePoint(
                point.selection.fraction,
                shown.force_mae,
                shown.energy_mae,
                point.prediction_seconds,
                point.iteration_seconds,
            )
        )
    return points


def reduction_figures(done: Reduction, units: Units) -> dict[str, Any]:
    """Return everything for ``--json``."""
    importance = done.importance
    force = units.force_factor
    return {
        **error_figures(_in(done.chosen.test or done.errors, units)),
        **model_figures(done.chosen.force_field),
        "features": done.chosen.selection.features,
        "n_features": len(done.chosen.selection.features),
        "n_pairs": done.chosen.selection.n_pairs,
        "before": {
            **error_figures(_in(done.errors, units)),
            "n_features": len(importance.features),
            "prediction_seconds": done.prediction_seconds,
        },
        "speed_up": done.speed_up,
        "importance": {
            "pairs": importance.pairs,
            "orbits": importance.labels,
            "force_changes": importance.force_changes / force,
            "mean_distances": importance.mean_distances,
            "largest_distances": importance.largest_distances,
            "n_frames": importance.n_frames,
            "seconds": done.importance_seconds,
        },
        "points": [_point(point, units) for point in done.points],
    }


def _point(point: ReducedModel, units: Units) -> dict[str, Any]:
    parameters = point.force_field.parameters
    return {
        "fraction": point.selection.fraction,
        "n_features": len(point.selection.features),
        "features": point.selection.features,
        "valid": None if point.valid is None else error_figures(_in(point.valid, units)),
        "test": None if point.test is None else error_figures(_in(point.test, units)),
        "kernel": parameters.kernel,
        "length_scale": parameters.length_scale,
        "regularization": parameters.regularization,
        "prediction_seconds": point.prediction_seconds,
        "iteration_seconds": point.iteration_seconds,
        "training_seconds": point.training_seconds,
        "solver": point.result.outcome.solver,
        "iterations": point.result.outcome.iterations,
    }


def _in(report: ErrorReport, units: Units) -> ErrorReport:
    return report.in_units(units)
