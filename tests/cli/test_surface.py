"""relax, frequencies, neb and scan from the command line."""

from __future__ import annotations

import csv
import json

import ase.io
import numpy as np
import pytest

from kraft.cli.interruption import StopSwitch
from kraft.interfaces.surface import relax, scan


@pytest.fixture(scope="module")
def model(ethanol_force_field, tmp_path_factory):
    path = tmp_path_factory.mktemp("surface") / "model.safetensors"
    ethanol_force_field.save(path)
    return path


@pytest.fixture(scope="module")
def minima(ethanol_force_field, ethanol_parts, tmp_path_factory):
    """Files of two minima and of frames of a simulation."""
    folder = tmp_path_factory.mktemp("minima")
    start = relax(ethanol_force_field, ethanol_parts.test.positions[3], fmax=1e-4).positions
    turned = scan(ethanol_force_field, start, (3, 2, 1, 0), np.arange(-180.0, 181.0, 30.0))
    barrier = turned.profile.barriers()[0]
    numbers = ethanol_force_field.atomic_numbers
    for name, place in (("a", barrier.start), ("b", barrier.end)):
        nearest = np.abs((turned.values - place.coordinate + 180.0) % 360.0 - 180.0).argmin()
        reached = relax(ethanol_force_field, turned.positions[nearest], fmax=1e-4)
        ase.io.write(folder / f"{name}.xyz", ase.Atoms(numbers, reached.positions))
    frames = [ase.Atoms(numbers, positions) for positions in ethanol_parts.test.positions[:3]]
    ase.io.write(folder / "frames.xyz", frames)
    return folder


class Stopped(StopSwitch):
    """As if Ctrl-C had been pressed at once."""

    def __init__(self):
        self.requested = True


def test_relax_many(run, model, minima, tmp_path, capsys):
    assert run("relax", model, minima / "frames.xyz", "-o", "out.xyz", "--json", "out.json") == 0
    shown = capsys.readouterr().out
    assert "minima" in shown or "minimum" in shown
    figures = json.loads((tmp_path / "out.json").read_text())
    assert len(figures["geometries"]) == 3
    for each in figures["geometries"]:
        assert each["converged"] and each["n_imaginary"] == 0
    written = ase.io.read(tmp_path / "out.xyz", ":")
    assert [atoms.info["converged"] for atoms in written] == [1, 1, 1]
    assert np.isfinite([atoms.get_potential_energy() for atoms in written]).all()
    assert run("relax", model, minima / "frames.xyz", "-o", "out.xyz") == 1
    assert "--overwrite" in capsys.readouterr().err


def test_relax_says_when_it_is_not_done(run, model, minima, tmp_path, capsys, monkeypatch):
    given = ["relax", model, minima / "frames.xyz", "--overwrite", "-o", "out.xyz"]
    assert run(*given, "--max-steps", 2) == 3
    assert "Not converged: 3 of 3" in capsys.readouterr().err
    assert len(ase.io.read(tmp_path / "out.xyz", ":")) == 3
    monkeypatch.setattr("kraft.cli.relax.StopSwitch", Stopped)
    assert run(*given) == 130
    assert "2 not begun" in capsys.readouterr().err
    assert len(ase.io.read(tmp_path / "out.xyz", ":")) == 1


def test_forces_have_units(run, model, minima, capsys):
    given = ["relax", model, minima / "a.xyz", "--overwrite", "-o", "out.xyz", "--fmax"]
    assert run(*given, "0.02 kcal/mol/Å") == 0
    assert run(*given, "much") == 1
    assert "Expected a positive force" in capsys.readouterr().err
    assert run(*given, "1 apple") == 1
    assert "Unknown" in capsys.readouterr().err


def test_frequencies_of_a_minimum(run, model, minima, tmp_path, capsys):
    given = ["frequencies", model, minima / "a.xyz", "--json", "f.json"]
    assert run(*given, "--modes", "modes.xyz", "--plot", "f.png", "--atoms", "H bonded to O") == 0
    captured = capsys.readouterr()
    assert "zero-point energy" in captured.out and "warning" not in captured.err
    light = json.loads((tmp_path / "f.json").read_text())
    modes = ase.io.read(tmp_path / "modes.xyz", ":")
    assert len(modes) == len(light["wavenumbers"]) == 21
    assert np.square(modes[4].arrays["displacement"]).sum() == pytest.approx(1.0)
    assert run(*given, "--isotope", "H bonded to O=D") == 0
    heavy = json.loads((tmp_path / "f.json").read_text())
    assert heavy["zero_point_energy"] < light["zero_point_energy"]
    atoms = ase.io.read(minima / "a.xyz")
    masses = atoms.get_masses()
    masses[3] = 2.01410177784
    atoms.set_masses(masses)
    ase.io.write(tmp_path / "heavy.xyz", atoms, format="extxyz",
                 columns=["symbols", "positions", "masses"])  # fmt: skip
    assert run("frequencies", model, "heavy.xyz", "--json", "g.json") == 0
    found = json.loads((tmp_path / "g.json").read_text())
    np.testing.assert_allclose(found["wavenumbers"], heavy["wavenumbers"], atol=0.5)


def test_frequencies_elsewhere_are_warned_of(run, model, minima, capsys):
    assert run("frequencies", model, minima / "frames.xyz") == 0
    captured = capsys.readouterr().err
    assert "no stationary geometry" in captured and "--relax" in captured
    assert run("frequencies", model, minima / "frames.xyz", "--relax") == 0
    captured = capsys.readouterr().err
    assert "no stationary geometry" not in captured and "Relaxed in" in captured
    for text in ("O", "C=x", "Xx=2", "9=2"):
        assert run("frequencies", model, minima / "a.xyz", "--isotope", text) == 1


def test_neb_finds_the_barrier(run, model, minima, tmp_path, capsys):
    given = ["neb", model, minima / "a.xyz", minima / "b.xyz", "-o", "path.xyz"]
    assert run(*given, "--images", 5, "--plot", "path.png", "--json", "path.json") == 0
    shown = capsys.readouterr().out
    assert "1 imaginary mode" in shown and "path.ts.xyz" in shown
    figures = json.loads((tmp_path / "path.json").read_text())
    gap = figures["barrier_forward"] - figures["barrier_reverse"]
    assert gap == pytest.approx(figures["end_above_start"], abs=1e-9)
    assert len(ase.io.read(tmp_path / "path.xyz", ":")) == 7
    assert (tmp_path / "path.png").stat().st_size > 1000
    assert run("frequencies", model, "path.ts.xyz") == 0
    assert "1 imaginary mode" in capsys.readouterr().err
    assert run(*given, "--overwrite", "--max-steps", 1) == 3
    assert run("neb", model, minima / "a.xyz", minima / "a.xyz", "-o", "same.xyz") == 1
    assert "one minimum" in capsys.readouterr().err


def test_scan_writes_frames_and_a_table(run, model, minima, tmp_path, capsys):
    given = ["scan", model, minima / "a.xyz", "-o", "scan.xyz", "--overwrite"]
    turn = ["--dihedral", 3, 2, 1, 0, "--from", 0, "--to", 360, "--step", 30]
    assert run(*given, *turn, "--plot", "scan.png", "--json", "scan.json") == 0
    shown = capsys.readouterr().out
    assert "barrier at" in shown and "minimum at" in shown
    figures = json.loads((tmp_path / "scan.json").read_text())
    assert len(figures["barriers"]) == 3
    with (tmp_path / "scan.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 13 and float(rows[0]["dihedral_deg"]) == 0.0
    frames = ase.io.read(tmp_path / "scan.xyz", ":")
    assert [atoms.info["dihedral"] for atoms in frames] == [30.0 * k for k in range(13)]
    assert run(*given, *turn, "--rigid") == 0
    assert "rigid" in capsys.readouterr().out


def test_scans_that_make_no_sense(run, model, minima, capsys):
    given = ["scan", model, minima / "a.xyz", "-o", "scan.xyz"]
    for more, words in [
        ([], "one of --dihedral"),
        (["--bond", 0, 1], "--from and --to"),
        (["--bond", 0, 12], "0 to 8"),
        (["--dihedral", 3, 2, 1, 0, "--step", 7], "no multiple"),
        (["--angle", 0, 1, 2, "--from", 100, "--to", 180], "straight"),
    ]:
        assert run(*given, *more) == 1
        assert words in capsys.readouterr().err.replace("\n", " ")
