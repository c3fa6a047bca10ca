from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import ase.io
import numpy as np
import pytest

import kraft
from kraft.cli.interruption import StopSwitch
from kraft.simulation import Langevin, Log, Watching, run_md

STEADY = ["--temperature", 50, "--friction", 0.1, "--on-extrapolation", "warn"]
"""The model of these tests has seen 20 frames: it is cooled down at once."""


@pytest.fixture
def start_file(tmp_path, model_file):
    path = tmp_path / "start.xyz"
    trained = kraft.load(model_file).parameters
    atoms = [
        ase.Atoms(numbers=trained.atomic_numbers, positions=positions)
        for positions in trained.training_positions[:2]
    ]
    ase.io.write(path, atoms)
    return path


def test_a_run_tells_what_it_did(run, model_file, start_file, tmp_path, capsys):
    arguments = ["md", model_file, start_file, *STEADY, "--steps", 100]
    assert run(*arguments, "--replicas", 2, "-o", "run.xyz", "--json", "run.json") == 0
    shown = capsys.readouterr().out
    plain = " ".join(shown.split())  # lines are as wide as the terminal
    assert " mean " in plain and " ± " in plain and "error too small" in plain  # 0.05 ps
    for text in ("2 replicas", "langevin at 50 K", "(100 steps)", "ns a day", "run-0.xyz"):
        assert text in shown
    figures = json.loads((tmp_path / "run.json").read_text())
    assert figures["n_steps"] == 100 and figures["replica_steps"] == 200
    assert figures["n_stopped"] == 0 and np.isfinite(figures["drift_eV_per_atom_ps"])
    assert len(ase.io.read(tmp_path / "run-1.xyz", ":")) == 6
    largest = Log.read(tmp_path / "run.csv").novelty.max()
    assert figures["largest_novelty"] == largest and figures["largest_force_std_eV_A"] is None
    assert "novelty" in shown and "uncertainty" not in shown


@pytest.mark.parametrize(
    "dynamics",
    [
        ["--ensemble", "nve"],
        ["--thermostat", "rescaling", "--time-constant", 20],
        ["--thermostat", "nose-hoover"],
    ],
)
def test_other_dynamics(run, model_file, start_file, tmp_path, dynamics):
    arguments = ["md", model_file, start_file, "--steps", 20, "--frame-interval", 10]
    assert run(*arguments, *dynamics, "--on-extrapolation", "ignore", "-o", "run.xyz") == 0
    assert len(ase.io.read(tmp_path / "run.xyz", ":")) == 3


def test_a_start_in_another_unit_is_told_at_once(run, model_file, start_file, tmp_path, capsys):
    atoms = ase.io.read(start_file)
    atoms.positions /= 0.529177  # a file in bohr
    ase.io.write(tmp_path / "bohr.xyz", atoms)
    assert run("md", model_file, "bohr.xyz", "--steps", 20, "-o", "run.xyz") == 1
    shown = capsys.readouterr()
    assert "exit code 1" in shown.err
    assert "1 of 1 start" in shown.err and "--length-unit" in shown.err
    assert "nothing was recorded" in shown.out and "nan" not in shown.out
    assert "--resume" not in shown.out and "kraft analyze" not in shown.out
    arguments = ["md", model_file, "bohr.xyz", "--length-unit", "bohr", "--ensemble", "nve"]
    arguments += ["--steps", 20, "--on-extrapolation", "warn", "-o", "other.xyz"]
    assert run(*arguments) == 0
    shown = capsys.readouterr()
    assert "--length-unit" not in shown.err
    assert "thermostat" not in shown.out and "kraft analyze" in shown.out


def test_nothing_is_lost_without_being_asked(run, model_file, start_file, tmp_path, capsys):
    arguments = ["md", model_file, start_file, *STEADY, "-o", "run.xyz"]
    assert run(*arguments, "--steps", 20) == 0
    assert run(*arguments, "--steps", 20) == 1
    assert "--resume" in capsys.readouterr().err
    assert run(*arguments, "--steps", 40, "--resume") == 0
    assert "already" not in capsys.readouterr().err
    assert run(*arguments, "--steps", 30, "--resume") == 0
    assert "has done 40 steps already, more than --steps 30" in capsys.readouterr().err
    assert run(*arguments, "--steps", 40, "--resume") == 0
    assert "done its 40 steps already" in capsys.readouterr().err
    assert len(ase.io.read(tmp_path / "run.xyz", ":")) == 3
    assert run(*arguments, "--steps", 40, "--resume", "--seed", 1) == 1
    assert "seed differs" in capsys.readouterr().err
    (tmp_path / "run.restart.safetensors").unlink()
    assert run(*arguments, "--steps", 20) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(*arguments, "--steps", 20, "--resume", "--overwrite") == 0
    assert "from the beginning" in capsys.readouterr().err


class AskedAlready(StopSwitch):
    """As if Ctrl-C had been pressed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.requested = True


def test_an_interruption_and_a_time_limit(run, model_file, start_file, capsys, monkeypatch):
    arguments = ["md", model_file, start_file, *STEADY, "--steps", 60, "-o", "run.xyz"]
    assert run(*arguments, "--max-time", "0.000001") == 3
    assert "time limit" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr("kraft.cli.md.StopSwitch", AskedAlready)
        assert run(*arguments, "--resume") == 130
    assert "--resume" in capsys.readouterr().err
    assert run(*arguments, "--resume") == 0


def test_killed_and_resumed_it_writes_the_same_trajectory(run, model_file, start_file, tmp_path):
    arguments = ["md", model_file, start_file, *STEADY, "--steps", 1000, "--replicas", 2]
    arguments = [str(argument) for argument in arguments]
    command = [sys.executable, "-m", "kraft", *arguments, "--threads", "1", "-o", "killed.xyz"]
    command += ["--checkpoint-interval", "0.01"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    state = tmp_path / "killed.restart.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    written = (tmp_path / "killed-0.xyz").stat().st_size
    assert run(*arguments, "-o", "killed.xyz", "--resume") == 0
    assert run(*arguments, "-o", "whole.xyz") == 0
    assert (tmp_path / "whole-0.xyz").stat().st_size > written
    for name in ("-0.xyz", "-1.xyz", ".csv"):
        killed, whole = (tmp_path / f"{base}{name}" for base in ("killed", "whole"))
        assert killed.read_bytes() == whole.read_bytes()


def test_replicas_far_from_the_training_data_are_stopped(
    run, model_file, start_file, tmp_path, capsys
):
    arguments = ["md", model_file, start_file, "--steps", 3000, "--max-novelty", 0.3]
    assert run(*arguments, "--replicas", 2, "-o", "run.xyz", "--json", "run.json") == 1
    shown = capsys.readouterr()
    assert "All replicas were stopped" in shown.err
    assert "last sound geometry is kept" in shown.err and "2 of 2 replicas stopped" in shown.out
    figures = json.loads((tmp_path / "run.json").read_text())
    assert figures["n_stopped"] == 2 and figures["events"][0]["stopped"] is True
    assert len(ase.io.read(tmp_path / "run.alarms.xyz", ":")) >= 2


def test_a_start_of_exchanged_atoms_or_another_molecule(run, model_file, start_file, capsys):
    atoms = ase.io.read(start_file)
    numbers = atoms.numbers
    carbons, hydrogens = np.flatnonzero(numbers == 6), np.flatnonzero(numbers == 1)
    order = np.arange(len(atoms))
    order[carbons] = order[carbons][::-1]
    ase.io.write("exchanged.xyz", atoms[order])
    arguments = ["--steps", 20, "-o", "run.xyz"]
    assert run("md", model_file, "exchanged.xyz", *arguments) == 1
    message = capsys.readouterr().err
    assert "changed places" in message and "--any-order" in message
    ase.io.write("fewer.xyz", atoms[np.delete(np.arange(len(atoms)), hydrogens[:1])])
    assert run("md", model_file, "fewer.xyz", *arguments) == 1
    assert "train a model for this one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ensemble", "nve", "--friction", 0.1], "--friction is for"),
        (["--time-constant", 10], "--time-constant is for"),
        (["--timestep", 0], "timestep in fs"),
        (["--max-novelty", 0], "--max-novelty"),
        (["--max-force-std", -1], "--max-force-std"),
        (["--check-interval", 0], "at least 1"),
        (["--checkpoint-interval", "soon"], "Expected a time"),
        (["--replicas", 0], "n_replicas"),
        (["--pull", 0, 8], "--pull-force 10"),
        (["--pull-force", 10], "--pull 0 5"),
        (["--pull", 0, 9, "--pull-force", 10], "numbered from 0 to 8"),
        (["--pull", 3, 3, "--pull-force", 10], "two different atoms"),
    ],
)
def test_bad_options(run, model_file, start_file, capsys, options, message):
    assert run("md", model_file, start_file, "--steps", 5, "-o", "run.xyz", *options) == 1
    assert message in capsys.readouterr().err


def test_steering(run, model_file, start_file, tmp_path, capsys):
    arguments = ["md", model_file, start_file, *STEADY, "--steps", 40, "--pull", 0, 8]
    arguments += ["-o", "run.xyz"]
    assert run(*arguments, "--pull-force", -100, "--replicas", 2, "--json", "run.json") == 0
    shown = " ".join(capsys.readouterr().out.split())  # lines are as wide as the terminal
    assert "100.0 pN pushing atoms 0 and 8 along their line" in shown and "work done" in shown
    figures = json.loads((tmp_path / "run.json").read_text())
    log = Log.read(tmp_path / "run.csv")
    work = [-np.diff(log.external[log.replicas == number][[0, -1]])[0] for number in (0, 1)]
    np.testing.assert_allclose(figures["external_force"]["work_eV"], work)
    assert run(*arguments, "--pull-force", 100, "--replicas", 2, "--resume") == 1
    assert "external force differs" in capsys.readouterr().err
    fixed = [*arguments, "--pull-force", 10, "--pull-direction", 0, 0, -1, "--overwrite"]
    assert run(*fixed) == 0
    assert "(0.0, 0.0, -1.0)" in capsys.readouterr().out


def test_a_model_without_gradient_is_warned_of_at_constant_energy(run, data_file, tmp_path, capsys):
    trained = ["train", data_file, "--n-train", 20, "--model", "aff", "-o", "aff.safetensors"]
    assert (
        run(*trained, "--kernel", "matern52", "--length-scale", 20, "--regularization", 1e-6) == 0
    )
    data = kraft.read(data_file)
    ase.io.write("start.xyz", ase.Atoms(numbers=data.atomic_numbers, positions=data.positions[0]))
    arguments = ["md", "aff.safetensors", "start.xyz", "--steps", 5, "--on-extrapolation", "ignore"]
    capsys.readouterr()
    assert run(*arguments, "--ensemble", "nve", "-o", "run.xyz") == 0
    assert "not exactly the gradient" in capsys.readouterr().err


def test_the_command_is_the_function(run, model_file, start_file, tmp_path):
    arguments = ["md", model_file, start_file, *STEADY, "--steps", 40, "-o", "command.xyz"]
    assert run(*arguments) == 0
    run_md(
        kraft.load(model_file),
        ase.io.read(start_file, ":")[0].positions,
        tmp_path / "function.xyz",
        integrator=Langevin(0.5, 50.0, 0.1),
        temperature=50.0,
        n_steps=40,
        watching=Watching("warn"),
    )
    function = (tmp_path / "function.xyz").read_bytes()
    assert (tmp_path / "command.xyz").read_bytes() == function
