from __future__ import annotations

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet as AseVerlet
from scipy.stats import chi2, kstest
from springs import NUMBERS, REST, run, springs, water_replicas

from kraft.core.errors import OptionError
from kraft.simulation.integrators import (
    Langevin,
    NoseHooverChain,
    VelocityRescaling,
    VelocityVerlet,
)
from kraft.simulation.motion import Motion
from kraft.simulation.noise import Noise
from kraft.simulation.system import BOLTZMANN, System

KEEPING = [VelocityVerlet(0.5), VelocityRescaling(0.5, 300.0), NoseHooverChain(0.5, 300.0)]
THERMOSTATS = [
    Langevin(0.5, 300.0, 0.05),
    VelocityRescaling(0.5, 300.0, 20.0),
    NoseHooverChain(0.5, 300.0, 20.0),
]


class Springs(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, forces=springs):
        super().__init__()
        self._forces = forces

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energies, forces = self._forces(atoms.positions[None])
        self.results = {"energy": float(energies[0]), "forces": forces[0]}


def as_ase(motion: Motion, forces=springs) -> Atoms:
    atoms = Atoms(numbers=NUMBERS, positions=motion.positions[0])
    atoms.set_velocities(motion.velocities[0] / ase.units.fs)
    atoms.calc = Springs(forces)
    return atoms


def totals(replicas) -> np.ndarray:
    motion = replicas.motion
    return motion.potential + replicas.system.kinetic(motion.velocities) - motion.heat


def test_springs_of_the_tests_have_the_forces_of_their_energy():
    rng = np.random.default_rng(0)
    positions = REST + 0.1 * rng.normal(size=(1, 3, 3))
    _, forces = springs(positions)
    for atom, axis in np.ndindex(3, 3):
        step = np.zeros_like(positions)
        step[0, atom, axis] = 1e-6
        slope = (springs(positions + step)[0] - springs(positions - step)[0]) / 2e-6
        assert forces[0, atom, axis] == pytest.approx(-slope[0], abs=1e-7)


def test_verlet_is_that_of_ase():
    replicas = water_replicas(VelocityVerlet(0.5))
    atoms = as_ase(replicas.motion)
    AseVerlet(atoms, 0.5 * ase.units.fs).run(100)
    run(replicas, 100)
    np.testing.assert_allclose(replicas.motion.positions[0], atoms.positions, atol=1e-11)
    np.testing.assert_allclose(
        replicas.motion.velocities[0], atoms.get_velocities() * ase.units.fs, atol=1e-12
    )


def test_langevin_is_that_of_ase():
    theirs = pytest.importorskip("ase.md.langevinbaoab").LangevinBAOAB
    replicas = water_replicas(Langevin(0.5, 300.0, 0.02))
    random = Noise.restored(replicas.state.random)._generators[0]
    atoms = as_ase(replicas.motion)
    tau = 50.0 * ase.units.fs
    theirs(atoms, 0.5 * ase.units.fs, temperature_K=300.0, T_tau=tau, rng=random).run(100)
    run(replicas, 100)
    np.testing.assert_allclose(replicas.motion.positions[0], atoms.positions, atol=1e-10)


def free(positions):
    return np.zeros(len(positions)), np.zeros_like(positions)


def test_rescaling_factors_are_those_of_ase():
    """Without forces a step is nothing but the factor."""
    theirs = pytest.importorskip("ase.md.bussi").Bussi
    starts = REST[None]
    system = System.of(NUMBERS, starts, keeps_momentum=False)  # ASE counts all 3N motions
    noise = Noise.seeded(1, [0])
    velocities = system.draw_velocities(starts, 300.0, noise, keeps_momentum=True)
    zeros = np.zeros(1)
    motion = Motion(starts, velocities, *free(starts)[::-1], zeros, np.empty((1, 0)))
    atoms = as_ase(motion, free)
    random = Noise.restored(noise.states)._generators[0]
    dynamics = theirs(atoms, 0.5 * ase.units.fs, 300.0, 20.0 * ase.units.fs, rng=random)
    integrator = VelocityRescaling(0.5, 300.0, 20.0)
    for _ in range(50):
        motion = integrator.step(motion, system, free, noise)
    dynamics.run(50)
    np.testing.assert_allclose(motion.velocities[0], atoms.get_velocities() * ase.units.fs)
    assert motion.heat[0] == pytest.approx(dynamics.transferred_energy)


def test_chain_follows_the_equations_of_motion_as_ase_does():
    """Both are second-order integrators of one differential equation."""
    theirs = pytest.importorskip("ase.md.nose_hoover_chain").NoseHooverChainNVT
    starts = REST[None]
    system = System.of(NUMBERS, starts, keeps_momentum=False)
    noise = Noise.seeded(1, [0])
    velocities = system.draw_velocities(starts, 900.0, noise, keeps_momentum=True)
    potential, forces = springs(starts)
    start = Motion(starts, velocities, forces, potential, np.zeros(1), np.zeros((1, 3)))
    gaps = []
    for timestep in (0.2, 0.1):
        motion, integrator = start, NoseHooverChain(timestep, 300.0, 5.0)
        atoms = as_ase(start)
        n_steps = round(20.0 / timestep)
        theirs(atoms, timestep * ase.units.fs, 300.0, 5.0 * ase.units.fs).run(n_steps)
        for _ in range(n_steps):
            motion = integrator.step(motion, system, springs, noise)
        gaps.append(np.abs(motion.positions[0] - atoms.positions).max())
    verlet = start
    for _ in range(n_steps):
        verlet = VelocityVerlet(0.1).step(verlet, system, springs, noise)
    assert gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 0.02 * np.abs(verlet.positions[0] - atoms.positions).max()


@pytest.mark.parametrize("integrator", [*KEEPING, *THERMOSTATS], ids=repr)
def test_energy_less_heat_is_conserved_to_second_order(integrator):
    spreads = []
    for timestep in (0.4, 0.2):
        changed = type(integrator)(**{**vars(integrator), "timestep": timestep})
        replicas = water_replicas(changed, 4, seed=2)
        trace = []
        for _ in range(round(60.0 / timestep)):
            replicas.advance()
            trace.append(totals(replicas))
        spreads.append(np.std(trace, axis=0).mean())
    assert spreads[0] < 0.02
    assert spreads[1] < 0.45 * spreads[0]


def test_energy_does_not_drift():
    replicas = water_replicas(VelocityVerlet(0.2), seed=4)
    trace = []
    for _ in range(4000):
        replicas.advance()
        trace.append(totals(replicas)[0])
    slope = np.polyfit(np.arange(4000) * 2e-4, trace, 1)[0]
    assert abs(slope) < 1e-4  # eV/ps
    assert np.ptp(trace) > 1e-5


@pytest.mark.parametrize("integrator", KEEPING, ids=repr)
def test_momentum_and_angular_momentum_stay_zero(integrator):
    replicas = run(water_replicas(integrator, 3), 300)
    motion, masses = replicas.motion, replicas.system.masses[:, None]
    momenta = masses * motion.velocities
    scale = np.abs(momenta).max()
    assert scale > 0.0
    assert np.abs(momenta.sum(axis=1)).max() < 1e-13 * scale * 300
    assert np.abs(np.cross(motion.positions, momenta).sum(axis=1)).max() < 1e-11 * scale


@pytest.mark.parametrize("integrator", THERMOSTATS[:2], ids=repr)
def test_kinetic_energies_have_the_canonical_distribution(integrator):
    """Independent replicas that start too cold."""
    n = 250
    replicas = run(water_replicas(integrator, n, temperature=150.0, seed=1), 500)
    degrees = replicas.system.degrees_of_freedom
    assert degrees == (9 if isinstance(integrator, Langevin) else 3)
    kinetic = replicas.system.kinetic(replicas.motion.velocities)
    scaled = 2.0 * kinetic / (BOLTZMANN * 300.0)
    assert kstest(scaled, chi2(degrees).cdf).pvalue > 0.01
    assert kstest(1.25 * scaled, chi2(degrees).cdf).pvalue < 0.01
    potential = replicas.motion.potential / (BOLTZMANN * 300.0)
    error = potential.std() / np.sqrt(n)
    assert abs(potential.mean() - 1.5) < 4.0 * error < 0.4


def test_chain_of_one_link_brings_the_mean_temperature():
    """The mean excess of the kinetic energy is the change of the link's velocity over the time."""
    replicas = water_replicas(NoseHooverChain(0.5, 300.0, 20.0, length=1), 2, temperature=150.0)
    temperatures = []
    for _ in range(1600):
        replicas.advance()
        temperatures.append(replicas.system.temperatures(replicas.motion.velocities))
    assert np.mean(temperatures) == pytest.approx(300.0, rel=0.04)
    assert np.mean(temperatures[:20]) < 200.0


@pytest.mark.parametrize("integrator", [*KEEPING, *THERMOSTATS], ids=repr)
def test_a_batch_moves_as_its_replicas_alone(integrator):
    together = run(water_replicas(integrator, 4, seed=7), 200).motion
    for number in range(4):
        alone = run(water_replicas(integrator, seed=7, numbers=[number]), 200).motion
        for name in ("positions", "velocities", "heat", "thermostat"):
            np.testing.assert_array_equal(
                getattr(together, name)[number], getattr(alone, name)[0], err_msg=name
            )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VelocityVerlet(0.0), "timestep in fs"),
        (lambda: Langevin(0.5, -300.0), "temperature in K"),
        (lambda: Langevin(0.5, 300.0, float("nan")), "friction in 1/fs"),
        (lambda: VelocityRescaling(0.5, 300.0, 0.0), "time_constant in fs"),
        (lambda: NoseHooverChain(0.5, 300.0, length=0), "at least 1 link"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(OptionError, match=message):
        make()
