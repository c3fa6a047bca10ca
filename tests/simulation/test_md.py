from __future__ import annotations

import itertools

import ase.io
import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_atomized_parameters

import kraft
from kraft.core.errors import GeometryError, ModelFileError, OptionError, UnfinishedError
from kraft.simulation import (
    Langevin,
    Log,
    NoseHooverChain,
    VelocityVerlet,
    Watching,
    run_md,
)
from kraft.simulation.restart import read_restart
from kraft.simulation.steering import Steering

WARM = Langevin(0.5, 300.0)


@pytest.fixture
def simulate(ethanol_force_field, starts, tmp_path):
    """Run ethanol for some steps in an empty folder."""

    def call(name="run.xyz", *, model=None, **options):
        options = {"integrator": WARM, "n_steps": 60, "frame_interval": 5, **options}
        return run_md(model or ethanol_force_field, starts, tmp_path / name, **options)

    return call


def after(calls: int):
    """Return a question that is answered with no so many times."""
    counter = itertools.count(1)
    return lambda: next(counter) >= calls


def contents(run) -> list[bytes]:
    return [path.read_bytes() for path in run.files.growing if path.exists()]


def test_trajectories_and_table_belong_together(simulate, ethanol_force_field, starts):
    run = simulate(n_replicas=2)
    assert [path.name for path in run.files.trajectories] == ["run-0.xyz", "run-1.xyz"]
    assert not run.files.alarms.exists() and run.events == ()
    log = run.log
    assert log.steps.shape == (26,) and run.n_steps == 60 and run.n_stopped == 0
    assert run.replica_steps == 120 and run.ns_per_day > 0.0
    for number, path in enumerate(run.files.trajectories):
        frames, rows = ase.io.read(path, ":"), log.replicas == number
        np.testing.assert_array_equal(frames[0].positions, starts[number])
        energies, _ = ethanol_force_field.predict(np.array([f.positions for f in frames]))
        np.testing.assert_allclose(log.potential[rows], energies, atol=1e-8)
        assert [frame.info["step"] for frame in frames] == log.steps[rows].tolist()
        np.testing.assert_allclose([f.get_kinetic_energy() for f in frames], log.kinetic[rows])
        # ASE counts all 3N motions, as the Langevin thermostat does
        np.testing.assert_allclose([f.get_temperature() for f in frames], log.temperatures[rows])
        assert frames[3].info["time_fs"] == pytest.approx(7.5)
        assert frames[3].get_potential_energy() == pytest.approx(energies[3])
    assert log.mean_temperature == pytest.approx(log.temperatures[log.steps > 0].mean())


@pytest.mark.parametrize("integrator", [WARM, NoseHooverChain(0.5, 300.0)], ids=["BAOAB", "NHC"])
def test_stopped_and_resumed_it_writes_the_same_files(simulate, integrator):
    watching = Watching(max_uncertainty=1e3)
    options = {"integrator": integrator, "n_replicas": 3, "watching": watching}
    whole = simulate("whole.xyz", **options)
    with pytest.raises(UnfinishedError, match=r"after 30 steps.*--resume") as stopped:
        simulate(**options, stop_requested=after(3))
    assert stopped.value.reason == "interrupted"
    resumed = simulate(**options, resume=True)
    assert resumed.replica_steps == 90
    assert contents(resumed) == contents(whole)
    assert np.isfinite(resumed.log.novelty).all() and np.isfinite(resumed.log.force_std).all()
    last = [read_restart(run.files.restart).state for run in (whole, resumed)]
    np.testing.assert_array_equal(last[0].motion.velocities, last[1].motion.velocities)
    assert last[0].random == last[1].random


def test_what_came_after_the_last_state_is_cut_off(simulate):
    """As after a kill: frames were written, the state that knows of them was not."""

    def crash() -> bool:
        if next(counter) == 4:
            raise RuntimeError("power is out")
        return False

    counter = itertools.count(1)
    whole = simulate("whole.xyz", n_replicas=2)
    with pytest.raises(UnfinishedError):
        simulate(n_replicas=2, stop_requested=after(2))
    with pytest.raises(RuntimeError):
        simulate(n_replicas=2, resume=True, stop_requested=crash)
    resumed = simulate(n_replicas=2, resume=True)
    assert resumed.replica_steps == 80  # from step 20 again
    assert contents(resumed) == contents(whole)


def test_a_finished_run_can_be_made_longer(simulate):
    whole = simulate("whole.xyz")
    simulate(n_steps=33)
    longer = simulate(resume=True)
    assert longer.replica_steps == 27 and contents(longer) == contents(whole)
    again = simulate(resume=True)
    assert again.replica_steps == 0 and contents(again) == contents(whole)
    assert np.isnan(again.ns_per_day)
    anew = simulate(n_steps=20)
    assert anew.log.steps.max() == 20


def test_what_cannot_be_resumed(simulate):
    run = simulate(n_steps=20)
    for options, named in (
        ({"seed": 1}, "seed differs"),
        ({"integrator": Langevin(0.4, 300.0)}, "dynamics differs"),
        ({"temperature": 310.0}, "temperature differs"),
        ({"frame_interval": 4}, "frame interval differs"),
    ):
        with pytest.raises(OptionError, match=named):
            simulate(resume=True, **options)
    trajectory = run.files.trajectories[0]
    trajectory.write_bytes(trajectory.read_bytes()[:-10])
    with pytest.raises(OptionError, match=r"run.xyz has \d+ bytes, but had"):
        simulate(resume=True)
    run.files.restart.write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match=r"no readable state.*--overwrite"):
        simulate(resume=True)


def test_another_model_cannot_resume(simulate, poor):
    simulate(n_steps=20)
    with pytest.raises(OptionError, match="model differs"):
        simulate(resume=True, model=poor)


def test_time_limit(simulate):
    with pytest.raises(UnfinishedError, match="time limit") as stopped:
        simulate(max_time=1e-6)
    assert stopped.value.reason == "max_time"
    assert simulate(resume=True).n_steps == 60


def test_a_replica_with_an_alarm_is_stopped_and_its_last_sound_geometry_kept(simulate, poor):
    told = []
    run = simulate(model=poor, n_steps=400, n_replicas=3, on_event=told.append)
    assert run.n_stopped == len(run.events) >= 2 and tuple(told) == run.events
    event = run.events[0]
    assert event.reason in ("close contact", "broken bond", "temperature")
    assert event.step % 10 == 0 and event.time == pytest.approx(5e-4 * event.step)
    log = run.log
    assert log.steps[log.replicas == event.replica].max() < event.step
    sound, alarmed = ase.io.read(run.files.alarms, ":2")
    assert sound.info["sound"] and not alarmed.info["sound"]
    assert alarmed.info["alarm"] == event.reason and alarmed.info["step"] == event.step
    resumed = simulate(model=poor, n_steps=400, n_replicas=3, resume=True)
    assert resumed.events == run.events


def test_alarms_may_warn_once_or_be_ignored(simulate, poor):
    warned = simulate(model=poor, n_steps=100, watching=Watching("warn"))
    assert warned.events and warned.n_stopped == 0 and warned.n_steps == 100
    assert len({event.reason for event in warned.events}) == len(warned.events)
    ignored = simulate("ignored.xyz", model=poor, n_steps=100, watching=Watching("ignore"))
    assert ignored.events == () and contents(ignored)[0] == contents(warned)[0]
    unwatched = [line.rpartition(",")[0] for line in warned.files.log.read_text().splitlines()]
    assert ignored.files.log.read_text().splitlines() == unwatched


def test_what_guards_compute_is_in_the_table(simulate, ethanol_force_field):
    """Of every frame, also of those that are not looked at."""
    watching = Watching("warn", interval=3, max_uncertainty=1e3)
    steering = Steering(0, 8, 10.0)
    run = simulate(n_replicas=2, n_steps=20, watching=watching, steering=steering)
    head = run.files.log.read_text().splitlines()[0]
    assert head.endswith("conserved_eV,external_eV,novelty,force_std_eV_A")
    log = run.log
    assert log.steps.shape == (10,) and (log.external < 0.0).all()
    for number, path in enumerate(run.files.trajectories):
        positions = np.array([frame.positions for frame in ase.io.read(path, ":")])
        rows = log.replicas == number
        np.testing.assert_allclose(
            log.novelty[rows], ethanol_force_field.novelty(positions), rtol=1e-9
        )
        predicted = ethanol_force_field.predict(positions, uncertainty=True)
        largest = predicted.forces_std.max(axis=(1, 2))
        np.testing.assert_allclose(log.force_std[rows], largest, rtol=1e-5)
    plain = simulate("plain.xyz", n_steps=20, watching=Watching(max_novelty=None)).log
    assert np.isnan(plain.novelty).all() and np.isnan(plain.force_std).all()


def test_a_resumed_table_keeps_its_columns(simulate):
    simulate(n_steps=20)
    ignoring = simulate(n_steps=40, resume=True, watching=Watching("ignore")).log
    assert (ignoring.steps[:5] <= 20).all() and np.isfinite(ignoring.novelty[:5]).all()
    assert ignoring.steps[-1] == 40 and np.isnan(ignoring.novelty[5:]).all()
    simulate("bare.xyz", n_steps=20, watching=Watching("ignore"))
    watched = simulate("bare.xyz", n_steps=40, resume=True)
    assert watched.files.log.read_text().splitlines()[0].endswith("conserved_eV")
    assert watched.log.steps[-1] == 40 and np.isnan(watched.log.novelty).all()


def test_constant_energy(simulate):
    run = simulate(integrator=VelocityVerlet(0.5), n_steps=200)
    assert abs(run.log.drift(run.n_atoms)) < 2e-2
    assert np.ptp(run.log.potential) > 10.0 * np.ptp(run.log.conserved)


def test_constant_energy_with_forces_that_are_no_gradient(tmp_path):
    model = kraft.ForceField(toy_atomized_parameters(WATER, energies=False))
    options = {
        "integrator": VelocityVerlet(0.1),
        "n_steps": 5,
        "frame_interval": 1,
        "watching": Watching("ignore"),
    }
    with pytest.warns(UserWarning, match="not exactly the gradient"):
        run = run_md(model, WATER.positions, tmp_path / "run.xyz", **options)
    assert np.isnan(run.log.potential).all() and np.isnan(run.log.drift(3))
    assert "energy" not in ase.io.read(run.files.trajectories[0]).info
    run_md(model, WATER.positions, tmp_path / "run.xyz", allow_nonconservative=True, **options)


def test_drift_is_the_mean_slope_of_the_replicas(tmp_path):
    rows = [
        f"{step},{step / 1000!r},{replica},0.0,0.0,300.0,{-5.0 + slope * step / 1000!r}"
        for step in (0, 10, 20)
        for replica, slope in enumerate((0.9, 0.3))
    ]
    path = tmp_path / "made-up.csv"
    path.write_text(
        "\n".join(
            [
                "step,time_ps,replica,potential_eV,kinetic_eV,temperature_K,conserved_eV",
                *rows,
            ]
        )
        + "\n"
    )
    assert Log.read(path).drift(3) == pytest.approx(0.2)
    path.write_text("a,b\n")
    with pytest.raises(kraft.KraftError, match="no table of a simulation"):
        Log.read(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "n_steps"),
        ({"n_replicas": 0}, "n_replicas"),
        ({"frame_interval": 0}, "frame_interval"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_options_out_of_range(simulate, options, message):
    with pytest.raises(OptionError, match=message):
        simulate(**options)


def test_bad_watching_and_starts(simulate, ethanol_force_field, starts, tmp_path):
    with pytest.raises(OptionError, match="stop, warn or ignore"):
        Watching("explode")
    with pytest.raises(OptionError, match="at least 1 step"):
        Watching(interval=0)
    with pytest.raises(OptionError, match="positive limit of the novelty"):
        simulate(watching=Watching(max_novelty=-1.0))
    with pytest.raises(GeometryError, match="unit of length"):
        run_md(ethanol_force_field, 0.529 * starts, tmp_path / "x.xyz", integrator=WARM, n_steps=5)
