"""``kraft analyze``: what it finds in trajectories that are known, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import ase.units
import numpy as np
import pytest
from ase.data import atomic_masses, chemical_symbols

import kraft
from kraft.analysis.trajectories.velocity_spectrum import LIGHT
from kraft.data import Dataset

WAVE = 900.0  # 1/cm


def write(path: Path, numbers, positions, velocities=None, *, interval=1.0, energies=None) -> Path:
    """Write extended XYZ as `kraft md` does."""
    text = ""
    for index, frame in enumerate(positions):
        columns, names = [frame], "species:S:1:pos:R:3"
        if velocities is not None:
            columns.append(velocities[index] * atomic_masses[numbers][:, None] / ase.units.fs)
            names += ":momenta:R:3"
        energy = "" if energies is None else f" energy={energies[index]!r} energy_unit=eV"
        text += f'{len(numbers)}\npbc="F F F" Properties={names} length_unit=Ang'
        text += f" time_fs={index * interval!r}{energy}\n"
        for number, row in zip(numbers, np.concatenate(columns, axis=1).tolist(), strict=True):
            text += f"{chemical_symbols[number]} {' '.join(map(repr, row))}\n"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory, few_frames: Dataset) -> Path:
    """Ethanol whose atom 0 oscillates at 900 /cm; the energy falls by 0.01 eV per ps."""
    n = 3000
    rate = 2 * np.pi * LIGHT * WAVE
    times = np.arange(n)
    positions = np.repeat(few_frames.positions[:1], n, axis=0)
    velocities = np.zeros_like(positions)
    positions[:, 0, 0] += 0.05 * np.sin(rate * times)
    velocities[:, 0, 0] = 0.05 * rate * np.cos(rate * times)
    mass = atomic_masses[few_frames.atomic_numbers[0]]
    kinetic = 0.5 * mass * velocities[:, 0, 0] ** 2 / ase.units.fs**2
    energies = -10.0 - 0.01e-3 * times - kinetic
    folder = tmp_path_factory.mktemp("trajectories")
    return write(
        folder / "run.xyz",
        few_frames.atomic_numbers,
        positions,
        velocities,
        energies=energies.tolist(),
    )


@pytest.mark.parametrize("more", [[], ["--from-positions"]])
def test_spectrum_beside_the_harmonic_one(
    run, trajectory, model_file, tmp_path, capsys, more
) -> None:
    command = ["analyze", "spectrum", trajectory, "--atoms", "0", "--keep-rigid", *more]
    assert run(*command, "--resolution", "30", "--json", "s.json", "--plot", "s.png") == 0
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["peaks"][0] == pytest.approx(WAVE, abs=1.0)
    assert figures["source"] == ("positions" if more else "velocities")
    assert "900" in capsys.readouterr().out and (tmp_path / "s.png").stat().st_size > 5000
    assert run(*command, "--resolution", "30", "--model", model_file, "--json", "h.json") == 0
    assert len(json.loads((tmp_path / "h.json").read_text())["harmonic"]) == 21


def test_overview_and_energy(run, trajectory, tmp_path, capsys) -> None:
    assert run("analyze", trajectory, "--json", "o.json", "--plot", "o.svg") == 0
    said = capsys.readouterr().out
    assert "C2H6O, 9 atoms" in said and "3000 frames, 2.999 ps" in said
    assert json.loads((tmp_path / "o.json").read_text())["n_frames"] == 3000
    units = ["--units", "kcal/mol", "--json", "e.json"]
    assert run("analyze", "energy", trajectory, *units) == 0
    figures = json.loads((tmp_path / "e.json").read_text())
    assert figures["drift_per_ps"] == pytest.approx(-0.01 / 0.0433641, rel=1e-3)
    assert figures["units"] == {"energy": "kcal/mol"}


def test_dihedrals_of_replicas_and_beads(run, few_frames, tmp_path, capsys) -> None:
    numbers, positions = few_frames.atomic_numbers, few_frames.positions
    write(tmp_path / "a.xyz", numbers, positions[:40])
    write(tmp_path / "b.xyz", numbers, positions[40:])
    graph_of = ["--dihedral", "1", "0", "2", "8"]
    dihedral = ["--dihedral", *map(str, hydroxyl(few_frames))]
    both = ["analyze", "dihedrals", "a.xyz", "b.xyz", *dihedral]
    assert (
        graph_of and run(*both, "--temperature", "500", "--json", "d.json", "--plot", "d.png") == 0
    )
    figures = json.loads((tmp_path / "d.json").read_text())
    assert sum(minimum["mean"] for minimum in figures["minima"]) == pytest.approx(1.0)
    assert min(figures["free_energy"]["values"], key=lambda v: 9e9 if v is None else v) == 0.0
    assert [len(series[0]) for series in figures["series"]] == [40, 40]
    assert run(*both, "--files", "beads", "--json", "beads.json") == 0
    beads = json.loads((tmp_path / "beads.json").read_text())
    assert beads["density"] == figures["density"]
    assert (
        run(
            *both,
            *dihedral[:1],
            *map(str, hydroxyl(few_frames)[::-1]),
            *["--fold", "1", "3", "--plot", "j.pdf"],
        )
        == 0
    )
    assert run(*both, "--files", "centroid", "--json", "c.json") == 0
    assert len(json.loads((tmp_path / "c.json").read_text())["series"]) == 1
    capsys.readouterr()


def test_beads_taken_for_replicas_are_noticed(run, few_frames, tmp_path, capsys) -> None:
    names = ["simulation.pos_0.xyz", "simulation.pos_1.xyz"]
    for name in names:
        write(tmp_path / name, few_frames.atomic_numbers, few_frames.positions[:40])
    assert run("analyze", "gyration", *names) == 0
    assert "--files beads" in capsys.readouterr().err
    assert run("analyze", "gyration", *names, "--files", "beads") == 0
    assert "--files beads" not in capsys.readouterr().err


def test_a_share_without_transitions_has_no_error(run, few_frames, tmp_path, capsys) -> None:
    still = np.repeat(few_frames.positions[:1], 50, axis=0)
    write(tmp_path / "still.xyz", few_frames.atomic_numbers, still)
    dihedral = ["--dihedral", *map(str, hydroxyl(few_frames))]
    assert run("analyze", "dihedrals", "still.xyz", *dihedral) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "100.0 % (no transition was seen: error not known)" in shown


def hydroxyl(dataset: Dataset) -> tuple[int, ...]:
    """H-O-C-C of ethanol."""
    from kraft.analysis.trajectories import BondGraph

    graph = BondGraph.of(dataset.atomic_numbers, dataset.positions[0])
    (oxygen,) = graph.elements("O")
    hydrogen = next(int(a) for a in graph.neighbors[oxygen] if dataset.atomic_numbers[a] == 1)
    carbon = next(int(a) for a in graph.neighbors[oxygen] if dataset.atomic_numbers[a] == 6)
    other = next(int(a) for a in graph.neighbors[carbon] if dataset.atomic_numbers[a] == 6)
    return hydrogen, int(oxygen), carbon, other


def test_deviation_over_permutations_of_a_model(run, few_frames, model_file, tmp_path) -> None:
    force_field = kraft.load(model_file)
    assert len(force_field.permutations) > 1
    start = few_frames.positions[0]
    exchanged = np.stack([start, start[force_field.permutations[1]]])
    write(tmp_path / "p.xyz", few_frames.atomic_numbers, exchanged)
    assert run("analyze", "rmsd", "p.xyz", "--json", "a.json") == 0
    assert run("analyze", "rmsd", "p.xyz", "--model", model_file, "--json", "b.json") == 0
    plain, over = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert plain["largest"] > 0.3 and over["largest"] < 1e-6
    command = ["analyze", "gyration", "p.xyz", "--atoms", "heavy", "--geometric"]
    assert run(*command, "--json", "g.json") == 0
    heavy = start[few_frames.atomic_numbers > 1]
    radius = np.sqrt(np.square(heavy - heavy.mean(axis=0)).sum(axis=1).mean())
    assert json.loads((tmp_path / "g.json").read_text())["mean"] == pytest.approx(radius)


def test_rotation_of_two_fragments(run, tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    rod = np.arange(5)[:, None] * [0.0, 0.0, 1.4] + 0.1 * rng.normal(size=(5, 3))
    ring = np.array([[6.0, 0.0, 0.0], [7.2, 0.3, 0.0], [6.5, 1.0, 0.4]])
    angles = np.radians(np.arange(0.0, 100.0, 10.0))
    frames = []
    for angle in angles:
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        frames.append(np.concatenate([rod, ring @ turn.T]))
    write(tmp_path / "r.xyz", np.full(8, 6), np.array(frames))
    assert run("analyze", "rotation", "r.xyz", "--axis", "0", "0", "1", "--json", "r.json") == 0
    figures = json.loads((tmp_path / "r.json").read_text())
    np.testing.assert_allclose(figures["twists"][0], np.degrees(angles), atol=1e-6)
    assert "0.0 to 90.0 degrees" in capsys.readouterr().out


def test_what_does_not_fit_is_said(run, trajectory, few_frames, tmp_path, capsys) -> None:
    def refused(*arguments: str | Path) -> str:
        assert run("analyze", *arguments) == 1
        return " ".join(capsys.readouterr().err.split())

    write(tmp_path / "still.xyz", few_frames.atomic_numbers, few_frames.positions)
    bare = (tmp_path / "still.xyz").read_text().replace("time_fs=", "when=")
    (tmp_path / "bare.xyz").write_text(bare)
    assert "at least one trajectory" in refused("rmsd")
    assert "--frame-time" in refused("spectrum", "bare.xyz")
    assert "--energy-unit" in refused("energy", "still.xyz")
    assert "--resolution" not in refused("spectrum", "still.xyz", "--resolution", "5")
    assert "--dihedral with four atoms" in refused("dihedrals", "still.xyz")
    assert "4 different atoms" in refused(
        "dihedrals", "still.xyz", "--dihedral", "0", "1", "2", "9"
    )
    assert "no residue" in refused("dihedrals", "still.xyz", "--residue", "0")
    assert "Cannot tell which atoms" in refused("rmsd", "still.xyz", "--atoms", "oxygens")
    assert "1 fragments" in refused("rotation", "still.xyz")
    assert "is not there" in refused("gyration", "absent.xyz")
    assert "Unknown energy unit" in refused("energy", trajectory, "--units", "furlongs")
    assert ".png" in refused("gyration", "still.xyz", "--plot", "a.txt")
    assert "start < stop" in refused("rmsd", "still.xyz", "--start", "5", "--stop", "5")


def test_the_average_over_replicas_with_time(run, few_frames, tmp_path, capsys) -> None:
    """Molecules that grow at different rates: 1, 2 and 3 % a frame."""
    start = few_frames.positions[0]
    factors = 1.0 + np.outer([0.01, 0.02, 0.03], np.arange(40))
    names = [f"run-{replica}.xyz" for replica in range(3)]
    for name, scale in zip(names, factors, strict=True):
        positions = scale[:, None, None] * start
        write(tmp_path / name, few_frames.atomic_numbers, positions, interval=5.0)
    weights = atomic_masses[few_frames.atomic_numbers]
    center = weights @ start / weights.sum()
    size = np.sqrt(weights @ np.square(start - center).sum(axis=1) / weights.sum())
    command = ["analyze", "gyration", *names, "--reach", str(1.2 * size), "--plot", "g.png"]
    assert run(*command, "--json", "g.json") == 0
    figures = json.loads((tmp_path / "g.json").read_text())
    average = figures["over_replicas"]
    np.testing.assert_allclose(average["mean"], size * factors.mean(axis=0))
    spread = size * factors.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(average["standard_error"], spread, atol=1e-12)
    np.testing.assert_allclose(average["times"], 5.0 * np.arange(40))
    np.testing.assert_allclose(figures["reached"]["each"], [100.0, 50.0, 100.0 / 3.0])
    assert figures["reached"]["of_average"] == pytest.approx(50.0)
    means = size * factors.mean(axis=1)
    assert figures["between_replicas"] == pytest.approx(means.std(ddof=1) / np.sqrt(3))
    shown = capsys.readouterr().out
    assert "in all 3 replicas" in shown and "mean of 3 replicas" in shown
    assert (tmp_path / "g.png").stat().st_size > 5000
    assert run(*command[:-4], "--reach", "99") == 0
    assert "not reached" in capsys.readouterr().out


MD_TABLE = "step,time_ps,replica,potential_eV,kinetic_eV,temperature_K,conserved_eV"
IPI_TABLE = """# column   1     --> step : The current simulation time step.
# column   2     --> time{picosecond} : The elapsed simulation time.
# column   3     --> conserved{electronvolt} : Conserved.
# column   4     --> potential{electronvolt} : Potential.
"""


def test_energies_of_tables(run, few_frames, tmp_path, capsys) -> None:
    noise = np.random.default_rng(0).normal(size=(50, 2))
    potential = (-5.0 + noise).tolist()
    rows = [
        f"{step},{step / 1000!r},{replica},{potential[step][replica]!r},0.1,300.0,"
        f"{-4.0 + (0.1 + 0.2 * replica) * step / 1000!r}"
        for step in range(50)
        for replica in (0, 1)
    ]
    (tmp_path / "run.csv").write_text("\n".join([MD_TABLE, *rows]) + "\n49,0.0")  # being written
    assert run("analyze", "energy", "run.csv", "--json", "e.json", "--plot", "e.png") == 0
    figures = json.loads((tmp_path / "e.json").read_text())
    assert figures["potential"]["mean"] == pytest.approx(-5.0 + noise.mean())
    assert figures["drift_per_ps"] == pytest.approx(0.2)
    assert figures["temperature_K"]["mean"] == pytest.approx(300.0)
    shown = capsys.readouterr().out
    assert "2 replicas" in shown and "conserved energy" in shown
    assert run("analyze", "run.csv", "--start", "10", "--units", "kcal/mol") == 0
    shown = capsys.readouterr().out
    assert "80 frames" in shown and "novelty" not in shown
    watched = [f"{row},{0.5 + row.startswith('7,')},0.25" for row in rows]
    text = "\n".join([f"{MD_TABLE},novelty,force_std_eV_A", *watched])
    (tmp_path / "watched.csv").write_text(text + "\n")
    assert run("analyze", "watched.csv", "--json", "w.json", "--plot", "w.png") == 0
    shown = " ".join(capsys.readouterr().out.split())  # lines are as wide as the terminal
    assert "novelty 0.520 ± " in shown and ", at most 1.5" in shown
    assert "uncertainty 0.2500 ± 0 eV/Å, at most 0.2500" in shown
    figures = json.loads((tmp_path / "w.json").read_text())
    assert figures["novelty"]["mean"] == pytest.approx(0.52)
    assert figures["force_std_eV_A"]["largest"] == 0.25
    steps = "".join(f"{step} {step / 2000!r} -4.0 {potential[step][0]!r}\n" for step in range(50))
    (tmp_path / "simulation.out").write_text(IPI_TABLE + steps)
    text = ""
    for step, frame in enumerate(few_frames.positions[:50]):
        text += f"{len(frame)}\n# CELL(abcABC): 9 9 9 90 90 90 Step: {step} Bead: 0 "
        text += "x_centroid{angstrom} cell{angstrom}\n"
        for number, row in zip(few_frames.atomic_numbers, frame.tolist(), strict=True):
            text += f"{chemical_symbols[number]} {' '.join(map(repr, row))}\n"
    (tmp_path / "simulation.xc.xyz").write_text(text)
    for name in ("simulation.out", "simulation.xc.xyz"):  # the trajectory has no energies itself
        assert run("analyze", "energy", name, "--json", "i.json") == 0
        figures = json.loads((tmp_path / "i.json").read_text())
        assert figures["potential"]["mean"] == pytest.approx(-5.0 + noise[:, 0].mean())
        assert figures["times"][0][-1] == pytest.approx(24.5)
    assert "those of simulation.out" in capsys.readouterr().err
    assert run("analyze", "gyration", "simulation.xc.xyz", "--json", "r.json") == 0
    figures = json.loads((tmp_path / "r.json").read_text())
    np.testing.assert_allclose(figures["times"][0], 0.5 * np.arange(50))
    assert "0.5 fs long, as simulation.out says" in capsys.readouterr().err


def test_tables_that_do_not_fit_are_said(run, trajectory, tmp_path, capsys) -> None:
    (tmp_path / "run.csv").write_text(f"{MD_TABLE}\n0,0.0,0,nan,0.1,300.0,nan\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad.csv").write_text(f"{MD_TABLE}\n0,zero,0,1,0.1,300.0,1\n")
    (tmp_path / "simulation.out").write_text(IPI_TABLE.replace("potential{", "pot{") + "0 0 0 0\n")
    for arguments, message in (
        (("energy", "run.csv"), "trained without"),
        (("energy", "other.csv"), "no table of a simulation"),
        (("energy", "bad.csv"), "damaged"),
        (("energy", "absent.csv"), "not there"),
        (("energy", "simulation.out"), "one named potential"),
        (("energy", "run.csv", trajectory), "Give either"),
        (("rmsd", "run.csv"), "has no positions"),
    ):
        assert run("analyze", *arguments) == 1
        assert message in " ".join(capsys.readouterr().err.split())
