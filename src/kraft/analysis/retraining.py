"""Training a model again with some of its features only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.errors import DataError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.data.dataset import Dataset
from kraft.models.force_field import ForceField, Precision
from kraft.models.parameters import Parameters
from kraft.models.solver_options import SolverOptions
from kraft.models.training import train
from kraft.models.training_result import TrainingResult


@dataclass(frozen=True, eq=False)
class Retraining:
    """Trains models like a given one, with other features.

    Symmetries, the function of the features, their weights and how they mix are those of the model;
    length scale and regularization are chosen anew unless given, since distances between
    descriptors shrink with the number of features.

    Attributes
    ----------
    parameters
        Of the model.
    training, validation
        Frames to train on and to choose hyper-parameters by.
    kernel
        Name of the kernel; that of the model when None, ``"auto"`` chooses anew.
    length_scale, regularization
        In units of the features, and what is added to the diagonal.
    energy_weight
        Weight of the energies among the labels; that of the model when None.
    solver_options, device, dtype, seed, progress
        As for :func:`kraft.train`.
    """

    parameters: Parameters
    training: Dataset
    validation: Dataset | None = None
    kernel: str | None = None
    length_scale: float | None = None
    regularization: float | None = None
    energy_weight: float | None = None
    solver_options: SolverOptions = SolverOptions()  # noqa: RUF009
    device: str = "cpu"
    dtype: Precision = "float64"
    seed: int = 0
    progress: Progress = silent

    def __call__(self, features: IntArray) -> tuple[ForceField, TrainingResult]:
        """Train with the features ``(D,)``, counted among all pairs, ascending; whole orbits."""
        old = self.parameters
        has = np.arange(old.n_pairs) if old.features is None else old.features
        kept = np.searchsorted(has, features)
        weights, mixing = old.feature_weights[kept], old.feature_mixing
        return train(
            self.training,
            self.validation,
            kernel=self.kernel or old.kernel,
            length_scale=self.length_scale,
            regularization=self.regularization,
            permutations=old.permutations,
            features=None if len(features) == old.n_pairs else features,
            feature_function=old.feature_function,
            feature_weights=None if (old.feature_weights == 1.0).all() else weights,
            feature_mixing=None if mixing is None else mixing[np.ix_(kept, kept)],
            energy_weight=_energy_weight(self.energy_weight, old),
            solver_options=self.solver_options,
            device=self.device,
            dtype=self.dtype,
            seed=self.seed,
            progress=self.progress,
        )


def _energy_weight(given: float | None, old: Parameters) -> float:
    if given is not None:
        return given
    return 0.0 if old.energy_coefficients is None else old.energy_weight or 0.0


def sgdml_parameters(force_field: ForceField) -> Parameters:
    """Return what a model consists of.

    Raises
    ------
    OptionError
        When it is an atomized one, which has no features to choose.
    """
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        raise OptionError(
            f"Expected an sGDML model, got one of the kind {force_field.kind.label}, whose "
            "features cannot be reduced. Train an sGDML model."
        )
    return parameters


def original_frames(force_field: ForceField, dataset: Dataset) -> tuple[Dataset, Dataset | None]:
    """Return the frames that a model was trained and (None if there are none) validated on.

    Raises
    ------
    DataError
        When the data are not those that it was made from, or the model does not say.
    """
    record = force_field.record
    if dataset.source_fingerprint != record.source_fingerprint or not record.train_indices:
        raise DataError(
            f"Expected the data that the model was made from ({record.source or 'unknown'}, "
            f"fingerprint {record.source_fingerprint or 'unknown'}), got data with the "
            f"fingerprint {dataset.source_fingerprint}. Give those, or say how many frames of "
            "these to train on (--n-train)."
        )
    indices = dataset.provenance.indices
    numbers = np.arange(len(dataset)) if indices is None else indices
    parts = [
        np.flatnonzero(np.isin(numbers, named))
        for named in (record.train_indices, record.valid_indices)
    ]
    if len(parts[0]) != len(record.train_indices):
        raise DataError(
            f"The model was trained on {len(record.train_indices)} frames of these data, of which "
            f"{len(parts[0])} are here. Give all of them."
        )
    return dataset.subset(parts[0]), dataset.subset(parts[1]) if len(parts[1]) else None
