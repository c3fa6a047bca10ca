"""The integration constant (`docs/theory.md`, eq. 13), and what it tells about the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.data.dataset import Dataset
from kraft.models.force_field import ForceField

GOOD_SLOPE = (0.9, 1.1)
"""Slopes of reference against predicted energies that are no cause for concern."""


@dataclass(frozen=True)
class EnergyOffset:
    """The constant ``c`` that turns integrated forces into energies.

    Attributes
    ----------
    value
        Mean of reference less integrated energy over the training geometries, eV.
    scatter
        Standard deviation of that difference, eV: how far energies and forces of the reference
        agree, as seen by the model.
    slope
        Slope of reference against integrated energies: 1 when they belong together, negative when
        the forces have the wrong sign, another number when units were confused.
    """

    value: float
    scatter: float
    slope: float


def fit_energy_offset(
    model: ForceField, training: Dataset
) -> tuple[EnergyOffset | None, tuple[str, ...]]:
    """Fit the constant on the training energies; return it with notices for a person to read.

    ``model`` must have an energy offset of zero. Without energies the constant stays zero.
    """
    if training.energies is None:
        return None, (
            "The data have no energies: the model's energies are correct up to a constant.",
        )
    predicted = model.predict(training.positions).energies
    difference = training.energies - predicted
    scatter = float(difference.std())
    spread = float(predicted.std())
    slope = 1.0
    if len(training) > 2 and spread > 0.0:
        slope = float(np.polyfit(predicted - predicted.mean(), training.energies, 1)[0])
    offset = EnergyOffset(float(difference.mean()), scatter, slope)
    deviation = (training.energies - training.energies.mean()) - slope * (
        predicted - predicted.mean()
    )
    follows = float(deviation.std()) < 0.5 * float(training.energies.std())
    return offset, _notices(offset, training, follows)


def _notices(offset: EnergyOffset, training: Dataset, follows: bool) -> tuple[str, ...]:
    """Judge the slope; ``follows`` tells whether the energies follow a line of any slope."""
    if len(training) < 10 or GOOD_SLOPE[0] < offset.slope < GOOD_SLOPE[1]:
        return ()
    units = training.units
    scatter = f"{offset.scatter / units.energy_factor:.3g} {units.energy_label}"
    if not follows:
        cause = "energies and forces seem to come from different calculations"
    elif offset.slope < 0.0:
        cause = "the forces seem to have the wrong sign (gradients instead of forces?)"
    else:
        cause = "energies and forces seem to be in different units"
    return (
        f"Energies do not follow from the forces: their slope against the integrated forces is "
        f"{offset.slope:.2f} where 1 is expected, scatter {scatter}; {cause}. "
        "Trust the forces, not the energies, until this is resolved.",
    )
