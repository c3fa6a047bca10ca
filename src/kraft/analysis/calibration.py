"""How honest predicted uncertainties are: coverage, sharpness, likelihood, ranking of errors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.data.dataset import Dataset
from kraft.data.units import Units
from kraft.models.force_field import ForceField
from kraft.models.molecule_match import check_elements
from kraft.models.prediction import UncertainPrediction, in_batches

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
"""Levels of the intervals whose coverage is reported."""

INTERVAL_LEVEL = 0.95
"""Level of the intervals whose length is reported."""

_CURVE_LEVELS = 101


@dataclass(frozen=True, eq=False)
class QuantityCalibration:
    """How standard deviations of one quantity, energies or forces, compare with its errors.

    Attributes
    ----------
    coverage
        Share of the reference values inside the intervals of each of :data:`LEVELS`.
    interval_length
        Mean length of the 95 % intervals, ``2 · 1.96`` standard deviations.
    nll
        Mean negative log likelihood of the errors under normal distributions, in nats. Its zero
        depends on the unit of the quantity, differences do not.
    miscalibration
        Area between the curve of observed against expected coverage and the diagonal, from 0 to
        0.5 (Kuleshov et al. 2018; Tran et al. 2020).
    bias
        Signed area: positive where intervals are too narrow.
    sharpness
        Root mean square standard deviation (Tran et al. 2020).
    rank_correlation
        Spearman's correlation, over geometries, of the mean standard deviation with the mean
        absolute error; NaN where either is constant.
    expected, observed
        ``(101,)`` the curve of coverage.
    geometry_std, geometry_error
        ``(B,)`` mean standard deviation and mean absolute error of each geometry.
    """

    coverage: tuple[float, ...]
    interval_length: float
    nll: float
    miscalibration: float
    bias: float
    sharpness: float
    rank_correlation: float
    expected: FloatArray
    observed: FloatArray
    geometry_std: FloatArray
    geometry_error: FloatArray

    @property
    def interval_coverage(self) -> float:
        """Share of the reference values inside the 95 % intervals."""
        return self.coverage[LEVELS.index(INTERVAL_LEVEL)]

    def scaled(self, factor: float) -> QuantityCalibration:
        """Return the same in a unit that is ``1 / factor`` of the present one."""
        return replace(
            self,
            interval_length=self.interval_length * factor,
            nll=self.nll + float(np.log(factor)),
            sharpness=self.sharpness * factor,
            geometry_std=self.geometry_std * factor,
            geometry_error=self.geometry_error * factor,
        )


@dataclass(frozen=True, eq=False)
class UncertaintyReport:
    """Uncertainties over a test set, with what they are.

    Attributes
    ----------
    forces, energies
        Of force components, and of energies (None where there are no reference energies).
    n_test
        Number of geometries.
    method, direction, description
        Of the uncertainty (:class:`kraft.models.uncertainty.UncertaintyModel`).
    calibrated
        Whether the model's calibration was applied.
    units
        Units of all of these.
    """

    forces: QuantityCalibration
    energies: QuantityCalibration | None
    n_test: int
    method: str
    direction: str
    description: str
    calibrated: bool
    units: Units = field(default_factory=Units)

    def in_units(self, units: Units) -> UncertaintyReport:
        """Return the same in other units."""
        energy = self.units.energy_factor / units.energy_factor
        force = self.units.force_factor / units.force_factor
        return replace(
            self,
            forces=self.forces.scaled(force),
            energies=None if self.energies is None else self.energies.scaled(energy),
            units=units,
        )


def quantity_calibration(errors: FloatArray, std: FloatArray) -> QuantityCalibration:
    """Compare errors ``(B, ...)`` with predicted standard deviations of the same shape.

    Components whose standard deviation and error both vanish, as symmetry demands in places, are
    left out; where only the standard deviation vanishes, the likelihood is zero.

    Raises
    ------
    OptionError
        When shapes differ, a value is not finite, a deviation is negative or all vanish.
    """
    errors, std = np.asarray(errors, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if errors.shape != std.shape or errors.ndim < 1 or errors.size == 0:
        raise OptionError(
            f"Expected errors and standard deviations of one shape, got {errors.shape} and "
            f"{std.shape}."
        )
    if not (np.isfinite(errors).all() and np.isfinite(std).all() and (std >= 0.0).all()):
        raise OptionError("Expected finite errors and finite standard deviations of at least zero.")
    used = (std > 0.0) | (errors != 0.0)
    if not used.any():
        raise OptionError("All errors and standard deviations are zero: nothing can be compared.")
    deviations, widths = np.abs(errors[used]), std[used]
    nll, scores = np.full((2, len(widths)), np.inf)  # where only the deviation vanishes
    sure = widths > 0.0
    scores[sure] = deviations[sure] / widths[sure]
    nll[sure] = 0.5 * np.log(2.0 * np.pi * widths[sure] ** 2) + 0.5 * scores[sure] ** 2
    expected = np.linspace(0.0, 1.0, _CURVE_LEVELS)
    observed = _coverage(scores, expected)
    gap = expected - observed
    means = [np.abs(part).reshape(len(errors), -1).mean(axis=1) for part in (std, errors)]
    return QuantityCalibration(
        coverage=tuple(float(share) for share in _coverage(scores, np.array(LEVELS))),
        interval_length=2.0 * float(ndtri(0.5 + INTERVAL_LEVEL / 2.0)) * float(widths.mean()),
        nll=float(nll.mean()),
        miscalibration=_area(np.abs(gap), expected),
        bias=_area(gap, expected),
        sharpness=float(np.sqrt(np.square(widths).mean())),
        rank_correlation=rank_correlation(*means),
        expected=expected,
        observed=observed,
        geometry_std=means[0],
        geometry_error=means[1],
    )


def rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Return Spearman's rank correlation of two ``(B,)`` arrays; NaN where one is constant."""
    if len(first) < 2 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return float("nan")
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def evaluate_uncertainty(
    force_field: ForceField, dataset: Dataset, progress: Progress = silent
) -> UncertaintyReport:
    """Compare predicted uncertainties with errors on reference data, in eV and Å.

    Raises
    ------
    GeometryError
        When the data are of another molecule or have the atoms in another order.
    OptionError, MemoryLimitError
        When the model has no uncertainty (:attr:`ForceField.uncertainty`).
    """
    check_elements(force_field, dataset.atomic_numbers, dataset.positions[0])
    predicted = predict_with_uncertainty(force_field, dataset.positions, "testing", progress)
    return compare_uncertainty(force_field, dataset, predicted)


def compare_uncertainty(
    force_field: ForceField, dataset: Dataset, predicted: UncertainPrediction
) -> UncertaintyReport:
    """Compare predictions of ``force_field`` for ``dataset`` with its reference values."""
    reference = dataset.energies if force_field.knows_energies else None
    energies = None
    if reference is not None:
        energies = quantity_calibration(predicted.energies - reference, predicted.energies_std)
    model, calibration = force_field.uncertainty, force_field.calibration
    return UncertaintyReport(
        forces=quantity_calibration(predicted.forces - dataset.forces, predicted.forces_std),
        energies=energies,
        n_test=len(dataset),
        method=model.method,
        direction=model.direction,
        description=model.description,
        calibrated=calibration is not None and calibration.method == model.method,
    )


def predict_with_uncertainty(
    force_field: ForceField, positions: FloatArray, stage: str, progress: Progress = silent
) -> UncertainPrediction:
    """Predict with uncertainty at ``(B, N, 3)`` in Å, telling how far it is under ``stage``."""
    force_field.prepare_uncertainty(progress)
    return in_batches(
        lambda some: force_field.predict(some, uncertainty=True), positions, stage, progress
    )


def _ranks(values: FloatArray) -> FloatArray:
    """Return the ranks of ``(B,)`` values; equal ones share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - 0.5 * (counts - 1))[group]
    return ranks


def _area(heights: FloatArray, places: FloatArray) -> float:
    """Return the area under a polygon."""
    return float((0.5 * (heights[1:] + heights[:-1]) * np.diff(places)).sum())


def _coverage(scores: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the share of scores within the half widths of the levels ``(L,)``."""
    half_widths = ndtri(0.5 + levels / 2.0)
    ordered = np.sort(scores)
    shares: FloatArray = np.searchsorted(ordered, half_widths, side="right") / len(ordered)
    return shares
