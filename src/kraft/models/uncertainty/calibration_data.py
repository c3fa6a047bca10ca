"""Calibration of a force field on frames that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress
from kraft.core.typing import FloatArray
from kraft.data.dataset import Dataset
from kraft.models.kinds import AnyParameters, kind_of
from kraft.models.prediction import UncertainPrediction, in_batches
from kraft.models.uncertainty.base import Method
from kraft.models.uncertainty.calibration import Calibration, fit_calibration


def calibrate(
    parameters: AnyParameters,
    predict: Callable[[FloatArray], UncertainPrediction],
    method: str,
    dataset: Dataset,
    progress: Progress,
) -> Calibration:
    """Fit a calibration to the errors of predictions for ``dataset``.

    Parameters
    ----------
    parameters
        The model.
    predict
        Its predictions at ``(B, N, 3)`` with uncalibrated standard deviations.
    method
        Method of the uncertainty.
    dataset
        Frames that the model was not trained on.
    progress
        Told about frames.

    Raises
    ------
    GeometryError
        When the dataset is of another molecule.
    OptionError
        When training frames are among the data, or the errors cannot be calibrated to.
    """
    _check(parameters, dataset)
    predicted = in_batches(predict, dataset.positions, "calibrating", progress)
    reference = dataset.energies if kind_of(parameters).knows_energies(parameters) else None
    calibration = fit_calibration(
        predicted.forces - dataset.forces,
        predicted.forces_std,
        None if reference is None else predicted.energies - reference,
        None if reference is None else predicted.energies_std,
        method=cast(Method, method),  # the calibration itself checks it
    )
    return replace(
        calibration,
        source=dataset.provenance.source,
        source_fingerprint=dataset.source_fingerprint,
        indices=_indices(dataset),
    )


def _check(parameters: AnyParameters, dataset: Dataset) -> None:
    if not np.array_equal(parameters.atomic_numbers, dataset.atomic_numbers):
        raise GeometryError(
            f"The data to calibrate on are {dataset.formula}; the model is for another molecule or "
            "has the atoms in another order. Give data of the model's molecule."
        )
    record = parameters.record
    if record.source_fingerprint != dataset.source_fingerprint:
        return
    trained = np.isin(_indices(dataset), record.train_indices)
    if trained.any():
        raise OptionError(
            f"{trained.sum()} of the {len(dataset)} frames to calibrate on are training frames, "
            "where errors are smaller than elsewhere. Give frames that the model was not trained "
            "on, for example the validation frames."
        )


def _indices(dataset: Dataset) -> tuple[int, ...]:
    indices = dataset.provenance.indices
    return tuple(range(len(dataset))) if indices is None else tuple(map(int, indices))
