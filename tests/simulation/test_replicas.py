from __future__ import annotations

import json

import numpy as np
import pytest
from springs import NUMBERS, REST, run, springs, water_replicas

from kraft.core.errors import GeometryError, OptionError
from kraft.simulation.integrators import Langevin, VelocityVerlet
from kraft.simulation.motion import ModelForces
from kraft.simulation.replicas import Replicas, State
from kraft.simulation.system import System, without_rigid_motion


def test_it_goes_on_from_its_state_bit_for_bit():
    integrator = Langevin(0.5, 300.0)
    whole = run(water_replicas(integrator, 3), 60)
    begun = run(water_replicas(integrator, 3), 25)
    state = begun.state
    run(begun, 10)  # does not disturb the state
    restored = State(state.step, state.replicas, state.motion, json.loads(json.dumps(state.random)))
    continued = run(Replicas(begun.system, integrator, springs, restored), 35)
    assert continued.step == whole.step == 60
    assert whole.time == pytest.approx(0.03)
    np.testing.assert_array_equal(continued.motion.positions, whole.motion.positions)
    np.testing.assert_array_equal(continued.motion.velocities, whole.motion.velocities)


def test_replicas_left_out_do_not_disturb_the_others():
    integrator = Langevin(0.5, 300.0)
    whole = run(water_replicas(integrator, 4), 40)
    fewer = run(water_replicas(integrator, 4), 15)
    fewer.keep([0, 3])
    assert len(fewer) == 2 and fewer.replicas == (0, 3)
    run(fewer, 25)
    np.testing.assert_array_equal(fewer.motion.positions, whole.motion.positions[[0, 3]])


def test_seeds_and_numbers_decide():
    first, second, other = (
        water_replicas(Langevin(0.5, 300.0), 2, seed=seed).motion.velocities for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


def test_constant_energy_starts_exactly_at_the_temperature():
    replicas = water_replicas(VelocityVerlet(0.5), 3, temperature=250.0)
    temperatures = replicas.system.temperatures(replicas.motion.velocities)
    np.testing.assert_allclose(temperatures, 250.0)
    cold = water_replicas(VelocityVerlet(0.5), temperature=0.0)
    assert not cold.motion.velocities.any()


@pytest.mark.parametrize(
    ("positions", "cell", "expected"),
    [
        (REST, None, 3),
        (np.array([[0.0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]]), None, 4),
        (REST, 10.0 * np.eye(3), 6),
    ],
)
def test_degrees_of_freedom(positions, cell, expected):
    system = System.of(NUMBERS, positions[None], keeps_momentum=True, cell=cell)
    assert system.degrees_of_freedom == expected
    assert System.of(NUMBERS, positions[None], keeps_momentum=False).degrees_of_freedom == 9


def test_rigid_motion_is_taken_away_and_nothing_else():
    rng = np.random.default_rng(0)
    positions = REST + 0.1 * rng.normal(size=(4, 3, 3))
    velocities, masses = rng.normal(size=(4, 3, 3)), np.array([16.0, 1.0, 1.0])
    still = without_rigid_motion(positions, velocities, masses, free=True)
    momenta = masses[:, None] * still
    np.testing.assert_allclose(momenta.sum(axis=1), 0.0, atol=1e-13)
    np.testing.assert_allclose(np.cross(positions, momenta).sum(axis=1), 0.0, atol=1e-13)
    removed = velocities - still
    np.testing.assert_allclose((momenta * removed).sum(axis=(1, 2)), 0.0, atol=1e-12)
    distances = np.einsum("rix,rix->ri", positions[:, [0]] - positions, removed[:, [0]] - removed)
    np.testing.assert_allclose(distances, 0.0, atol=1e-13)  # a rigid motion keeps distances


def test_forces_that_a_model_refuses_are_nan(ethanol_force_field, ethanol_parts):
    positions = ethanol_parts.test.positions[:3].copy()
    energies, forces = ethanol_force_field.predict(positions)
    positions[1, 4] = positions[1, 5]
    found_energies, found_forces = ModelForces(ethanol_force_field)(positions)
    assert np.isnan(found_energies[1]) and np.isnan(found_forces[1]).all()
    np.testing.assert_allclose(found_energies[[0, 2]], energies[[0, 2]])
    np.testing.assert_allclose(found_forces[[0, 2]], forces[[0, 2]], atol=1e-9)


def test_a_model_moves_a_batch_as_its_replicas_alone(ethanol_force_field, ethanol_parts):
    starts, forces = ethanol_parts.test.positions[:3], ModelForces(ethanol_force_field)
    system = System.of(ethanol_force_field.atomic_numbers, starts, keeps_momentum=False)
    integrator = Langevin(0.5, 300.0)

    def moved(rows):
        replicas = Replicas.start(
            system, integrator, forces, starts[rows], temperature=300.0, numbers=rows
        )
        return run(replicas, 40).motion.positions

    np.testing.assert_allclose(
        moved([0, 1, 2]), np.concatenate([moved([row]) for row in range(3)]), atol=1e-7
    )


def test_bad_starts():
    with pytest.raises(OptionError, match="not negative"):
        water_replicas(Langevin(0.5, 300.0), temperature=-1.0)
    system = System.of(NUMBERS, REST[None], keeps_momentum=False)
    with pytest.raises(GeometryError, match="finite start"):
        Replicas.start(
            system, Langevin(0.5, 300.0), springs, REST[None] * np.nan, temperature=300.0
        )
