from __future__ import annotations

import numpy as np
from symmetric_molecules import METHANE, chiral_rotor, shaken

from kraft.symmetry.distances import distance_matrices
from kraft.symmetry.verification import VisitedRegion, signed_volumes

ROTATION = np.array([0, 1, 2, 3, 4, 6, 7, 5])
EXCHANGE = np.array([0, 1, 2, 3, 4, 6, 5, 7])


def region_of(frames, numbers):
    distances = distance_matrices(frames)
    return VisitedRegion.of(frames, distances, numbers, None), distances


def rotor(mirror):
    angles = np.random.default_rng(5).uniform(0, 2 * np.pi, 200)
    numbers, frames = chiral_rotor(angles)
    return numbers, shaken(frames, 200, noise=0.02, mirror=mirror)


def test_a_turned_methyl_group_is_visited_and_an_inverted_one_is_not():
    for mirror in (False, True):
        numbers, frames = rotor(mirror)
        region, distances = region_of(frames, numbers)
        few = np.arange(20)
        for permutation, upright in ((ROTATION, True), (EXCHANGE, False)):
            rows = np.tile(permutation, (20, 1))
            # Distances alone cannot tell: the exchange is in range as well.
            assert (region.fraction_inside(distances[few], rows) > 0.99).mean() > 0.5
            assert (region.keeps_handedness(frames[few], rows, None) == upright).all()


def test_a_rotation_that_never_happens_is_out_of_range():
    numbers, frames = chiral_rotor(np.zeros(50))
    region, distances = region_of(shaken(frames, 50, noise=0.02), numbers)
    rows = np.tile(ROTATION, (50, 1))
    assert region.fraction_inside(distances, rows).max() < 0.9


def test_exchanging_a_bonded_and_a_distant_atom_is_out_of_range():
    numbers, frames = rotor(False)
    region, distances = region_of(frames, numbers)
    rows = np.tile([0, 1, 5, 3, 4, 2, 6, 7], (200, 1))
    assert region.fraction_inside(distances, rows).max() < 0.9


def test_a_single_center_may_be_mirrored_as_a_whole():
    numbers, geometry = METHANE
    frames = shaken(geometry, 30)
    region, _ = region_of(frames, numbers)
    assert len(region.quadruples) == 4
    rows = np.tile([0, 2, 1, 3, 4], (30, 1))
    assert region.keeps_handedness(frames, rows, None).all()


def test_signed_volumes_turn_over_in_the_mirror():
    _, geometry = METHANE
    quadruple = np.array([[0, 1, 2, 3]])
    volume = signed_volumes(geometry[None], quadruple)
    np.testing.assert_allclose(np.abs(volume), 0.7698, atol=1e-3)
    np.testing.assert_allclose(signed_volumes(-geometry[None], quadruple), -volume)
