"""Novelty against distances by brute force, and what it must not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import (
    CARBON_DIOXIDE,
    CHIRAL,
    TWO_ROTORS,
    WATER,
    every_other_orbit,
    random_rotation,
    tensor,
)
from toy_models import toy_parameters

import kraft.models.uncertainty.novelty as module
from kraft.core.errors import OptionError
from kraft.descriptors import PairFeatures
from kraft.models.uncertainty.novelty import Novelty

CELL = np.array([[5.0, 0.2, 0.0], [0.0, 5.5, 0.1], [0.0, 0.0, 6.0]])


def nearest(parameters, positions):
    """Return distances ``(B, M)`` to the nearest permuted copies, one by one."""
    cell = None if parameters.cell is None else torch.tensor(parameters.cell)
    options = {"features": parameters.features, "feature_function": parameters.feature_function}
    descriptor = PairFeatures(parameters.n_atoms, cell=cell, **options)
    features = descriptor.values(tensor(positions)).numpy()
    out = np.full((len(positions), parameters.n_train), np.inf)
    for row in parameters.feature_permutations:
        for j, other in enumerate(parameters.training_descriptors):
            difference = parameters.feature_scale * (features[:, row] - other)
            if parameters.feature_mixing is not None:
                difference = difference @ parameters.feature_mixing
            out[:, j] = np.minimum(out[:, j], np.linalg.norm(difference, axis=1))
    return out


@pytest.mark.parametrize(
    "reduced, mixes",
    [(False, False), (True, False), (False, True), (True, True)],
    ids=["all", "reduced", "mixed", "reduced and mixed"],
)
@pytest.mark.parametrize("cell", [None, CELL], ids=["free", "periodic"])
@pytest.mark.parametrize("molecule", [WATER, CHIRAL, CARBON_DIOXIDE, TWO_ROTORS], ids=str)
def test_against_distances_one_by_one(molecule, cell, reduced, mixes, monkeypatch):
    options = {"features": every_other_orbit(molecule), "feature_function": "inverse-sqrt"}
    options = options if reduced else {}
    parameters = toy_parameters(molecule, n_train=5, cell=cell, mixes=mixes, **options)
    positions = molecule.frames(4, seed=7)
    novelty = Novelty(parameters, "cpu")
    among = nearest(parameters, parameters.training_positions)
    np.fill_diagonal(among, np.inf)
    typical = np.quantile(among.min(axis=1) ** 2, 0.95) ** 0.5
    assert novelty.typical_distance == pytest.approx(typical, rel=1e-6)
    expected = nearest(parameters, positions).min(axis=1) / typical
    np.testing.assert_allclose(novelty(tensor(positions)).numpy(), expected, rtol=1e-6)
    monkeypatch.setattr(module, "TILE_ELEMENTS", 1)
    one_by_one = Novelty(parameters, "cpu")
    np.testing.assert_allclose(one_by_one(tensor(positions)).numpy(), expected, rtol=1e-6)


def test_invariance():
    novelty = Novelty(toy_parameters(WATER, n_train=6), "cpu")
    positions = tensor(WATER.frames(5, seed=7))
    here = novelty(positions)
    for other in (positions @ tensor(random_rotation(4)).T - 3.0, positions[:, [0, 2, 1]]):
        torch.testing.assert_close(novelty(other), here, rtol=1e-9, atol=0.0)


def test_nothing_is_new_in_the_training_set_and_all_is_far_away():
    parameters = toy_parameters(WATER, n_train=6)
    novelty = Novelty(parameters, "cpu")
    assert float(novelty(tensor(parameters.training_positions)).max()) < 1e-6
    assert float(novelty(tensor(WATER.positions[None] * 0.5))) > 5.0


def test_frames_of_the_same_kind_are_about_one(ethanol_force_field, ethanol_parts):
    novelty = Novelty(ethanol_force_field.parameters, "cpu")
    positions = ethanol_parts.test.positions
    like_the_training = novelty(tensor(positions)).numpy()
    assert 0.5 < np.median(like_the_training) < 1.0
    assert 0.85 < (like_the_training < 1.0).mean() < 1.0
    shaken = positions + 0.2 * np.random.default_rng(0).normal(size=positions.shape)
    assert novelty(tensor(shaken)).min() > np.median(like_the_training)
    assert np.median(novelty(tensor(shaken)).numpy()) > 2.0


def test_copies_of_one_geometry_have_no_distances():
    parameters = toy_parameters(WATER, n_train=3)
    same = np.repeat(parameters.training_descriptors[:1], 3, axis=0)
    with pytest.raises(OptionError, match="two different"):
        Novelty(replace(parameters, training_descriptors=same), "cpu")
