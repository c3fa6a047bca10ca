from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from kraft.core.errors import DataError, UnitError
from kraft.data import Units
from kraft.data.ase_format import read_ase

BOHR = Units(length="bohr").length_factor


def frames(n: int = 3, name: str = "CH3CH2OH", **periodic: Any) -> list[Atoms]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        atoms = molecule(name, **periodic)
        atoms.rattle(0.05, rng=rng)
        forces = rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=forces)
        found.append(atoms)
    return found


def write(path: Path, images: list[Atoms]) -> Path:
    if path.suffix in (".db", ".json"):
        with ase.db.connect(path) as database:
            for atoms in images:
                database.write(atoms)
    else:
        ase.io.write(path, images)
    return path


@pytest.mark.parametrize("name", ["a.traj", "a.db", "a.json"])
def test_formats_whose_unit_ase_defines(tmp_path: Path, name: str) -> None:
    images = frames()
    dataset = read_ase(write(tmp_path / name, images))
    assert dataset.units == Units()
    assert dataset.notices == ()
    np.testing.assert_allclose(dataset.energies, [a.get_potential_energy() for a in images])
    np.testing.assert_allclose(dataset.forces, [a.get_forces() for a in images])
    np.testing.assert_allclose(dataset.positions, [a.positions for a in images])


def test_vasprun(tmp_path: Path) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_text(VASPRUN)
    dataset = read_ase(path)
    assert dataset.formula == "H2"
    assert dataset.units == Units()
    assert dataset.energies is not None
    assert dataset.energies.tolist() == [-6.5]  # the free energy, whose gradient the forces are
    assert "free energy is used" in dataset.notices[0]
    assert read_ase(path, energy_key="energy").energies.tolist() == [-6.7]  # type: ignore[union-attr]
    assert dataset.forces[0, 0].tolist() == [0.1, 0.0, 0.0]
    assert dataset.cell is not None


def test_extended_xyz_demands_a_unit(tmp_path: Path) -> None:
    images = frames()
    path = write(tmp_path / "a.xyz", images)
    with pytest.raises(UnitError, match=r"--energy-unit \(Python: energy_unit=\)"):
        read_ase(path)
    dataset = read_ase(path, energy_unit="Ha", length_unit="bohr")
    assert dataset.units == Units("hartree", "bohr")
    np.testing.assert_allclose(dataset.positions, [a.positions * BOHR for a in images], atol=1e-7)
    for atoms in images:
        atoms.info.update(energy_unit="kcal/mol", length_unit="Ang")
    assert read_ase(write(tmp_path / "b.xyz", images)).units == Units("kcal/mol")
    images[1].info["energy_unit"] = "eV"
    with pytest.raises(UnitError, match="different units"):
        read_ase(write(tmp_path / "c.xyz", images))


def test_explicit_keys(tmp_path: Path) -> None:
    images = frames()
    for atoms in images:
        atoms.info["REF_energy"] = 2.0 * atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = 2.0 * atoms.get_forces()
        atoms.calc = None
    path = write(tmp_path / "a.xyz", images)
    with pytest.raises(DataError, match=r"'forces'.*: REF_energy, REF_forces.*--forces-key"):
        read_ase(path, energy_unit="eV")
    with pytest.raises(DataError, match=r"energies under 'nope'.*REF_energy, REF_forces"):
        read_ase(path, energy_unit="eV", forces_key="REF_forces", energy_key="nope")
    with pytest.raises(DataError, match=r"expected 'REF_energy' of shape \(9, 3\)"):
        read_ase(path, energy_unit="eV", forces_key="REF_energy")
    dataset = read_ase(path, energy_unit="eV", forces_key="REF_forces", energy_key="REF_energy")
    np.testing.assert_allclose(dataset.forces, [a.arrays["REF_forces"] for a in images], atol=1e-7)
    np.testing.assert_allclose(dataset.energies, [a.info["REF_energy"] for a in images])
    bare = read_ase(path, energy_unit="eV", forces_key="REF_forces")
    assert bare.energies is None
    assert "only forces are read" in bare.notices[0]
    assert "REF_energy" in bare.notices[0]


def test_data_of_a_database_row_have_no_known_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        for atoms in frames():
            forces = atoms.get_forces()
            atoms.calc = None
            database.write(atoms, data={"forces": forces, "energy": np.array([1.0])})
    with pytest.raises(UnitError, match="--energy-unit"):
        read_ase(path)
    assert read_ase(path, energy_unit="Ha").units == Units("hartree")


def test_missing_in_some_frames(tmp_path: Path) -> None:
    images = frames()
    del images[1].calc.results["energy"]
    with pytest.raises(DataError, match="'energy' is missing in frame 1 out of 3"):
        read_ase(write(tmp_path / "a.traj", images))


def test_two_molecules(tmp_path: Path) -> None:
    images = frames(2, "H2O") + frames(1, "CH4")
    with pytest.raises(DataError, match=r"frame 2 is CH4 \(5 atoms\), frame 0 is H2O"):
        read_ase(write(tmp_path / "a.traj", images))


def test_another_order_is_said_to_be_one(tmp_path: Path) -> None:
    images = frames(3, "H2O")
    swapped = images[1][[1, 0, 2]]
    swapped.calc = SinglePointCalculator(swapped, energy=0.0, forces=np.zeros((3, 3)))
    images[1] = swapped
    with pytest.raises(DataError, match=r"frame 1 .*another order.*atom 0: H instead of O"):
        read_ase(write(tmp_path / "a.traj", images))


def test_cells(tmp_path: Path) -> None:
    box = [5.0, 6.0, 7.0]
    images = frames(2, "H2O", cell=box)
    assert read_ase(write(tmp_path / "a.traj", images)).cell is None
    images = frames(2, "H2O", cell=box, pbc=True)
    dataset = read_ase(write(tmp_path / "b.traj", images))
    np.testing.assert_array_equal(dataset.cell, np.diag(box))
    slab = frames(2, "H2O", cell=box, pbc=(True, True, False))
    assert "some directions" in read_ase(write(tmp_path / "c.traj", slab)).notices[0]
    images[1] = frames(1, "H2O", cell=[5.0, 6.0, 8.0], pbc=True)[0]
    with pytest.raises(DataError, match="frame 1 has another cell"):
        read_ase(write(tmp_path / "d.traj", images))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", "garbage", "ASE cannot read a.xyz"),
        ("a.xyz", "", "is empty"),
        ("a.unknown", "garbage\n", "a format that ASE does not know"),
        ("a.traj", "garbage", "a.traj"),
        ("a.xyz", "2\n\nH 0 0 0\n", "ASE cannot read a.xyz"),
        ("a.xyz", "2\n\nH 0 0 0\nH 0 0 1\n", "no forces under 'forces'.*keys there are: none"),
        (
            "a.xyz",
            "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1\nH 0 0 0 nan 0 0\n",
            "forces are not finite",
        ),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_ase(path, energy_unit="eV")


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints><varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray>
  <varray name="weights"><v> 1.0 </v></varray></kpoints>
 <atominfo><atoms>2</atoms><types>1</types>
  <array name="atoms"><dimension dim="1">ion</dimension>
   <field type="string">element</field><field type="int">atomtype</field>
   <set><rc><c>H </c><c> 1</c></rc><rc><c>H </c><c> 1</c></rc></set></array>
 </atominfo>
 <structure name="initialpos"><crystal><varray name="basis">
   <v> 8.0 0.0 0.0 </v><v> 0.0 8.0 0.0 </v><v> 0.0 0.0 8.0 </v></varray></crystal>
  <varray name="positions"><v> 0.0 0.0 0.0 </v><v> 0.1 0.0 0.0 </v></varray></structure>
 <calculation>
  <scstep><energy><i name="e_fr_energy"> -6.5 </i><i name="e_wo_entrp"> -6.6 </i>
   <i name="e_0_energy"> -6.7 </i></energy></scstep>
  <structure><crystal><varray name="basis">
   <v> 8.0 0.0 0.0 </v><v> 0.0 8.0 0.0 </v><v> 0.0 0.0 8.0 </v></varray></crystal>
   <varray name="positions"><v> 0.0 0.0 0.0 </v><v> 0.1 0.0 0.0 </v></varray></structure>
  <varray name="forces"><v> 0.1 0.0 0.0 </v><v> -0.1 0.0 0.0 </v></varray>
  <energy><i name="e_fr_energy"> -6.5 </i><i name="e_wo_entrp"> -6.6 </i>
   <i name="e_0_energy"> -6.7 </i></energy>
 </calculation>
</modeling>
"""
