"""From the solution of the linear system to a force field with its record."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.kernels.operator import KernelOperator
from kraft.models.checkpoint import TrainingState
from kraft.models.energy_offset import EnergyOffset, fit_energy_offset
from kraft.models.force_field import ForceField
from kraft.models.objective import TrainingArrays
from kraft.models.parameters import Parameters, Record, descriptors_and_coefficients
from kraft.models.selection import Choice
from kraft.models.solution import Solution
from kraft.version import __version__


@dataclass(frozen=True, eq=False)
class Made:
    """Parameters of a force field, and what making them told.

    Attributes
    ----------
    parameters
        With the record.
    energy_offset
        None without energies.
    valid_force_mae
        In eV/Å; None without validation geometries.
    notices
        Sentences that a person should read.
    """

    parameters: Parameters
    energy_offset: EnergyOffset | None
    valid_force_mae: float | None
    notices: tuple[str, ...]


def make_model(
    training: Dataset,
    validation: Dataset | None,
    state: TrainingState,
    arrays: TrainingArrays,
    operator: KernelOperator,
    solution: Solution,
    device: str,
    seed: int,
) -> Made:
    """Make the parameters of a force field, with integration constant and record."""
    group, choice = state.permutations, state.choice
    outcome = solution.outcome
    forces, energies = operator.split(outcome.coefficients * arrays.labels.scale)
    parameters = _parameters(training, group, arrays, choice, forces.cpu().numpy())
    if energies is not None:
        parameters = replace(
            parameters,
            energy_coefficients=energies.cpu().numpy(),
            energy_weight=arrays.labels.energy_weight,
        )
    offset, notices = fit_energy_offset(ForceField(parameters, device), training)
    parameters = replace(parameters, energy_offset=0.0 if offset is None else offset.value)
    valid_mae = _force_mae(ForceField(parameters, device), validation)
    record = _record(training, validation, choice, solution)
    record = replace(
        record,
        seed=seed,
        energy_offset_scatter=None if offset is None else offset.scatter,
        valid_force_mae=valid_mae,
    )
    return Made(replace(parameters, record=record), offset, valid_mae, notices)


def _parameters(
    training: Dataset,
    group: IntArray,
    arrays: TrainingArrays,
    choice: Choice,
    coefficients: FloatArray,
) -> Parameters:
    descriptors, products = descriptors_and_coefficients(
        training.positions,
        coefficients,
        training.cell,
        arrays.descriptor.features,
        arrays.descriptor.function.name,
    )
    return Parameters(
        atomic_numbers=training.atomic_numbers,
        permutations=group,
        kernel=choice.kernel,
        length_scale=choice.length_scale,
        regularization=choice.regularization,
        feature_weights=arrays.feature_weights,
        feature_mixing=arrays.feature_mixing,
        training_descriptors=descriptors,
        feature_coefficients=products,
        energy_offset=0.0,
        cell=training.cell,
        training_positions=training.positions,
        coefficients=coefficients,
        units=training.units,
        features=arrays.descriptor.features,
        feature_function=arrays.descriptor.function.name,
    )


def _force_mae(model: ForceField, dataset: Dataset | None) -> float | None:
    if dataset is None:
        return None
    return float(np.abs(model.predict(dataset.positions).forces - dataset.forces).mean())


def _record(
    training: Dataset, validation: Dataset | None, choice: Choice, solution: Solution
) -> Record:
    origin, outcome = training.provenance, solution.outcome
    return Record(
        name=origin.name,
        theory=origin.theory,
        source=origin.source,
        source_fingerprint=training.source_fingerprint,
        train_indices=_indices(training),
        valid_indices=() if validation is None else _indices(validation),
        kraft_version=__version__,
        solver=outcome.solver,
        relative_residual=outcome.relative_residual,
        jitter=outcome.jitter,
        choice=f"{choice.criterion}: {choice.reason}",
        converged=outcome.converged,
        status=outcome.status,
        iterations=outcome.iterations,
        preconditioner=outcome.preconditioner,
        rank=outcome.rank,
        tolerance=solution.tolerance,
    )


def _indices(dataset: Dataset) -> tuple[int, ...]:
    indices = dataset.provenance.indices
    if indices is None:
        return tuple(range(len(dataset)))
    return tuple(int(index) for index in indices)
