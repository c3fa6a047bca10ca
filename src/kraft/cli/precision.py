"""What single precision costs, measured where it is used."""

from __future__ import annotations

import numpy as np

from kraft.cli.summary import number, print_notices, print_warning
from kraft.core.typing import FloatArray
from kraft.data import Units
from kraft.models import ForceField

_N_FRAMES = 16

_TOLERATED = 1e-3
"""Largest deviation of a force component, relative to the spread of the forces."""


def note_precision(force_field: ForceField, positions: FloatArray, units: Units) -> None:
    """Say how far float32 predictions are from float64 ones; nothing for a float64 model.

    Measured on up to 16 of the geometries ``(B, N, 3)`` in Å.
    """
    if force_field.dtype == "float64":
        return
    spaced = np.linspace(0, len(positions) - 1, min(_N_FRAMES, len(positions)))
    some = positions[spaced.astype(np.int64)]
    single, double = force_field.predict(some), force_field.to(dtype="float64").predict(some)
    energy = float(np.abs(single.energies - double.energies).max()) / units.energy_factor
    force = float(np.abs(single.forces - double.forces).max()) / units.force_factor
    message = (
        f"In float32 forces are off by up to {number(force)} {units.force_label} and energies by "
        f"up to {number(energy)} {units.energy_label} from those in float64."
    )
    if force * units.force_factor > _TOLERATED * float(double.forces.std()):
        print_warning(f"{message} That is too much for most uses: take --dtype float64.")
    else:
        print_notices([message])
