"""The force field as a client of i-PI's sockets, one geometry or a batch per message.

The protocol is that of i-PI (``<ffsocket>``, version 3.3 for batches) and of ASE's
``SocketIOCalculator``: headers of 12 characters, numbers as they lie in memory, atomic units.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

import numpy as np

from kraft.core.errors import ExtrapolationError, GeometryError, OptionError
from kraft.core.typing import FloatArray
from kraft.interfaces.ipi.driver import KraftDriver, Result

HEADER = 12
UNIX_PREFIX = "/tmp/ipi_"
"""What i-PI puts before the names of its UNIX sockets."""

PORT = 31415

_FAREWELL = 2.0
"""Seconds to wait for i-PI to notice that the connection ends."""


@dataclass(frozen=True)
class Address:
    """Where i-PI listens: a host and port, or the name of a UNIX socket.

    Attributes
    ----------
    name
        Host, or ``<address>`` of a UNIX socket.
    port
        None for a UNIX socket.
    prefix
        Of UNIX sockets.
    """

    name: str
    port: int | None = PORT
    prefix: str = UNIX_PREFIX

    def __str__(self) -> str:
        return f"{self.prefix}{self.name}" if self.port is None else f"{self.name}:{self.port}"

    def connect(self, patience: float) -> socket.socket:
        """Return a connection; try for ``patience`` seconds.

        Raises
        ------
        OptionError
            When nobody listens there.
        """
        end = time.monotonic() + patience
        while True:
            try:
                if self.port is not None:
                    found = socket.create_connection((self.name, self.port))
                    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return found
                found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                found.connect(self.prefix + self.name)
                return found
            except OSError as error:
                if time.monotonic() > end:
                    raise OptionError(
                        f"Nobody listens at {self} ({error.strerror or error}). Start i-PI first, "
                        "with an <ffsocket> of this address, and check --address and --port."
                    ) from error
                time.sleep(0.2)


def serve(driver: KraftDriver, address: Address, *, patience: float = 60.0) -> int:
    """Answer i-PI until it ends; return the number of geometries predicted.

    Parameters
    ----------
    driver
        What answers.
    address
        Where i-PI listens.
    patience
        Seconds to wait for i-PI to start.

    Raises
    ------
    OptionError
        When nobody listens there.
    GeometryError
        When geometries do not fit the model, or are unlike what it knows and that is to stop;
        i-PI then sees the connection closed.
    """
    with address.connect(patience) as connection:
        try:
            return _Conversation(driver, connection).go()
        except ExtrapolationError as error:
            _part(connection)
            raise GeometryError(_farewell(error, driver)) from error
        except Exception:
            _part(connection)
            raise


def _farewell(error: ExtrapolationError, driver: KraftDriver) -> str:
    """Return what was seen, and how to go on."""
    kept = driver.alarms is not None and driver.alarms.exists()
    where = f" The geometries are in {driver.alarms}." if kept else ""
    return (
        f"Evaluation {error.step}, geometry {error.bead}: {error.seen}{where} The connection was "
        "closed without forces. An i-PI whose <ffsocket> has no <exit_on_disconnect> waits for "
        "another driver: one that allows more (on_extrapolation, max_novelty, max_force_std) goes "
        "on from this geometry; else end i-PI by a file EXIT in its folder."
    )


def _part(connection: socket.socket) -> None:
    """Say no more, and hear the other side out, so that it sees an end and no broken connection."""
    end = time.monotonic() + _FAREWELL
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_FAREWELL)
        while time.monotonic() < end and connection.recv(65536):
            pass
    except OSError:
        pass  # it has gone, or has not noticed in time


class _ClosedError(Exception):
    """The other side is gone."""


class _Conversation:
    """What is said on one connection."""

    def __init__(self, driver: KraftDriver, connection: socket.socket) -> None:
        self._driver, self._connection = driver, connection
        self._initialized, self._batch = False, 1
        self._results: list[Result] = []
        self._served = 0

    def go(self) -> int:
        """Answer until the other side says EXIT or closes."""
        try:
            while (header := self._read(HEADER).decode().strip().upper()) != "EXIT":
                self._answer(header)
        except (_ClosedError, ConnectionError):
            pass  # i-PI ends so, too
        return self._served

    def _answer(self, header: str) -> None:
        if header == "STATUS":
            ready = "HAVEDATA" if self._results else "READY"
            self._say(ready if self._initialized else "NEEDINIT")
        elif header == "INIT":
            _, length = struct.unpack("=ii", self._read(8))
            self._batch = _batch_size(self._read(length).decode("utf-8", errors="replace"))
            self._initialized = True
        elif header == "POSDATA":
            self._predict()
        elif header == "GETFORCE":
            self._send_results()
        else:
            raise OptionError(
                f"Got the message {header!r} that kraft does not know. Expected i-PI's protocol; "
                "shared memory (mode='shm') is not served, use mode='unix' or 'inet'."
            )

    def _predict(self) -> None:
        batch = self._batch
        if batch == 1:
            cells = self._numbers(18)[None, :9]
            (n_atoms,) = struct.unpack("=i", self._read(4))
        else:
            (n_atoms,) = struct.unpack("=i", self._read(4))
            cells = self._numbers(18 * batch).reshape(batch, 18)[:, :9]
        positions = self._numbers(3 * n_atoms * batch).reshape(batch, n_atoms, 3)
        self._results = self._driver.compute(cells.reshape(-1, 3, 3), positions)
        self._served += batch

    def _send_results(self) -> None:
        if not self._results:
            raise GeometryError("Asked for forces before positions came: check the server.")
        energies, forces, virials, extras = zip(*self._results, strict=True)
        n_atoms = len(forces[0])
        parts = [b"FORCEREADY  ", np.array(energies).tobytes(), struct.pack("=i", n_atoms)]
        parts += [np.array(forces).tobytes(), np.array(virials).tobytes()]
        for text in extras:
            said = text.encode()
            parts += [struct.pack("=i", len(said)), said]
        self._connection.sendall(b"".join(parts))
        self._results = []

    def _say(self, header: str) -> None:
        self._connection.sendall(header.ljust(HEADER).encode())

    def _numbers(self, count: int) -> FloatArray:
        return np.frombuffer(self._read(8 * count), dtype=np.float64)

    def _read(self, count: int) -> bytes:
        """Read exactly ``count`` bytes."""
        found = bytearray()
        while len(found) < count:
            piece = self._connection.recv(count - len(found))
            if not piece:
                raise _ClosedError
            found += piece
        return bytes(found)


def _batch_size(text: str) -> int:
    """Return the size of batches that an initialization announces (``batch_size:16``), else 1."""
    for token in text.split(","):
        name, colon, value = token.partition(":")
        if colon and name.strip() == "batch_size":
            return int(value)
    return 1
