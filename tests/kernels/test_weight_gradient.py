import numpy as np
import pytest
import torch
from molecules import CHIRAL, TWO_ROTORS, WATER, every_other_orbit

import kraft.kernels.weight_gradient as module
from kraft.descriptors import PairFeatures
from kraft.kernels import radial_kernel
from kraft.kernels.covariance_tiles import CovarianceTiles
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.weight_gradient import weight_gradient
from kraft.symmetry.orbits import feature_orbits, feature_permutations

KERNELS = ["matern52", "matern72", "gaussian"]


class Case:
    """Covariances of some geometries with others as a function of the features' factors."""

    def __init__(self, molecule, kernel, *, features=None, n_rows=4, n_columns=3, seed=0):
        self.kernel = radial_kernel(kernel)
        self.table = feature_permutations(molecule.permutations, features)
        self.orbits = feature_orbits(molecule.permutations, features)
        self.descriptor = PairFeatures(molecule.n_atoms, features=features)
        self.rows = torch.tensor(molecule.frames(n_rows, seed=seed))
        self.columns = torch.tensor(molecule.frames(n_columns, seed=seed + 1))
        n_features = self.table.shape[1]
        rng = np.random.default_rng(seed)
        self.scale = np.ones(n_features)
        for orbit in self.orbits:
            self.scale[orbit] = rng.uniform(0.5, 2.0)
        self.center = self.descriptor.values(self.rows).mean(dim=0)[torch.tensor(self.table)]
        self.center = self.center.mean(dim=0)

    def geometries(self, positions, scale):
        return ReducedGeometries.from_positions(
            self.descriptor, positions, torch.tensor(scale), self.center
        )

    def matrix(self, scale, rows, columns):
        """Return the covariances ``(T, r, C, r')``."""
        left, right = self.geometries(rows, scale), self.geometries(columns, scale)
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

    def differences(self, cofactors, rows, columns):
        """Return ``Σ ⟨G, ∂K/∂ln w⟩`` for every orbit by finite differences."""
        slopes = []
        for orbit in self.orbits:
            values = []
            for step in (1e-5, -1e-5):
                scale = self.scale.copy()
                scale[orbit] *= np.exp(step)
                values.append(float((cofactors * self.matrix(scale, rows, columns)).sum()))
            slopes.append((values[0] - values[1]) / 2e-5)
        return np.array(slopes)

    def by_orbit(self, gradient):
        return np.array([float(gradient[torch.tensor(orbit)].sum()) for orbit in self.orbits])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("molecule", [WATER, CHIRAL, TWO_ROTORS], ids=repr)
def test_against_finite_differences(molecule, kernel):
    case = Case(molecule, kernel)
    rows, columns = (case.geometries(p, case.scale) for p in (case.rows, case.columns))
    shape = case.matrix(case.scale, case.rows, case.columns).shape
    cofactors = torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(0))
    got = weight_gradient(
        case.kernel, case.table, rows, columns, lambda top, right: cofactors[top, :, right]
    )
    expected = case.differences(cofactors, case.rows, case.columns)
    np.testing.assert_allclose(case.by_orbit(got), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("features", [None, "some"])
@pytest.mark.parametrize("tile", [1, 300_000])
def test_half_of_a_symmetric_matrix_is_enough(tile, features, monkeypatch):
    """Coincident geometries included, and whatever the size of the tiles."""
    monkeypatch.setattr(module, "TILE_ELEMENTS", tile)
    kept = None if features is None else every_other_orbit(TWO_ROTORS)
    case = Case(TWO_ROTORS, "matern52", features=kept, n_rows=5)
    geometries = case.geometries(case.rows, case.scale)
    shape = case.matrix(case.scale, case.rows, case.rows).shape
    cofactors = torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(0))
    cofactors = cofactors + cofactors.permute(2, 3, 0, 1)
    arguments = (
        case.kernel,
        case.table,
        geometries,
        geometries,
        lambda top, right: cofactors[top, :, right],
    )
    half, whole = (weight_gradient(*arguments, symmetric=flag) for flag in (True, False))
    np.testing.assert_allclose(case.by_orbit(half), case.by_orbit(whole), rtol=1e-10, atol=1e-10)
    expected = case.differences(cofactors, case.rows, case.rows)
    np.testing.assert_allclose(case.by_orbit(half), expected, rtol=1e-6, atol=1e-6)
