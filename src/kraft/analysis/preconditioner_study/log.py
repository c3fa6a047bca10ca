"""Measurements on disk: an interrupted study goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kraft.core.errors import DataError

Figures = dict[str, Any]


class MeasurementLog:
    """Finished measurements, a JSON object on each line of a file, found again by their keys.

    A line is written by one call, and only when the measurement is finished. What a crash leaves of
    a line is ignored, so a process can be killed at any moment; two processes may write to one
    file. Of several lines with one key the last one counts.

    Parameters
    ----------
    path
        The file; made with the first measurement. None keeps nothing on disk.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, Figures] = {}
        self._torn = False
        if path is not None and path.exists():
            self._read(path)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> Figures:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Figures]]:
        """Yield keys that begin with ``prefix`` and their figures, in the order of measuring."""
        return ((key, row) for key, row in list(self._rows.items()) if key.startswith(prefix))

    def add(self, key: str, figures: Figures) -> None:
        """Keep the figures of one measurement.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        line = json.dumps({"key": key, **figures}, ensure_ascii=False, allow_nan=False)
        self._rows[key] = json.loads(line)
        self._rows[key].pop("key")
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = ("\n" if self._torn else "") + line + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        self._torn = False

    def _read(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8", errors="replace")
        self._torn = bool(text) and not text.endswith("\n")
        lines = text.splitlines()
        readable = 0
        for line in lines:
            try:
                row = json.loads(line)
                key = row.pop("key")
            except (ValueError, KeyError, AttributeError, TypeError):
                continue  # a line that was being written when its process was killed
            self._rows[str(key)] = row
            readable += 1
        if lines and readable < len(lines) - max(1, len(lines) // 10):
            raise DataError(
                f"{path} holds no measurements that can be read: expected a JSON object with a "
                '"key" on each line. Name another file, or remove it to begin anew.'
            )
