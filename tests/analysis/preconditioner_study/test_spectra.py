from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from kraft.analysis.preconditioner_study.candidates import Candidate, build
from kraft.analysis.preconditioner_study.spectra import Factor

METHODS = ("uniform/shift/30", "random-pivoting/blocks/30", "svd/shift/30", "none")


def candidate(key: str) -> Candidate:
    method, remainder, rank = [*key.split("/"), "", "0"][:3]
    return Candidate(method, remainder, int(rank))


def dense_inverse(preconditioner, size: int) -> np.ndarray:
    return preconditioner.solve(np.eye(size))


@pytest.mark.parametrize("key", METHODS)
def test_eigenvalues_are_those_of_the_dense_definition(system, matrix, key):
    made = build(candidate(key), system.operator, system.regularization).preconditioner
    regular = matrix + system.regularization * np.eye(len(matrix))
    inverse = dense_inverse(made, len(matrix))
    expected = scipy.linalg.eigvals(inverse @ regular).real
    spectrum = Factor(matrix, system.regularization).spectrum(made, rng=np.random.default_rng(0))
    assert spectrum.complete
    np.testing.assert_allclose(np.sort(spectrum.values), np.sort(expected), rtol=1e-5)
    assert spectrum.condition_number == pytest.approx(expected.max() / expected.min(), rel=1e-4)


def test_with_the_papers_remainder_nothing_is_below_one(system, matrix):
    made = build(Candidate("uniform", "shift", 40), system.operator, system.regularization)
    spectrum = Factor(matrix, system.regularization).spectrum(
        made.preconditioner, rng=np.random.default_rng(0)
    )
    assert spectrum.smallest == pytest.approx(1.0, abs=1e-4)


def test_largest_eigenvalues_alone_agree_with_all(system, matrix):
    made = build(Candidate("uniform", "blocks", 20), system.operator, system.regularization)
    factor = Factor(matrix, system.regularization)
    options = {"n_largest": 10, "rng": np.random.default_rng(0)}
    every = factor.spectrum(made.preconditioner, **options)
    largest = factor.spectrum(made.preconditioner, all_up_to=0, **options)
    assert every.complete and not largest.complete
    np.testing.assert_allclose(largest.values, every.values[:10], rtol=1e-8)
    assert largest.smallest >= every.smallest * (1.0 - 1e-6)


def test_matrix_is_left_alone(system, matrix):
    before = matrix.copy()
    Factor(matrix, system.regularization)
    np.testing.assert_array_equal(matrix, before)


def test_thinned_spectrum_keeps_the_ends(system, matrix):
    factor = Factor(matrix, system.regularization)
    made = build(Candidate("none", "", 0), system.operator, system.regularization)
    spectrum = factor.spectrum(made.preconditioner, rng=np.random.default_rng(0))
    thin = spectrum.thinned(20, 10)
    assert len(thin.values) == 30
    np.testing.assert_array_equal(thin.values[:20], spectrum.values[:20])
    np.testing.assert_array_equal(thin.values, spectrum.values[thin.indices - 1])
    assert thin.indices[-1] == len(spectrum.values)
    assert thin.condition_number == spectrum.condition_number
