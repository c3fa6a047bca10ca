"""Conditioning and gains against dense algebra with everything written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kraft.core.errors import OptionError
from kraft.models.acquisition.greedy import greedy_choice
from kraft.models.acquisition.pool_covariance import PoolCovariance

NOISE = 1e-3


def random_covariance(n_geometries: int, n_forces: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = n_geometries * n_forces
    root = rng.normal(size=(size, size)) * rng.uniform(0.1, 2.0, size=size)
    return root.T @ root / size


def conditioned(covariance: np.ndarray, rows: list[int], noise: float) -> np.ndarray:
    """The posterior given all the labels at once, by the textbook formula."""
    given = covariance[np.ix_(rows, rows)] + noise * np.eye(len(rows))
    return covariance - covariance[:, rows] @ np.linalg.solve(given, covariance[rows])


def rows_of(geometries: list[int], n_forces: int) -> list[int]:
    return [g * n_forces + f for g in geometries for f in range(n_forces)]


def weighted_sum(covariance: np.ndarray, weights: np.ndarray) -> float:
    variances = np.diagonal(covariance).reshape(len(weights), -1).sum(axis=1)
    return float(weights @ variances)


@pytest.mark.parametrize("n_forces", [1, 3])
def test_gains_are_what_conditioning_on_each_geometry_removes(n_forces: int) -> None:
    dense = random_covariance(7, n_forces)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, 7)
    pool = PoolCovariance(torch.tensor(dense), 7, NOISE, torch.tensor(weights))
    expected = [
        weighted_sum(dense, weights)
        - weighted_sum(conditioned(dense, rows_of([g], n_forces), NOISE), weights)
        for g in range(7)
    ]
    np.testing.assert_allclose(pool.gains(), expected, rtol=1e-10)


def test_conditioning_one_by_one_is_conditioning_on_all_at_once() -> None:
    dense = random_covariance(6, 3)
    pool = PoolCovariance(torch.tensor(dense), 6, NOISE, torch.ones(6, dtype=torch.float64))
    for geometry in (4, 1, 2):
        pool.condition(geometry)
    expected = conditioned(dense, rows_of([4, 1, 2], 3), NOISE)
    np.testing.assert_allclose(
        pool.variances, np.diagonal(expected).reshape(6, 3).sum(axis=1), rtol=1e-10
    )
    assert pool.weighted_sum == pytest.approx(np.trace(expected), rel=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_greedy_choice_is_that_of_brute_force(weighted: bool) -> None:
    n_geometries, n_forces = 9, 2
    dense = random_covariance(n_geometries, n_forces, seed=3)
    variances = np.diagonal(dense).reshape(n_geometries, -1).sum(axis=1)
    errors = np.random.default_rng(4).uniform(0.1, 3.0, n_geometries)
    errors = errors if weighted else np.ones(n_geometries)
    weights = errors / variances / errors.sum()
    chosen: list[int] = []
    gains = []
    for _ in range(5):
        before = weighted_sum(conditioned(dense, rows_of(chosen, n_forces), NOISE), weights)
        after = {
            g: weighted_sum(conditioned(dense, rows_of([*chosen, g], n_forces), NOISE), weights)
            for g in range(n_geometries)
            if g not in chosen
        }
        best = min(after, key=lambda g: after[g])
        gains.append(before - after[best])
        chosen.append(best)
    given = torch.tensor(errors) if weighted else None
    indices, shares = greedy_choice(torch.tensor(dense), n_geometries, 5, NOISE, given)
    assert indices.tolist() == chosen
    np.testing.assert_allclose(shares, gains, rtol=1e-9)


def test_copies_are_chosen_last() -> None:
    root = np.random.default_rng(5).normal(size=(10, 12))
    single = root @ root.T / 12 + 0.1 * np.eye(10)  # 5 geometries of 2 forces
    twice = np.tile(single, (2, 2))  # and a copy of each
    indices, gains = greedy_choice(torch.tensor(twice), 10, 10, 1e-9)
    assert sorted(indices[:5] % 5) == [0, 1, 2, 3, 4]
    assert gains[5:].max() < 1e-6 < gains[:5].min()


def test_a_pool_without_uncertainty_is_refused() -> None:
    with pytest.raises(OptionError, match="sure of every frame"):
        greedy_choice(torch.zeros(4, 4, dtype=torch.float64), 2, 1, NOISE)
