"""Data for tests of learned metrics."""

from __future__ import annotations

import numpy as np
import torch
from molecules import Molecule
from toy_models import toy_dataset

from kraft.data import Dataset
from kraft.descriptors import PairFeatures
from kraft.models.labels import Labels
from kraft.models.objective import TrainingArrays
from kraft.symmetry.orbits import feature_permutations


def arrays_of(
    training: Dataset,
    permutations: np.ndarray,
    validation: Dataset | None = None,
    features: np.ndarray | None = None,
) -> TrainingArrays:
    descriptor = PairFeatures(training.n_atoms, features=features)
    return TrainingArrays(
        descriptor=descriptor,
        positions=torch.tensor(training.positions),
        labels=Labels.from_dataset(training),
        feature_permutations=feature_permutations(permutations, features),
        feature_weights=np.ones(descriptor.n_features),
        valid_positions=None if validation is None else torch.tensor(validation.positions),
        valid_forces=None if validation is None else torch.tensor(validation.forces),
    )


def toy_arrays(
    molecule: Molecule, n: int, *, n_valid: int = 0, features: np.ndarray | None = None
) -> TrainingArrays:
    validation = toy_dataset(molecule, n_valid, seed=1) if n_valid else None
    return arrays_of(toy_dataset(molecule, n), molecule.permutations, validation, features)


def bond_frames(n: int, *, seed: int = 0) -> Dataset:
    """Frames of three unlike atoms whose energy depends on the distance of the first two only."""
    rng = np.random.default_rng(seed)
    rest = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.3, 1.2, 0.0]])
    positions = rest + 0.15 * rng.normal(size=(n, 3, 3))
    separation = positions[:, 0] - positions[:, 1]
    distance = np.linalg.norm(separation, axis=1, keepdims=True)
    pull = np.cos(9.0 * distance) * separation / distance
    forces = np.stack([-pull, pull, np.zeros_like(pull)], axis=1)
    return Dataset(np.array([1, 6, 8]), positions, forces)
