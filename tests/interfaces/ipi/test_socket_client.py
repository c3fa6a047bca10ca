from __future__ import annotations

import json
import os
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import ase.io
import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.socketio import SocketIOCalculator
from ipi_server import IpiServer
from molecules import WATER
from toy_models import toy_force_field

from kraft.core.errors import GeometryError, OptionError
from kraft.interfaces.ipi.bead_watch import read_alarms
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


@pytest.fixture
def asked(water, tmp_path):
    """Serve the answers at geometries, until one is refused; return them and what serve returns."""

    def call(geometries, **options):
        server = IpiServer(tmp_path)
        driver = KraftDriver(water, check_order=False, **options)
        with ThreadPoolExecutor() as pool:
            served = pool.submit(serve, driver, Address(server.name, None, server.prefix))
            server.accept()
            answers = []
            for positions in geometries:
                answers.append(server.ask(positions))
                if answers[-1] is None:
                    break
            else:
                server.end()
            return answers, served

    return call


def stretched(bond: float) -> np.ndarray:
    """Water with its first O-H of this length in Å."""
    positions, vector = WATER.positions.copy(), WATER.positions[1] - WATER.positions[0]
    positions[1] = positions[0] + vector * (bond / np.linalg.norm(vector))
    return positions


@pytest.mark.parametrize(
    ("bond", "seen"),
    [
        (2.5, r"The bond O0-H1 is 2\.50 Å long"),
        (0.4, r"Atoms O0-H1 are 0\.40 Å apart"),
    ],
)
def test_what_the_model_does_not_know_ends_the_connection(asked, tmp_path, bond, seen):
    alarms = tmp_path / "alarms.xyz"
    geometries = [WATER.positions, stretched(bond), WATER.positions]
    answers, served = asked(geometries, on_extrapolation="stop", alarms=alarms)
    assert len(answers) == 2 and answers[0] is not None and answers[1] is None
    with pytest.raises(GeometryError, match=rf"Evaluation 1, geometry 0: {seen}.*alarms\.xyz"):
        served.result()
    sound, bad = ase.io.read(alarms, ":")
    np.testing.assert_allclose(sound.positions, WATER.positions, rtol=1e-12)
    np.testing.assert_allclose(bad.positions, stretched(bond), rtol=1e-12)


def test_novelty_ends_the_connection_too(asked, water):
    limit = 0.9 * float(water.novelty(stretched(1.3)))
    assert float(water.novelty(WATER.positions)) < limit
    answers, served = asked(
        [WATER.positions, stretched(1.3)], on_extrapolation="stop", max_novelty=limit
    )
    assert answers[0] is not None and answers[1] is None
    with pytest.raises(GeometryError, match=r"Evaluation 1.*novelty .* beyond .*without forces"):
        served.result()


@pytest.mark.parametrize("action", ["warn", "ignore"])
def test_warned_or_ignored_it_goes_on(asked, water, tmp_path, action):
    alarms, told = tmp_path / "alarms.xyz", []
    geometries = [stretched(2.5), WATER.positions, stretched(2.6), stretched(0.4)]
    answers, served = asked(
        geometries, on_extrapolation=action, alarms=alarms, on_alarm=told.append
    )
    assert served.result() == 4
    wanted = water.predict(geometries)
    for answer, energy, forces in zip(answers, *wanted, strict=True):
        assert answer[0] == pytest.approx(energy, rel=1e-9)
        np.testing.assert_allclose(answer[1], forces, rtol=1e-7, atol=1e-9)
    if action == "ignore":
        assert not told and not alarms.exists()
        return
    assert [(a.step, a.reason) for a in told] == [(0, "broken bond"), (3, "close contact")]
    assert read_alarms(alarms) == tuple(told)


def test_atoms_in_one_place_end_the_connection(asked):
    answers, served = asked([stretched(0.0)], on_extrapolation="ignore")
    assert answers == [None]
    with pytest.raises(GeometryError):
        served.result()
