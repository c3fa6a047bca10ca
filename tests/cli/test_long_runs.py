"""Interrupting, limiting and resuming ``kraft train``, and what it says about its solver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kraft
from kraft.cli.interruption import StopSwitch, resumable
from kraft.cli.solve_display import SolveDisplay
from kraft.cli.solver_flags import parse_rank, parse_time
from kraft.core.errors import OptionError
from kraft.models.checkpoint import read_state, state_path
from kraft.models.observer import SolveReport

FIXED = ["--kernel", "matern52", "--length-scale", "10", "--regularization", "1e-10"]
TRAIN = [*FIXED, "--n-train", 50, "--n-valid", 10, "--n-test", 20, "--solver", "iterative"]
NAME = "m.safetensors"


def _stop_at_once(monkeypatch):
    """Let the solver be stopped at its first step, as if a signal had come."""
    monkeypatch.setattr(SolveDisplay, "stop_requested", property(lambda _: True))


def test_the_solver_is_reported_and_no_state_stays(run, data_file, tmp_path, capsys):
    options = ["--rank", "20%", "--preconditioner", "uniform", "--block-geometries", 2]
    assert run("train", data_file, *TRAIN, *options, "-o", NAME, "--json", "m.json") == 0
    shown = capsys.readouterr().out
    assert "iterative (asked for), converged" in shown
    assert "uniform, rank 210, blocks of 2 frames" in shown
    figures = json.loads((tmp_path / "m.json").read_text())
    assert figures["solver"] == "iterative" and figures["converged"] is True
    assert figures["rank"] == 210 and figures["iterations"] > 0
    assert figures["relative_residual"] <= 1e-4 and figures["n_labels"] == 1050
    assert not state_path(tmp_path / NAME).exists()
    assert run("info", NAME) == 0
    assert "iterative, uniform of rank 210" in capsys.readouterr().out


def test_stop_and_resume(run, data_file, tmp_path, capsys, monkeypatch):
    plain = ["train", data_file, *TRAIN, "-o"]
    command = [*plain, NAME]
    state = state_path(tmp_path / NAME)
    with monkeypatch.context() as patch:
        _stop_at_once(patch)
        assert run(*command) == 130
    shown = capsys.readouterr().err
    assert "--resume" in shown and state.name in shown
    assert state.exists() and not (tmp_path / NAME).exists()
    assert run(*command) == 1
    assert "--resume" in capsys.readouterr().err
    assert run(*command, "--seed", 5, "--resume") == 1
    assert "differs" in capsys.readouterr().err
    assert run(*command, "--resume") == 0
    assert not state.exists()
    written = (tmp_path / NAME).read_bytes()
    capsys.readouterr()
    assert run(*command, "--resume") == 0
    assert "finished already" in capsys.readouterr().out
    assert (tmp_path / NAME).read_bytes() == written
    assert run(*plain, "new.safetensors", "--resume") == 0
    assert "from the beginning" in capsys.readouterr().err
    one, other = (kraft.load(tmp_path / name) for name in (NAME, "new.safetensors"))
    positions = kraft.read(data_file).positions[:5]
    expected = other.predict(positions).forces
    difference = np.abs(one.predict(positions).forces - expected).mean()
    assert difference < 2e-3 * np.abs(expected).mean()


def test_time_limit_has_its_own_exit_code(run, data_file, tmp_path, capsys):
    assert run("train", data_file, *TRAIN, "--max-time", "0.001", "-o", NAME) == 3
    assert "time limit" in capsys.readouterr().err
    assert not (tmp_path / NAME).exists()


def test_unconverged_models_say_so_for_ever(run, data_file, tmp_path, capsys):
    command = ["train", data_file, *TRAIN, "--rank", 20, "--max-iterations", 5, "-o", NAME]
    assert run(*command) == 1
    assert "--accept-unconverged" in capsys.readouterr().err
    assert run(*command, "--accept-unconverged", "--resume") == 0
    shown = capsys.readouterr()
    assert "unconverged" in shown.err and "max_iterations" in shown.out
    assert run("info", NAME) == 0
    shown = capsys.readouterr()
    assert "UNCONVERGED" in shown.out and "unconverged" in shown.err
    assert run("test", NAME, data_file, "--n-test", 5) == 0
    assert "unconverged" in capsys.readouterr().err
    assert run("predict", NAME, data_file, "-o", "p.xyz") == 0
    assert "unconverged" in capsys.readouterr().err


def test_help_groups_the_options(run, capsys):
    assert run("train", "--help") == 0
    shown = capsys.readouterr().out
    assert shown.index("Solver") < shown.index("--preconditioner") < shown.index("Long runs")
    assert "random-pivoting" in shown


@pytest.mark.parametrize(
    "options",
    [
        ["--rank", "many"], ["--rank", "-3"], ["--tolerance", "2"], ["--max-time", "soon"],
        ["--preconditioner", "magic"], ["--checkpoint-interval", "0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_options_are_explained(run, data_file, tmp_path, capsys, options):
    assert run("train", data_file, *TRAIN, *options) == 1
    assert capsys.readouterr().err.count("Error: ") == 1
    assert not list(tmp_path.iterdir())


def test_stopping_by_validation_needs_validation_frames(run, data_file, capsys):
    some = [*FIXED, "--n-train", 20, "--solver", "iterative", "--stop", "validation"]
    assert run("train", data_file, *some) == 1
    assert "--n-valid" in capsys.readouterr().err


def test_spans_of_time_and_ranks():
    assert [parse_time(t) for t in ("90", "2m", "1h30m", "1d", "1.5h 3s")] == [
        90.0, 120.0, 5400.0, 86400.0, 5403.0
    ]  # fmt: skip
    for wrong in ("", "h", "1x", "-5", "1..2s"):
        with pytest.raises(OptionError, match="1h30m"):
            parse_time(wrong)
    assert [parse_rank(t) for t in ("500", "2.5%", "0.1", "auto")] == [500, 0.025, 0.1, "auto"]


def test_the_line_about_the_solution():
    report = SolveReport(120, 1, 300, 3.2e-3, 1e-4, 0.0434, 12.34, 10.0, 75.0)
    lines = []
    SolveDisplay(lines.append, kraft.Units("eV"))(report)
    for words in ("step 120", "3.2e-03", "1e-04", "0.0434", "12.3 steps/s", "1 min 15 s", "300"):
        assert words in lines[0]


def test_a_first_signal_asks_and_a_second_one_interrupts(tmp_path):
    switch = StopSwitch()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), switch.listening():
        assert not switch.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert switch.requested
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(KeyboardInterrupt, match=r"^$"), resumable(tmp_path / "none"):
        os.kill(os.getpid(), signal.SIGTERM)
    (tmp_path / "s").touch()
    with pytest.raises(KeyboardInterrupt, match="--resume"), resumable(tmp_path / "s"):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_sigterm_saves_the_state_and_ends(data_file, tmp_path):
    words = [*map(str, TRAIN), "--rank", "30", "--tolerance", "1e-13", "--max-iterations", "100000"]
    command = [sys.executable, "-m", "kraft", "train", str(data_file), *words, "-o", NAME]
    command += ["--checkpoint-interval", "0.05s", "--threads", "1"]
    state = state_path(tmp_path / NAME)
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90.0
        while not (state.exists() and read_state(state).solver) and time.monotonic() < deadline:
            time.sleep(0.02)
        seen = read_state(state).solver.iteration
        process.terminate()
        shown = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "--resume" in shown and "Traceback" not in shown
    assert read_state(state).solver.iteration > seen
    assert sorted(path.name for path in tmp_path.iterdir()) == [state.name]
