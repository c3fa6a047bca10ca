from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.core.errors import DataError
from kraft.data import Dataset, Provenance, Units

H2 = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]])


def test_arrays_are_read_only_copies() -> None:
    positions = H2.copy()
    dataset = Dataset(np.array([1, 1], dtype=np.uint8), positions, np.zeros((1, 2, 3)), [[-1.0]])
    positions[:] = 9.0
    assert dataset.positions[0, 1, 2] == 0.74
    assert dataset.atomic_numbers.dtype == np.int64
    assert dataset.energies is not None
    assert dataset.energies.shape == (1,)
    for array in (dataset.positions, dataset.forces, dataset.energies, dataset.atomic_numbers):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(FrozenInstanceError):
        dataset.units = Units()  # type: ignore[misc]


def test_one_frame_without_leading_axis() -> None:
    dataset = Dataset([1, 1], H2[0], np.zeros((2, 3)), 3.0)
    assert len(dataset) == 1
    assert dataset.n_atoms == 2
    assert dataset.formula == "H2"


def test_symbols_are_taken() -> None:
    assert Dataset(["H", "O"], H2, H2).formula == "HO"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"positions": H2[:, :1]},
            r"Expected positions of shape \(frames, 2, 3\).*got \(1, 1, 3\)",
        ),
        ({"forces": np.zeros((2, 2, 3))}, "1 frames of positions but 2 of forces"),
        ({"forces": np.zeros((1, 2, 2))}, "Expected forces of shape"),
        ({"forces": [[1], [1, 2]]}, "rectangular array"),
        ({"energies": [1.0, 2.0]}, r"Expected energies of shape \(1,\)"),
        ({"cell": np.eye(2)}, r"cell of shape \(3, 3\)"),
        ({"cell": np.zeros((3, 3))}, "without volume"),
        ({"atomic_numbers": [1, 0]}, "from 1 to 118"),
        ({"atomic_numbers": [1, 1.5]}, "whole atomic numbers"),
        ({"atomic_numbers": []}, "N > 0"),
    ],
)
def test_wrong_input_is_explained(changes: dict[str, object], message: str) -> None:
    arguments = {"atomic_numbers": [1, 1], "positions": H2, "forces": H2, **changes}
    with pytest.raises(DataError, match=message):
        Dataset(**arguments)  # type: ignore[arg-type]


def test_fingerprint_is_of_the_content(springs: Dataset) -> None:
    renamed = replace(springs, provenance=Provenance(name="x"), units=Units("eV"))
    assert renamed.fingerprint == springs.fingerprint
    assert len(springs.fingerprint) == 64
    for field in ("positions", "forces", "energies"):
        values = np.array(getattr(springs, field))
        values.flat[0] = np.nextafter(values.flat[0], 1e9)
        assert replace(springs, **{field: values}).fingerprint != springs.fingerprint
    assert replace(springs, energies=None).fingerprint != springs.fingerprint
    assert replace(springs, cell=9 * np.eye(3)).fingerprint != springs.fingerprint


def test_fingerprint_stays_for_ever() -> None:
    dataset = Dataset([1, 1], H2, 2 * H2, [-31.0])
    assert dataset.fingerprint == (
        "aaee8c955563c906611809b64fbf00ab8d6460e229fa97594379395614c4d206"
    )


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.lists(st.integers(0, 100), min_size=1, max_size=5),
)
def test_subset_composes(first: list[int], second: list[int]) -> None:
    second = [index % len(first) for index in second]
    rng = np.random.default_rng(0)
    whole = Dataset([1, 1], rng.normal(size=(10, 2, 3)), rng.normal(size=(10, 2, 3)), range(10))
    part = whole.subset(first).subset(second)
    assert part.provenance.indices is not None
    indices = part.provenance.indices
    assert indices.tolist() == [first[index] for index in second]
    assert np.array_equal(part.positions, whole.positions[indices])
    assert np.array_equal(part.forces, whole.forces[indices])
    assert part.energies is not None
    assert part.energies.tolist() == indices.tolist()
    assert part.source_fingerprint == whole.fingerprint


def test_subset_refuses_what_is_not_there(springs: Dataset) -> None:
    assert springs.subset([-1]).provenance.indices is not None
    assert springs.subset([-1]).provenance.indices.tolist() == [199]  # type: ignore[union-attr]
    assert len(springs.subset([])) == 0
    with pytest.raises(DataError, match="between 0 and 199"):
        springs.subset([200])
    with pytest.raises(DataError, match=r"numpy\.flatnonzero"):
        springs.subset(np.ones(200, dtype=bool))
