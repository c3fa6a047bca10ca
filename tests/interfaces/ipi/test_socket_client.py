from __future__ import annotations

import json
import os
import socket
import struct
import threading

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.socketio import SocketIOCalculator
from molecules import WATER
from toy_models import toy_force_field

from kraft.core.errors import OptionError
from kraft.interfaces.ipi.driver import KraftDriver
from kraft.interfaces.ipi.socket_client import Address, serve


@pytest.fixture(scope="module")
def water():
    return toy_force_field(WATER)


def test_ase_as_server_gets_the_models_values(water):
    name, positions = f"kraft-test-{os.getpid()}", WATER.frames(2, seed=5)
    served = []
    with SocketIOCalculator(unixsocket=name, timeout=20) as calculator:
        client = threading.Thread(
            target=lambda: served.append(serve(KraftDriver(water), Address(name, None)))
        )
        client.start()
        atoms = Atoms(numbers=WATER.atomic_numbers, positions=positions[0])
        for geometry in positions:
            atoms.positions = geometry
            atoms.calc = calculator
            wanted = water.predict(geometry)
            assert atoms.get_potential_energy() == pytest.approx(float(wanted.energies), rel=1e-9)
            np.testing.assert_allclose(atoms.get_forces(), wanted.forces, rtol=1e-8)
    client.join(timeout=20)
    assert served == [2]


def test_a_batch_in_one_message(water):
    """The protocol of i-PI 3.3, spoken here by hand."""
    listener = socket.create_server(("localhost", 0))
    address = Address("localhost", listener.getsockname()[1])
    served = []
    client = threading.Thread(target=lambda: served.append(serve(KraftDriver(water), address)))
    client.start()
    connection, _ = listener.accept()
    connection.settimeout(20)
    stream = connection.makefile("rwb")

    def say(header: str, *parts: bytes) -> None:
        stream.write(header.ljust(12).encode() + b"".join(parts))
        stream.flush()

    def numbers(count: int) -> np.ndarray:
        return np.frombuffer(stream.read(8 * count))

    positions = WATER.frames(3, seed=6)
    say("STATUS")
    assert stream.read(12).split() == [b"NEEDINIT"]
    said = b" , batch_size:3"
    say("INIT", struct.pack("=ii", 0, len(said)), said)
    say("STATUS")
    assert stream.read(12).split() == [b"READY"]
    cells = np.tile(np.eye(3).ravel(), 6)
    say("POSDATA", struct.pack("=i", 3), cells.tobytes(), (positions / ase.units.Bohr).tobytes())
    say("STATUS")
    assert stream.read(12).split() == [b"HAVEDATA"]
    say("GETFORCE")
    assert stream.read(12).split() == [b"FORCEREADY"]
    energies = numbers(3)
    assert struct.unpack("=i", stream.read(4)) == (3,)
    forces = numbers(27).reshape(3, 3, 3)
    virials = numbers(27).reshape(3, 3, 3)
    extras = []
    for _ in range(3):
        (length,) = struct.unpack("=i", stream.read(4))
        extras.append(json.loads(stream.read(length)))
    say("EXIT")
    client.join(timeout=20)
    listener.close()
    wanted = water.predict(positions)
    np.testing.assert_allclose(energies * ase.units.Hartree, wanted.energies, rtol=1e-10)
    unit = ase.units.Hartree / ase.units.Bohr
    np.testing.assert_allclose(forces * unit, wanted.forces, rtol=1e-8)
    np.testing.assert_allclose(
        virials * ase.units.Hartree, np.einsum("bnx,bny->bxy", positions, wanted.forces), rtol=1e-8
    )
    np.testing.assert_allclose([e["novelty"] for e in extras], water.novelty(positions))
    assert served == [3]


def test_nobody_there(water):
    with pytest.raises(OptionError, match="Nobody listens at /tmp/ipi_kraft-nobody"):
        serve(KraftDriver(water), Address("kraft-nobody", None), patience=0.0)
