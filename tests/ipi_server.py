"""The server's side of i-PI's sockets, spoken by hand."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import ase.units
import numpy as np


class IpiServer:
    """Listens on a UNIX socket in a folder and asks one driver.

    Attributes
    ----------
    name, prefix
        Where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.prefix = "s", f"{folder}/"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.prefix + self.name)
        self._listener.listen()

    def accept(self) -> None:
        """Wait for the driver."""
        self._listener.settimeout(60)
        connection, _ = self._listener.accept()
        connection.settimeout(60)
        self._stream = connection.makefile("rwb")

    def ask(self, positions: np.ndarray) -> tuple[float, np.ndarray, dict[str, float]] | None:
        """Return energy (eV), forces (eV/Å) and extras at ``(N, 3)`` in Å.

        None when the driver ended the connection, without breaking it, instead of answering.
        """
        self._say("STATUS")
        if self._stream.read(12).split() == [b"NEEDINIT"]:
            self._say("INIT", struct.pack("=ii", 0, 0))
        cells, n_atoms = np.eye(3).tobytes() * 2, struct.pack("=i", len(positions))
        geometry = (positions / ase.units.Bohr).tobytes()
        self._say("POSDATA", cells, n_atoms, geometry, b"GETFORCE    ")  # at once, as i-PI may
        header = self._stream.read(12)
        if not header:
            self._stream.close()
            return None
        assert header.split() == [b"FORCEREADY"]
        (energy,) = self._numbers(1)
        assert self._stream.read(4) == n_atoms
        forces = self._numbers(positions.size).reshape(-1, 3)
        self._numbers(9)
        (length,) = struct.unpack("=i", self._stream.read(4))
        extras = json.loads(self._stream.read(length) or "{}")
        unit = ase.units.Hartree
        return float(energy) * unit, forces * unit / ase.units.Bohr, extras

    def end(self) -> None:
        """Let the driver end."""
        self._say("EXIT")
        self._stream.close()

    def _say(self, header: str, *parts: bytes) -> None:
        self._stream.write(header.ljust(12).encode() + b"".join(parts))
        self._stream.flush()

    def _numbers(self, count: int) -> np.ndarray:
        return np.frombuffer(self._stream.read(8 * count))
