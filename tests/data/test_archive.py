from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kraft.core.errors import DataError
from kraft.data.archive import archive_keys, read_archive, text_entry, write_archive


class Bomb:
    """Unpickling this leaves a mark."""

    exploded = False

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return explode, ()


def explode() -> str:
    Bomb.exploded = True
    return "boom"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    write_archive(path, {"x": np.arange(2000.0), "y": np.array("text")})
    return path


def test_reads_what_was_written(archive: Path) -> None:
    assert set(archive_keys(archive)) == {"x", "y"}
    found = read_archive(archive, ["x", "nothing"])
    assert list(found) == ["x"]
    assert np.array_equal(found["x"], np.arange(2000.0))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez(path, x=np.arange(3), bomb=np.array(Bomb(), dtype=object))
    assert read_archive(path, ["x"])["x"].tolist() == [0, 1, 2]
    assert read_archive(path, ["x", "bomb"], skip_pickled=True).keys() == {"x"}
    with pytest.raises(DataError, match=r"'bomb' of bomb\.npz is a pickled Python object"):
        read_archive(path, ["bomb"])
    assert not Bomb.exploded
    np.load(path, allow_pickle=True)["bomb"]
    assert Bomb.exploded  # so the test can fail


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.0 2.0 3.0\n", "looks like a text file"),
        (b"", "the file is empty"),
        (b"\x00\x01\x02", "no archive structure"),
        (b"\x93NUMPY\x01\x00", r"single array \(\.npy\)"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        archive_keys(path)


def test_truncated_and_damaged(archive: Path) -> None:
    whole = archive.read_bytes()
    for share in (0.05, 0.5, 0.99):
        archive.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match="truncated"):
            archive_keys(archive)
    damaged = bytearray(whole)
    damaged[400:420] = bytes(20)
    archive.write_bytes(damaged)
    with pytest.raises(DataError, match=r"'x' of a\.npz cannot be read.*damaged"):
        read_archive(archive, ["x"])
    with pytest.raises(DataError, match="no file"):
        archive_keys(archive.with_name("b.npz"))


def test_failed_write_leaves_the_old_file(archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_archive(archive, {"x": np.array({}, dtype=object)})
    assert archive.read_bytes() == before
    assert [path.name for path in archive.parent.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    "array", [np.array("eV"), np.array(b"eV"), np.array([b"eV"]), np.array(["eV"])]
)
def test_text_of_every_vintage(array: np.ndarray) -> None:
    assert text_entry(array) == "eV"


def test_no_text() -> None:
    assert text_entry(None) == ""
    assert text_entry(np.array(["a", "b"])) == ""
