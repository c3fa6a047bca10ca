from __future__ import annotations

import numpy as np
import pytest
import torch

from kraft.analysis.preconditioner_study.eigenvectors import leading_eigenvectors
from kraft.linalg.dense_operator import DenseOperator


@pytest.mark.parametrize("exact_up_to", [0, 4000])
def test_leading_eigenvalues_and_vectors(system, matrix, exact_up_to):
    found = leading_eigenvectors(
        system.stored(), 30, np.random.default_rng(0), exact_up_to=exact_up_to
    )
    expected = np.linalg.eigvalsh(matrix)[::-1][:30]
    np.testing.assert_allclose(found.values, expected, rtol=1e-3)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(30), atol=1e-10)
    image = matrix @ found.vectors[:, :10]
    np.testing.assert_allclose(image, found.vectors[:, :10] * found.values[:10], atol=1e-4)


def test_slowly_falling_spectra_are_iterated_to_the_end():
    """Where the spectrum is cut its eigenvalues hardly differ, so a few passes do not suffice."""
    rng = np.random.default_rng(1)
    vectors, _ = np.linalg.qr(rng.standard_normal((300, 300)))
    values = np.geomspace(1.0, 1e-3, 300)
    matrix = (vectors * values) @ vectors.T
    operator = DenseOperator(torch.tensor(matrix), block_size=1)
    found = leading_eigenvectors(operator, 60, rng, exact_up_to=0)
    np.testing.assert_allclose(found.values, values[:60], rtol=0.02)
    left = matrix - (found.vectors * found.values) @ found.vectors.T
    assert np.linalg.eigvalsh(left)[-1] < 1.2 * values[60]
