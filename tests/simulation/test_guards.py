from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from springs import NUMBERS, REST

import kraft
from kraft.core.errors import GeometryError, OptionError
from kraft.data.geometry import pair_distances
from kraft.simulation.guards import (
    DistanceGuard,
    NoveltyGuard,
    TemperatureGuard,
    UncertaintyGuard,
    alarms,
    visited_distances,
)
from kraft.simulation.motion import Motion
from kraft.simulation.system import System

SYSTEM = System.of(NUMBERS, REST[None], keeps_momentum=False)


def motion_at(positions, velocities=None) -> Motion:
    zeros = np.zeros_like(positions)
    n = len(positions)
    return Motion(
        positions,
        zeros if velocities is None else velocities,
        zeros,
        np.zeros(n),
        np.zeros(n),
        np.empty((n, 0)),
    )


def stretched(bond: float) -> np.ndarray:
    """Water with its first O-H at this length in Å."""
    positions = REST.copy()
    positions[1] *= bond / np.linalg.norm(REST[1])
    return positions


@pytest.mark.parametrize(
    ("bond", "reason", "message"),
    [
        (0.70, None, ""),
        (0.96, None, ""),
        (1.40, None, ""),
        (1.50, "broken bond", "The bond O0-H1 is 1.50 Å long, beyond 1.46 Å."),
        (0.60, "close contact", "Atoms O0-H1 are 0.60 Å apart, nearer than 0.63 Å."),
    ],
)
def test_bonds(bond, reason, message):
    guard = DistanceGuard.of(NUMBERS, REST[None])
    found = guard.check(motion_at(np.array([REST, stretched(bond)])), SYSTEM)
    if reason is None:
        assert not found
    else:
        assert [(alarm.row, alarm.reason, alarm.message) for alarm in found] == [
            (1, reason, message)
        ]


def test_atoms_that_are_not_bonded_may_part_but_not_clash():
    guard = DistanceGuard.of(NUMBERS, REST[None])
    narrow = REST.copy()
    narrow[1], narrow[2] = [0.0, 0.3, 0.91], [0.0, -0.3, 0.91]  # H-H 0.6 Å
    found = guard.check(motion_at(narrow[None]), SYSTEM)
    assert found[0].reason == "close contact" and "H1-H2" in found[0].message
    straight = np.array([[0.0, 0, 0], [0.0, 0.96, 0], [0.0, -0.96, 0]])
    assert not guard.check(motion_at(straight[None]), SYSTEM)


def test_a_bond_of_some_starts_only_is_free_to_break():
    guard = DistanceGuard.of(NUMBERS, np.array([REST, stretched(3.0)]))
    assert not guard.check(motion_at(stretched(5.0)[None]), SYSTEM)
    assert guard.check(motion_at(stretched(0.5)[None]), SYSTEM)


def test_what_training_geometries_contain_is_no_alarm():
    seen = np.array([REST, stretched(2.0), stretched(0.5)])
    distances = pair_distances(seen)
    visited = (distances.min(axis=0), distances.max(axis=0))
    guard = DistanceGuard.of(NUMBERS, REST[None], visited=visited)
    assert not guard.check(motion_at(seen), SYSTEM)
    assert guard.check(motion_at(stretched(2.2)[None]), SYSTEM)[0].reason == "broken bond"


def test_visited_distances_are_those_of_all_equivalent_pairs(ethanol_force_field, ethanol_parts):
    shortest, longest = visited_distances(ethanol_force_field)
    positions, group = ethanol_parts.train.positions, ethanol_force_field.permutations
    brute = np.concatenate([pair_distances(positions[:, order]) for order in group])
    np.testing.assert_array_equal(shortest, brute.min(axis=0))
    np.testing.assert_array_equal(longest, brute.max(axis=0))
    parameters = dataclasses.replace(
        ethanol_force_field.parameters, training_positions=None, coefficients=None
    )
    assert visited_distances(kraft.ForceField(parameters)) is None


def test_distances_are_to_the_nearest_image():
    cell = 6.0 * np.eye(3)
    guard = DistanceGuard.of(NUMBERS, REST[None], cell=cell)
    moved = REST + np.array([[0.0, 0, 0], [6.0, 0, 0], [0, 0, -12.0]])
    assert not guard.check(motion_at(moved[None]), SYSTEM)


def test_starts_that_are_unsound_themselves():
    with pytest.raises(GeometryError, match=r"Start geometry 1.*O0-H1.*unit of length"):
        DistanceGuard.of(NUMBERS, np.array([REST, 0.4 * REST]))


def test_temperature_beyond_three_times_and_beyond_chance():
    guard = TemperatureGuard(300.0)
    assert guard.limit(1000) == 900.0
    assert guard.limit(1) > 40.0 * 300.0  # one motion is often very hot
    velocities = np.random.default_rng(0).normal(size=(2, 3, 3))
    wanted = np.array([0.99, 1.01]) * guard.limit(9)
    velocities *= np.sqrt(wanted / SYSTEM.temperatures(velocities))[:, None, None]
    found = guard.check(motion_at(np.array([REST, REST]), velocities), SYSTEM)
    assert [alarm.row for alarm in found] == [1]
    assert "300 K is wanted" in found[0].message


def test_novelty_and_uncertainty(ethanol_force_field, ethanol_parts):
    positions = np.concatenate(
        [ethanol_parts.train.positions[:2], 1.3 * ethanol_parts.train.positions[:1]]
    )
    motion = motion_at(positions)
    found = NoveltyGuard(ethanol_force_field, 1.5).check(motion, SYSTEM)
    assert [(alarm.row, alarm.reason) for alarm in found] == [(2, "novelty")]
    stds = ethanol_force_field.predict(positions, uncertainty=True).forces_std.max(axis=(1, 2))
    limit = 0.5 * (stds[1] + stds[2])
    found = UncertaintyGuard(ethanol_force_field, limit).check(motion, SYSTEM)
    assert [alarm.row for alarm in found] == [2]
    assert re.search(r"eV/Å, beyond", found[0].message)
    for guard in (NoveltyGuard, UncertaintyGuard):
        with pytest.raises(OptionError, match="positive limit"):
            guard(ethanol_force_field, 0.0)


def test_each_replica_has_one_alarm_and_what_is_not_finite_is_not_looked_at():
    broken, lost = stretched(1.8), REST * np.nan
    hot = np.zeros((4, 3, 3))
    hot[0] = hot[2] = 1.0
    motion = motion_at(np.array([broken, lost, REST, REST]), hot)
    guards = [DistanceGuard.of(NUMBERS, REST[None]), TemperatureGuard(300.0)]
    found = alarms(guards, motion, SYSTEM)
    assert [(alarm.row, alarm.reason) for alarm in found] == [
        (0, "broken bond"),
        (1, "not finite"),
        (2, "temperature"),
    ]
    assert [alarm.row for alarm in alarms(guards, motion.rows([1]), SYSTEM)] == [0]
    assert not alarms(guards, motion.rows([3]), SYSTEM)
