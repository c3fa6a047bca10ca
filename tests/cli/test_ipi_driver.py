"""``kraft ipi-driver`` on a socket of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import ase.io
import numpy as np
import pytest
from ipi_server import IpiServer

import kraft


@pytest.fixture
def served(run, model_file, tmp_path):
    """Ask the command at geometries; return its exit code and how many it has answered."""

    def call(geometries, *options):
        server = IpiServer(tmp_path)

        def ask() -> int:
            server.accept()
            for number, positions in enumerate(geometries):
                if server.ask(positions) is None:
                    return number
            server.end()
            return len(geometries)

        with ThreadPoolExecutor() as pool:
            answered = pool.submit(ask)
            where = ["--unix", "--prefix", server.prefix, "--address", server.name]
            code = run("ipi-driver", model_file, *where, *options)
            return code, answered.result()

    return call


@pytest.fixture
def geometries(model_file):
    """A sound one, one with its O-H at 2.5 Å, and the sound one again."""
    model = kraft.load(model_file)
    sound = model.parameters.training_positions[0]
    broken, numbers = sound.copy(), model.atomic_numbers
    oxygen = int(np.flatnonzero(numbers == 8)[0])
    away = np.where(numbers == 1, np.linalg.norm(sound - sound[oxygen], axis=1), np.inf)
    hydrogen = int(away.argmin())
    broken[hydrogen] += (sound[hydrogen] - sound[oxygen]) * (2.5 / away[hydrogen] - 1.0)
    return [sound, broken, sound]


def test_a_broken_bond_stops_it(served, geometries, tmp_path, capsys):
    assert served(geometries) == (1, 1)
    message = " ".join(capsys.readouterr().err.split())
    assert "Error: Evaluation 1, geometry 0: The bond " in message and "2.50 Å long" in message
    assert "alarms.xyz" in message and "exit_on_disconnect" in message
    assert len(ase.io.read(tmp_path / "alarms.xyz", ":")) == 2


def test_it_may_warn(served, geometries, tmp_path, capsys):
    options = ["--on-extrapolation", "warn", "--alarms", "seen/far.xyz"]
    assert served([*geometries, geometries[1]], *options) == (0, 4)
    shown = capsys.readouterr()
    assert " ".join(shown.err.split()).count("evaluation 1, geometry 0: The bond") == 1
    assert "Served 4 geometries. 1 alarm: see seen/far.xyz." in " ".join(shown.out.split())
    assert len(ase.io.read(tmp_path / "seen" / "far.xyz", ":")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--max-novelty", 1e-6], "unlike"), (["--max-force-std", 1e-6], "standard deviation")],
)
def test_limits(served, geometries, capsys, options, message):
    geometry = geometries[0] + 1e-3 * np.random.default_rng(0).normal(size=geometries[0].shape)
    assert served([geometry], *options) == (1, 0)
    assert message in capsys.readouterr().err


def test_nothing_is_watched(served, geometries, tmp_path, capsys):
    assert served(geometries, "--on-extrapolation", "ignore") == (0, 3)
    assert not (tmp_path / "alarms.xyz").exists() and "watched" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-novelty", 0], "--max-novelty"),
        (["--max-force-std", -1], "--max-force-std"),
        (["--alarms", "alarms.txt"], "ends in .xyz"),
        (["--interval", 0, "--unix", "--address", "x", "--patience", 0], "nothing is watched"),
    ],
)
def test_bad_options(run, model_file, capsys, options, message):
    assert run("ipi-driver", model_file, *options) == 1
    assert message in capsys.readouterr().err
