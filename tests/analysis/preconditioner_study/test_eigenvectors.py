from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.preconditioner_study.eigenvectors import leading_eigenvectors


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
