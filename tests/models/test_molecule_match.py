from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from ase.build import molecule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kraft
from kraft.core.errors import GeometryError
from kraft.models.molecule_match import OrderReference, check_elements, check_molecule, check_order

NAMED_ORDER = re.compile(r"atoms\[(\[[\d, ]+\])\]")


def named_order(error: GeometryError) -> np.ndarray:
    """The reordering that a message advises."""
    found = NAMED_ORDER.search(str(error))
    assert found is not None, str(error)
    return np.array([int(number) for number in found[1].strip("[]").split(",")])


def is_symmetry(force_field: kraft.ForceField, permutation: np.ndarray) -> bool:
    return bool((force_field.permutations == permutation).all(axis=1).any())


@pytest.fixture(scope="module")
def numbers(ethanol_force_field):
    return ethanol_force_field.atomic_numbers


@pytest.fixture(scope="module")
def geometries(ethanol_parts):
    return ethanol_parts.test.positions


def test_unseen_geometries_of_the_molecule_pass(ethanol_force_field, numbers, geometries):
    for geometry in geometries:
        check_molecule(ethanol_force_field, numbers, geometry)


def test_equivalent_orders_pass(ethanol_force_field, numbers, geometries):
    for permutation in ethanol_force_field.permutations:
        check_molecule(ethanol_force_field, numbers[permutation], geometries[0][permutation])


def test_mirror_image_passes(ethanol_force_field, geometries):
    check_order(ethanol_force_field, geometries[0] * [1.0, 1.0, -1.0])


def test_other_molecule_is_named(ethanol_force_field):
    methanol = molecule("CH3OH")
    with pytest.raises(GeometryError, match=r"for C2H6O \(9 atoms\).*are CH4O \(6 atoms\)"):
        check_molecule(ethanol_force_field, methanol.numbers, methanol.positions)


def test_isomer_passes_elements_and_is_not_explained_as_an_order(ethanol_force_field, numbers):
    # Dimethyl ether has the atoms of ethanol, but no order of them makes it ethanol.
    ether = molecule("CH3OCH3")
    with pytest.raises(GeometryError, match="compare with a training geometry"):
        check_elements(ethanol_force_field, ether.numbers, ether.positions)
    order = np.argsort(ether.numbers != 6, kind="stable")
    order = order[
        np.argsort([{6: 0, 8: 1, 1: 2}[int(n)] for n in ether.numbers[order]], kind="stable")
    ]
    assert np.array_equal(ether.numbers[order], numbers)
    check_order(ethanol_force_field, ether.positions[order])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(permutation=st.permutations(range(9)), frame=st.integers(0, 199))
def test_every_order_is_found_out_and_put_right(
    ethanol_force_field, numbers, geometries, permutation, frame
):
    shuffled = np.array(permutation)
    if is_symmetry(ethanol_force_field, shuffled):
        return
    with pytest.raises(GeometryError) as caught:
        check_molecule(ethanol_force_field, numbers[shuffled], geometries[frame][shuffled])
    order = named_order(caught.value)
    assert is_symmetry(ethanol_force_field, shuffled[order])
    check_molecule(
        ethanol_force_field, numbers[shuffled][order], geometries[frame][shuffled][order]
    )


@pytest.mark.parametrize("swap", [(3, 8), (5, 3), (3, 4), (5, 6), (0, 1)])
def test_exchanged_like_atoms_are_found_and_only_they_are_moved(
    ethanol_force_field, numbers, geometries, swap
):
    # Two hydrogens of one methyl group too: the group's handedness tells.
    wrong = np.arange(9)
    wrong[list(swap)] = wrong[list(swap[::-1])]
    for geometry in geometries[:20]:
        with pytest.raises(GeometryError, match="check_order=False") as caught:
            check_order(ethanol_force_field, geometry[wrong])
        assert is_symmetry(ethanol_force_field, wrong[named_order(caught.value)])
        assert (named_order(caught.value) != np.arange(9)).sum() <= 4


def test_exchange_names_the_odd_distance(ethanol_force_field, geometries):
    hydroxyl = int(np.linalg.norm(geometries[0][3:] - geometries[0][2], axis=1).argmin()) + 3
    other = 3 if hydroxyl != 3 else 5
    wrong = np.arange(9)
    wrong[[hydroxyl, other]] = other, hydroxyl
    with pytest.raises(GeometryError, match=r"distance O2-H[35] is \d\.\d+ Å, in the training"):
        check_order(ethanol_force_field, geometries[0][wrong])


@pytest.mark.parametrize("size", [0.1, 0.3, 0.6])
def test_distorted_geometries_pass(ethanol_force_field, geometries, size):
    random = np.random.default_rng(1)
    for geometry in geometries[:30]:
        check_order(ethanol_force_field, geometry + size * random.normal(size=geometry.shape))


@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_squeezed_and_stretched_geometries_pass(ethanol_force_field, geometries, factor):
    for geometry in geometries[:30]:
        check_order(ethanol_force_field, factor * geometry)


@pytest.mark.parametrize("atom", range(3, 9))
def test_dissociated_geometries_pass(ethanol_force_field, geometries, atom):
    for geometry in geometries[:5]:
        pulled = geometry.copy()
        heavy = geometry[:3][np.linalg.norm(geometry[:3] - geometry[atom], axis=1).argmin()]
        pulled[atom] += 2.0 * (geometry[atom] - heavy)
        check_order(ethanol_force_field, pulled)


def test_order_without_positions_says_what_it_does_not_know(ethanol_force_field, numbers):
    with pytest.raises(GeometryError, match="needs C C O H H H H H H, but they come as O C C H"):
        check_molecule(ethanol_force_field, numbers[[2, 0, 1, 3, 4, 5, 6, 7, 8]])


def test_models_without_training_positions_check_alike(ethanol_force_field, geometries):
    parameters = dataclasses.replace(
        ethanol_force_field.parameters, training_positions=None, coefficients=None
    )
    imported = OrderReference.of(kraft.ForceField(parameters))
    original = OrderReference.of(ethanol_force_field)
    assert len(original.region.quadruples) == 8
    np.testing.assert_array_equal(imported.region.quadruples, original.region.quadruples)
    imported.check(geometries[0])
    with pytest.raises(GeometryError, match=r"mirrored arrangement|distance"):
        imported.check(geometries[0][[0, 1, 2, 3, 4, 6, 5, 7, 8]])


def test_positions_that_are_no_geometry_are_left_to_the_model(ethanol_force_field):
    check_order(ethanol_force_field, np.full((9, 3), np.nan))
    check_order(ethanol_force_field, np.zeros((4, 3)))
