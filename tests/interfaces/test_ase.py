from __future__ import annotations

import dataclasses

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.optimize import BFGS
from ase.vibrations import Vibrations
from molecules import WATER
from toy_models import slow_energy, toy_atomized_parameters, toy_parameters

import kraft
from kraft.core.errors import GeometryError, ModelFileError, OptionError


@pytest.fixture
def atoms(ethanol_force_field, ethanol_parts) -> Atoms:
    atoms = Atoms(
        numbers=ethanol_force_field.atomic_numbers, positions=ethanol_parts.test.positions[0]
    )
    atoms.calc = kraft.KraftCalculator(ethanol_force_field)
    return atoms


class Counting:
    """A force field that counts its predictions."""

    def __init__(self, force_field: kraft.ForceField) -> None:
        self.force_field = force_field
        self.calls = 0

    def __getattr__(self, name):
        return getattr(self.force_field, name)

    def predict(self, positions):
        self.calls += 1
        return self.force_field.predict(positions)


def test_it_predicts_what_the_force_field_predicts(atoms, ethanol_force_field):
    energy, forces = ethanol_force_field.predict(atoms.positions)
    assert atoms.get_potential_energy() == float(energy)
    np.testing.assert_array_equal(atoms.get_forces(), forces)


def test_energy_is_a_float(atoms):
    assert type(atoms.get_potential_energy()) is float
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert isinstance(atoms.calc, Calculator)


def test_any_order_of_calls_gives_the_same(atoms, ethanol_force_field, ethanol_parts):
    geometries = ethanol_parts.test.positions[:6]
    reference = [ethanol_force_field.predict(geometry) for geometry in geometries]
    random = np.random.default_rng(0)
    for _ in range(60):
        k = int(random.integers(len(geometries)))
        atoms.positions = geometries[k]
        if random.integers(2):
            assert atoms.get_potential_energy() == float(reference[k].energies)
        if random.integers(2):
            np.testing.assert_array_equal(atoms.get_forces(), reference[k].forces)


def test_nothing_is_computed_twice(atoms, ethanol_force_field):
    counting = atoms.calc.force_field = Counting(ethanol_force_field)
    for _ in range(3):
        atoms.get_forces()
        atoms.get_potential_energy()
    assert counting.calls == 1
    atoms.positions[2, 1] += 1e-13  # any change counts
    atoms.get_potential_energy()
    assert counting.calls == 2
    atoms.info["note"] = "of no importance"
    atoms.set_initial_charges(np.zeros(9))
    atoms.set_momenta(np.ones((9, 3)))
    atoms.cell = np.eye(3) * 30.0
    atoms.get_forces()
    assert counting.calls <= 3


def test_moving_atoms_in_place_is_noticed(atoms, ethanol_force_field):
    before = atoms.get_forces()
    atoms.positions[3] += 0.05
    after = atoms.get_forces()
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(after, ethanol_force_field.predict(atoms.positions).forces)


def test_results_are_the_callers_own(atoms):
    first = atoms.get_forces()
    first[:] = 0.0
    assert np.abs(atoms.get_forces()).max() > 0.1


def test_one_calculator_serves_several_atoms(atoms, ethanol_force_field, ethanol_parts):
    other = atoms.copy()
    other.positions = ethanol_parts.test.positions[1]
    other.calc = atoms.calc
    for current in (atoms, other, atoms, other):
        assert current.get_potential_energy() == float(
            ethanol_force_field.predict(current.positions).energies
        )


def test_calculator_without_atoms(atoms):
    with pytest.raises(RuntimeError, match="pass the atoms"):
        atoms.calc.get_property("energy")
    energy = atoms.get_potential_energy()
    assert atoms.calc.get_property("energy") == energy
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
    atoms.positions += 0.1 * np.arange(27).reshape(9, 3) / 27
    assert atoms.calc.calculation_required(atoms, ["energy"])
    assert atoms.calc.get_property("energy", atoms, allow_calculation=False) is None


def test_unknown_property(atoms):
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_forces_are_finite_differences_of_the_energy(atoms):
    forces = atoms.get_forces()
    step = 1e-4
    numeric = np.empty((9, 3))
    for index in np.ndindex(9, 3):
        energies = []
        for sign in (1.0, -1.0):
            atoms.positions[index] += sign * step
            energies.append(atoms.get_potential_energy())
            atoms.positions[index] -= sign * step
        numeric[index] = -(energies[0] - energies[1]) / (2.0 * step)
    np.testing.assert_allclose(forces, numeric, atol=2e-6)


def test_features_that_mix():
    """Energy and forces by explicit sums over the kernel."""
    parameters = toy_parameters(WATER, energies=True, mixes=True, n_train=3)
    atoms = Atoms(numbers=parameters.atomic_numbers, positions=WATER.frames(1, seed=5)[0])
    atoms.calc = kraft.KraftCalculator(kraft.ForceField(parameters))
    gradient, energy = torch.func.grad_and_value(lambda x: slow_energy(parameters, x))(
        torch.tensor(atoms.positions)
    )
    assert atoms.get_potential_energy() == pytest.approx(float(energy), rel=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), -gradient.numpy(), atol=1e-9)


def test_path_of_a_model_file(atoms, ethanol_force_field, tmp_path):
    path = tmp_path / "ethanol.safetensors"
    ethanol_force_field.save(path)
    energy = atoms.get_potential_energy()
    again = kraft.KraftCalculator(str(path))
    assert again.get_potential_energy(atoms) == pytest.approx(energy, abs=1e-9)
    single = kraft.KraftCalculator(path, dtype="float32")
    assert single.force_field.dtype == "float32"
    expected = kraft.load(path, dtype="float32").predict(atoms.positions)
    assert single.get_potential_energy(atoms) == float(expected.energies) != energy
    with pytest.raises((ModelFileError, FileNotFoundError)):
        kraft.KraftCalculator(tmp_path / "other.safetensors")


def test_other_molecule_is_refused(atoms):
    methanol = molecule("CH3OH")
    methanol.calc = atoms.calc
    with pytest.raises(GeometryError, match="CH4O"):
        methanol.get_forces()


def test_other_order_is_explained_and_the_advice_works(atoms, ethanol_force_field):
    energy = atoms.get_potential_energy()
    shuffled = atoms[[8, 2, 1, 0, 3, 5, 4, 6, 7]]
    shuffled.calc = kraft.KraftCalculator(ethanol_force_field)
    with pytest.raises(GeometryError, match="in that order the geometry fits") as caught:
        shuffled.get_potential_energy()
    order = str(caught.value).split("atoms[[")[1].split("]")[0]
    ordered = shuffled[[int(index) for index in order.split(",")]]
    ordered.calc = shuffled.calc
    assert ordered.get_potential_energy() == pytest.approx(energy, abs=1e-9)


def test_exchanged_hydrogens_are_found_at_the_start_and_after_a_jump(atoms, ethanol_force_field):
    exchanged = atoms[[0, 1, 2, 8, 4, 5, 6, 7, 3]]
    exchanged.calc = kraft.KraftCalculator(ethanol_force_field)
    with pytest.raises(GeometryError, match="changed places"):
        exchanged.get_forces()
    atoms.get_forces()
    exchanged.calc = atoms.calc
    with pytest.raises(GeometryError, match="changed places"):
        exchanged.get_forces()
    exchanged.calc = kraft.KraftCalculator(ethanol_force_field, check_order=False)
    assert np.isfinite(exchanged.get_forces()).all()


def test_an_error_leaves_no_old_results(atoms):
    atoms.get_forces()
    good = atoms.positions.copy()
    atoms.positions[0] = np.nan
    for _ in range(2):
        with pytest.raises(GeometryError, match="finite"):
            atoms.get_forces()
    atoms.positions = good
    assert np.isfinite(atoms.get_forces()).all()


def test_periodic_atoms_need_a_periodic_model(atoms):
    atoms.cell = np.eye(3) * 20.0
    energy = atoms.get_potential_energy()
    atoms.pbc = True
    with pytest.raises(GeometryError, match="free space"):
        atoms.get_potential_energy()
    atoms.pbc = False
    assert atoms.get_potential_energy() == energy


def test_a_model_with_a_cell_needs_that_cell(ethanol_parts):
    cell = np.diag([15.0, 16.0, 17.0])
    data = dataclasses.replace(ethanol_parts.train.subset(np.arange(15)), cell=cell)
    force_field, _ = kraft.train(
        data, kernel="matern52", length_scale=10.0, regularization=1e-8, permutations=None
    )
    atoms = Atoms(numbers=data.atomic_numbers, positions=data.positions[0], cell=cell, pbc=True)
    atoms.calc = kraft.KraftCalculator(force_field)
    energy = atoms.get_potential_energy()
    atoms.positions[3] += cell[1]  # to the next cell
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-8)
    atoms.cell = 1.01 * cell
    with pytest.raises(GeometryError, match=r"set atoms\.cell"):
        atoms.get_potential_energy()
    atoms.cell, atoms.pbc = cell, False
    with pytest.raises(GeometryError, match=r"set atoms\.cell"):
        atoms.get_potential_energy()


def test_optimizer_and_vibrations(atoms, tmp_path):
    start = atoms.get_potential_energy()
    with BFGS(atoms, logfile=None) as optimizer:
        assert optimizer.run(fmax=1e-3, steps=200)
    assert atoms.get_potential_energy() < start
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    vibrations.run()
    numeric = np.sort(vibrations.get_vibrations().get_hessian_2d(), axis=None)
    analytic = atoms.calc.get_hessian(atoms)
    np.testing.assert_allclose(np.sort(analytic, axis=None), numeric, atol=1e-2)
    wavenumbers = vibrations.get_frequencies()
    assert (wavenumbers[6:].real > 100.0).all()  # a minimum
    assert 3300.0 < wavenumbers[-1].real < 4000.0  # O-H stretch


@pytest.fixture(scope="module")
def uncertain(ethanol_force_field) -> kraft.KraftCalculator:
    return kraft.KraftCalculator(ethanol_force_field, uncertainty=True, novelty=True)


def test_standard_deviations_in_results(uncertain, ethanol_force_field, ethanol_parts):
    positions = ethanol_parts.test.positions[0]
    atoms = Atoms(numbers=ethanol_force_field.atomic_numbers, positions=positions)
    atoms.calc = uncertain
    expected = ethanol_force_field.predict(positions, uncertainty=True)
    assert atoms.get_potential_energy() == float(expected.energies)
    results = atoms.calc.results
    np.testing.assert_allclose(results["forces_std"], expected.forces_std, rtol=1e-9)
    assert results["energy_std"] == results["energies_std"] == float(expected.energies_std)
    assert type(results["energy_std"]) is float
    assert results["novelty"] == float(ethanol_force_field.novelty(positions))
    copied = atoms.calc.get_property("forces_std", atoms)
    copied[:] = 0.0
    assert atoms.calc.get_property("forces_std", atoms).min() > 0.0
    before = results["novelty"]
    atoms.positions[3] += 0.8
    uncertain.calculate(atoms)
    assert uncertain.results["novelty"] > before
    assert uncertain.results["forces_std"].mean() > expected.forces_std.mean()


def test_results_are_written_by_ase(uncertain, ethanol_force_field, ethanol_parts, tmp_path):
    atoms = Atoms(
        numbers=ethanol_force_field.atomic_numbers, positions=ethanol_parts.test.positions[1]
    )
    atoms.calc = uncertain
    forces = atoms.get_forces()
    for name in ("a.traj", "a.xyz"):
        ase.io.write(tmp_path / name, atoms)
        np.testing.assert_allclose(ase.io.read(tmp_path / name).get_forces(), forces, atol=1e-7)


def test_nothing_more_is_computed_unless_asked_for(atoms, monkeypatch):
    def fail(*_args, **_options):
        raise AssertionError("not asked for")

    monkeypatch.setattr(kraft.ForceField, "novelty", fail)
    monkeypatch.setattr(kraft.ForceField, "_deviations", fail)
    monkeypatch.setattr(kraft.ForceField, "prepare_uncertainty", fail)
    atoms.get_forces()
    assert set(atoms.calc.results) == {"energy", "free_energy", "forces"}
    with pytest.raises(PropertyNotImplementedError):
        atoms.calc.get_property("forces_std", atoms)


def test_an_atomized_model_says_that_it_is_not_conservative():
    calculator = kraft.KraftCalculator(kraft.ForceField(toy_atomized_parameters()))
    assert not calculator.conservative
    water = Atoms("OHH", positions=WATER.positions, calculator=calculator)
    assert np.isfinite(water.get_forces()).all()
    with pytest.raises(OptionError, match="no Hessian"):
        calculator.get_hessian(water)
