"""NumPy ``.npz`` archives read without unpickling anything and written atomically.

Files in the wild hold pickled dictionaries under keys that nobody needs; unpickling runs code from
the file. So only the wanted members are opened, with ``allow_pickle=False``.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from kraft.core.errors import DataError
from kraft.core.files import atomic_path
from kraft.core.typing import AnyArray

_DAMAGE = (EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


class _PickledError(DataError):
    """An entry is a pickled object."""


def archive_keys(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the keys of an archive, without reading any array.

    Raises
    ------
    DataError
        When ``path`` is no archive or is truncated.
    """
    with _open(Path(path)) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


def read_archive(
    path: str | os.PathLike[str], keys: Collection[str], *, skip_pickled: bool = False
) -> dict[str, AnyArray]:
    """Return those of ``keys`` that the archive holds.

    Parameters
    ----------
    path
        The archive.
    keys
        The entries wanted; no other is opened.
    skip_pickled
        Leave out wanted entries that are pickled objects instead of refusing them.

    Raises
    ------
    DataError
        When the archive is damaged or a wanted entry is a pickled object.
    """
    path = Path(path)
    arrays: dict[str, AnyArray] = {}
    with _open(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        for key in keys:
            if key in members:
                try:
                    arrays[key] = _read_member(path, archive, key, members[key])
                except _PickledError:
                    if not skip_pickled:
                        raise
    return arrays


def write_archive(path: str | os.PathLike[str], arrays: Mapping[str, AnyArray]) -> None:
    """Write a compressed archive; ``path`` appears whole or not at all.

    Raises
    ------
    OSError
        When the folder cannot be written or the disk is full.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **dict(arrays))


def text_entry(array: AnyArray | None) -> str:
    """Return a text scalar of any vintage: unicode or bytes, 0-d or one element; "" for None.

    Examples
    --------
    >>> text_entry(np.array([b"kcal/mol"]))
    'kcal/mol'
    """
    if array is None or array.size != 1:
        return ""
    value = array.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{path.name} is not a NumPy .npz archive: {_what_it_is(path)}. Expected an archive "
            "as numpy.savez writes it; if the file was downloaded or copied, get it again."
        ) from error


def _what_it_is(path: Path) -> str:
    with path.open("rb") as handle:
        start = handle.read(512)
    if not start:
        return "the file is empty"
    if start.startswith(b"PK\x03\x04"):
        return "it begins like one but its end is missing, so it is truncated"
    if start.startswith(b"\x93NUMPY"):
        return "it is a single array (.npy)"
    if b"\x00" not in start:
        return "it looks like a text file"
    return "it has no archive structure"


def _read_member(path: Path, archive: zipfile.ZipFile, key: str, member: str) -> AnyArray:
    try:
        with archive.open(member) as handle:
            array: AnyArray = npy_format.read_array(handle, allow_pickle=False)
            handle.read(1)  # reaches the end, where zipfile verifies the checksum
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise _PickledError(
                f"Entry {key!r} of {path.name} is a pickled Python object. Expected a plain "
                "array of numbers or text; kraft never unpickles, since that runs code from the "
                "file. Save the entry as a plain array."
            ) from error
        raise _damaged(path, key, error) from error
    except MemoryError as error:
        raise DataError(
            f"Entry {key!r} of {path.name} claims a size that does not fit into memory. The file "
            "is damaged or larger than this machine can hold."
        ) from error
    except _DAMAGE as error:
        raise _damaged(path, key, error) from error
    return array


def _damaged(path: Path, key: str, error: Exception) -> DataError:
    return DataError(
        f"Entry {key!r} of {path.name} cannot be read: {error}. The file is damaged or truncated; "
        "get it again."
    )
