"""Small datasets with known physics: a molecule of harmonic springs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kraft.core.typing import FloatArray
from kraft.data import Dataset, Units

BENT = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0], [0.1, 0.2, 1.4]])


def label_springs(positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return energies (eV) and forces (eV/Å) of springs between all pairs of atoms."""
    first, second = np.triu_indices(positions.shape[1], 1)
    rest = np.linalg.norm(BENT[first] - BENT[second], axis=1)
    vectors = positions[:, first] - positions[:, second]
    lengths = np.linalg.norm(vectors, axis=2)
    energies = 10.0 * np.sum((lengths - rest) ** 2, axis=1)
    pulls = (-20.0 * (lengths - rest) / lengths)[:, :, None] * vectors
    forces = np.zeros_like(positions)
    for pair in range(len(first)):
        forces[:, first[pair]] += pulls[:, pair]
        forces[:, second[pair]] -= pulls[:, pair]
    return energies, forces


def make_springs(n_frames: int = 200, seed: int = 0, spread: float = 0.05) -> Dataset:
    """Return frames of four atoms, rotated at random, with exact labels."""
    rng = np.random.default_rng(seed)
    positions = BENT + spread * rng.normal(size=(n_frames, 4, 3))
    rotations = np.linalg.qr(rng.normal(size=(n_frames, 3, 3)))[0]
    positions = positions @ rotations + rng.normal(size=(n_frames, 1, 3))
    energies, forces = label_springs(positions)
    return Dataset([8, 1, 1, 6], positions, forces, energies - 500.0, units=Units("kcal/mol"))


@pytest.fixture
def springs() -> Dataset:
    return make_springs()


@pytest.fixture
def spring_maker() -> Callable[..., Dataset]:
    return make_springs


@pytest.fixture
def spring_labels() -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    return label_springs
