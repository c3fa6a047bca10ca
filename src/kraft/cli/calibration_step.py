"""The calibration at the end of a training: when it is done, and how it went."""

from __future__ import annotations

from kraft.cli.summary import print_warning
from kraft.core.errors import KraftError, OptionError
from kraft.core.progress import Progress
from kraft.data import Dataset
from kraft.models import ForceField
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.uncertainty.calibration import MIN_GEOMETRIES

CHEAP_FLOPS = 1e11
"""Floating-point operations, some seconds of work, up to which nobody needs to be asked."""


def check_calibration(calibrate: bool | None, n_valid: int) -> None:
    """Raise OptionError when a calibration is asked for, but there are too few frames for it."""
    if calibrate and n_valid < MIN_GEOMETRIES:
        raise OptionError(
            "--calibrate fits the 95 % intervals to validation frames and needs at least "
            f"{MIN_GEOMETRIES} of them, but --n-valid is {n_valid}. Give --n-valid 50, or "
            "calibrate later on other data with `kraft calibrate`."
        )


def calibrated(
    force_field: ForceField,
    validation: Dataset | None,
    calibrate: bool | None,
    progress: Progress,
) -> ForceField:
    """Return the force field calibrated on the validation frames where that was asked for.

    When ``calibrate`` is None it is done where there are enough frames and the cost is small; a
    failure is a warning then.
    """
    if calibrate is False or validation is None or len(validation) < MIN_GEOMETRIES:
        return force_field
    if calibrate is None and not _is_cheap(force_field, len(validation)):
        return force_field
    try:
        return force_field.calibrated(validation, progress)
    except KraftError as error:
        if calibrate:
            raise
        print_warning(f"The uncertainties were not calibrated: {error}")
        return force_field


def _is_cheap(force_field: ForceField, n_geometries: int) -> bool:
    """Tell whether exact uncertainty takes little work, from its operation counts.

    That is a factorization, and a triangular solution for each force component, of every system:
    one for each set of equivalent atoms in an atomized force field, one in all for sGDML.
    """
    parameters = force_field.parameters
    n_atoms = [parameters.n_atoms]
    if isinstance(parameters, AtomizedParameters):
        n_atoms = [len(atoms) for atoms in parameters.atom_sets]
    flops = 0.0
    for components in (3.0 * n for n in n_atoms):
        labels = components * parameters.n_train
        flops += labels**3 / 3.0 + n_geometries * components * labels**2
    return flops <= CHEAP_FLOPS
