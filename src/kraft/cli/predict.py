"""``kraft predict``: energies and forces of geometries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from cyclopts import Parameter

from kraft.analysis.calibration import predict_with_uncertainty
from kraft.analysis.errors import predict_in_batches
from kraft.cli.console import out
from kraft.cli.contribution_step import (
    ContributionFlags,
    contribution_facts,
    contribution_figures,
    draw_contributions,
    frame_contributions,
)
from kraft.cli.geometry_match import check_match
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.precision import note_precision
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, duration, number, print_facts
from kraft.cli.uncertainty_display import note_uncertainty
from kraft.cli.uncertainty_flags import UncertaintyFlags
from kraft.core.progress import Progress
from kraft.core.typing import FloatArray
from kraft.data import Dataset, Provenance, Units, write
from kraft.data.frame_contributions import FrameContributions
from kraft.data.frame_uncertainty import FrameUncertainty
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.models import ForceField, Prediction


def predict(
    model: Path,
    geometries: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    uncertain: UncertaintyFlags = UncertaintyFlags(),  # noqa: B008
    atoms: ContributionFlags = ContributionFlags(),  # noqa: B008
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
    uncertain.options()
    check_output(output, suffixes=(".xyz", ".extxyz", ".npz"), overwrite=overwrite)
    atoms.check(overwrite=overwrite)
    check_json(result.json)
    force_field = uncertain.apply(load_model(model, compute.device, compute.dtype))
    frames = read_geometries(geometries, length_unit=length_unit)
    units = result.units_for(force_field.units)
    check_match(force_field, frames, geometries, any_order=any_order)
    started = time.perf_counter()
    with progress_bars() as progress:
        predicted = _predicted(force_field, frames, uncertain.wanted, progress)
        if atoms.wanted:
            contributions = frame_contributions(
                force_field,
                frames.positions,
                atoms.partition,
                keep_forces=output.suffix == ".npz",
                progress=progress,
            )
            predicted = predicted._replace(contributions=contributions)
    seconds = time.perf_counter() - started
    note_precision(force_field, frames.positions, units)
    origin = Provenance(name=geometries.stem, theory=f"kraft model {model.name}")
    _write(output, frames, predicted, origin)
    print_facts(
        f"{counted(len(frames), 'geometry')} of {geometries.name} with {model.name}",
        [
            *_facts(predicted, frames, units),
            ("time", f"{duration(seconds)}, {duration(seconds / len(frames))} each"),
        ],
    )
    write_json(
        result.json,
        {
            "model": model,
            "output": output,
            "n_geometries": len(frames),
            "seconds": seconds,
            **_figures(predicted, units),
            **model_figures(force_field),
        },
    )
    if uncertain.wanted:
        note_uncertainty(force_field.uncertainty, force_field.calibration)
    out.print(f"\nWrote {output}, in eV and Å.", soft_wrap=True)
    if predicted.contributions is not None and atoms.plot is not None:
        title = f"{geometries.name} with {model.name}"
        draw_contributions(atoms.plot, predicted.contributions, frames, units, title)
        out.print(f"Wrote {atoms.plot}.", soft_wrap=True)


class _Predicted(NamedTuple):
    """Predictions and what was asked for beside them."""

    prediction: Prediction
    uncertainty: FrameUncertainty | None = None
    contributions: FrameContributions | None = None


def _predicted(
    force_field: ForceField, frames: Geometries, with_uncertainty: bool, progress: Progress
) -> _Predicted:
    """Return predictions and, if asked for, how sure they are."""
    if not with_uncertainty:
        return _Predicted(predict_in_batches(force_field, frames.positions, "predicting", progress))
    energies, forces, energies_std, forces_std = predict_with_uncertainty(
        force_field, frames.positions, "predicting", progress
    )
    novelty = force_field.novelty(frames.positions)
    known = energies_std if force_field.has_energies else None
    return _Predicted(Prediction(energies, forces), FrameUncertainty(forces_std, known, novelty))


def _facts(predicted: _Predicted, frames: Geometries, units: Units) -> list[tuple[str, str]]:
    energies, forces = predicted.prediction
    facts = [
        ("energies", _range(energies / units.energy_factor, units)),
        ("largest force", _largest(forces, units)),
        *_uncertainty_facts(predicted.uncertainty, units),
    ]
    if predicted.contributions is not None:
        facts += contribution_facts(predicted.contributions, frames.atomic_numbers, units)
    return facts


def _figures(predicted: _Predicted, units: Units) -> dict[str, Any]:
    energies = predicted.prediction.energies / units.energy_factor
    figures = {
        "units": {"energy": units.energy_label, "force": units.force_label},
        "energy_min": energies.min(),
        "energy_max": energies.max(),
        "force_max": np.abs(predicted.prediction.forces).max() / units.force_factor,
    }
    if predicted.uncertainty is not None:
        figures |= _uncertainty_figures(predicted.uncertainty, units)
    if predicted.contributions is not None:
        figures |= contribution_figures(predicted.contributions, units)
    return figures


def _uncertainty_facts(uncertainty: FrameUncertainty | None, units: Units) -> list[tuple[str, str]]:
    if uncertainty is None:
        return []
    forces = uncertainty.forces / units.force_factor
    novelty = uncertainty.novelty
    facts = [
        (
            "force std",
            f"{number(float(forces.mean()))} {units.force_label} on average, up to "
            f"{number(float(forces.max()))}",
        ),
        (
            "novelty",
            f"{number(float(novelty.min()))} to {number(float(novelty.max()))} "
            "(about 1: like the training frames)",
        ),
    ]
    if uncertainty.energies is not None:
        energies = uncertainty.energies / units.energy_factor
        low, high = (number(float(end)) for end in (energies.min(), energies.max()))
        facts.insert(0, ("energy std", f"{low} to {high} {units.energy_label}"))
    return facts


def _uncertainty_figures(uncertainty: FrameUncertainty, units: Units) -> dict[str, Any]:
    return {
        "energies_std": None
        if uncertainty.energies is None
        else uncertainty.energies / units.energy_factor,
        "forces_std_mean": uncertainty.forces.mean(axis=(1, 2)) / units.force_factor,
        "novelty": uncertainty.novelty,
    }


def _write(path: Path, frames: Geometries, predicted: _Predicted, origin: Provenance) -> None:
    energies, forces = predicted.prediction
    dataset = Dataset(
        atomic_numbers=frames.atomic_numbers,
        positions=frames.positions,
        forces=forces,
        energies=None if np.isnan(energies).any() else energies,
        cell=frames.cell,
        provenance=origin,
    )
    write(dataset, path, Units(), predicted.uncertainty, predicted.contributions)
    note_written(path)


def _range(energies: FloatArray, units: Units) -> str:
    """Return the range of energies, which are NaN where the model has none."""
    if np.isnan(energies).any():
        return "none: the model was trained without energies"
    return f"{energies.min():.10g} to {energies.max():.10g} {units.energy_label}"


def _largest(forces: FloatArray, units: Units) -> str:
    return f"{number(float(np.abs(forces).max()) / units.force_factor)} {units.force_label}"
