"""Minima of a model against SciPy's, and vibrations against ASE's and finite differences."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.optimize import FIRE
from ase.vibrations import Vibrations

import kraft
from kraft.analysis.trajectories import rmsd, vibrations
from kraft.core.errors import GeometryError, OptionError
from kraft.interfaces.surface import ModelImages, relax
from kraft.interfaces.surface.thermochemistry import thermochemistry


@pytest.fixture(scope="module")
def start(ethanol_parts):
    return ethanol_parts.test.positions[3]


@pytest.fixture(scope="module")
def reached(ethanol_force_field, start):
    return relax(ethanol_force_field, start, fmax=1e-5)


def test_the_minimum_is_that_of_another_optimizer(ethanol_force_field, start, reached):
    atoms = ase.Atoms(numbers=ethanol_force_field.atomic_numbers, positions=start)
    atoms.calc = kraft.KraftCalculator(ethanol_force_field)
    FIRE(atoms, logfile=None).run(fmax=1e-4, steps=2000)
    assert rmsd(atoms.positions[None], reached.positions)[0] < 1e-3
    assert reached.energy_after == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


def test_what_is_told_of_a_relaxation(ethanol_force_field, start, reached):
    assert reached.converged and not reached.interrupted and reached.max_force < 1e-5
    before, forces = ethanol_force_field.predict(start)
    assert reached.energy_before == pytest.approx(float(before))
    assert reached.force_before == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert reached.energy_after < reached.energy_before
    assert reached.rmsd == pytest.approx(rmsd(start[None], reached.positions)[0])
    np.testing.assert_array_equal(reached.start, start)


def test_few_steps_are_enough(reached):
    assert reached.n_steps < 40  # a general guess of the Hessian needs about 60


def test_limits_are_kept(ethanol_force_field, start):
    few = relax(ethanol_force_field, start, max_steps=2)
    assert few.n_steps == 2 and not few.converged and not few.interrupted
    stopped = relax(ethanol_force_field, start, stop_requested=lambda: True)
    assert stopped.interrupted and not stopped.converged and stopped.n_steps <= 1
    with pytest.raises(OptionError, match="fmax"):
        relax(ethanol_force_field, start, fmax=0.0)
    with pytest.raises(OptionError, match="max_steps"):
        relax(ethanol_force_field, start, max_steps=0)
    with pytest.raises(GeometryError, match="shape"):
        relax(ethanol_force_field, start[:5])


def test_all_images_are_predicted_together(ethanol_force_field, ethanol_parts):
    images = ModelImages(ethanol_force_field, ethanol_parts.test.positions[:3])
    energies, forces = ethanol_force_field.predict(ethanol_parts.test.positions[:3])
    for atoms, energy, force in zip(images.atoms, energies, forces, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(float(energy))
        np.testing.assert_allclose(atoms.get_forces(), force)
    images.atoms[1].positions[0, 0] += 0.1
    energy, _ = ethanol_force_field.predict(images.atoms[1].positions)
    assert images.atoms[1].get_potential_energy() == pytest.approx(float(energy))
    assert images.atoms[2].get_potential_energy() == pytest.approx(float(energies[2]))


def test_frequencies_are_those_of_ase(ethanol_force_field, reached, tmp_path):
    found = vibrations(ethanol_force_field, reached.positions)
    atoms = ase.Atoms(numbers=ethanol_force_field.atomic_numbers, positions=reached.positions)
    atoms.calc = kraft.KraftCalculator(ethanol_force_field)
    numeric = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.002, nfree=4)
    numeric.run()
    waves = np.sort(numeric.get_frequencies().real)[-21:]
    np.testing.assert_allclose(found.wavenumbers, waves, atol=1.0)
    assert found.n_imaginary == 0
    assert found.zero_point_energy == pytest.approx(numeric.get_zero_point_energy(), rel=2e-3)


def test_isotopes_obey_the_product_rule(ethanol_force_field, reached):
    """Teller and Redlich: masses and moments of inertia give the product of all ratios."""
    light = vibrations(ethanol_force_field, reached.positions)
    masses = light.masses.copy()
    masses[3] = 2.01410177784
    heavy = vibrations(ethanol_force_field, reached.positions, masses=masses)
    before, after = (
        ase.Atoms(numbers=ethanol_force_field.atomic_numbers, positions=reached.positions, masses=m)
        for m in (light.masses, masses)
    )
    moments = after.get_moments_of_inertia().prod() / before.get_moments_of_inertia().prod()
    ratio = (light.masses / masses).prod() ** 1.5
    ratio *= (masses.sum() / light.masses.sum()) ** 1.5 * moments**0.5
    assert (heavy.wavenumbers / light.wavenumbers).prod() == pytest.approx(ratio, rel=1e-3)
    assert (light.reduced_masses > 1.0).all() and (light.reduced_masses < 16.0).all()
    with pytest.raises(OptionError, match="positive masses"):
        vibrations(ethanol_force_field, reached.positions, masses=masses[:-1])


def test_heat_of_one_oscillator():
    quantum, kt = 1000.0, 300.0 * 0.6950348  # 1/cm
    found = thermochemistry(np.array([-500.0, quantum]), 300.0)
    x = quantum / kt
    ev = 1.0 / 8065.544
    energy = quantum * (0.5 + 1.0 / np.expm1(x)) * ev
    free = (0.5 * quantum + kt * np.log1p(-np.exp(-x))) * ev
    assert found.energy == pytest.approx(energy, rel=1e-5)
    assert found.free_energy == pytest.approx(free, rel=1e-5)
    with pytest.raises(OptionError):
        thermochemistry(np.array([1000.0]), 0.0)
