from __future__ import annotations

import tempfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kraft.core.errors import DataError
from kraft.data import Dataset, Provenance, Units, read, write
from kraft.data.units import ENERGY_FACTORS, LENGTH_FACTORS

NUMBERS = st.floats(-1e4, 1e4, allow_subnormal=False)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), 3)
    energies = draw(st.none() | hnp.arrays(np.float64, shape[0], elements=NUMBERS))
    cell = draw(st.none() | st.just(np.array([[9.0, 0, 0], [1 / 3, 8, 0], [0, 0.1, 7]])))
    units = Units(
        draw(st.sampled_from(sorted(ENERGY_FACTORS))), draw(st.sampled_from(sorted(LENGTH_FACTORS)))
    )
    return Dataset(
        draw(hnp.arrays(np.int64, shape[1], elements=st.integers(1, 118))),
        draw(hnp.arrays(np.float64, shape, elements=NUMBERS)),
        draw(hnp.arrays(np.float64, shape, elements=NUMBERS)),
        energies,
        cell,
        units,
        Provenance(name=draw(st.text(max_size=20)), theory=draw(st.text(max_size=20))),
    )


def assert_same(found: Dataset, expected: Dataset, rtol: float) -> None:
    assert np.array_equal(found.atomic_numbers, expected.atomic_numbers)
    for field in ("positions", "forces", "energies", "cell"):
        one, two = getattr(found, field), getattr(expected, field)
        assert (one is None) == (two is None), field
        if one is not None:
            np.testing.assert_allclose(one, two, rtol=rtol, atol=1e-200, err_msg=field)


@settings(max_examples=60, deadline=None)
@given(datasets(), st.sampled_from(["a.npz", "a.xyz"]))
def test_round_trip_in_own_units(dataset: Dataset, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(dataset, path, units=dataset.units)
        found = read(path)
    assert found.units == dataset.units
    assert_same(found, dataset, rtol=1e-14)


@settings(max_examples=30, deadline=None)
@given(datasets())
def test_extended_xyz_in_ev_loses_no_digit(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.xyz"
        write(dataset, path)
        found = read(path)
        images = ase.io.read(path, ":")
    assert found.fingerprint == dataset.fingerprint
    assert found.units == Units()
    assert len(images) == len(dataset)
    assert np.array_equal(images[-1].get_forces(), dataset.forces[-1])


def test_name_and_theory_survive(tmp_path: Path, springs: Dataset) -> None:
    dataset = Dataset(
        springs.atomic_numbers,
        springs.positions,
        springs.forces,
        provenance=Provenance(name="my springs", theory="CCSD(T)/cc-pVTZ, frozen core"),
    )
    for name in ("a.npz", "a.xyz"):
        write(dataset, tmp_path / name)
        found = read(tmp_path / name).provenance
        assert (found.name, found.theory) == ("my springs", "CCSD(T)/cc-pVTZ, frozen core")
        assert found.source == name


@pytest.mark.parametrize("name", ["a.npz", "a.xyz"])
def test_a_failed_write_leaves_nothing(
    tmp_path: Path, springs: Dataset, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kraft.core.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(springs, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        read(tmp_path / "nothing.xyz")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"m\.safetensors is a model"):
        read(tmp_path / "m.safetensors")
    np.savez(tmp_path / "w.npz", z=[1, 1], R=np.zeros((2, 2, 3)), F=np.zeros((1, 2, 3)))
    with pytest.raises(DataError, match=r"^w\.npz: There are 2 frames of positions"):
        read(tmp_path / "w.npz")


def test_what_cannot_be_written(tmp_path: Path, springs: Dataset) -> None:
    with pytest.raises(DataError, match=r"suffixes \.npz, \.xyz, \.extxyz"):
        write(springs, tmp_path / "a.pdb")
    with pytest.raises(DataError, match="no frames"):
        write(springs.subset([]), tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []
