"""Trajectories in, with units that are told and never guessed."""

from __future__ import annotations

import ase
import ase.io
import ase.units
import numpy as np
import pytest

from kraft.analysis.trajectories import ReadingRules, TrajectoryFile, centroid, read_trajectory
from kraft.core.errors import DataError, OptionError, UnitError

SYMBOLS = ("O", "H", "H")
SPEED = 0.003  # Å/fs


def moving_water(n=12, interval=0.5):
    """Positions ``(T, 3, 3)`` and velocities of a water molecule that flies along x."""
    rest = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
    times = interval * np.arange(n)
    positions = rest + SPEED * times[:, None, None] * np.array([1.0, 0.0, 0.0])
    velocities = np.zeros_like(positions)
    velocities[:, :, 0] = SPEED
    return times, positions, velocities


def extxyz(*, n=12, stated="", momenta_factor=1.0, times=True, energy="-1.5", ends="\n"):
    when, positions, velocities = moving_water(n)
    masses = ase.Atoms("OH2").get_masses()[:, None]
    text = ""
    for t, x, v in zip(when, positions, velocities, strict=True):
        p = momenta_factor * v * masses / ase.units.fs
        time = f" time_fs={t}" if times else ""
        text += '3\npbc="F F F" Properties=species:S:1:pos:R:3:momenta:R:3'
        text += f"{time} energy={energy}{stated}\n"
        for symbol, row in zip(SYMBOLS, np.concatenate([x, p], axis=1).tolist(), strict=True):
            text += f"{symbol} {' '.join(map(repr, row))}\n"
    return text[:-1] + ends


def write(path, text):
    path.write_text(text)
    return path


def test_what_the_file_says_is_read(tmp_path):
    path = write(tmp_path / "run.xyz", extxyz(stated=" energy_unit=kcal/mol length_unit=Ang"))
    file = TrajectoryFile(path)
    chunks = list(file.chunks(5))
    assert [len(chunk) for chunk in chunks] == [5, 5, 2] and file.notices == []
    frames = read_trajectory(path)
    times, positions, velocities = moving_water()
    np.testing.assert_allclose(frames.positions, positions)
    np.testing.assert_allclose(frames.velocities, velocities, atol=1e-15)
    np.testing.assert_allclose(frames.energies, -1.5 * ase.units.kcal / ase.units.mol)
    assert frames.interval == pytest.approx(0.5) and frames.cell is None
    part = read_trajectory(path, start=2, stop=9, every=3)
    np.testing.assert_allclose(part.times, times[2:9:3])


def test_assumptions_are_said_and_unknown_units_are_not_used(tmp_path):
    file = TrajectoryFile(write(tmp_path / "run.xyz", extxyz()))
    (frames,) = file.chunks()
    assert frames.energies is None
    assert any("taken as Å" in note for note in file.notices)
    assert any("energies are not used" in note for note in file.notices)
    with pytest.raises(UnitError, match="--energy-unit"):
        frames.require_energies()
    timeless = write(tmp_path / "timeless.xyz", extxyz(times=False))
    with pytest.raises(UnitError, match="--frame-time"):
        _ = read_trajectory(timeless).interval
    assert read_trajectory(timeless, frame_time=0.5).interval == pytest.approx(0.5)


@pytest.mark.parametrize("factor", [ase.units.fs, 1 / ase.units.fs])
def test_momenta_in_a_wrong_unit_are_found(tmp_path, factor):
    path = write(tmp_path / "run.xyz", extxyz(momenta_factor=factor))
    with pytest.raises(UnitError, match="times as fast as their momenta"):
        read_trajectory(path)


def test_a_frame_that_was_not_finished_is_left_out_with_a_notice(tmp_path):
    whole = extxyz()
    file = TrajectoryFile(write(tmp_path / "cut.xyz", whole[:-60]))
    (frames,) = file.chunks()
    assert len(frames) == 11 and any("incomplete" in note for note in file.notices)
    without_break = TrajectoryFile(write(tmp_path / "whole.xyz", extxyz(ends="")))
    assert sum(len(chunk) for chunk in without_break.chunks()) == 12


def test_ase_formats_bring_their_units(tmp_path):
    _, positions, velocities = moving_water()
    with ase.io.Trajectory(tmp_path / "run.traj", "w") as handle:
        for x, v in zip(positions, velocities, strict=True):
            handle.write(ase.Atoms("OH2", x, velocities=v / ase.units.fs))
    frames = read_trajectory(tmp_path / "run.traj", frame_time=0.5, start=1, every=2)
    np.testing.assert_allclose(frames.positions, positions[1::2])
    np.testing.assert_allclose(frames.velocities, velocities[1::2], rtol=1e-12)
    np.testing.assert_allclose(frames.times, 0.5 * np.arange(1, 12, 2))


def test_ipi_tells_the_unit_in_its_comment(tmp_path):
    _, positions, _ = moving_water(3)
    text = ""
    for step, frame in enumerate(positions / ase.units.Bohr):
        text += "3\n# CELL(abcABC): 99.0 99.0 99.0 90.0 90.0 90.0  Step: "
        text += f"{10 * step}  Bead: 0 positions{{atomic_unit}}  cell{{atomic_unit}}\n"
        for symbol, row in zip(SYMBOLS, frame.tolist(), strict=True):
            text += f"{symbol} {' '.join(map(repr, row))}\n"
    path = write(tmp_path / "simulation.pos_0.xyz", text)
    np.testing.assert_allclose(read_trajectory(path).positions, positions)
    wrong = write(tmp_path / "v.xyz", text.replace("positions{", "velocities{"))
    with pytest.raises(DataError, match="holds velocities"):
        read_trajectory(wrong)


def test_the_centroid_is_the_mean_of_the_beads(tmp_path):
    frames = read_trajectory(write(tmp_path / "run.xyz", extxyz()))
    shifted = read_trajectory(tmp_path / "run.xyz")
    shifted.positions[:] += 0.2
    np.testing.assert_allclose(centroid([frames, shifted]).positions, frames.positions + 0.1)
    with pytest.raises(DataError, match="equal numbers"):
        centroid([frames, read_trajectory(tmp_path / "run.xyz", stop=3)])


def test_bad_files_are_refused(tmp_path):
    good = extxyz(n=3)
    for text, message in (
        ("hello\n", "number of atoms"),
        (good.replace("\nO ", "\nXx ", 1), "symbols of elements"),
        (good.replace("0.76", "wide", 1), "no XYZ"),
        (good + extxyz(n=1).replace("\nO", "\nN"), "other atoms"),
        (good + extxyz(n=1, stated=" length_unit=bohr"), "another length unit"),
        (good.replace('pbc="F F F"', 'Lattice="9 0 0 0 9 0 0 0 9"', 1), "it changes"),
        ("", "no frame"),
    ):
        with pytest.raises(DataError, match=message):
            read_trajectory(write(tmp_path / "bad.xyz", text))
    with pytest.raises(DataError, match="not there"):
        read_trajectory(tmp_path / "absent.xyz")
    (tmp_path / "notes.txt").write_text("nothing to see\n")
    with pytest.raises(DataError, match="ASE cannot read"):
        read_trajectory(tmp_path / "notes.txt")
    with pytest.raises(OptionError, match="start"):
        ReadingRules(start=5, stop=2)
    uneven = good + extxyz(n=1).replace("time_fs=0.0", "time_fs=4.0")
    with pytest.raises(DataError, match="equal intervals"):
        _ = read_trajectory(write(tmp_path / "uneven.xyz", uneven)).interval
