"""Which frames of a dataset can test a model, because it was not made with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.errors import DataError
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.data.geometry import distance_chunks
from kraft.models.force_field import ForceField
from kraft.symmetry.orbits import feature_orbits, feature_permutations

SAME_DISTANCE = 1e-6
"""Frames are the same when every interatomic distance agrees to this (Å), as far as files keep."""


@dataclass(frozen=True, eq=False)
class UnseenFrames:
    """Frames of a dataset that a model was not made with.

    Attributes
    ----------
    dataset
        These frames.
    n_trained
        How many others were left out because the model learned from the same geometry.
    n_validated
        How many were left out because its hyper-parameters were chosen on them.
    n_calibrated
        How many were left out because its uncertainties were calibrated on them.
    """

    dataset: Dataset
    n_trained: int
    n_validated: int
    n_calibrated: int = 0

    @property
    def n_left_out(self) -> int:
        """How many frames were left out."""
        return self.n_trained + self.n_validated + self.n_calibrated


def unseen_frames(
    force_field: ForceField, dataset: Dataset, *, for_calibration: bool = False
) -> UnseenFrames:
    """Return the frames that a model was neither trained nor validated nor calibrated on.

    Frames are known by their geometry (copies of training geometries are seen too, also with
    equivalent atoms in another order) and, where the dataset is the one that the model was made
    from, by their index. Of a model imported from another program only the geometries are known.

    Parameters
    ----------
    force_field
        The model.
    dataset
        Frames of its molecule.
    for_calibration
        Leave out only the frames that it was trained on.

    Raises
    ------
    DataError
        When the model was made with all of them.
    """
    record, calibration = force_field.record, force_field.calibration
    source = record.source_fingerprint
    trained = _named(dataset, source, record.train_indices)
    trained |= _copies_of_training(force_field, dataset)
    validated = _named(dataset, source, record.valid_indices) & ~trained
    calibrated = np.zeros(len(dataset), dtype=bool)
    if calibration is not None:
        calibrated = _named(dataset, calibration.source_fingerprint, calibration.indices)
        calibrated &= ~trained & ~validated
    if for_calibration:
        validated[:] = calibrated[:] = False
    unseen = np.flatnonzero(~trained & ~validated & ~calibrated)
    if len(unseen) == 0:
        raise DataError(
            f"The model was made with all {len(dataset)} frames of these data, so they cannot test "
            "it. Give data that it has not seen."
        )
    chosen = dataset if len(unseen) == len(dataset) else dataset.subset(unseen)
    return UnseenFrames(chosen, int(trained.sum()), int(validated.sum()), int(calibrated.sum()))


def _named(dataset: Dataset, fingerprint: str, named: tuple[int, ...]) -> AnyArray:
    """Tell ``(B,)`` which frames are ``named`` ones of the source that has this fingerprint."""
    if fingerprint != dataset.source_fingerprint:
        return np.zeros(len(dataset), dtype=bool)
    indices = dataset.provenance.indices
    frames = np.arange(len(dataset)) if indices is None else indices
    return np.isin(frames, named)


def _copies_of_training(force_field: ForceField, dataset: Dataset) -> AnyArray:
    """Tell ``(B,)`` which frames have the interatomic distances of a training geometry.

    Distances are compared in every order of the permutation group: the model cannot tell these
    apart. Only the training distances are needed, which imported models have, too.
    """
    copies = np.zeros(len(dataset), dtype=bool)
    if not np.array_equal(force_field.atomic_numbers, dataset.atomic_numbers):
        return copies
    parameters = force_field.parameters
    training, table = parameters.training_distances, feature_permutations(parameters.permutations)
    # A projection that the group leaves alone: near-equal values are the candidates.
    direction = _invariant_direction(parameters.permutations)
    shadows = training @ direction
    order = np.argsort(shadows)
    training, shadows = training[order], shadows[order]
    for frames, distances in distance_chunks(dataset):
        shadow = distances @ direction
        first = np.searchsorted(shadows, shadow - SAME_DISTANCE)
        last = np.searchsorted(shadows, shadow + SAME_DISTANCE, side="right")
        for row in np.flatnonzero(last > first):
            candidates = training[first[row] : last[row]]
            images = distances[row][table]  # (S, D)
            copies[frames.start + row] = any(
                np.abs(images - candidate).max(axis=1).min() <= SAME_DISTANCE
                for candidate in candidates
            )
    return copies


def _invariant_direction(permutations: IntArray) -> FloatArray:
    """Return ``(D,)`` fixed random weights, equal on the orbits of the features, of 1-norm one."""
    orbits = feature_orbits(permutations)
    weights = np.random.default_rng(0).uniform(-1.0, 1.0, len(orbits))
    direction = np.empty(sum(map(len, orbits)))
    for orbit, weight in zip(orbits, weights, strict=True):
        direction[orbit] = weight
    normalized: FloatArray = direction / np.abs(direction).sum()
    return normalized
