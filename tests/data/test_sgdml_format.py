from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kraft.core.errors import DataError, UnitError
from kraft.data import Dataset, Provenance, Units
from kraft.data.sgdml_format import read_sgdml, sgdml_md5, write_sgdml

Z = np.array([8, 1, 1], dtype=np.uint8)
R = np.random.default_rng(0).normal(size=(4, 3, 3))
F = np.random.default_rng(1).normal(size=(4, 3, 3))
E = np.array([-1.0, -2.0, -3.0, -4.0])
KCAL = Units("kcal/mol").energy_factor


def save(folder: Path, **changes: Any) -> Path:
    entries = {"type": "d", "z": Z, "R": R, "E": E[:, None], "F": F, "name": "w", **changes}
    path = folder / "w.npz"
    np.savez(path, **{key: value for key, value in entries.items() if value is not None})
    return path


def test_units_are_converted(tmp_path: Path) -> None:
    dataset = read_sgdml(save(tmp_path, r_unit="bohr", e_unit="Ha", theory="HF"))
    units = Units("hartree", "bohr")
    assert dataset.units == units
    assert dataset.notices == ()
    np.testing.assert_allclose(dataset.positions, R * 0.529177, rtol=1e-5)
    np.testing.assert_allclose(dataset.forces, F * 27.2114 / 0.529177, rtol=1e-5)
    np.testing.assert_allclose(dataset.energies, E * 27.2114, rtol=1e-5)
    assert (dataset.provenance.name, dataset.provenance.theory) == ("w", "HF")
    assert dataset.provenance.source == "w.npz"


@pytest.mark.parametrize("e_unit", [b"kcal/mol", [b"kcal/mol"], "kcal/mol", ["kcal/mol"]])
def test_scalars_of_every_vintage(tmp_path: Path, e_unit: Any) -> None:
    path = save(tmp_path, e_unit=e_unit, r_unit=[b"Angstrom"], type=b"d", name=b"old")
    dataset = read_sgdml(path)
    assert dataset.units == Units("kcal/mol")
    assert dataset.provenance.name == "old"
    assert dataset.notices == ()


def test_missing_units_are_the_convention_with_a_notice(tmp_path: Path) -> None:
    dataset = read_sgdml(save(tmp_path))
    assert dataset.units == Units("kcal/mol", "Å")
    np.testing.assert_allclose(dataset.energies, E * KCAL)
    (notice,) = dataset.notices
    assert "energy and length: read as kcal/mol and Å" in notice
    told = read_sgdml(save(tmp_path), energy_unit="eV", length_unit="Å")
    assert told.units == Units()
    assert told.notices == ()


def test_told_units_overrule_with_a_notice(tmp_path: Path) -> None:
    path = save(tmp_path, e_unit="zorks", r_unit="Ang")
    with pytest.raises(UnitError, match=r"w\.npz.*'zorks'.*--energy-unit"):
        read_sgdml(path)
    dataset = read_sgdml(path, energy_unit="eV")
    assert dataset.units == Units()
    assert "says its energy unit is zorks; read as eV" in dataset.notices[0]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_energy_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    dataset = read_sgdml(save(tmp_path, E=E.reshape(shape)))
    assert dataset.energies is not None
    assert dataset.energies.shape == (4,)


def test_one_frame(tmp_path: Path) -> None:
    dataset = read_sgdml(save(tmp_path, R=R[0], F=F[0], E=E[0]))
    assert len(dataset) == 1


def test_energies_may_be_missing(tmp_path: Path) -> None:
    dataset = read_sgdml(save(tmp_path, E=None))
    assert dataset.energies is None
    assert "no energies" in dataset.notices[-1]


def test_other_keys(tmp_path: Path) -> None:
    path = save(tmp_path, E=None, F=None, dft_e=2 * E, dft_f=2 * F)
    dataset = read_sgdml(path, energy_key="dft_e", forces_key="dft_f")
    np.testing.assert_allclose(dataset.forces, 2 * F * KCAL)
    with pytest.raises(DataError, match=r"no 'F'.*keys there are: R, dft_e, dft_f, name.*forces-k"):
        read_sgdml(path)
    with pytest.raises(DataError, match="no 'nope'"):
        read_sgdml(path, energy_key="nope", forces_key="dft_f")


def test_rmd17_layout_demands_a_unit(tmp_path: Path) -> None:
    path = tmp_path / "rmd17.npz"
    np.savez(path, nuclear_charges=Z, coords=R, forces=F, energies=E)
    with pytest.raises(UnitError, match="--energy-unit"):
        read_sgdml(path)
    np.testing.assert_allclose(read_sgdml(path, energy_unit="kcal/mol").energies, E * KCAL)


def test_lattice_columns_become_rows(tmp_path: Path) -> None:
    lattice = np.array([[5.0, 1.0, 0.0], [0.0, 6.0, 2.0], [0.0, 0.0, 7.0]])
    dataset = read_sgdml(save(tmp_path, lattice=lattice))
    np.testing.assert_array_equal(dataset.cell, lattice.T)
    write_sgdml(dataset, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as written:
        np.testing.assert_array_equal(written["lattice"], lattice)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"F": F[:2]}, "4 frames of positions but 2 of forces"),
        ({"R": R[:, :2]}, "Expected positions of shape"),
        ({"R": R[:0], "F": F[:0], "E": E[:0]}, "w.npz holds no frames"),
        ({"F": np.full_like(F, np.nan)}, r"forces are not finite.*4 frames \(0, 1, 2, 3\)"),
        ({"E": np.array([1, np.inf, 2, 3])}, "energies are not finite.*frame 1"),
        ({"R": R.astype(str)}, "not real numbers"),
        ({"F": np.array([{}] * 4, dtype=object)}, "'F' of w.npz is a pickled"),
        ({"type": "m"}, "is an sGDML model, not a dataset"),
        ({"type": b"t"}, "is an sGDML training task, not a dataset"),
        ({"type": None, "R_desc": R}, "is an sGDML model"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_sgdml(save(tmp_path, **changes))


def test_pickled_scalars_are_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path, name=np.array({"a": 1}, dtype=object), f_err=np.array({}, dtype=object))
    assert read_sgdml(path).provenance.name == "w"  # the name of the file


def test_written_file_is_a_full_sgdml_dataset(tmp_path: Path, springs: Dataset) -> None:
    dataset = replace(springs, provenance=Provenance(name="springs", theory="Hooke"))
    write_sgdml(dataset, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as written:
        entries = dict(written)
    assert str(entries["type"]) == "d"
    assert (str(entries["name"]), str(entries["theory"])) == ("springs", "Hooke")
    assert (str(entries["r_unit"]), str(entries["e_unit"])) == ("Ang", "kcal/mol")
    assert entries["z"].dtype == np.uint8
    assert entries["E"].shape == (200,)
    assert entries["F_max"] == entries["F"].max()
    assert entries["E_var"] == entries["E"].var()
    digest = hashlib.md5()
    for key in ("z", "R", "E", "F"):
        digest.update(hashlib.md5(entries[key].ravel()).digest())
    assert entries["md5"].item() == digest.hexdigest().encode()


def test_every_reference_file(reference_data: Path) -> None:
    files = sorted((reference_data / "data").glob("*.npz"))
    assert len(files) > 20
    for path in files:
        dataset = read_sgdml(path)
        assert dataset.energies is not None, path.name
        assert dataset.units == Units("kcal/mol", "Å"), path.name
        assert bool(dataset.notices) == path.name.startswith("raw_"), path.name


def test_fingerprint_is_the_one_sgdml_stores(reference_data: Path) -> None:
    for name in ("data/ethanol_ccsd_t_train.npz", "models/water_dimer_dataset.npz"):
        with np.load(reference_data / name) as entries:
            assert sgdml_md5(dict(entries)) == entries["md5"].item()


def test_models_are_recognized(reference_data: Path) -> None:
    for path in (reference_data / "models").glob("*_sgdml_*.npz"):
        with pytest.raises(DataError, match="is an sGDML model"):
            read_sgdml(path)
