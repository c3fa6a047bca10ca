"""Active selection from real pools: against dense algebra, symmetric, reproducible, batch-aware."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from kernel_cases import random_mixing
from molecules import WATER, random_rotation
from toy_models import toy_atomized_parameters, toy_dataset

import kraft
from kraft.core.errors import DataError, GeometryError, OptionError
from kraft.kernels import KernelOperator
from kraft.models.acquisition import selection
from kraft.models.acquisition.directions import force_directions
from kraft.models.acquisition.greedy import greedy_choice
from kraft.models.uncertainty.exact import ExactUncertainty
from kraft.models.uncertainty.system import TrainedSystem

select_frames = selection.select_frames


@pytest.fixture(scope="module")
def water() -> kraft.ForceField:
    force_field, _ = kraft.train(
        toy_dataset(WATER, 6),
        kernel="matern52",
        length_scale=1.5,
        regularization=1e-6,
        permutations=WATER.permutations,
    )
    return force_field


@pytest.fixture(scope="module")
def pool() -> np.ndarray:
    return WATER.frames(12, seed=7)


def test_the_choice_is_that_of_a_dense_gaussian(water: kraft.ForceField, pool: np.ndarray) -> None:
    """All force components, one joint matrix of training and pool, conditioned by brute force."""
    system = TrainedSystem.from_parameters(water.parameters, "cpu")
    everything = np.concatenate([water.parameters.training_positions, pool])
    geometries = system.queries(torch.tensor(everything))
    joint = system.operator
    joint = KernelOperator(joint.kernel, geometries, joint.feature_permutations)
    dense, r, trained = joint.to_dense().numpy(), geometries.n_motions, 6
    noise = np.full(len(dense), 1e-6)

    def variances(known: list[int]) -> np.ndarray:
        rows = [g * r + f for g in known for f in range(r)]
        given = dense[np.ix_(rows, rows)] + np.diag(noise[rows])
        left = dense - dense[:, rows] @ np.linalg.solve(given, dense[rows])
        return np.diagonal(left).reshape(-1, r).sum(axis=1)[trained:]

    before = variances(list(range(trained)))
    chosen: list[int] = []
    gains = []
    for _ in range(4):
        options = [g for g in range(len(pool)) if g not in chosen]
        known = [*range(trained), *(trained + g for g in chosen)]
        now = (variances(known) / before).mean()
        after = [(variances([*known, trained + g]) / before).mean() for g in options]
        gains.append(now - min(after))
        chosen.append(options[int(np.argmin(after))])
    selected = select_frames(water, pool, 4, weighting="equal")
    assert selected.n_directions == r
    assert selected.indices.tolist() == chosen
    np.testing.assert_allclose(selected.gains, gains, rtol=1e-5)
    assert selected.removed == pytest.approx(sum(gains), rel=1e-5)


@pytest.mark.parametrize("few", [False, True])
def test_rotations_and_permutations_change_nothing(
    ethanol: kraft.Dataset, ethanol_force_field: kraft.ForceField, few: bool, monkeypatch
) -> None:
    if few:
        monkeypatch.setattr(selection, "MOST_ROWS", 80)
    pool = ethanol.positions[:40]
    group = ethanol_force_field.permutations
    rng = np.random.default_rng(0)
    moved = np.stack(
        [
            frame[group[rng.integers(len(group))]] @ random_rotation(i)
            for i, frame in enumerate(pool)
        ]
    )
    expected = select_frames(ethanol_force_field, pool, 8)
    found = select_frames(ethanol_force_field, moved, 8)
    assert expected.n_directions == (2 if few else 21)
    assert found.indices.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(found.gains, expected.gains, rtol=1e-4)


def test_near_copies_lose_their_value(
    ethanol: kraft.Dataset, ethanol_force_field: kraft.ForceField, monkeypatch
) -> None:
    monkeypatch.setattr(selection, "MOST_ROWS", 80)
    frames = ethanol.positions[1000:1010]
    turned = frames[:, ethanol_force_field.permutations[-1]] @ random_rotation(3)
    pool = np.concatenate([frames, frames + 1e-4, turned])
    selected = select_frames(ethanol_force_field, pool, 10)
    assert sorted(selected.indices % 10) == list(range(10))


def test_training_frames_are_left_out(
    ethanol: kraft.Dataset, ethanol_force_field: kraft.ForceField
) -> None:
    trained = ethanol_force_field.parameters.training_positions[:5]
    new = kraft.split(ethanol, n_train=60, n_test=4, seed=0).test
    assert new is not None
    pool = np.concatenate([trained @ random_rotation(1), new.positions])
    selected = select_frames(ethanol_force_field, pool, 4)
    assert selected.n_trained == 5
    assert sorted(selected.indices) == [5, 6, 7, 8]
    with pytest.raises(DataError, match=r"pool has 9, 5 of which.*at most 4"):
        select_frames(ethanol_force_field, pool, 5)


def test_a_large_pool_is_thinned_and_says_so(
    ethanol: kraft.Dataset, ethanol_force_field: kraft.ForceField, monkeypatch
) -> None:
    monkeypatch.setattr(selection, "MOST_ROWS", 60)
    first = select_frames(ethanol_force_field, ethanol.positions[:200], 5, seed=1)
    again = select_frames(ethanol_force_field, ethanol.positions[:200], 5, seed=1)
    other = select_frames(ethanol_force_field, ethanol.positions[:200], 5, seed=2)
    assert first.n_candidates == 30
    assert "30 of the" in first.notices[0]
    assert first.indices.tolist() == again.indices.tolist()
    assert first.gains.tolist() == again.gains.tolist()
    assert first.indices.tolist() != other.indices.tolist()


def test_landmarks_bound_what_is_known(
    ethanol: kraft.Dataset, ethanol_force_field: kraft.ForceField, monkeypatch
) -> None:
    monkeypatch.setattr(selection, "EXACT_LABELS", 100)
    monkeypatch.setattr(selection, "LANDMARK_LABELS", 420)
    selected = select_frames(ethanol_force_field, ethanol.positions[:50], 5)
    assert selected.method == "landmarks"
    assert "1260 training labels" in selected.notices[0]
    assert "420 of them" in selected.notices[0]


@pytest.mark.parametrize("mixes", [False, True])
def test_directions_turn_with_the_molecule_and_are_orthonormal(
    ethanol: kraft.Dataset, ethanol_force_field: kraft.ForceField, mixes: bool
) -> None:
    parameters = ethanol_force_field.parameters
    permutations = parameters.feature_permutations
    if mixes:
        mixing = random_mixing(permutations, strength=0.05).numpy()
        parameters = replace(parameters, feature_mixing=mixing)
    system = TrainedSystem.from_parameters(parameters, "cpu")
    frames, rotation = ethanol.positions[:6], random_rotation(2)
    order = ethanol_force_field.permutations[-1]

    def spans(positions: np.ndarray) -> np.ndarray:
        directions = force_directions(system.queries(torch.tensor(positions)), permutations, 3, 0)
        flat = directions.flatten(2).numpy()
        squares = flat @ flat.transpose(0, 2, 1)
        np.testing.assert_allclose(squares, np.broadcast_to(np.eye(3), (6, 3, 3)), atol=1e-12)
        return np.einsum("pkax,pkby->paxby", directions.numpy(), directions.numpy())

    def spans_moved(spans: np.ndarray) -> np.ndarray:
        there = spans[:, order][:, :, :, order]
        return np.einsum("paxby,xu,yv->paubv", there, rotation, rotation)

    moved = frames[:, order] @ rotation
    np.testing.assert_allclose(spans(moved), spans_moved(spans(frames)), atol=1e-8)


def test_frames_count_by_the_errors_of_a_committee(
    water: kraft.ForceField, pool: np.ndarray
) -> None:
    """Gains are those of the committee's weights, however the frames are chosen."""
    committee = water.with_uncertainty("committee", n_members=16, seed=5)
    std = committee.predict(pool, uncertainty=True).forces_std
    errors = np.sqrt((std**2).sum(axis=(1, 2)))
    system = TrainedSystem.from_parameters(water.parameters, "cpu")
    geometries = system.queries(torch.tensor(pool))
    covariance = ExactUncertainty(system).projected(
        torch.tensor(pool), geometries.basis.permute(0, 3, 1, 2)
    )
    noise = system.variance * water.parameters.regularization
    indices, gains = greedy_choice(covariance, len(pool), 3, noise, torch.tensor(errors))
    selected = select_frames(water, pool, 3, seed=5)
    assert selected.weighting == "errors"
    assert selected.indices.tolist() == indices.tolist()
    np.testing.assert_allclose(selected.gains, gains, rtol=1e-8)


def test_weights_of_the_user_count(water: kraft.ForceField, pool: np.ndarray) -> None:
    """With all weight on one frame and its copy, one of these two is worth most."""
    twice = np.concatenate([pool, pool[3:4] @ random_rotation(1)])
    weights = np.zeros(len(twice))
    weights[3] = 1.0
    selected = select_frames(water, twice, 1, weighting=weights)
    assert selected.weighting == "given"
    assert selected.indices[0] in (3, len(pool))
    assert selected.removed == pytest.approx(1.0, abs=1e-2)
    with pytest.raises(OptionError, match=r"shape \(12,\), one for each"):
        select_frames(water, pool, 1, weighting=weights)
    with pytest.raises(OptionError, match="not all zero"):
        select_frames(water, twice, 1, weighting=0.0 * weights)


def test_without_a_committee_all_frames_count_alike() -> None:
    force_field, _ = kraft.train(
        toy_dataset(WATER, 3),
        kernel="matern52",
        length_scale=1.5,
        regularization=1e-6,
        permutations=WATER.permutations,
    )
    selected = select_frames(force_field, WATER.frames(5, seed=7), 2)
    assert selected.weighting == "equal"
    assert "no committee" in selected.notices[0]


def test_what_cannot_be_done_is_refused(water: kraft.ForceField, pool: np.ndarray) -> None:
    with pytest.raises(OptionError, match="at least 1 frame, got 0"):
        select_frames(water, pool, 0)
    with pytest.raises(OptionError, match="method of selection 'best'"):
        select_frames(water, pool, 1, method="best")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="weighting 'best'"):
        select_frames(water, pool, 1, weighting="best")  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match="3 atoms"):
        select_frames(water, pool[:, :2], 1)
    broken = pool.copy()
    broken[3, 0, 0] = np.nan
    with pytest.raises(GeometryError, match="geometry 3"):
        select_frames(water, broken, 1)
    with pytest.raises(DataError, match="at most 12"):
        select_frames(water, pool, 13)
    with pytest.raises(OptionError, match="sGDML"):
        select_frames(kraft.ForceField(toy_atomized_parameters()), pool, 1)
