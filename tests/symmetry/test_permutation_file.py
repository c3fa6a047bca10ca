from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kraft.core.errors import SymmetryError
from kraft.symmetry import read_permutations, write_permutations

WATER = np.array([8, 1, 1])
GROUP = np.array([[0, 1, 2], [0, 2, 1]])


def test_text_round_trip(tmp_path):
    path = tmp_path / "water.txt"
    write_permutations(path, GROUP)
    assert_array_equal(read_permutations(path, WATER), GROUP)


def test_npy(tmp_path):
    path = tmp_path / "water.npy"
    np.save(path, GROUP[::-1])
    assert_array_equal(read_permutations(path, WATER), GROUP)


def test_text_without_identity_with_commas_and_comments(tmp_path):
    path = tmp_path / "water.txt"
    path.write_text("# swap\n\n0, 2, 1  # the hydrogens\n")
    assert_array_equal(read_permutations(path, WATER), GROUP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one"),
        ("0 1\n", "3 atoms"),
        ("0 x 1\n", "line 1"),
        ("0 1 2\n0 1\n", "line 2"),
        ("1 2 3\n", "count from 0"),
        ("1 0 2\n", "elements"),
    ],
)
def test_bad_text(tmp_path, text, message):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(SymmetryError, match=message) as caught:
        read_permutations(path, WATER)
    assert "bad.txt" in str(caught.value)


def test_a_set_that_is_no_group(tmp_path):
    path = tmp_path / "rotation.txt"
    path.write_text("0 2 3 1\n")
    with pytest.raises(SymmetryError, match="not closed"):
        read_permutations(path, np.array([7, 1, 1, 1]))


def test_files_that_are_something_else(tmp_path):
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00\x93")
    with pytest.raises(SymmetryError, match="binary"):
        read_permutations(binary, WATER)
    fake = tmp_path / "fake.npy"
    fake.write_text("0 1 2\n")
    with pytest.raises(SymmetryError, match=r"\.npy"):
        read_permutations(fake, WATER)
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SymmetryError, match=r"\.npy"):
        read_permutations(pickled, WATER)
    with pytest.raises(FileNotFoundError):
        read_permutations(tmp_path / "absent.txt", WATER)
