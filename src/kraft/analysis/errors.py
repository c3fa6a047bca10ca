"""How far a force field is from reference data that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.data.dataset import Dataset
from kraft.data.units import Units
from kraft.models.force_field import ForceField
from kraft.models.molecule_match import check_elements
from kraft.models.prediction import Prediction, in_batches


@dataclass(frozen=True)
class ErrorReport:
    """Errors over a test set; force errors are over Cartesian components, as in the papers.

    Attributes
    ----------
    energy_mae, energy_rmse, energy_max
        Mean absolute, root mean square and largest error; None without reference energies.
    force_mae, force_rmse, force_max
        The same for the forces.
    energy_spread, force_spread
        Standard deviations of the reference values: the errors of a model that knows nothing.
    n_test
        Number of geometries.
    units
        Units of all of these.
    """

    energy_mae: float | None
    energy_rmse: float | None
    energy_max: float | None
    energy_spread: float | None
    force_mae: float
    force_rmse: float
    force_max: float
    force_spread: float
    n_test: int
    units: Units = field(default_factory=Units)

    def in_units(self, units: Units) -> ErrorReport:
        """Return the same errors in other units."""
        energy = self.units.energy_factor / units.energy_factor
        force = self.units.force_factor / units.force_factor
        return replace(
            self,
            energy_mae=_scaled(self.energy_mae, energy),
            energy_rmse=_scaled(self.energy_rmse, energy),
            energy_max=_scaled(self.energy_max, energy),
            energy_spread=_scaled(self.energy_spread, energy),
            force_mae=self.force_mae * force,
            force_rmse=self.force_rmse * force,
            force_max=self.force_max * force,
            force_spread=self.force_spread * force,
            units=units,
        )


def evaluate(force_field: ForceField, dataset: Dataset, progress: Progress = silent) -> ErrorReport:
    """Compare predictions with reference data, in eV and Å.

    Energies are left out where the data have none, or where the model was trained without any, so
    that it knows them up to a constant only.

    Raises
    ------
    GeometryError
        When the data are of another molecule or have the atoms in another order.
    """
    check_elements(force_field, dataset.atomic_numbers, dataset.positions[0])
    predicted = predict_in_batches(force_field, dataset.positions, "testing", progress)
    return compare(force_field, dataset, predicted)


def compare(force_field: ForceField, dataset: Dataset, predicted: Prediction) -> ErrorReport:
    """Compare predictions of ``force_field`` for ``dataset`` with its reference values."""
    energies, forces = predicted
    force_errors = np.abs(forces - dataset.forces)
    reference = dataset.energies if force_field.knows_energies else None
    energy_errors = None if reference is None else np.abs(energies - reference)
    return ErrorReport(
        energy_mae=None if energy_errors is None else float(energy_errors.mean()),
        energy_rmse=None if energy_errors is None else _rms(energy_errors),
        energy_max=None if energy_errors is None else float(energy_errors.max()),
        energy_spread=None if reference is None else float(reference.std()),
        force_mae=float(force_errors.mean()),
        force_rmse=_rms(force_errors),
        force_max=float(force_errors.max()),
        force_spread=float(dataset.forces.std()),
        n_test=len(dataset),
    )


def predict_in_batches(
    force_field: ForceField, positions: FloatArray, stage: str, progress: Progress = silent
) -> Prediction:
    """Predict at positions ``(B, N, 3)`` in Å, telling how far it is under the name ``stage``."""
    return in_batches(force_field.predict, positions, stage, progress)


def _rms(errors: FloatArray) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
