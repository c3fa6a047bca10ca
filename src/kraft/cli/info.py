"""``kraft info``: what a file of data or a model holds, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kraft.cli.boundary import EXIT_ERROR
from kraft.cli.info_model import describe_model
from kraft.cli.metric_display import MetricDisplay
from kraft.cli.model_files import is_model
from kraft.cli.options import DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.summary import (
    counted,
    number,
    print_facts,
    print_findings,
    print_next,
    print_notices,
)
from kraft.core.errors import OptionError
from kraft.data import Dataset, Units
from kraft.data.checks import Report, check
from kraft.symmetry import SymmetryResult, find_permutations


def info(
    file: Path,
    data: Path | None = None,
    /,
    *,
    symmetry: Annotated[bool, Flag] = False,
    seed: int = 0,
    metric: MetricDisplay = MetricDisplay(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> int:
    """Describe a file of data, with everything that looks wrong in it, or a model.

    Parameters
    ----------
    file
        Reference data or a model.
    data
        With an sGDML model: data of its molecule, to compare the weights of distances with their
        importance, which is what masking them changes in the forces.
    symmetry
        Find the permutational symmetries of the data, too.
    seed
        Of the choice of frames in the search for symmetries.
    """
    check_json(result.json)
    describes_model = is_model(file)
    metric.check(model=describes_model)
    if describes_model:
        describe_model(file, data, metric, reading, result)
        return 0
    if data is not None:
        raise OptionError(
            f"Expected a model to look at with the data {data}, got {file}, which is none. Give "
            "one file of data, or a model and data."
        )
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
