"""Scans against ASE's own constraint, finite differences and the minima of the model."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.constraints import FixInternals
from ase.optimize import BFGS

import kraft
from kraft.core.errors import OptionError
from kraft.interfaces.surface import InternalCoordinate, relax, scan

HYDROXYL = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def minimum(ethanol_force_field, ethanol_parts):
    return relax(ethanol_force_field, ethanol_parts.test.positions[3], fmax=1e-4).positions


@pytest.fixture(scope="module")
def turned(ethanol_force_field, minimum):
    return scan(ethanol_force_field, minimum, HYDROXYL, np.arange(-180.0, 181.0, 20.0))


def test_every_point_has_its_value_and_is_relaxed(turned):
    assert turned.full_turn and turned.converged.all() and not turned.interrupted
    coordinate = InternalCoordinate(HYDROXYL)
    for value, positions in zip(turned.values, turned.positions, strict=True):
        gap = coordinate.difference(coordinate.value(positions), float(value))
        assert gap == pytest.approx(0.0, abs=1e-6)
    assert turned.max_forces.max() < 1e-3
    assert turned.energies[0] == turned.energies[-1]


def test_a_point_is_that_of_ase(ethanol_force_field, turned):
    k = 3
    atoms = ase.Atoms(numbers=ethanol_force_field.atomic_numbers, positions=turned.positions[k])
    atoms.rattle(0.02, seed=1)
    atoms.set_dihedral(*HYDROXYL, turned.values[k], indices=[3])
    atoms.calc = kraft.KraftCalculator(ethanol_force_field)
    atoms.set_constraint(
        FixInternals(dihedrals_deg=[[float(turned.values[k]) % 360.0, list(HYDROXYL)]])
    )
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=300)
    assert atoms.get_potential_energy() == pytest.approx(turned.energies[k], abs=2e-5)


def test_slopes_are_derivatives_of_relaxed_energies(ethanol_force_field, turned):
    value = float(turned.values[2])
    near = scan(
        ethanol_force_field, turned.positions[2], HYDROXYL, value + np.array([-0.5, 0.0, 0.5]),
        fmax=1e-5,
    )  # fmt: skip
    numeric = near.energies[2] - near.energies[0]
    assert near.slopes[1] == pytest.approx(numeric, rel=1e-3)
    assert turned.slopes[2] == pytest.approx(numeric, rel=0.05)


def test_minima_of_the_profile_are_those_of_the_model(ethanol_force_field, turned):
    minima = turned.profile.minima()
    assert len(minima) == 3
    for point in minima:
        nearest = int(np.abs(turned.values - point.coordinate).argmin())
        reached = relax(ethanol_force_field, turned.positions[nearest])
        assert point.energy == pytest.approx(reached.energy_after, abs=5e-4)


def test_a_rigid_scan_keeps_the_rest(ethanol_force_field, minimum, turned):
    rigid = scan(ethanol_force_field, minimum, HYDROXYL, turned.values, relaxed=False)
    others = [0, 1, 2, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(rigid.positions[5][others], minimum[others], atol=1e-12)
    energies, _ = ethanol_force_field.predict(rigid.positions)
    np.testing.assert_allclose(rigid.energies, energies)
    assert (rigid.energies >= turned.energies - 1e-5).all()
    fine = scan(
        ethanol_force_field, minimum, HYDROXYL, rigid.values[4] + np.array([-0.1, 0.0, 0.1]),
        relaxed=False,
    )  # fmt: skip
    assert fine.slopes[1] == pytest.approx((fine.energies[2] - fine.energies[0]) / 0.2, rel=1e-3)


def test_bonds_and_angles(ethanol_force_field, minimum):
    for atoms, spread in (((1, 2), 0.03), ((0, 1, 2), 2.0)):
        now = InternalCoordinate(atoms).value(minimum)
        found = scan(ethanol_force_field, minimum, atoms, now + spread * np.arange(-2, 3))
        assert found.converged.all() and not found.full_turn
        (lowest,) = found.profile.minima()
        assert lowest.coordinate == pytest.approx(now, abs=0.1 * spread)


def test_the_far_away_never_counts_as_lower(ethanol_force_field, minimum):
    now = InternalCoordinate((1, 2)).value(minimum)
    near = scan(ethanol_force_field, minimum, (1, 2), now + 0.1 * np.arange(2))
    far = scan(ethanol_force_field, minimum, (1, 2), now + 0.7 * np.arange(4), max_steps=40)
    assert far.novelty[0] < 2.0 < far.novelty[-1]
    assert far.energies[0] == pytest.approx(near.energies[0], abs=1e-5)


def test_an_interruption_keeps_what_is_done(ethanol_force_field, minimum):
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 60

    found = scan(
        ethanol_force_field, minimum, HYDROXYL, np.arange(0.0, 361.0, 30.0), stop_requested=stop
    )
    assert found.interrupted and 0 < len(found.values) < 13
    assert len(found.values) == len(found.energies) == len(found.positions)


def test_what_makes_no_sense_is_refused(ethanol_force_field, minimum):
    for atoms, values, words in [
        ((3, 2, 1, 9), [0.0, 10.0], "0 to 8"),
        (HYDROXYL, [0.0], "2 to"),
        (HYDROXYL, [0.0, -10.0], "rising"),
        (HYDROXYL, [0.0, 400.0], "full turn"),
        ((0, 1), [-1.0, 1.0], "positive bond"),
    ]:
        with pytest.raises(OptionError, match=words):
            scan(ethanol_force_field, minimum, atoms, values)
