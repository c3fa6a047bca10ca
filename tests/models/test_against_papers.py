"""An independent sGDML of a few lines, from the papers' formulas, in the full space of 3N labels.

GDML: Chmiela et al., Sci. Adv. 3, e1603015 (2017), eqs. 4-6; sGDML: Nat. Commun. 9, 3887 (2018),
eqs. 4-5 and Methods. Only NumPy, no code of kraft: descriptors with dense Jacobians, the
Hessian of the Matérn-5/2 kernel written out, ``(K + λ) α = F / std(F)``.
"""

import numpy as np
import pytest

from kraft import train
from kraft.symmetry import find_permutations

SIGMA, LAMBDA = 10.0, 1e-10


def descriptor(geometry):
    """Return ``x`` ``(D,)`` and ``J`` ``(D, 3N)`` of one geometry."""
    n = len(geometry)
    values, rows = [], []
    for a in range(n):
        for b in range(a + 1, n):
            s = geometry[a] - geometry[b]
            r = np.sqrt(s @ s)
            row = np.zeros((n, 3))
            row[a], row[b] = -s / r**3, s / r**3
            values.append(1.0 / r)
            rows.append(row.ravel())
    return np.array(values), np.array(rows)


def symmetric_hessian(x, jacobian, other, permutations):
    """Return ``Σ_q J [5/(3σ²)(1+u) I - 25/(3σ⁴) δδᵀ] e^{-u} J'_q`` with ``other`` permuted."""
    total = 0.0
    for permutation in permutations:
        y, other_jacobian = descriptor(other[permutation])
        # derivative by the atoms of the geometry before it was permuted
        columns = np.empty_like(other_jacobian)
        n = len(permutation)
        columns.reshape(-1, n, 3)[:, permutation] = other_jacobian.reshape(-1, n, 3)
        delta = x - y
        u = np.sqrt(5.0) * np.sqrt(delta @ delta) / SIGMA
        kernel = 5.0 / (3.0 * SIGMA**2) * (1.0 + u) * np.eye(len(x))
        kernel -= 25.0 / (3.0 * SIGMA**4) * np.outer(delta, delta)
        total = total + np.exp(-u) * jacobian.T @ kernel @ columns
    return total


def fit_and_predict(training, queries, permutations):
    """Return forces of the queries from a model of the training set."""
    described = [descriptor(geometry) for geometry in training.positions]
    matrix = np.block(
        [
            [symmetric_hessian(*one, other, permutations) for other in training.positions]
            for one in described
        ]
    )
    scale = training.forces.std()
    labels = training.forces.ravel() / scale
    coefficients = np.linalg.solve(matrix + LAMBDA * np.eye(len(matrix)), labels)
    forces = [
        np.hstack(
            [
                symmetric_hessian(*descriptor(query), other, permutations)
                for other in training.positions
            ]
        )
        @ coefficients
        for query in queries
    ]
    return scale * np.array(forces).reshape(queries.shape)


@pytest.mark.parametrize("symmetric", [True, False], ids=["sGDML", "GDML"])
def test_five_frames_of_ethanol(ethanol, symmetric):
    training = ethanol.subset(np.arange(0, 2000, 400))
    queries = ethanol.positions[[7, 133]]
    permutations = None
    if symmetric:
        permutations = find_permutations(ethanol.positions[::20], ethanol.atomic_numbers)
        permutations = permutations.permutations
        assert len(permutations) == 6
    model, _ = train(
        training,
        kernel="matern52",
        length_scale=SIGMA,
        regularization=LAMBDA,
        permutations=permutations,
    )
    group = np.arange(9)[None] if permutations is None else permutations
    expected = fit_and_predict(training, queries, group)
    got = model.predict(queries).forces
    assert np.abs(got - expected).max() < 1e-7 * np.abs(expected).max()
    trained = fit_and_predict(training, training.positions[:1], group)
    np.testing.assert_allclose(model.predict(training.positions[:1]).forces, trained, atol=1e-5)
