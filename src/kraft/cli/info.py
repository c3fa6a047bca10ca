"""``kraft info``: what a file of data or a model holds, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kraft.cli.boundary import EXIT_ERROR
from kraft.cli.metric_flags import weight_facts
from kraft.cli.model_files import is_model, load_model
from kraft.cli.options import DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import (
    counted,
    features_of,
    length_scale_of,
    number,
    print_facts,
    print_findings,
    print_next,
    print_notices,
)
from kraft.cli.uncertainty_display import calibration_facts, calibration_figures
from kraft.data import Dataset, Units
from kraft.data.checks import Report, check
from kraft.models import Calibration, ForceField
from kraft.models.parameters import Parameters, Record
from kraft.symmetry import SymmetryResult, find_permutations


def info(
    file: Path,
    /,
    *,
    symmetry: Annotated[bool, Flag] = False,
    seed: int = 0,
    reading: DataOptions = DataOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> int:
    """Describe a file of data, with everything that looks wrong in it, or a model.

    Parameters
    ----------
    file
        Reference data or a model.
    symmetry
        Find the permutational symmetries of the data, too.
    seed
        Of the choice of frames in the search for symmetries.
    """
    check_json(result.json)
    if is_model(file):
        force_field = load_model(file)
        units = result.units_for(force_field.units)
        _describe_model(file, force_field, units)
        write_json(result.json, _model_content(file, force_field, units))
        return 0
    dataset = reading.read(file)
    units = result.units_for(dataset.units)
    report = check(dataset)
    found = None
    if symmetry and not report.fatal:
        with progress_bars() as progress:
            found = find_permutations(
                dataset.positions,
                dataset.atomic_numbers,
                cell=dataset.cell,
                seed=seed,
                progress=progress,
            )
    print_notices(dataset.notices)
    _describe_data(file, dataset, found, report, units)
    write_json(result.json, _data_content(file, dataset, found, report, units))
    return EXIT_ERROR if report.fatal else 0


def _describe_data(
    file: Path, dataset: Dataset, found: SymmetryResult | None, report: Report, units: Units
) -> None:
    facts = [
        ("frames", str(len(dataset))),
        ("molecule", f"{dataset.formula}, {dataset.n_atoms} atoms"),
        ("theory", dataset.provenance.theory or "not stated"),
        ("units in the file", f"{dataset.units.energy_label}, {dataset.units.length_label}"),
        ("energies", _energies(dataset, units)),
        ("forces", _forces(dataset, units)),
        ("cell", "none" if dataset.cell is None else _cell(dataset)),
        ("fingerprint", dataset.fingerprint[:16]),
    ]
    if found is not None:
        facts.append(("symmetries", _symmetries(found)))
        facts += [("generator", _cycles(g.cycles)) for g in found.generators]
    print_facts(f"{file.name}: {dataset.provenance.name}", facts)
    if report.findings:
        print_facts("Checks", [])
        print_findings(report)
    else:
        print_facts("Checks", [("", "nothing to remark")])
    if not report.fatal and len(dataset) > 1:
        n_train = min(200, max(1, len(dataset) // 2))
        print_next(f"kraft train {file} --n-train {n_train} -o {file.stem}.safetensors")


def _energies(dataset: Dataset, units: Units) -> str:
    if dataset.energies is None:
        return "none"
    values = dataset.energies / units.energy_factor
    return (
        f"{values.min():.10g} to {values.max():.10g} {units.energy_label}, standard deviation "
        f"{number(float(values.std()))}"
    )


def _forces(dataset: Dataset, units: Units) -> str:
    values = dataset.forces / units.force_factor
    return (
        f"components up to {number(float(np.abs(values).max()))} {units.force_label}, standard "
        f"deviation {number(float(values.std()))}"
    )


def _cell(dataset: Dataset) -> str:
    lengths = np.linalg.norm(dataset.cell, axis=1)  # type: ignore[arg-type]
    return f"vectors of {', '.join(number(float(length)) for length in lengths)} Å"


def _symmetries(found: SymmetryResult) -> str:
    orbits = [orbit for orbit in found.atom_orbits if len(orbit) > 1]
    classes = "; ".join(" ".join(map(str, orbit)) for orbit in orbits)
    equivalent = f", equivalent atoms: {classes}" if classes else ""
    return f"{counted(len(found), 'permutation')}{equivalent}"


def _cycles(cycles: tuple[tuple[int, ...], ...]) -> str:
    return " ".join(f"({' '.join(map(str, cycle))})" for cycle in cycles)


def _data_content(
    file: Path, dataset: Dataset, found: SymmetryResult | None, report: Report, units: Units
) -> dict[str, Any]:
    energies = None if dataset.energies is None else dataset.energies / units.energy_factor
    forces = dataset.forces / units.force_factor
    return {
        "kind": "dataset",
        "file": file,
        "name": dataset.provenance.name,
        "theory": dataset.provenance.theory,
        "n_frames": len(dataset),
        "n_atoms": dataset.n_atoms,
        "formula": dataset.formula,
        "units": {"energy": units.energy_label, "force": units.force_label},
        "energy_min": None if energies is None else energies.min(),
        "energy_max": None if energies is None else energies.max(),
        "energy_std": None if energies is None else energies.std(),
        "force_max": np.abs(forces).max(),
        "force_std": forces.std(),
        "fingerprint": dataset.fingerprint,
        "notices": list(dataset.notices),
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "n_symmetries": None if found is None else len(found),
        "permutations": None if found is None else found.permutations,
    }


def _describe_model(file: Path, force_field: ForceField, units: Units) -> None:
    parameters, record = force_field.parameters, force_field.record
    facts = [
        ("kind", _kind(force_field)),
        ("atoms", f"{parameters.n_atoms}, atomic numbers {_numbers(force_field)}"),
        ("data", record.source or "unknown"),
        ("theory", record.theory or "not stated"),
        ("trained on", counted(parameters.n_train, "frame")),
        ("validated on", counted(len(record.valid_indices), "frame")),
        ("symmetries", counted(parameters.n_permutations, "permutation")),
        *_feature_facts(force_field),
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


def _feature_facts(force_field: ForceField) -> list[tuple[str, str]]:
    """Return which features a model has."""
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        return []
    return [("features", features_of(parameters)), *weight_facts(parameters)]


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
