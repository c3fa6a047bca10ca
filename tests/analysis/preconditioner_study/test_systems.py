from __future__ import annotations

import numpy as np
import pytest
import torch

import kraft
from kraft.analysis.preconditioner_study.systems import study_system
from kraft.core.errors import MemoryLimitError


def test_sizes_with_and_without_rigid_motions(system):
    assert (system.n_labels, system.size) == (12 * 27, 12 * 21)


def test_stored_matrix_is_the_operator(system):
    stored = system.stored()
    torch.testing.assert_close(stored.matrix, system.operator.to_dense(), rtol=0.0, atol=0.0)
    torch.testing.assert_close(stored.matrix, stored.matrix.T, rtol=0.0, atol=0.0)
    vector = system.right_hand_side
    torch.testing.assert_close(stored.matmul(vector), system.operator.matmul(vector))


def test_large_matrices_are_refused_before_they_are_made(system):
    with pytest.raises(MemoryLimitError, match="fewer geometries"):
        system.stored(max_memory=8 * system.size**2 - 1)


def test_predictions_are_those_of_a_trained_force_field(few, ethanol, system):
    test = ethanol.subset(np.arange(7, 200, 40))
    model, _ = kraft.train(
        few, kernel="matern52", length_scale=10.0, regularization=1e-6, permutations=None
    )
    matrix = system.operator.to_dense() + 1e-6 * torch.eye(system.size, dtype=torch.float64)
    coefficients = torch.linalg.solve(matrix, system.right_hand_side)
    expected = model.predict(test.positions).forces
    forces = system.predict(coefficients, test.positions)
    np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())
    assert system.force_mae(coefficients, test) == pytest.approx(
        np.abs(expected - test.forces).mean(), rel=1e-6
    )


def test_fingerprint_tells_systems_apart(few, system):
    again = study_system(few, permutations=None, regularization=1e-6)
    others = (
        study_system(few, permutations=None, regularization=1e-7),
        study_system(few, permutations=None, regularization=1e-6, length_scale=11.0),
        study_system(few.subset(np.arange(11)), permutations=None, regularization=1e-6),
    )
    assert again.fingerprint == system.fingerprint
    assert len({system.fingerprint, *(other.fingerprint for other in others)}) == 4
