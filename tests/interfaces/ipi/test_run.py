"""Runs of i-PI itself."""

from __future__ import annotations

import shutil

import ase.io
import numpy as np
import pytest

from kraft.analysis.trajectories import TrajectoryFile, read_trajectory
from kraft.cli.main import main
from kraft.core.errors import GeometryError, UnfinishedError
from kraft.interfaces.ipi import (
    DriverOptions,
    IpiError,
    PathIntegral,
    prepare,
    read_extras,
    read_table,
    run_pimd,
)

SETTINGS = {
    "n_steps": 12,
    "n_beads": 4,
    "frame_interval": 2,
    "checkpoint_interval": 4,
    "seed": 7,
}

WARNED = {"max_novelty": 1.11, "on_extrapolation": "warn"}
"""With it bead 1 has an alarm after 2 steps and bead 3 after 10."""

needs_ipi = pytest.mark.usefixtures("ipi")


@pytest.fixture(scope="module")
def ipi():
    """Skip without i-PI."""
    pytest.importorskip("ipi", reason="i-PI is not installed: pip install ipi")


@pytest.fixture(scope="module")
def start(ethanol_parts):
    return ethanol_parts.test.positions[0]


@pytest.fixture(scope="module")
def finished(ipi, tmp_path_factory, ethanol_force_field, start):
    """A run of 12 steps with 4 beads."""
    folder = tmp_path_factory.mktemp("pimd") / "run"
    told = []
    done = run_pimd(
        ethanol_force_field,
        start,
        folder,
        PathIntegral(**SETTINGS),
        DriverOptions(**WARNED),
        progress=lambda *a: told.append(a),
    )
    assert (done.n_steps, done.new_steps, done.alarms) == (12, 12, folder / "alarms.xyz")
    alarms = [(alarm.step, alarm.bead, alarm.reason) for alarm in done.events]
    assert alarms == [(2, 1, "novelty"), (10, 3, "novelty")]
    return folder


def test_energies_and_forces_are_the_models(finished, ethanol_force_field, start):
    table = read_table(finished / "simulation.out")
    np.testing.assert_array_equal(table["step"], np.arange(0, 13, 2))
    wanted = float(ethanol_force_field.predict(start).energies)
    assert table["potential{electronvolt}"][0] == pytest.approx(wanted, rel=1e-7)
    last = [ase.io.read(finished / f"simulation.pos_{bead}.xyz", -1) for bead in range(4)]
    mean = ethanol_force_field.predict([atoms.positions for atoms in last]).energies.mean()
    assert table["potential{electronvolt}"][-1] == pytest.approx(mean, abs=1e-3)


def test_trajectories_are_read_by_ase(finished, ethanol_force_field, start):
    beads = [ase.io.read(finished / f"simulation.pos_{bead}.xyz", ":") for bead in range(4)]
    centroid = ase.io.read(finished / "simulation.xc.xyz", ":")
    assert [len(frames) for frames in (*beads, centroid)] == [7] * 5
    assert (centroid[0].numbers == ethanol_force_field.atomic_numbers).all()
    np.testing.assert_allclose(centroid[0].positions, start, atol=1e-4)
    mean = np.mean([frames[-1].positions for frames in beads], axis=0)
    np.testing.assert_allclose(centroid[-1].positions, mean, atol=1e-4)
    assert np.std([frames[-1].positions for frames in beads], axis=0).max() > 1e-3


def test_extras_are_those_of_the_frames(finished, ethanol_force_field):
    extras = read_extras(finished / "simulation.extras")
    last = [ase.io.read(finished / f"simulation.pos_{bead}.xyz", -1).positions for bead in range(4)]
    assert extras["novelty"].shape == (7, 4)
    np.testing.assert_allclose(extras["novelty"][-1], ethanol_force_field.novelty(last), rtol=1e-3)


def test_times_of_trajectories_come_from_the_folder(finished, tmp_path):
    for name in ("simulation.pos_1.xyz", "simulation.xc.xyz"):
        frames = read_trajectory(finished / name)
        np.testing.assert_allclose(frames.times, np.arange(0.0, 6.1, 1.0), rtol=1e-9)
    shutil.copytree(finished, tmp_path / "bare")
    (tmp_path / "bare" / "simulation.out").unlink()  # the input says it, too
    file = TrajectoryFile(tmp_path / "bare" / "simulation.xc.xyz")
    (frames,) = file.chunks()
    np.testing.assert_allclose(frames.times, np.arange(0.0, 6.1, 1.0), rtol=1e-9)
    assert any("steps are 0.5 fs long, as input.xml says" in note for note in file.notices)


def test_killed_and_resumed_is_as_if_nothing_happened(
    finished, ethanol_force_field, start, tmp_path
):
    folder = tmp_path / "killed"
    shutil.copytree(finished, folder)
    (folder / "RESTART").unlink()
    newest = max(folder.glob("simulation.checkpoint_*"))
    newest.write_bytes(newest.read_bytes()[:1000])  # killed while it was written
    with (folder / "simulation.pos_1.xyz").open("a") as handle:
        handle.write("9\n# CELL(abcABC): 300.0")
    with (folder / "alarms.xyz").open("a") as handle:
        handle.write('9\nlength_unit=Ang step=12 bead=0 alarm="nov')
    settings, driver, again = PathIntegral(**SETTINGS), DriverOptions(**WARNED), []
    done = run_pimd(
        ethanol_force_field, start, folder, settings, driver, resume=True, on_alarm=again.append
    )
    assert (done.n_steps, done.new_steps) == (12, 4)
    assert [(alarm.step, alarm.bead) for alarm in again] == [(10, 3)]
    alarms = [ase.io.read(path / "alarms.xyz", ":") for path in (finished, folder)]
    assert len(alarms[0]) == len(alarms[1]) == 4
    for before, after in zip(*alarms, strict=True):
        np.testing.assert_allclose(after.positions, before.positions, atol=1e-8)
        for name in ("step", "bead", "alarm", "sound"):
            assert after.info[name] == before.info[name]
    tables = [read_table(path / "simulation.out") for path in (finished, folder)]
    for name, column in tables[0].items():
        np.testing.assert_allclose(tables[1][name], column, rtol=1e-8, err_msg=name)
    for name in ("simulation.pos_1.xyz", "simulation.xc.xyz"):
        before, after = (ase.io.read(path / name, ":") for path in (finished, folder))
        assert len(before) == len(after) == 7
        np.testing.assert_allclose(after[-1].positions, before[-1].positions, atol=2e-5)


@needs_ipi
def test_a_limit_of_time_leaves_a_state(ethanol_force_field, start, tmp_path):
    settings = PathIntegral(**{**SETTINGS, "n_steps": 100_000})
    with pytest.raises(UnfinishedError, match=r"after \d+ steps.*--resume") as caught:
        run_pimd(ethanol_force_field, start, tmp_path, settings, max_time=0.0)
    assert caught.value.reason == "max_time"
    assert (tmp_path / "RESTART").exists()
    assert not (tmp_path / "EXIT").exists()


@needs_ipi
def test_extrapolation_stops_the_run(ethanol_force_field, start, tmp_path):
    driver = DriverOptions(max_novelty=1e-3, on_extrapolation="stop")
    told = []
    with pytest.raises(GeometryError, match=r"unlike the training geometries.*alarms\.xyz"):
        run_pimd(
            ethanol_force_field,
            start,
            tmp_path,
            PathIntegral(**SETTINGS),
            driver,
            on_alarm=told.append,
        )
    assert len(ase.io.read(tmp_path / "alarms.xyz", ":")) == 4
    assert [(alarm.bead, alarm.reason) for alarm in told] == [(b, "novelty") for b in range(4)]
    settings = PathIntegral(**{**SETTINGS, "n_steps": 2})
    done = run_pimd(ethanol_force_field, start, tmp_path, settings, resume=True)
    assert done.n_steps == 2 and done.novelty.shape == (2, 4)
    assert len(done.events) == 4  # of before


def test_an_unsound_start_is_refused_before_anything_is_written(
    ethanol_force_field, start, tmp_path
):
    folder = tmp_path / "run"
    with pytest.raises(GeometryError, match="check the unit of length"):
        prepare(ethanol_force_field, 0.529 * start, folder, PathIntegral(10))
    assert not folder.exists()
    prepare(
        ethanol_force_field,
        0.529 * start,
        folder,
        PathIntegral(10),
        DriverOptions(on_extrapolation="ignore"),
    )


@needs_ipi
def test_one_bead_on_the_command_line(ethanol_force_field, start, tmp_path, capsys):
    model, geometry = tmp_path / "model.safetensors", tmp_path / "start.xyz"
    ethanol_force_field.save(model)
    ase.io.write(geometry, ase.Atoms(ethanol_force_field.atomic_numbers, start))
    folder = str(tmp_path / "classical")
    arguments = ["pimd", str(model), str(geometry), "--steps", "6", "-o", folder]
    options = ["--beads", "1", "--frame-interval", "2", "--splitting", "baoab"]
    assert main([*arguments, *options]) == 0
    shown = capsys.readouterr()
    for text in ("1 bead of model.safetensors", "novelty", "alarms", "kraft analyze energy"):
        assert text in shown.out
    assert len(ase.io.read(f"{folder}/simulation.pos_0.xyz", ":")) == 4
    assert main([*arguments, *options]) == 1
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, *options, "--resume"]) == 0
    assert "done its 6 steps already" in capsys.readouterr().err
    arguments[4] = "2"
    assert main([*arguments, *options, "--resume"]) == 0
    assert "more than --steps 2" in " ".join(capsys.readouterr().err.split())


@needs_ipi
def test_what_ipi_says_when_it_fails(ethanol_force_field, start, tmp_path):
    settings = PathIntegral(**SETTINGS)
    prepare(ethanol_force_field, start, tmp_path, settings)
    (tmp_path / "start.xyz").write_text("0\n\n")  # i-PI cannot start from it
    with pytest.raises(IpiError, match=r"i-PI failed .* after 0 saved steps.*--resume"):
        run_pimd(ethanol_force_field, start, tmp_path, settings, resume=True)


def test_without_ipi(ethanol_force_field, start, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(IpiError, match="pip install"):
        run_pimd(ethanol_force_field, start, tmp_path / "run", PathIntegral(10))
    assert not (tmp_path / "run").exists()
