"""What ``kraft info`` tells of a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from kraft.analysis.importance import FeatureImportance
from kraft.analysis.metric import MetricMap
from kraft.cli.metric_display import (
    MetricDisplay,
    importance_facts,
    metric_content,
    metric_map_facts,
)
from kraft.cli.model_files import load_model
from kraft.cli.options import DataOptions, ResultOptions
from kraft.cli.outputs import write_json
from kraft.cli.results import model_figures
from kraft.cli.summary import (
    counted,
    features_of,
    length_scale_of,
    number,
    print_facts,
    print_next,
)
from kraft.cli.uncertainty_display import calibration_facts, calibration_figures
from kraft.data import Units
from kraft.models import Calibration, ForceField
from kraft.models.parameters import Parameters, Record


def describe_model(
    file: Path,
    data: Path | None,
    display: MetricDisplay,
    reading: DataOptions,
    result: ResultOptions,
) -> None:
    """Print what a model is, draw its metric if asked for, and write all of it for programs.

    Parameters
    ----------
    file
        The model.
    data
        Data to measure the importance of features on, or None.
    display
        Of the metric.
    reading, result
        How to read the data, and where figures go.
    """
    force_field = load_model(file)
    units = result.units_for(force_field.units)
    metric = display.metric(force_field, needed=data is not None)
    importance = None
    if data is not None:
        importance = display.importance(force_field, reading.read(data))
    _print_model(file, force_field, (metric, importance), units)
    display.draw(metric, importance, units, f"Metric of {file.name}")
    shown = metric_content(metric, importance, units)
    write_json(
        result.json, {**_model_content(file, force_field, units), "data": data, "metric": shown}
    )


def _print_model(
    file: Path,
    force_field: ForceField,
    looked_at: tuple[MetricMap | None, FeatureImportance | None],
    units: Units,
) -> None:
    parameters, record = force_field.parameters, force_field.record
    facts = [
        ("kind", _kind(force_field)),
        ("atoms", f"{parameters.n_atoms}, atomic numbers {_numbers(force_field)}"),
        ("data", record.source or "unknown"),
        ("theory", record.theory or "not stated"),
        ("trained on", counted(parameters.n_train, "frame")),
        ("validated on", counted(len(record.valid_indices), "frame")),
        ("symmetries", counted(parameters.n_permutations, "permutation")),
        *_feature_facts(force_field, *looked_at, units),
        ("kernel", parameters.radial_kernel.label),
        ("length scale", _length_scale(force_field)),
        ("regularization", f"{parameters.regularization:.2g}"),
        ("chosen by", record.choice or "unknown"),
        ("solver", _solver(record)),
        ("relative residual", _optional(record.relative_residual)),
        ("jitter", f"{record.jitter:.1e}"),
        *_kind_facts(force_field, units),
        ("calibration", _calibration(force_field.calibration)),
        ("force MAE, validation", _force(record.valid_force_mae, units)),
        (
            "units of the data",
            f"{force_field.units.energy_label}, {force_field.units.length_label}",
        ),
        ("seed", "unknown" if record.seed is None else str(record.seed)),
        ("made by", f"kraft {record.kraft_version}" if record.kraft_version else "unknown"),
        ("fingerprint of the data", record.source_fingerprint[:16] or "unknown"),
    ]
    if force_field.calibration is not None:
        after = [name for name, _ in facts].index("calibration") + 1
        facts[after:after] = calibration_facts(force_field.calibration)
    print_facts(f"{file.name}: force field of {record.name or 'unnamed'}", facts)
    print_next(
        f"kraft test {file} DATA",
        f"kraft predict {file} GEOMETRIES -o predicted.xyz",
        f"kraft md {file} START --steps 20000 -o run.xyz",
    )


def _feature_facts(
    force_field: ForceField,
    metric: MetricMap | None,
    importance: FeatureImportance | None,
    units: Units,
) -> list[tuple[str, str]]:
    """Return which features a model has, how it weighs them and which matter."""
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters) or metric is None:
        return []
    facts = [("features", features_of(parameters)), *metric_map_facts(metric)]
    if importance is not None:
        facts += importance_facts(metric, importance, units)
    return facts


def _length_scale(force_field: ForceField) -> str:
    parameters = force_field.parameters
    if isinstance(parameters, Parameters):
        return length_scale_of(parameters)
    return f"{parameters.length_scale:.4g} /Å"


def _kind(force_field: ForceField) -> str:
    """Return the kind of model and what that means for its forces."""
    if force_field.conservative:
        return f"{force_field.kind.label}, forces are the gradient of the energy"
    return f"{force_field.kind.label}, forces are not exactly the gradient of the energy"


def _kind_facts(force_field: ForceField, units: Units) -> list[tuple[str, str]]:
    """Return what only models of this kind have."""
    parameters = force_field.parameters
    if isinstance(parameters, Parameters):
        return [
            ("integration constant", _energy(parameters.energy_offset, units)),
            ("its scatter", _scatter(parameters.record.energy_offset_scatter, units)),
        ]
    sets = zip(parameters.atom_sets, parameters.set_variances, strict=True)
    facts = [("sets of equivalent atoms", str(len(parameters.atom_sets)))]
    facts += [
        (
            f"  atoms {' '.join(map(str, atoms))}",
            f"std {number(float(variance) ** 0.5 / units.energy_factor)} {units.energy_label}",
        )
        for atoms, variance in sets
    ]
    if parameters.energy_variance is not None:
        facts += [
            ("mean energy", _energy(parameters.energy_mean, units)),
            ("offset of energies", _energy(parameters.energy_offset, units)),
            ("length scale of energies", f"{parameters.energy_length_scale:.4g} /Å"),
            ("nugget of energies", f"{parameters.energy_regularization:.2g}"),
        ]
    return facts


def _calibration(calibration: Calibration | None) -> str:
    if calibration is None:
        return "none; `kraft calibrate` makes one"
    frames = counted(calibration.n_geometries, "frame")
    return f"of {calibration.method} uncertainty on {frames} of {calibration.source or 'data'}"


def _numbers(force_field: ForceField) -> str:
    return " ".join(map(str, force_field.atomic_numbers))


def _solver(record: Record) -> str:
    """Return how the linear system was solved, in words."""
    words = [record.solver or "unknown"]
    if record.preconditioner:
        words.append(f"{record.preconditioner} of rank {record.rank}")
    if record.iterations:
        words.append(f"{record.iterations} iterations")
    if not record.converged:
        words.append(f"UNCONVERGED: {record.status or 'unknown'}")
    return ", ".join(words)


def _optional(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1e}"


def _energy(value: float | None, units: Units) -> str:
    if value is None:
        return "unknown"
    return f"{value / units.energy_factor:.10g} {units.energy_label}"


def _scatter(value: float | None, units: Units) -> str:
    if value is None:
        return "unknown"
    return f"{number(value / units.energy_factor)} {units.energy_label}"


def _force(value: float | None, units: Units) -> str:
    return (
        "unknown" if value is None else f"{number(value / units.force_factor)} {units.force_label}"
    )


def _model_content(file: Path, force_field: ForceField, units: Units) -> dict[str, Any]:
    parameters, record = force_field.parameters, force_field.record
    valid_mae = record.valid_force_mae
    return {
        "kind": "model",
        "file": file,
        "units": {"energy": units.energy_label, "force": units.force_label},
        "atomic_numbers": parameters.atomic_numbers,
        "permutations": parameters.permutations,
        **model_figures(force_field),
        "n_valid": len(record.valid_indices),
        "valid_force_mae": None if valid_mae is None else valid_mae / units.force_factor,
        **_kind_content(force_field, units),
        "calibration": calibration_figures(force_field.calibration),
        "record": dataclasses.asdict(record),
    }


def _kind_content(force_field: ForceField, units: Units) -> dict[str, Any]:
    parameters = force_field.parameters
    content: dict[str, Any] = {"conservative": force_field.conservative}
    if isinstance(parameters, Parameters):
        return {
            **content,
            "n_features": parameters.n_features,
            "features": parameters.features,
            "feature_weights": parameters.feature_weights,
            "feature_mixing": parameters.feature_mixing,
            "feature_function": parameters.feature_function,
            "energy_offset": parameters.energy_offset / units.energy_factor,
        }
    return {
        **content,
        "atom_sets": [atoms.tolist() for atoms in parameters.atom_sets],
        "set_variances": parameters.set_variances / units.energy_factor**2,
        "energy_mean": parameters.energy_mean / units.energy_factor,
        "energy_offset": parameters.energy_offset / units.energy_factor,
        "energy_length_scale": parameters.energy_length_scale,
        "energy_regularization": parameters.energy_regularization,
    }
