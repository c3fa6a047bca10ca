from __future__ import annotations

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes

import kraft
from kraft.core.errors import GeometryError, OptionError
from kraft.simulation.nve import NveRun, run_nve


@pytest.fixture(scope="module")
def relaxed(ethanol_force_field, ethanol_parts) -> Atoms:
    """A geometry near the minimum, so that fluctuations are small."""
    lowest = ethanol_parts.test.energies.argmin()
    atoms = Atoms(
        numbers=ethanol_force_field.atomic_numbers,
        positions=ethanol_parts.test.positions[lowest],
    )
    atoms.calc = kraft.KraftCalculator(ethanol_force_field)
    return atoms


@pytest.fixture(scope="module")
def run(relaxed) -> NveRun:
    return run_nve(relaxed, n_steps=2000, n_equilibration=300, frame_interval=10)


class Spring(Calculator):
    """A harmonic bond, with a force that may be made wrong in proportion to the velocity."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, friction: float = 0.0, broken_after: int | None = None) -> None:
        super().__init__()
        self.friction, self.broken_after, self.calls = friction, broken_after, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        bond = atoms.positions[1] - atoms.positions[0]
        length = np.linalg.norm(bond)
        pull = 30.0 * (length - 0.8) * bond / length
        forces = np.array([pull, -pull]) - self.friction * atoms.get_velocities()
        if self.broken_after is not None and self.calls > self.broken_after:
            forces[:] = np.inf
        self.results = {"energy": 15.0 * (length - 0.8) ** 2, "forces": forces}


def hydrogen(**options) -> Atoms:
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.85]])
    atoms.calc = Spring(**options)
    return atoms


def test_energy_is_conserved(run):
    assert run.duration == pytest.approx(1.0)
    assert abs(run.energy_drift) < 2e-4  # eV/atom/ps in one picosecond; see docs/benchmarks/nve.md
    assert run.energy_fluctuation < 3e-4
    assert np.ptp(run.kinetic) > 0.2  # while kinetic energy did go up and down


def test_record_has_every_step_and_the_frames(run, ethanol_force_field):
    assert run.times.shape == run.potential.shape == run.kinetic.shape == (2001,)
    assert run.positions.shape == run.velocities.shape == (201, 9, 3)
    np.testing.assert_allclose(run.frame_times, run.times[::10])
    energies, _ = ethanol_force_field.predict(run.positions)
    np.testing.assert_allclose(run.potential[::10], energies, atol=1e-9)
    masses = molecule("CH3CH2OH").get_masses()[:, None]
    speeds = run.velocities / ase.units.fs
    np.testing.assert_allclose(run.kinetic[::10], 0.5 * (masses * speeds**2).sum(axis=(1, 2)))


def test_momentum_stays_zero(run):
    atoms = molecule("CH3CH2OH")
    masses = atoms.get_masses()[:, None]
    scale = np.abs(masses * run.velocities).max()
    assert np.abs((masses * run.velocities).sum(axis=1)).max() < 1e-10 * scale
    angular = np.cross(run.positions, masses * run.velocities).sum(axis=1)
    assert np.abs(angular).max() < 1e-6 * scale
    center = (masses * run.positions).sum(axis=1) / masses.sum()
    assert np.ptp(center, axis=0).max() < 1e-9


def test_fluctuation_falls_with_the_square_of_the_time_step(relaxed):
    fluctuations = [
        run_nve(relaxed, timestep=step, n_steps=round(200 / step), seed=3).energy_fluctuation
        for step in (1.0, 0.5, 0.25)
    ]
    ratios = np.divide(fluctuations[:-1], fluctuations[1:])
    assert ((ratios > 3.0) & (ratios < 5.5)).all()


def test_velocities_start_at_the_temperature_of_the_internal_motions(relaxed):
    for seed in range(3):
        run = run_nve(relaxed, temperature=250.0, n_steps=8, seed=seed)
        assert run.temperatures[0] == pytest.approx(250.0)
        assert run.kinetic[0] == pytest.approx(0.5 * 21 * ase.units.kB * 250.0)
    assert run_nve(relaxed, temperature=0.0, n_steps=8).kinetic[0] == 0.0


def test_seed_decides(relaxed):
    first, second, other = (
        run_nve(relaxed, n_steps=20, n_equilibration=10, seed=seed) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.positions, second.positions)
    assert not np.allclose(first.total, other.total)


def test_atoms_given_are_not_moved(relaxed):
    before = relaxed.positions.copy()
    run_nve(relaxed, n_steps=10)
    np.testing.assert_array_equal(relaxed.positions, before)
    assert not relaxed.has("momenta")


def test_linear_molecule_has_one_rotation_less():
    run = run_nve(hydrogen(), temperature=300.0, n_steps=400, timestep=0.1)
    assert run.temperatures[0] == pytest.approx(300.0)
    assert run.kinetic[0] == pytest.approx(0.5 * ase.units.kB * 300.0)
    assert abs(run.energy_drift) < 1e-3


def test_drift_shows_forces_that_are_no_gradient():
    run = run_nve(hydrogen(friction=0.05), temperature=600.0, n_steps=400)
    assert run.energy_drift < -1e-2
    assert run.total[-1] < run.total[0]


def test_drift_is_the_slope_per_atom_and_ps():
    times = np.linspace(0.0, 2.0, 101)
    noise = 1e-3 * np.tile([1.0, -1.0], 51)[:101]
    made_up = NveRun(
        times=times,
        potential=-300.0 + 0.06 * times + noise,
        kinetic=np.ones(101),
        temperatures=np.ones(101),
        positions=np.zeros((2, 3, 3)),
        velocities=np.zeros((2, 3, 3)),
        frame_times=times[[0, 50]],
    )
    assert made_up.energy_drift == pytest.approx(0.02, rel=0.02)
    assert made_up.energy_fluctuation == pytest.approx(1e-3 / 3, rel=0.02)
    assert made_up.energy_drift_uncertainty < 2e-3


def test_infinite_positions_stop_the_run():
    with pytest.raises(GeometryError, match=r"step (6|7).*shorter time step"):
        run_nve(hydrogen(broken_after=6), n_steps=50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timestep": 0.0}, "timestep"),
        ({"timestep": float("nan")}, "timestep"),
        ({"temperature": -1.0}, "temperature"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_equilibration": -1}, "n_equilibration"),
        ({"frame_interval": 0}, "frame_interval"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        run_nve(hydrogen(), **options)


def test_atoms_without_calculator():
    with pytest.raises(OptionError, match="KraftCalculator"):
        run_nve(molecule("H2"))


def test_progress_is_told_and_may_stop_the_run():
    told = []

    def stop(stage, done, total):
        told.append((stage, done, total))
        if done >= 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_nve(hydrogen(), n_steps=200, progress=stop)
    assert told == [("dynamics", 0, 200), ("dynamics", 50, 200)]


class Nonconservative(Spring):
    conservative = False


def test_forces_that_are_no_gradient_are_warned_of():
    atoms = hydrogen()
    atoms.calc = Nonconservative()
    with pytest.warns(UserWarning, match=r"not exactly the gradient.*sGDML.*allow_nonconservative"):
        run_nve(atoms, n_steps=8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [Spring, Nonconservative])
def test_no_warning_when_it_is_known_or_needless(kind, relaxed):
    atoms = hydrogen()
    atoms.calc = kind()
    run_nve(atoms, n_steps=8, allow_nonconservative=kind is Nonconservative)
    run_nve(relaxed, n_steps=8)
