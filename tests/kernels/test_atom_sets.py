"""Covariances of atom sets against automatic differentiation, and the operator's contract."""

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays, full_covariance
from contracts.operator_contract import OperatorContract, assembled
from molecules import BENZENE, MOLECULES, TWO_ROTORS, WATER, tensor

from kraft.kernels import KERNELS
from kraft.kernels.atom_geometries import Distances, LowerTiles, radial_factors
from kraft.kernels.atom_sets import AtomSet, AtomSetOperator, tile_shape


def operators(molecule, positions, kernel="matern52", *, tile=(2, 5), keep=True, cell=None):
    arrays = atomized_arrays(molecule, positions, cell=cell)
    tiles = LowerTiles(arrays.geometries, tile, keep=keep)
    factors = tiles.factors(KERNELS[kernel], LENGTH_SCALE, keep=keep)
    return [
        AtomSetOperator(atom_set, arrays.geometries, factors, arrays.descriptor)
        for atom_set in arrays.sets
    ]


def block(covariance, atoms):
    """Return the part of the full covariance that belongs to the forces on some atoms."""
    rows = torch.as_tensor(3 * np.asarray(atoms)[:, None] + np.arange(3)).reshape(-1)
    part = covariance[:, rows][:, :, :, rows]
    size = len(covariance) * len(rows)
    return part.reshape(size, size)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", [WATER, MOLECULES[1], MOLECULES[3]], ids=str)
def test_matrix_against_automatic_differentiation(molecule, kernel):
    positions = molecule.frames(3)
    covariance = full_covariance(molecule, positions, kernel)
    for operator in operators(molecule, positions, kernel, tile=(2, 2)):
        expected = block(covariance, operator.atom_set.atoms)
        torch.testing.assert_close(assembled(operator), expected, rtol=1e-8, atol=1e-10)


def test_periodic_cell_against_automatic_differentiation():
    cell = np.array([[4.0, 0.2, 0.0], [0.0, 4.5, 0.1], [0.0, 0.0, 5.0]])
    positions = WATER.frames(2) + np.array([0.0, 1.9, 0.0])
    covariance = full_covariance(WATER, positions, cell=cell)
    for operator in operators(WATER, positions, cell=cell):
        expected = block(covariance, operator.atom_set.atoms)
        torch.testing.assert_close(assembled(operator), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("molecule", [BENZENE, TWO_ROTORS], ids=str)
def test_many_permutations_against_the_kernel_operator(molecule):
    for operator in operators(molecule, molecule.frames(7)):
        expected = assembled(operator.whole)
        torch.testing.assert_close(assembled(operator), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tile", [(1, 1), (4, 4), (2, 5), (5, 2), (100, 100)], ids=str)
@pytest.mark.parametrize("keep", [True, False])
def test_tiles_do_not_show(tile, keep):
    positions = WATER.frames(9)
    for operator, whole in zip(
        operators(WATER, positions, tile=tile, keep=keep), operators(WATER, positions), strict=True
    ):
        torch.testing.assert_close(assembled(operator), assembled(whole), rtol=1e-12, atol=1e-14)


def test_cross_covariance_against_automatic_differentiation():
    """Of other geometries with these, by the same tiles."""
    positions = WATER.frames(5)
    arrays = atomized_arrays(WATER, positions)
    rows, columns = arrays.geometries.part(slice(3, 5)), arrays.geometries.part(slice(0, 3))
    squared = Distances(rows, columns).tile()
    factors = radial_factors(KERNELS["matern72"], LENGTH_SCALE, squared)
    covariance = full_covariance(WATER, positions, "matern72")
    for atom_set in arrays.sets:
        size = atom_set.block_size
        tile = atom_set.tile(rows, atom_set.columns(columns), factors)
        whole = block(covariance, atom_set.atoms)[3 * size :, : 3 * size]
        torch.testing.assert_close(
            tensor(tile.reshape(2 * size, 3 * size)), whole, rtol=1e-8, atol=1e-10
        )


def test_a_set_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="not closed"):
        AtomSet(np.array([0, 1]), WATER.permutations)


def test_sets_may_be_unions_of_orbits():
    """All atoms in one set: the whole force covariance."""
    positions = WATER.frames(3)
    arrays = atomized_arrays(WATER, positions, sets=[np.arange(3)])
    factors = arrays.tiles(keep=True).factors(KERNELS["matern52"], LENGTH_SCALE, keep=True)
    operator = AtomSetOperator(arrays.sets[0], arrays.geometries, factors, arrays.descriptor)
    expected = block(full_covariance(WATER, positions), np.arange(3))
    torch.testing.assert_close(assembled(operator), expected, rtol=1e-8, atol=1e-10)


def test_tiles_of_large_sets_are_smaller():
    assert tile_shape(1) > tile_shape(3) > tile_shape(6) >= (8, 16)


class TestContract(OperatorContract):
    @pytest.fixture(params=["one atom", "two atoms", "six atoms"])
    def operator(self, request):
        if request.param == "six atoms":
            return operators(BENZENE, BENZENE.frames(3))[1]
        return operators(WATER, WATER.frames(7))[request.param == "two atoms"]
