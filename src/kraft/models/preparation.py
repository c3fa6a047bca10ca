"""From datasets to the tensors that a training works on: checks, symmetries, weights."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.core.errors import DataError, OptionError
from kraft.core.progress import Progress
from kraft.core.typing import FloatArray, IntArray
from kraft.data.checks import Report, check
from kraft.data.dataset import Dataset
from kraft.descriptors import PairFeatures, checked_features, checked_mixing
from kraft.descriptors.feature_functions import INVERSE
from kraft.models.labels import Labels
from kraft.models.objective import TrainingArrays
from kraft.symmetry import SymmetryResult, find_permutations
from kraft.symmetry.group import identity, validate
from kraft.symmetry.orbits import feature_orbits, feature_permutations

MAX_VALID_IN_SEARCH = 200
"""Validation geometries that a search for hyper-parameters, and a solver, looks at."""


def checked(training: Dataset, validation: Dataset | None) -> Report:
    """Return the findings on the training data.

    Raises
    ------
    DataError
        When the data cannot be trained on, or training and validation do not belong together.
    """
    report = check(training)
    report.raise_if_fatal()
    if validation is None:
        return report
    check(validation).raise_if_fatal()
    if not np.array_equal(training.atomic_numbers, validation.atomic_numbers):
        raise DataError(
            f"The validation set is {validation.formula}, the training set {training.formula} (or "
            "the atoms are in another order). Expected the same molecule with the same atom order."
        )
    return report


def permutation_group(
    training: Dataset,
    permutations: Literal["auto"] | ArrayLike | None,
    max_permutations: int | None,
    seed: int,
    progress: Progress,
) -> tuple[IntArray, SymmetryResult | None]:
    """Return the ``(S, N)`` permutations to use, and how they were found (None when given)."""
    if permutations is None:
        return identity(training.n_atoms)[None], None
    if not isinstance(permutations, str):
        return validate(permutations, training.atomic_numbers), None
    if permutations != "auto":
        raise OptionError(
            f"Unknown permutations {permutations!r}: give 'auto', None or an (S, N) array."
        )
    found = find_permutations(
        training.positions,
        training.atomic_numbers,
        cell=training.cell,
        max_permutations=max_permutations,
        seed=seed,
        progress=progress,
    )
    return found.permutations, found


def training_arrays(
    training: Dataset,
    validation: Dataset | None,
    group: IntArray,
    feature_weights: ArrayLike | None,
    energy_weight: float,
    device: str,
    features: ArrayLike | None = None,
    feature_function: str = INVERSE.name,
    feature_mixing: ArrayLike | None = None,
) -> TrainingArrays:
    """Return the tensors of training and (some) validation geometries on a device.

    Raises
    ------
    OptionError, SymmetryError
        When features, their weights or how they mix do not fit the molecule and its symmetries.
    """
    cell = None if training.cell is None else torch.tensor(training.cell, device=device)
    descriptor = PairFeatures(
        training.n_atoms,
        cell=cell,
        features=checked_features(features, training.n_atoms),
        feature_function=feature_function,
        device=device,
    )
    table = feature_permutations(group, descriptor.features)
    valid_positions = valid_forces = None
    some = slice(0, MAX_VALID_IN_SEARCH)
    if validation is not None:
        valid_positions = torch.tensor(validation.positions[some], device=device)
        valid_forces = torch.tensor(validation.forces[some], device=device)
    return TrainingArrays(
        descriptor=descriptor,
        positions=torch.tensor(training.positions, device=device),
        labels=Labels.from_dataset(training, energy_weight),
        feature_permutations=table,
        feature_weights=_checked_weights(feature_weights, group, descriptor),
        feature_mixing=checked_mixing(feature_mixing, table),
        valid_positions=valid_positions,
        valid_forces=valid_forces,
        energies=_energies(training, device),
        valid_energies=None if validation is None else _energies(validation, device, some),
    )


def _energies(dataset: Dataset, device: str, some: slice = slice(None)) -> torch.Tensor | None:
    if dataset.energies is None:
        return None
    return torch.tensor(dataset.energies[some], device=device)


def _checked_weights(
    feature_weights: ArrayLike | None, group: IntArray, descriptor: PairFeatures
) -> FloatArray:
    n_features = descriptor.n_features
    if feature_weights is None:
        return np.ones(n_features)
    weights = np.array(feature_weights, dtype=np.float64)
    usable = np.isfinite(weights).all() and (weights >= 0.0).all() and weights.any()
    if weights.shape != (n_features,) or not usable:
        raise OptionError(
            f"Feature weights must be {n_features} non-negative numbers, one a pair of atoms that "
            f"is kept, not all zero; got shape {weights.shape}."
        )
    for orbit in feature_orbits(group, descriptor.features):
        if np.ptp(weights[orbit]) > 1e-12 * weights.max():
            raise OptionError(
                "Feature weights must be equal on equivalent pairs of atoms, but those of features "
                f"{orbit.tolist()} differ. Average them over the orbits of the permutations."
            )
    return weights
