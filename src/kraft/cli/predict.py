"""``kraft predict``: energies and forces of geometries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from kraft.analysis.errors import predict_in_batches
from kraft.cli.console import out
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.precision import note_precision
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, duration, number, print_facts, print_notices
from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray
from kraft.data import Dataset, Provenance, Units, write
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.models import ForceField, Prediction
from kraft.models.molecule_match import check_elements, check_order

_MAX_ORDER_CHECKS = 20


def predict(
    model: Path,
    geometries: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Predict energies and forces for geometries, and write them as extended XYZ in eV and Å.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    geometries
        Anything ASE reads, or an sGDML .npz; energies and forces in it are ignored.
    output
        File to write: .xyz or .extxyz (eV and Å), or .npz in the sGDML layout.
    overwrite
        Replace a file that is there already.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    """
    compute.apply()
    check_output(output, suffixes=(".xyz", ".extxyz", ".npz"), overwrite=overwrite)
    check_json(result.json)
    force_field = load_model(model, compute.device, compute.dtype)
    frames = read_geometries(geometries, length_unit=length_unit)
    units = result.units_for(force_field.units)
    _check_match(force_field, frames, geometries, any_order)
    started = time.perf_counter()
    with progress_bars() as progress:
        energies, forces = predict_in_batches(force_field, frames.positions, "predicting", progress)
    seconds = time.perf_counter() - started
    note_precision(force_field, frames.positions, units)
    origin = Provenance(name=geometries.stem, theory=f"kraft model {model.name}")
    _write(output, frames, Prediction(energies, forces), origin)
    shown = energies / units.energy_factor
    print_facts(
        f"{counted(len(frames), 'geometry')} of {geometries.name} with {model.name}",
        [
            ("energies", f"{shown.min():.10g} to {shown.max():.10g} {units.energy_label}"),
            ("largest force", _largest(forces, units)),
            ("time", f"{duration(seconds)}, {duration(seconds / len(frames))} each"),
        ],
    )
    write_json(
        result.json,
        {
            "model": model,
            "output": output,
            "n_geometries": len(frames),
            "units": {"energy": units.energy_label, "force": units.force_label},
            "energy_min": shown.min(),
            "energy_max": shown.max(),
            "force_max": np.abs(forces).max() / units.force_factor,
            "seconds": seconds,
            **model_figures(force_field),
        },
    )
    out.print(f"\nWrote {output}, in eV and Å.", soft_wrap=True)


def _write(path: Path, frames: Geometries, prediction: Prediction, origin: Provenance) -> None:
    predicted = Dataset(
        atomic_numbers=frames.atomic_numbers,
        positions=frames.positions,
        forces=prediction.forces,
        energies=prediction.energies,
        cell=frames.cell,
        provenance=origin,
    )
    write(predicted, path, Units())
    note_written(path)


def _largest(forces: FloatArray, units: Units) -> str:
    return f"{number(float(np.abs(forces).max()) / units.force_factor)} {units.force_label}"


def _check_match(
    force_field: ForceField, frames: Geometries, source: Path, any_order: bool
) -> None:
    """Raise unless the geometries are the model's molecule; look at some frames for the order."""
    try:
        check_elements(force_field, frames.atomic_numbers, frames.positions[0])
        some = np.unique(np.linspace(0, len(frames) - 1, _MAX_ORDER_CHECKS).astype(np.int64))
        for frame in () if any_order else some:
            check_order(force_field, frames.positions[frame])
    except GeometryError as error:
        advice = str(error).replace("(check_order=False)", "with --any-order")
        raise GeometryError(f"{source.name}: {advice}") from error
    model_cell = force_field.parameters.cell
    if (model_cell is None) != (frames.cell is None):
        print_notices(
            [
                f"{source.name} is {'not ' if frames.cell is None else ''}periodic, the model is "
                f"{'not' if model_cell is None else 'periodic'}; the model's cell counts."
            ]
        )
