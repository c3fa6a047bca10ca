"""Frames of XYZ text, one at a time: extended XYZ, plain XYZ and i-PI's.

Trajectories are long; this reader takes about 10 µs an atom, never holds more than a frame, and
reads only what observables need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from ase.data import atomic_numbers as numbers_of_symbols

from kraft.core.errors import DataError
from kraft.core.typing import FloatArray, IntArray

_PROPERTIES = re.compile(r'Properties="?([^"\s]+)"?')
_IPI = re.compile(r"CELL\(\w+\).*?Step:\s*(\d+).*?\b(\w+)\{(\w+)\}\s+cell\{")
_PLAIN = "species:S:1:pos:R:3"


@dataclass(frozen=True, eq=False)
class TextFrame:
    """A frame as it stands in the file, in the file's units.

    Attributes
    ----------
    symbols
        Of the atoms.
    columns
        ``(N, 3)`` each, by name; ``pos`` is always there.
    comment
        The second line.
    """

    symbols: tuple[str, ...]
    columns: dict[str, FloatArray]
    comment: str

    def text(self, key: str) -> str | None:
        """Return what stands after ``key=`` in the comment, or None."""
        found = _key_pattern(key).search(self.comment)
        return None if found is None else found[1] if found[1] is not None else found[2]

    def number(self, key: str) -> float | None:
        """Return the number after ``key=``, or None; DataError where it is none."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return float(text)
        except ValueError:
            raise DataError(
                f"Expected a number after {key}= in an XYZ file, got {text!r}."
            ) from None

    def ipi(self) -> tuple[int, str, str] | None:
        """Return step, quantity and unit where i-PI wrote the frame."""
        found = _IPI.search(self.comment)
        return None if found is None else (int(found[1]), found[2], found[3])


def xyz_frames(path: Path, start: int, stop: int | None, every: int) -> Iterator[TextFrame | None]:
    """Yield frames ``start, start + every, ...`` before ``stop``.

    Yields None in place of a last frame that was not written to its end.

    Raises
    ------
    DataError
        When the text is no XYZ.
    """
    with path.open(encoding="utf-8", errors="replace") as handle:
        index = 0
        while stop is None or index < stop:
            n_atoms = _count(handle, path, index)
            if n_atoms is None:
                return
            comment = handle.readline()
            rows = list(islice(handle, n_atoms))
            if len(rows) < n_atoms or not _whole(rows[-1], rows[0]):
                yield None
                return
            if index >= start and (index - start) % every == 0:
                try:
                    yield _parse(rows, comment)
                except (DataError, ValueError, IndexError) as error:
                    raise DataError(
                        f"{path.name}: frame {index} is no XYZ: {error}. Expected one line for "
                        "each atom, with symbol and coordinates."
                    ) from error
            index += 1


def atomic_numbers(symbols: tuple[str, ...]) -> IntArray:
    """Return atomic numbers ``(N,)`` of symbols, or of numbers in their place; else DataError."""
    found = []
    for symbol in symbols:
        number = int(symbol) if symbol.isdigit() else numbers_of_symbols.get(symbol.capitalize())
        if number is None or not 0 < number < 119:
            raise DataError(f"expected symbols of elements, got {symbol!r}")
        found.append(number)
    return np.array(found, dtype=np.int64)


def _count(handle: TextIO, path: Path, index: int) -> int | None:
    """Return the number of atoms of the next frame; None at the end."""
    line = handle.readline()
    if not line.strip():
        rest = "" if not line else handle.read(1000).strip()
        if not rest:
            return None
        raise DataError(f"{path.name}: expected frame {index} after frame {index - 1}, got a gap.")
    try:
        n_atoms = int(line)
    except ValueError:
        n_atoms = 0
    if n_atoms < 1:
        raise DataError(
            f"{path.name}: expected the number of atoms of frame {index}, got {line.strip()!r}. "
            "Is it an XYZ file?"
        )
    return n_atoms


def _whole(last: str, first: str) -> bool:
    """Tell whether a line can be trusted to be whole, though its line break may be missing."""
    if last.endswith("\n"):
        return True
    return len(last.split()) == len(first.split()) and len(last) >= len(first.rstrip()) - 4


def _parse(rows: list[str], comment: str) -> TextFrame:
    stated = _PROPERTIES.search(comment)
    symbol_column, places = _layout(stated[1] if stated else _PLAIN)
    words = [row.split() for row in rows]
    symbols = tuple([row[symbol_column] for row in words])
    columns = {
        name: np.array([[float(word) for word in row[first : first + 3]] for row in words])
        for name, first in places
    }
    for name, column in columns.items():
        if column.ndim != 2 or column.shape[1] != 3:
            raise DataError(f"expected three numbers of {name} in each line")
        if not np.isfinite(column).all():
            raise DataError(f"its {name} are not finite")
    return TextFrame(symbols, columns, comment)


@lru_cache(maxsize=32)
def _layout(properties: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Return the column of the symbols, and first columns of positions and momenta."""
    words = properties.split(":")
    symbols, places, column = None, [], 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=True):
        if name in ("species", "Z") and (symbols is None or kind == "S"):
            symbols = column
        elif name in ("pos", "positions", "momenta", "velo", "vel", "velocities") and width == "3":
            places.append(("pos" if name == "positions" else name, column))
        column += int(width)
    if symbols is None or "pos" not in dict(places):
        raise DataError(f"expected species and pos among its Properties, got {properties!r}")
    return symbols, tuple(places)


@lru_cache(maxsize=64)
def _key_pattern(key: str) -> re.Pattern[str]:
    return re.compile(rf'(?:^|\s){re.escape(key)}=(?:"([^"]*)"|(\S+))')
