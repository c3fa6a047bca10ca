"""Which frames of a dataset can test a model, because it was not made with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.errors import DataError
from kraft.core.typing import AnyArray
from kraft.data.dataset import Dataset
from kraft.data.geometry import duplicate_groups
from kraft.models.force_field import ForceField


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
    """

    dataset: Dataset
    n_trained: int
    n_validated: int


def unseen_frames(force_field: ForceField, dataset: Dataset) -> UnseenFrames:
    """Return the frames that a model was neither trained nor validated on.

    Frames are known by their geometry (copies of training geometries are seen too) and, where the
    dataset is the one that the model was made from, by their index.

    Raises
    ------
    DataError
        When the model was made with all of them.
    """
    record = force_field.record
    trained = np.zeros(len(dataset), dtype=bool)
    validated = np.zeros(len(dataset), dtype=bool)
    if record.source_fingerprint == dataset.source_fingerprint:
        indices = dataset.provenance.indices
        frames = np.arange(len(dataset)) if indices is None else indices
        trained |= np.isin(frames, record.train_indices)
        validated |= np.isin(frames, record.valid_indices)
    trained |= _copies_of_training(force_field, dataset)
    validated &= ~trained
    unseen = np.flatnonzero(~trained & ~validated)
    if len(unseen) == 0:
        raise DataError(
            f"The model was made with all {len(dataset)} frames of these data, so they cannot test "
            "it. Give data that it has not seen."
        )
    chosen = dataset if len(unseen) == len(dataset) else dataset.subset(unseen)
    return UnseenFrames(chosen, int(trained.sum()), int(validated.sum()))


def _copies_of_training(force_field: ForceField, dataset: Dataset) -> AnyArray:
    """Tell ``(B,)`` which frames have the geometry of a training frame."""
    training = force_field.parameters.training_positions
    if training is None or not np.array_equal(force_field.atomic_numbers, dataset.atomic_numbers):
        return np.zeros(len(dataset), dtype=bool)
    both = np.concatenate([training, dataset.positions])
    groups = duplicate_groups(
        Dataset(dataset.atomic_numbers, both, np.zeros_like(both), cell=dataset.cell)
    )
    copies: AnyArray = groups[len(training) :] < len(training)
    return copies
