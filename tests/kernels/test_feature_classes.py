import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import BENZENE, MOLECULES, TWO_ROTORS

import kraft.kernels.feature_classes as module
from kraft.kernels.feature_classes import feature_classes
from kraft.symmetry.group import closure
from kraft.symmetry.orbits import feature_permutations


@st.composite
def groups(draw):
    n_atoms = draw(st.integers(2, 7))
    atoms = st.permutations(range(n_atoms))
    generators = draw(st.lists(atoms, min_size=1, max_size=2))
    return closure(np.array(generators))


def _products(classes, x, y, n_permutations):
    """``Σ_d x[p_q(d)] y[d]`` for every permutation ``q``, class by class."""
    total = np.zeros(n_permutations)
    for c in classes:
        total += (x[c.actions] * y[c.features]).sum(axis=1)[c.action_of_permutation]
    return total


def _check(table):
    classes = feature_classes(table)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, table.shape[1]))
    expected = (x[table] * y).sum(axis=1)
    np.testing.assert_allclose(_products(classes, x, y, len(table)), expected, atol=1e-12)
    every = np.sort(np.concatenate([c.features for c in classes]))
    np.testing.assert_array_equal(every, np.arange(table.shape[1]))
    for c in classes:
        assert len(np.unique(c.actions, axis=0)) == c.n_actions
        assert c.action_of_permutation.shape == (len(table),)
        # a class is closed: its actions only move features within it
        np.testing.assert_array_equal(
            np.sort(c.actions, axis=1), [np.sort(c.features)] * c.n_actions
        )
        np.testing.assert_array_equal(c.actions[c.action_of_permutation], table[:, c.features])
    return classes


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
@pytest.mark.parametrize("pass_cost", [-1.0, 1.0, 15.0, 1e9])
def test_classes_make_up_the_whole_product(molecule, pass_cost, monkeypatch):
    monkeypatch.setattr(module, "PASS_COST", pass_cost)
    _check(feature_permutations(molecule.permutations))


@settings(deadline=None, max_examples=60)
@given(groups(), st.sampled_from([-1.0, 2.0, 15.0]))
def test_classes_of_any_group(permutations, pass_cost):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PASS_COST", pass_cost)
        _check(feature_permutations(permutations))


def test_fixed_features_become_one_cheap_class(monkeypatch):
    monkeypatch.setattr(module, "PASS_COST", 1.0)
    classes = feature_classes(feature_permutations(TWO_ROTORS.permutations))
    assert len(classes) > 2
    assert min(c.n_actions for c in classes) == 1
    work = sum(c.n_actions * len(c.features) for c in classes)
    assert work < 18 * 55 / 2


def test_the_classes_come_cheapest_first():
    classes = feature_classes(feature_permutations(BENZENE.permutations))
    actions = [c.n_actions for c in classes]
    assert actions == sorted(actions)
