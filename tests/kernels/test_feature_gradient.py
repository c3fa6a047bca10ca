import numpy as np
import pytest
import torch
from kernel_cases import random_mixing
from molecules import CHIRAL, TWO_ROTORS, WATER, every_other_orbit

import kraft.kernels.feature_gradient as module
from kraft.descriptors import FeatureMap, PairFeatures
from kraft.kernels import feature_classes, radial_kernel
from kraft.kernels.covariance_tiles import CovarianceTiles
from kraft.kernels.feature_gradient import feature_gradient
from kraft.kernels.geometries import ReducedGeometries
from kraft.symmetry.orbits import feature_orbits, feature_permutations

KERNELS = ["matern52", "matern72", "gaussian"]


class Case:
    """Covariances of some geometries with others as a function of what makes the features."""

    def __init__(self, molecule, kernel, *, features=None, n_rows=4, n_columns=3, seed=0):
        self.kernel = radial_kernel(kernel)
        self.table = feature_permutations(molecule.permutations, features)
        self.descriptor = PairFeatures(molecule.n_atoms, features=features)
        self.rows = torch.tensor(molecule.frames(n_rows, seed=seed))
        self.columns = torch.tensor(molecule.frames(n_columns, seed=seed + 1))
        rng = np.random.default_rng(seed)
        self.scale = torch.ones(self.table.shape[1], dtype=torch.float64)
        for orbit in feature_orbits(molecule.permutations, features):
            self.scale[torch.tensor(orbit)] = rng.uniform(0.5, 2.0)
        center = self.descriptor.values(self.rows).mean(dim=0)[torch.tensor(self.table)]
        self.center = center.mean(dim=0)
        self.mixing = random_mixing(self.table)

    def geometries(self, positions, change=0.0):
        mixing = self.mixing + change
        feature_map = FeatureMap(self.scale, self.center, mixing)
        return ReducedGeometries.from_positions(self.descriptor, positions, feature_map)

    def matrix(self, left, right):
        """Return the covariances ``(T, r, C, r')``."""
        tiles = CovarianceTiles(
            self.kernel, self.table, dtype=torch.float64, device=torch.device("cpu")
        )
        return tiles.tile(
            tiles.rows(left, slice(None)),
            right,
            slice(0, len(right)),
            row_energies=False,
            column_energies=False,
        )

    def response(self, gradient, rows, change):
        """Return the derivative along a change of the mixing, from that by the features."""
        unmixed = FeatureMap(self.scale, self.center)
        plain = ReducedGeometries.from_positions(self.descriptor, rows, unmixed)
        moved = plain.features.values @ change
        turned = change @ plain.reduced_jacobians(slice(None))
        return float((gradient.values * moved).sum() + (gradient.jacobians * turned).sum())


def symmetric_change(case, seed=3):
    return random_mixing(case.table, seed=seed) - torch.eye(len(case.scale)).double()


@pytest.mark.parametrize("pass_cost", [-1.0, 1e9])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("molecule", [WATER, CHIRAL, TWO_ROTORS], ids=repr)
def test_rows_against_finite_differences(molecule, kernel, pass_cost, monkeypatch):
    """What the features of the rows change, those of the columns being left alone.

    With as many classes of features as there can be, and with one.
    """
    monkeypatch.setattr(feature_classes, "PASS_COST", pass_cost)
    case = Case(molecule, kernel)
    rows, columns = (case.geometries(positions) for positions in (case.rows, case.columns))
    shape = case.matrix(rows, columns).shape
    cofactors = torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(0))
    found = feature_gradient(
        case.kernel, case.table, rows, columns, lambda top, right: cofactors[top, :, right]
    )
    change, values = symmetric_change(case), []
    for step in (1e-5, -1e-5):
        moved = case.geometries(case.rows, step * change)
        values.append(float((cofactors * case.matrix(moved, columns)).sum()))
    expected = (values[0] - values[1]) / 2e-5
    assert case.response(found, case.rows, change) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("features", [None, "some"])
@pytest.mark.parametrize("tile", [1, 300_000])
def test_twice_the_rows_where_the_columns_are_the_same(tile, features, monkeypatch):
    """Coincident geometries included, and whatever the size of the tiles."""
    monkeypatch.setattr(module, "TILE_ELEMENTS", tile)
    kept = None if features is None else every_other_orbit(TWO_ROTORS)
    case = Case(TWO_ROTORS, "matern52", features=kept, n_rows=5)
    geometries = case.geometries(case.rows)
    shape = case.matrix(geometries, geometries).shape
    cofactors = torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(0))
    cofactors = cofactors + cofactors.permute(2, 3, 0, 1)
    found = feature_gradient(
        case.kernel, case.table, geometries, geometries, lambda top, right: cofactors[top, :, right]
    )
    change, values = symmetric_change(case), []
    for step in (1e-5, -1e-5):
        moved = case.geometries(case.rows, step * change)
        values.append(float((cofactors * case.matrix(moved, moved)).sum()))
    expected = (values[0] - values[1]) / 2e-5
    got = 2.0 * case.response(found, case.rows, change)
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)
