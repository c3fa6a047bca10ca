"""What ``kraft train`` shows and writes at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kraft.analysis.errors import ErrorReport
from kraft.cli.metric_flags import metric_facts, metric_figures
from kraft.cli.results import error_figures, model_figures
from kraft.cli.summary import (
    counted,
    duration,
    features_of,
    length_scale_of,
    number,
    print_errors,
    print_facts,
)
from kraft.cli.uncertainty_display import calibration_facts, calibration_figures
from kraft.core.memory import format_bytes
from kraft.data import Split, Units
from kraft.data.checks import Report
from kraft.models import ForceField, TrainingResult
from kraft.models.parameters import Parameters


def print_summary(
    facts: list[tuple[str, str]],
    force_field: ForceField,
    parts: Split,
    errors: ErrorReport | None,
    valid_force_mae: float | None,
    units: Units,
) -> None:
    """Print what was trained, how, and the errors; ``facts`` are those of the kind of model."""
    data = parts.train
    print_facts(
        f"Force field of {data.provenance.name or data.formula}",
        [
            ("molecule", f"{data.formula}, {data.n_atoms} atoms"),
            ("trained on", f"{counted(len(data), 'frame')} ({parts.strategy}, seed {parts.seed})"),
            *facts,
            *_intervals(force_field),
        ],
    )
    if errors is not None:
        print_errors(f"Errors on {counted(errors.n_test, 'test frame')}", errors)
    elif valid_force_mae is not None:
        mae = valid_force_mae / units.force_factor
        print_facts("Errors", [("force MAE, validation", f"{number(mae)} {units.force_label}")])


def sgdml_facts(
    force_field: ForceField, training: TrainingResult, parts: Split
) -> list[tuple[str, str]]:
    """Return how an sGDML model was made."""
    choice, times = training.choice, training.timings
    valid = 0 if parts.valid is None else len(parts.valid)
    nothing = "nothing" if choice.criterion == "given" else "left-out training frames"
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        raise AssertionError("not an sGDML model")
    return [
        ("validated on", counted(valid, "frame") if valid else nothing),
        ("symmetries", counted(len(training.permutations), "permutation")),
        ("features", features_of(parameters)),
        ("kernel", parameters.radial_kernel.label),
        ("length scale", length_scale_of(parameters)),
        ("regularization", f"{choice.regularization:.2g}"),
        *metric_facts(training.metric),
        ("chosen by", choice.reason),
        *_solver(training),
        ("time", f"{duration(times.total)} ({_stages(training)})"),
    ]


def _intervals(force_field: ForceField) -> list[tuple[str, str]]:
    """Return what the calibration did, if there is one."""
    calibration = force_field.calibration
    return [] if calibration is None else calibration_facts(calibration)


def _solver(training: TrainingResult) -> list[tuple[str, str]]:
    """Return the route, why it was taken, and how it went."""
    outcome, plan = training.outcome, training.plan
    jitter = f", jitter {outcome.jitter:.1e}" if outcome.jitter else ""
    residual = f"relative residual {outcome.relative_residual:.1e}{jitter}"
    if plan.solver == "dense":
        return [("solver", f"dense ({plan.reason}), {residual}")]
    blocks = (
        f", blocks of {counted(plan.block_geometries, 'frame')}" if plan.block_geometries else ""
    )
    restarts = f", {counted(outcome.restarts, 'restart')}" if outcome.restarts else ""
    return [
        ("solver", f"iterative ({plan.reason}), {outcome.status}"),
        ("preconditioner", f"{outcome.preconditioner}, rank {outcome.rank}{blocks}"),
        ("iterations", f"{outcome.iterations}{restarts}, {residual}"),
        ("memory of the solver", format_bytes(outcome.memory)),
    ]


def _stages(training: TrainingResult) -> str:
    times = training.timings
    stages = {
        "symmetry": times.symmetry,
        "choice": times.choice,
        "assembly": times.assembly,
        _second_stage(training): times.factorization,
        "solution": times.solve,
    }
    return ", ".join(f"{name} {duration(value)}" for name, value in stages.items() if value > 0.05)


def training_figures(
    figures: Mapping[str, Any],
    force_field: ForceField,
    parts: Split,
    errors: ErrorReport | None,
    target: Path,
    units: Units,
) -> Mapping[str, Any]:
    """Return all figures of a training for ``--json``; ``figures`` are the kind of model's."""
    valid_mae = force_field.record.valid_force_mae
    return {
        **(error_figures(errors) if errors is not None else {"n_test": 0}),
        "units": {"energy": units.energy_label, "force": units.force_label},
        "model": target,
        **model_figures(force_field),
        "n_valid": 0 if parts.valid is None else len(parts.valid),
        "valid_force_mae": None if valid_mae is None else valid_mae / units.force_factor,
        "sampling": parts.strategy,
        "seed": parts.seed,
        **figures,
        "calibration": calibration_figures(force_field.calibration),
    }


def sgdml_figures(training: TrainingResult, parts: Split) -> Mapping[str, Any]:
    """Return the figures of the training of an sGDML model."""
    return {
        "choice": training.choice.reason,
        "n_trials": len(training.choice.trials),
        "at_edge": training.choice.at_edge,
        "metric": metric_figures(training.metric),
        **solver_figures(training),
        "timings": dataclasses.asdict(training.timings),
        "notices": [*parts.notices, *training.notices],
    }


def solver_figures(training: TrainingResult) -> dict[str, Any]:
    """Return how the linear system was solved."""
    outcome, plan = training.outcome, training.plan
    return {
        "n_labels": len(outcome.coefficients),
        "solver": outcome.solver,
        "solver_reason": plan.reason,
        "status": outcome.status,
        "converged": outcome.converged,
        "relative_residual": outcome.relative_residual,
        "jitter": outcome.jitter,
        "iterations": outcome.iterations,
        "restarts": outcome.restarts,
        "preconditioner": outcome.preconditioner,
        "rank": outcome.rank,
        "block_geometries": plan.block_geometries,
        "solver_memory": outcome.memory or plan.dense_memory,
    }


def _second_stage(training: TrainingResult) -> str:
    return "factorization" if training.plan.solver == "dense" else "preconditioner"


def finding_figures(report: Report) -> dict[str, Any]:
    """Return the findings on the data."""
    return {"findings": [dataclasses.asdict(finding) for finding in report.findings]}
