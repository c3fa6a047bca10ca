"""Classes of features by their images, and their sums over the tree."""

import numpy as np
import pytest
from molecules import MOLECULES

import kraft.kernels.image_classes as module
from kraft.kernels.image_classes import image_classes
from kraft.kernels.image_sums import ImageSums
from kraft.symmetry.orbits import feature_permutations


@pytest.fixture(params=[(7.0, 2.6, 40), (0.0, 0.0, 40), (1e9, 1.0, 40), (7.0, 2.6, 1)], ids=str)
def costs(request, monkeypatch):
    action, total, most = request.param
    monkeypatch.setattr(module, "ACTION_COST", action)
    monkeypatch.setattr(module, "SUM_COST", total)
    monkeypatch.setattr(module, "MAX_CLASSES", most)


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
class TestClasses:
    def test_hold_every_feature_once(self, molecule):
        table = feature_permutations(molecule.permutations)
        features = np.concatenate([c.feature_class.features for c in image_classes(table)])
        assert np.array_equal(np.sort(features), np.arange(table.shape[1]))

    def test_actions_are_those_of_the_permutations(self, molecule):
        table = feature_permutations(molecule.permutations)
        for c, _, _ in image_classes(table):
            assert np.array_equal(c.actions[c.action_of_permutation], table[:, c.features])
            assert c.n_actions == len(np.unique(c.actions, axis=0))

    def test_parents_tell_more_permutations_apart(self, molecule):
        classes = image_classes(feature_permutations(molecule.permutations))
        for index, (c, parent, of_parent) in enumerate(classes):
            if parent is None:
                assert np.array_equal(of_parent, c.action_of_permutation)
                continue
            above = classes[parent].feature_class
            assert parent > index and above.n_actions > c.n_actions
            assert np.array_equal(of_parent[above.action_of_permutation], c.action_of_permutation)

    def test_sums_are_products_of_permuted_features(self, molecule):
        table = feature_permutations(molecule.permutations)
        classes, rng = image_classes(table), np.random.default_rng(3)
        left, right = rng.normal(size=(2, table.shape[1]))
        own = [c.feature_class for c in classes]
        products = [(left[c.actions] * right[c.features]).sum(axis=1)[:, None] for c in own]
        sums = ImageSums(classes, len(table))
        out = np.full((len(table), 1), np.nan)
        sums.expand(products, out)
        np.testing.assert_allclose(out[:, 0], left[table] @ right, rtol=1e-12, atol=1e-12)

    def test_collecting_is_the_transpose_of_expanding(self, molecule):
        table = feature_permutations(molecule.permutations)
        classes, rng = image_classes(table), np.random.default_rng(4)
        weights = rng.normal(size=(len(table), 2))
        out = [np.full((c.feature_class.n_actions, 2), np.nan) for c in classes]
        ImageSums(classes, len(table)).collect(weights, out)
        for (c, _, _), got in zip(classes, out, strict=True):
            expected = np.zeros_like(got)
            np.add.at(expected, c.action_of_permutation, weights)
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_a_methyl_group_under_all_its_permutations_needs_half_the_products():
    """Three hydrogens and twenty other atoms: 9 · 20 products instead of 6 · 60."""
    n = 23
    images = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    permutations = np.array([[*image, *range(3, n)] for image in images])
    classes = image_classes(feature_permutations(permutations))
    shapes = sorted((c.n_actions, len(c.features)) for c, _, _ in classes)
    assert shapes == [(1, 190), (3, 21), (3, 21), (3, 21)]
