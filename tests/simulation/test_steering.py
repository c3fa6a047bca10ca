"""An external force on two atoms."""

from __future__ import annotations

import itertools

import ase.io
import numpy as np
import pytest
from springs import NUMBERS, REST, run, springs

from kraft.core.errors import OptionError, UnfinishedError
from kraft.simulation import (
    Langevin,
    Steering,
    VelocityRescaling,
    VelocityVerlet,
    Watching,
    run_md,
)
from kraft.simulation.replicas import Replicas
from kraft.simulation.steering import SteeredForces
from kraft.simulation.system import System

ALONG_LINE = Steering(1, 2, 400.0)
FIXED = Steering(1, 2, -250.0, (1.0, 0.5, -2.0))
BOTH = pytest.mark.parametrize("steering", [ALONG_LINE, FIXED], ids=["line", "direction"])


def shaken(n: int = 3) -> np.ndarray:
    """Water molecules out of shape."""
    return REST + 0.2 * np.random.default_rng(0).normal(size=(n, 3, 3))


def steered_water(integrator, steering, n=2) -> Replicas:
    starts = np.repeat(REST[None], n, axis=0)
    keeps = integrator.keeps_momentum
    system = System.of(NUMBERS, starts, keeps_momentum=keeps, turned=steering.turns)
    forces = SteeredForces(springs, steering)
    return Replicas.start(system, integrator, forces, starts, temperature=300.0)


def test_the_force_has_the_size_and_sign_that_are_asked_for():
    (up,) = Steering(1, 2, 1602.176634).pulls(REST[None])  # 1 eV/Å
    np.testing.assert_allclose(up, [0.0, -1.0, 0.0], atol=1e-9)  # from atom 1 to atom 2
    (along,) = Steering(0, 1, -160.2176634, (0.0, 0.0, 4.0)).pulls(REST[None])
    np.testing.assert_allclose(along, [0.0, 0.0, -0.1], atol=1e-10)
    assert str(ALONG_LINE) == "400.0 pN pulling atoms 1 and 2 along their line"
    assert str(FIXED) == "250.0 pN pushing atoms 1 and 2 along (1.0, 0.5, -2.0)"
    assert str(Steering(0, 1, 10)) == str(Steering(0, 1, 10.0))


@BOTH
def test_forces_are_the_gradient_of_the_potential_and_act_on_two_atoms(steering):
    positions, step = shaken(), 1e-5
    energies, forces = SteeredForces(springs, steering)(positions)
    bare_energies, bare_forces = springs(positions)
    np.testing.assert_allclose(energies - bare_energies, steering.potential(positions), rtol=1e-9)
    external = forces - bare_forces
    np.testing.assert_array_equal(external[:, 0], 0.0)
    np.testing.assert_allclose(external.sum(axis=1), 0.0, atol=1e-12)
    for atom, axis in itertools.product((1, 2), range(3)):
        shift = np.zeros((3, 3))
        shift[atom, axis] = step
        ends = [steering.potential(positions + sign * shift) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(external[:, atom, axis], -slope, atol=1e-8)


def test_given_forces_are_left_as_they_are():
    positions = shaken()
    kept = springs(positions)[1]
    kept.flags.writeable = False
    forces = SteeredForces(lambda where: (springs(where)[0], kept), ALONG_LINE)(positions)[1]
    assert not np.allclose(forces, kept)


@BOTH
def test_energy_with_the_potential_and_momentum_are_conserved(steering):
    replicas = steered_water(VelocityVerlet(0.1), steering)
    before = replicas.motion.potential + replicas.system.kinetic(replicas.motion.velocities)
    external = steering.potential(replicas.motion.positions)
    changes = []
    for _ in range(20):
        motion = run(replicas, 20).motion
        total = motion.potential + replicas.system.kinetic(motion.velocities)
        np.testing.assert_allclose(total, before, atol=2e-4)
        changes.append(steering.potential(motion.positions) - external)
        momenta = replicas.system.masses[:, None] * motion.velocities
        np.testing.assert_allclose(momenta.sum(axis=1), 0.0, atol=1e-12)
    assert np.abs(changes).max() > 1e-2  # the work is not small against the tolerance
    spin = np.cross(motion.positions, momenta).sum(axis=1)
    assert (np.abs(spin).max() < 1e-9) == (steering.direction is None)


def test_a_molecule_that_is_turned_has_its_rotation_in_the_temperature():
    integrator = VelocityRescaling(0.5, 300.0)
    assert steered_water(integrator, ALONG_LINE).system.degrees_of_freedom == 3
    replicas = steered_water(integrator, FIXED)
    assert replicas.system.degrees_of_freedom == 6
    momenta = replicas.system.masses[:, None] * replicas.motion.velocities
    assert np.abs(np.cross(replicas.motion.positions, momenta).sum(axis=1)).max() > 1e-3
    assert steered_water(Langevin(0.5, 300.0), FIXED).system.degrees_of_freedom == 9


def test_the_pull_lengthens_by_force_over_stiffness():
    """Two atoms on a spring, cooled down: F = k (r - r0)."""
    rest, stiffness = 1.5, 5.0

    def spring(positions):
        vectors = positions[:, 1] - positions[:, 0]
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        pull = stiffness * (length - rest) * vectors / length
        energy = 0.5 * stiffness * (length[:, 0] - rest) ** 2
        return energy, np.stack([pull, -pull], axis=1)

    start = np.array([[[0.0, 0.0, 0.0], [rest, 0.0, 0.0]]])
    system = System.of([6, 6], start, keeps_momentum=False)
    forces = SteeredForces(spring, Steering(0, 1, 801.088317))  # 0.5 eV/Å
    cold = Langevin(0.5, 1e-6, friction=0.05)
    motion = run(Replicas.start(system, cold, forces, start, temperature=0.0), 3000).motion
    length = np.linalg.norm(motion.positions[0, 1] - motion.positions[0, 0])
    assert length == pytest.approx(rest + 0.5 / stiffness, abs=1e-4)


@pytest.fixture
def steer(ethanol_force_field, starts, tmp_path):
    """Pull at ethanol for some steps in an empty folder."""

    def call(name="run.xyz", **options):
        given = {"n_steps": 40, "frame_interval": 5, "n_replicas": 2, "steering": ALONG_LINE}
        given |= {"integrator": Langevin(0.5, 300.0), "watching": Watching("warn"), **options}
        return run_md(ethanol_force_field, starts, tmp_path / name, **given)

    return call


def test_a_steered_run_is_written_resumed_and_not_gone_on_with_another_force(
    steer, ethanol_force_field
):
    whole = steer("whole.xyz")
    asked = itertools.count(1)
    with pytest.raises(UnfinishedError):
        steer(stop_requested=lambda: next(asked) >= 2)
    for other in (None, Steering(1, 2, 399.0), Steering(1, 3, 400.0), FIXED):
        with pytest.raises(OptionError, match="external force differs"):
            steer(resume=True, steering=other)
    resumed = steer(resume=True)
    assert resumed.replica_steps == 40
    for one, other in zip(whole.files.growing[:3], resumed.files.growing[:3], strict=True):
        assert one.read_bytes() == other.read_bytes()
    log, frames = resumed.log, ase.io.read(resumed.files.trajectories[1], ":")
    rows = log.replicas == 1
    positions = np.array([atoms.positions for atoms in frames])
    np.testing.assert_allclose(log.external[rows], ALONG_LINE.potential(positions), rtol=1e-12)
    energies = ethanol_force_field.predict(positions).energies  # frames have the molecule's own
    np.testing.assert_allclose(log.potential[rows], energies, atol=1e-8)
    assert frames[-1].get_potential_energy() == pytest.approx(energies[-1])


def test_the_table_tells_what_is_conserved(steer):
    log = steer(integrator=VelocityVerlet(0.25), n_steps=200).log
    total = log.potential + log.kinetic + log.external
    np.testing.assert_allclose(log.conserved, total, rtol=1e-12)
    for number in (0, 1):
        rows = log.replicas == number
        assert np.ptp(log.conserved[rows]) < 0.2 * np.ptp(log.external[rows])
    assert not steer("free.xyz", steering=None).log.external.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1, 10.0), "two different atoms"),
        ((-1, 1, 10.0), "numbered from 0"),
        ((0, 1, float("nan")), "finite force"),
        ((0, 1, 10.0, (0.0, 0.0, 0.0)), "not all 0"),
        ((0, 1, 10.0, (1.0, 0.0)), "three numbers"),
        ((0, 1, 10.0, (1.0, 0.0, float("inf"))), "direction"),
    ],
)
def test_forces_that_make_no_sense(arguments, message):
    with pytest.raises(OptionError, match=message):
        Steering(*arguments)


def test_atoms_that_are_not_there(steer, tmp_path):
    with pytest.raises(OptionError, match="numbered from 0 to 8"):
        steer(steering=Steering(0, 9, 10.0))
    assert not list(tmp_path.glob("run*"))
