from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest

import kraft
from kraft.data import Dataset, Provenance, Units
from kraft.data.extxyz_format import write_extxyz
from kraft.data.frame_contributions import FrameContributions
from kraft.data.frame_uncertainty import FrameUncertainty


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


def test_standard_deviations_are_columns_that_are_not_taken_for_forces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = Dataset(
        np.array([8, 1, 1]), rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3)), np.ones(2)
    )
    std = FrameUncertainty(rng.random((2, 3, 3)), rng.random(2), rng.random(2))
    path = tmp_path / "p.xyz"
    kraft.write(data, path, Units("kcal/mol"), std)
    frames = ase.io.read(path, ":")
    factor = Units("kcal/mol").force_factor
    for frame, forces, energy, novelty in zip(
        frames, std.forces, std.energies, std.novelty, strict=True
    ):
        np.testing.assert_allclose(frame.arrays["forces_std"], forces / factor)
        assert frame.info["energy_std"] == pytest.approx(energy / factor)
        assert frame.info["novelty"] == pytest.approx(novelty)
    np.testing.assert_allclose(kraft.read(path).forces, data.forces)


def test_standard_deviations_in_an_archive(tmp_path: Path) -> None:
    data = Dataset(np.array([1, 1]), np.eye(2, 3)[None], np.ones((1, 2, 3)), np.ones(1))
    std = FrameUncertainty(np.full((1, 2, 3), 0.5), np.array([0.25]), np.array([1.5]))
    kraft.write(data, tmp_path / "p.npz", Units("kcal/mol"), std)
    with np.load(tmp_path / "p.npz") as archive:
        factor = Units("kcal/mol").energy_factor
        np.testing.assert_allclose(archive["F_std"], 0.5 / factor)
        np.testing.assert_allclose(archive["E_std"], 0.25 / factor)
        assert archive["novelty"] == [1.5]
    np.testing.assert_allclose(kraft.read(tmp_path / "p.npz").forces, data.forces)


def test_contributions_are_columns_beside_standard_deviations(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = Dataset(
        np.array([8, 1, 1]), rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3)), np.ones(2)
    )
    std = FrameUncertainty(rng.random((2, 3, 3)), None, rng.random(2))
    parts = FrameContributions(
        rng.normal(size=(2, 3)), rng.random((2, 3)), -3.5, rng.normal(size=(2, 3, 3, 3))
    )
    units = Units("kcal/mol")
    kraft.write(data, tmp_path / "p.xyz", units, std, parts)
    for index, frame in enumerate(ase.io.read(tmp_path / "p.xyz", ":")):
        got = frame.arrays["energy_contribution"] * units.energy_factor
        np.testing.assert_allclose(got, parts.energies[index])
        got = frame.arrays["force_contribution"] * units.force_factor
        np.testing.assert_allclose(got, parts.strengths[index])
        np.testing.assert_allclose(
            frame.arrays["forces_std"] * units.force_factor, std.forces[index]
        )
        assert frame.info["energy_offset"] * units.energy_factor == pytest.approx(-3.5)
    np.testing.assert_allclose(kraft.read(tmp_path / "p.xyz").forces, data.forces)
    kraft.write(data, tmp_path / "p.npz", units, None, parts)
    with np.load(tmp_path / "p.npz") as archive:
        np.testing.assert_allclose(archive["E_atoms"] * units.energy_factor, parts.energies)
        np.testing.assert_allclose(archive["F_atoms"] * units.force_factor, parts.forces)
        assert archive["E_offset"] * units.energy_factor == pytest.approx(-3.5)
