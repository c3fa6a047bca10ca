from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np

from kraft.data import Dataset, Provenance, Units
from kraft.data.extxyz_format import write_extxyz


def test_ase_reads_energies_forces_and_cell(tmp_path: Path, springs: Dataset) -> None:
    cell = np.array([[20.0, 1.0, 0.0], [0.0, 21.0, 2.0], [0.0, 0.0, 22.0]])
    dataset = replace(springs.subset([0, 1]), cell=cell)
    write_extxyz(dataset, tmp_path / "a.xyz")
    images = ase.io.read(tmp_path / "a.xyz", ":")
    assert dataset.energies is not None
    for index, atoms in enumerate(images):
        assert np.array_equal(atoms.positions, dataset.positions[index])
        assert np.array_equal(atoms.get_forces(), dataset.forces[index])
        assert atoms.get_potential_energy() == dataset.energies[index]
        assert np.array_equal(atoms.cell[:], cell)
        assert atoms.pbc.all()
        assert atoms.info["energy_unit"] == "eV"
        assert atoms.info["length_unit"] == "Ang"


def test_other_units(tmp_path: Path, springs: Dataset) -> None:
    write_extxyz(springs, tmp_path / "a.xyz", Units("hartree", "bohr"))
    atoms = ase.io.read(tmp_path / "a.xyz", 0)
    assert springs.energies is not None
    np.testing.assert_allclose(atoms.get_potential_energy() * 27.211386, springs.energies[0])
    np.testing.assert_allclose(atoms.positions * 0.52917721, springs.positions[0], rtol=1e-7)
    assert not atoms.pbc.any()


def test_text_cannot_break_the_file(tmp_path: Path, springs: Dataset) -> None:
    nasty = Provenance(name='a "b"\nc\\', theory="\x00\u2028=' T")
    write_extxyz(replace(springs, provenance=nasty), tmp_path / "a.xyz")
    images = ase.io.read(tmp_path / "a.xyz", ":")
    assert len(images) == len(springs)
    assert images[0].info["name"] == "a 'b' c/"
