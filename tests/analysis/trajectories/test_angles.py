"""Dihedral angles, minima and free energies against known geometry and known potentials."""

from __future__ import annotations

import ase.units
import numpy as np
import pytest

from kraft.analysis.trajectories import (
    angle_histogram,
    dihedral_angles,
    find_basins,
    free_energy_profile,
    occupations,
)
from kraft.core.errors import GeometryError, OptionError

BARRIER = 0.05  # eV
TEMPERATURE = 300.0


def butane_like(angles):
    """Four atoms with these dihedral angles in degrees, ``(T, 4, 3)``."""
    phi = np.radians(angles)
    zero = np.zeros_like(phi)
    last = np.stack([np.cos(phi), np.sin(phi), zero + 2.0], axis=1)
    fixed = np.array([[1.0, 0.0, -0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 1.5]])
    return np.concatenate([np.repeat(fixed[None], len(phi), 0), last[:, None]], axis=1)


def boltzmann(n, seed):
    """Independent angles of ``V = BARRIER/2 (1 - cos 3φ) + 0.01 (1 - cos φ)`` in degrees."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-180.0, 180.0, 6 * n)
    weights = np.exp(-potential(angles) / (ase.units.kB * TEMPERATURE))
    return angles[rng.uniform(size=len(angles)) < weights][:n]


def potential(angles):
    phi = np.radians(angles)
    return 0.5 * BARRIER * (1.0 - np.cos(3.0 * phi)) + 0.01 * (1.0 - np.cos(phi))


def test_known_dihedrals_with_their_sign():
    angles = np.array([0.0, 60.0, -60.0, 180.0, 179.0, -179.5])
    found = dihedral_angles(butane_like(angles), (0, 1, 2, 3))
    np.testing.assert_allclose(found, angles, atol=1e-9)
    backwards = dihedral_angles(butane_like(angles), (3, 2, 1, 0))
    np.testing.assert_allclose(backwards, found, atol=1e-9)


def test_ase_agrees(ethanol):
    atoms = ase.Atoms(ethanol.atomic_numbers, ethanol.positions[7])
    found = dihedral_angles(ethanol.positions[7:8], (8, 2, 0, 1))[0]
    assert found % 360.0 == pytest.approx(atoms.get_dihedral(8, 2, 0, 1), abs=1e-8)


def test_what_has_no_dihedral_is_refused():
    line = np.array([[[0.0, 0, 0], [0, 0, 1.0], [0, 0, 2.0], [0, 1.0, 3.0]]])
    with pytest.raises(GeometryError, match="a line"):
        dihedral_angles(line, (0, 1, 2, 3))
    for atoms in ((0, 1, 2), (0, 1, 2, 2), (0, 1, 2, 4)):
        with pytest.raises(OptionError, match="4 different atoms"):
            dihedral_angles(line, atoms)
    with pytest.raises(OptionError, match="one length"):
        angle_histogram([1.0], [1.0, 2.0])


def test_the_free_energy_of_a_torsion_is_its_potential():
    angles = boltzmann(60_000, 0)
    profile = free_energy_profile([angles[:30_000], angles[30_000:]], TEMPERATURE, n_bins=36)
    exact = potential(profile.centers)
    scores = (
        profile.free_energies
        - exact
        - np.average(profile.free_energies - exact, weights=profile.density)
    )
    assert np.sqrt(np.mean((scores / profile.standard_errors) ** 2)) == pytest.approx(1.0, abs=0.4)
    assert np.abs(scores).max() < 5e-3 and profile.converged
    assert 360.0 / 36 * profile.density.sum() == pytest.approx(1.0)
    rare = free_energy_profile([np.array([1.0, 2.0, 3.0, 60.0])], 300.0)
    assert np.isinf(rare.free_energies).sum() == 70 and np.isnan(rare.standard_errors).sum() == 70
    with pytest.raises(OptionError, match="temperature"):
        free_energy_profile([angles], 0.0)


def test_occupations_of_a_torsion_are_boltzmanns():
    angles = boltzmann(40_000, 1)
    found = occupations([(angles,)])
    grid = np.linspace(-180.0, 180.0, 100_001)
    weights = np.exp(-potential(grid) / (ase.units.kB * TEMPERATURE))
    middle = weights[np.abs(grid) < 60.0].sum() / weights.sum()
    shares = [share.mean for share in found.shares]
    assert sum(shares) == pytest.approx(1.0) and shares[0] == max(shares)
    np.testing.assert_allclose(np.sort(found.basins.centers[:, 0]), [-120, 0, 120], atol=8.0)
    assert shares[0] == pytest.approx(middle, abs=0.02)
    given = occupations([(angles,)], centers=[0.0, 120.0, -120.0])
    share = given.shares[0]
    assert abs(share.mean - middle) < 4.0 * share.standard_error
    assert share.standard_error == pytest.approx(np.sqrt(middle * (1 - middle) / 40_000), rel=0.3)


def test_folding_makes_equivalent_minima_one():
    angles = boltzmann(20_000, 2)
    found = occupations([(angles,)], folds=(3,))
    assert len(found.shares) == 1 and found.shares[0].mean == 1.0
    assert angle_histogram(angles, folds=(3,)).periods == (120.0,)


def test_minima_of_two_angles_and_their_transitions():
    rng = np.random.default_rng(3)
    state = np.repeat([0, 1, 2, 0], [3000, 1500, 500, 1000])
    centers = np.array([[175.0, 60.0], [-65.0, 60.0], [60.0, -120.0]])
    pair = centers[state] + 12.0 * rng.normal(size=(len(state), 2))
    pair = (pair + 180.0) % 360.0 - 180.0  # the first minimum lies across the border
    found = occupations([(pair[:, 0], pair[:, 1])])
    assert [round(share.mean, 2) for share in found.shares] == [0.67, 0.25, 0.08]
    gaps = (found.basins.centers - centers + 180.0) % 360.0 - 180.0
    assert np.abs(gaps).max() < 9.0
    assert found.n_transitions <= 12
    labels = found.basins.assign(pair[:, 0], pair[:, 1])
    assert (labels == state).mean() > 0.998
    with pytest.raises(OptionError, match="2 angles"):
        find_basins(found.basins.histogram, centers=[1.0, 2.0])
