from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from symmetric_molecules import (
    AMMONIA,
    CARBON_DIOXIDE,
    ETHENE,
    HYDROGEN_CYANIDE,
    METHANE,
    WATER,
    chiral_rotor,
    shaken,
)

from kraft.core.errors import GeometryError, OptionError
from kraft.symmetry import find_permutations
from kraft.symmetry.group import closure, is_group

RIGID = [
    (METHANE, 24),
    (WATER, 2),
    (AMMONIA, 6),
    (CARBON_DIOXIDE, 2),
    (HYDROGEN_CYANIDE, 1),
    (ETHENE, 4),
    ((np.array([7, 7]), np.array([[0, 0, 0], [0, 0, 1.1]])), 2),
    ((np.array([6, 8]), np.array([[0, 0, 0], [0, 0, 1.1]])), 1),
    ((np.array([18]), np.zeros((1, 3))), 1),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("molecule", "order"), RIGID)
def test_shaken_rigid_molecules(molecule, order, seed):
    numbers, geometry = molecule
    found = find_permutations(shaken(geometry, 60, seed=seed), numbers, seed=seed)
    assert len(found) == order
    assert is_group(found.permutations)
    assert_array_equal(found.permutations[0], np.arange(len(numbers)))
    assert_array_equal(numbers[found.permutations], np.tile(numbers, (order, 1)))


@pytest.mark.parametrize("mirror", [False, True])
def test_a_methyl_group_that_turns_and_never_inverts(mirror):
    angles = np.random.default_rng(1).uniform(0, 2 * np.pi, 100)
    numbers, frames = chiral_rotor(angles)
    found = find_permutations(shaken(frames, 100, mirror=mirror), numbers)
    assert_array_equal(found.permutations, closure([[0, 1, 2, 3, 4, 6, 7, 5]]))
    assert [orbit.tolist() for orbit in found.atom_orbits if len(orbit) > 1] == [[5, 6, 7]]
    assert found.generators[0].support > 10


def test_a_methyl_group_that_does_not_turn_is_left_alone():
    numbers, frames = chiral_rotor(0.2 * np.random.default_rng(1).standard_normal(100))
    assert len(find_permutations(shaken(frames, 100, noise=0.02), numbers)) == 1


def test_permuted_copies_show_the_group_that_permuted_them():
    numbers, frames = chiral_rotor(np.zeros(1))
    group = closure([[0, 1, 2, 3, 4, 6, 7, 5]])
    frames = shaken(frames[0], 40, noise=0.02, permutations=group)
    assert_array_equal(find_permutations(frames, numbers).permutations, group)


@pytest.mark.parametrize(("molecule", "order"), RIGID)
def test_a_single_geometry_shows_its_point_group(molecule, order):
    numbers, geometry = molecule
    found = find_permutations(geometry[None], numbers)
    assert len(found) == order
    assert found.n_pairs == 0
    assert "single geometry" in found.notes[0]
    assert all(generator.exact for generator in found.generators)


def test_a_single_distorted_geometry_shows_nothing():
    numbers, geometry = METHANE
    assert len(find_permutations(shaken(geometry, 1, noise=0.15), numbers)) == 1


def test_duplicate_frames_do_no_harm():
    numbers, geometry = WATER
    frames = np.repeat(shaken(geometry, 1, noise=0.2), 5, axis=0)
    assert len(find_permutations(frames, numbers)) == 1


def test_a_periodic_cell_that_cuts_the_molecule():
    numbers, geometry = WATER
    cell = np.diag([6.0, 7.0, 8.0])
    whole = shaken(geometry, 40)
    wrapped = whole - np.floor(whole / np.diag(cell)) * np.diag(cell)
    assert len(find_permutations(wrapped, numbers, cell=cell)) == 2


def test_a_bound_gives_a_subgroup_and_says_so():
    numbers, geometry = METHANE
    found = find_permutations(shaken(geometry, 60), numbers, max_permutations=10)
    assert is_group(found.permutations)
    assert len(found) == 8
    assert found.group_order == 24
    assert "24" in found.notes[0]
    assert len(find_permutations(shaken(geometry, 60), numbers, max_permutations=1)) == 1


def test_the_same_seed_gives_the_same_and_stages_are_reported():
    numbers, geometry = AMMONIA
    stages = []
    frames = shaken(geometry, 50)
    before = frames.copy()

    def report(stage, done, total):
        stages.append(stage)
        assert 0 < done <= total

    first = find_permutations(frames, numbers, max_geometries=20, seed=3, progress=report)
    again = find_permutations(frames, numbers, max_geometries=20, seed=3)
    assert_array_equal(first.permutations, again.permutations)
    assert [g.support for g in first.generators] == [g.support for g in again.generators]
    assert first.n_geometries == 20
    assert first.n_pairs == 190
    assert "matching geometries" in stages
    assert first.seconds == pytest.approx(sum(time.seconds for time in first.times))
    assert_array_equal(frames, before)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((np.zeros((3, 3)), [8, 1, 1]), {}, GeometryError),
        ((np.zeros((2, 3, 3)), [8, 1]), {}, GeometryError),
        ((np.full((2, 3, 3), np.inf), [8, 1, 1]), {}, GeometryError),
        ((np.zeros((2, 3, 3)), [8, 1, 1]), {"cell": np.zeros((3, 3))}, GeometryError),
        ((np.zeros((2, 3, 3)), [8, 1, 1]), {"max_permutations": 0}, OptionError),
        ((np.zeros((2, 3, 3)), [8, 1, 1]), {"max_geometries": 0}, OptionError),
    ],
)
def test_bad_input(arguments, options, error):
    with pytest.raises(error, match="expected"):
        find_permutations(*arguments, **options)


def test_coincident_atoms_are_survived():
    numbers, geometry = METHANE
    frames = shaken(geometry, 5)
    frames[2] = 0.0
    assert is_group(find_permutations(frames, numbers).permutations)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("md17_benzene_recovered", 12),
        ("md17_uracil_recovered", 1),
        ("md17_naphthalene_recovered", 4),
        ("md17_aspirin_recovered", 6),
        ("aspirin_ccsd_train", 6),
        ("malonaldehyde_ccsd_t_train", 4),
        ("md17_ethanol_schnetpack2000", 6),
        ("ethanol_ccsd_t_train", 6),
        ("md17_toluene_recovered", 12),
        ("md17_paracetamol_train1000", 12),
        ("aff_glucose_alpha", 1),
        ("alkane_C4", 36),
    ],
)
def test_molecules_of_paper_002_and_others(reference_data, name, order):
    with np.load(reference_data / "data" / f"{name}.npz") as archive:
        positions, numbers = archive["R"], archive["z"]
    sample = np.random.default_rng(7).choice(len(positions), 200, replace=False)
    assert len(find_permutations(positions[sample], numbers, seed=7)) == order


def test_water_dimer(reference_data):
    with np.load(reference_data / "models" / "water_dimer_dataset.npz") as archive:
        found = find_permutations(archive["R"][::20], archive["z"])
    assert len(found) == 8
