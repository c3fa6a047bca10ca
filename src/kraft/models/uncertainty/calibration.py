"""Calibration: factors that make predicted intervals cover what they claim to cover.

The standard deviations of a Gaussian process follow from its kernel, not from its errors, and may
be too small or too large as a whole. One factor for the forces and one for the energies, fitted to
frames that the model has not learned from, correct that. They change no prediction and no ranking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.models.uncertainty.base import METHODS, Method

LEVEL = 0.95
"""Share of the reference values that the calibrated intervals are made to cover."""

MIN_GEOMETRIES = 20
"""The fewest geometries from which the width of a 95 % interval can be told."""

_HALF_WIDTH = NormalDist().inv_cdf(0.5 + LEVEL / 2.0)


@dataclass(frozen=True)
class Calibration:
    """Factors on predicted standard deviations, and the data that they were fitted to.

    Attributes
    ----------
    forces
        Factor on the standard deviations of the forces.
    energies
        Factor on those of the energies; None where there were no energies to fit to.
    method
        Method of the uncertainty that the factors belong to, e.g. ``"exact"``.
    n_geometries
        Number of geometries.
    forces_coverage, energies_coverage
        Share of the reference values inside the 95 % intervals before the calibration.
    forces_coverage_after, energies_coverage_after
        The same with the factors, on the same data; a little above 0.95 with few geometries.
    source, source_fingerprint, indices
        Name of the file, fingerprint of its content and the frames of it.
    """

    forces: float
    energies: float | None
    method: Method
    n_geometries: int
    forces_coverage: float
    forces_coverage_after: float
    energies_coverage: float | None = None
    energies_coverage_after: float | None = None
    source: str = ""
    source_fingerprint: str = ""
    indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.method == "auto":
            raise OptionError(
                f"The calibration is for the unknown method of uncertainty {self.method!r}. "
                "Calibrate the model again."
            )
        for name, factor in (("forces", self.forces), ("energies", self.energies)):
            if factor is not None and not (math.isfinite(factor) and factor > 0.0):
                raise OptionError(
                    f"Expected a positive calibration factor of the {name}, got {factor}. "
                    "Calibrate the model again."
                )


def fit_calibration(
    force_errors: FloatArray,
    forces_std: FloatArray,
    energy_errors: FloatArray | None,
    energies_std: FloatArray | None,
    *,
    method: Method,
) -> Calibration:
    """Return the factors with which 95 % intervals cover 95 % of the calibration data.

    A factor is the quantile of ``|error| / std`` over its value 1.96 for a normal distribution. The
    quantile is that of split conformal prediction, ``0.95 (n + 1) / n``, which covers 95 % of *new*
    data on average, whatever the distribution of the errors. Force components of one geometry are
    not independent, so ``n`` is their effective number: theirs divided by the design effect of
    sampling whole geometries (Kish 1965).

    Parameters
    ----------
    force_errors, forces_std
        ``(B, N, 3)`` errors and predicted standard deviations of the forces in eV/Å.
    energy_errors, energies_std
        ``(B,)`` the same of the energies in eV, or None.
    method
        Method of the uncertainty.

    Raises
    ------
    OptionError
        With fewer than 20 geometries, where values are not finite, where a standard deviation is
        zero although there is an error, or where all errors are zero.
    """
    n_geometries = len(force_errors)
    if n_geometries < MIN_GEOMETRIES:
        raise OptionError(
            f"Expected at least {MIN_GEOMETRIES} geometries to calibrate 95 % intervals, got "
            f"{n_geometries}. Take more frames that the model was not trained on."
        )
    scores = _scores(force_errors, forces_std, "forces")
    forces = _factor(scores)
    energies = before = after = None
    if energy_errors is not None and energies_std is not None:
        energy_scores = _scores(energy_errors, energies_std, "energies")
        energies = _factor(energy_scores)
        before, after = _covered(energy_scores, 1.0), _covered(energy_scores, energies)
    return Calibration(
        forces=forces,
        energies=energies,
        method=method,
        n_geometries=n_geometries,
        forces_coverage=_covered(scores, 1.0),
        forces_coverage_after=_covered(scores, forces),
        energies_coverage=before,
        energies_coverage_after=after,
    )


def _scores(errors: FloatArray, std: FloatArray, name: str) -> FloatArray:
    """Return ``(B, m)`` errors in units of the half width of their 95 % intervals."""
    rows = np.abs(errors).reshape(len(errors), -1)
    widths = np.asarray(std).reshape(rows.shape)
    if not (np.isfinite(rows).all() and np.isfinite(widths).all() and (widths >= 0.0).all()):
        raise OptionError(
            f"Errors or standard deviations of the {name} are not finite or negative. Check the "
            "reference data for NaN and the model's training."
        )
    if not rows.any():
        raise OptionError(
            f"All errors of the {name} are zero, so there is nothing to calibrate to. Give frames "
            "with reference values, not with the model's own predictions."
        )
    if (rows[widths == 0.0] > 0.0).any():
        raise OptionError(
            f"Some predicted standard deviations of the {name} are zero where the errors are not: "
            "no factor can correct that. Leave training frames out of the calibration data."
        )
    # Components without error and deviation (symmetry makes them vanish) are met exactly.
    scores: FloatArray = np.divide(
        rows, _HALF_WIDTH * widths, out=np.zeros_like(rows), where=widths > 0.0
    )
    return scores


def _factor(scores: FloatArray) -> float:
    """Return the conformal quantile of scores ``(B, m)`` of ``B`` geometries."""
    effective = _effective_number(scores)
    rank = math.ceil(LEVEL * (effective + 1.0) / effective * scores.size - 1e-9)
    ordered: FloatArray = np.sort(scores, axis=None)
    return float(ordered[min(rank, scores.size) - 1])


def _effective_number(scores: FloatArray) -> float:
    """Return how many independent scores say as much about the quantile as these do.

    The variance of the covered share of a geometry, over the one it would have if the ``m``
    components were independent, is the design effect; it lies between 1 and ``m``.
    """
    n_components = scores.shape[1]
    covered: FloatArray = (scores <= np.quantile(scores, LEVEL)).mean(axis=1)
    independent = LEVEL * (1.0 - LEVEL) / n_components
    effect = float(covered.var(ddof=1)) / independent
    return float(scores.size / min(max(effect, 1.0), float(n_components)))


def _covered(scores: FloatArray, factor: float) -> float:
    return float((scores <= factor).mean())
