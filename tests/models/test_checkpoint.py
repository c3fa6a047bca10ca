"""States of unfinished trainings: written whole, read back, and gone on from."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import fields, replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import kraft
from kraft.core.errors import MemoryLimitError, ModelFileError, OptionError, UnfinishedError
from kraft.models import checkpoint as module
from kraft.models import solve_monitor
from kraft.models.checkpoint import TrainingState, read_state, write_state
from kraft.models.selection import Choice, Trial
from kraft.models.solver_choice import SolverPlan
from kraft.models.solver_options import SolverOptions
from kraft.solvers.state import HistoryPoint, SolverState

PAPERS = {"kernel": "matern52", "length_scale": 10.0, "regularization": 1e-10}
SLOW = SolverOptions("iterative", rank=120, tolerance=1e-6, max_iterations=5000)
"""Takes some hundred steps."""

STATE = TrainingState(
    identity={"training set": "abc", "seed": 3, "length scale": 0.1 + 0.2, "rank": "rule"},
    permutations=np.array([[0, 1, 2], [0, 2, 1]]),
    choice=Choice(
        "gaussian", 7.5, 1e-9, "validation", (Trial("gaussian", 7.5, 1e-9, 5, math.inf),), ("x",)
    ),
    plan=SolverPlan("iterative", "asked for", "uniform", 5, 2, 100, 10),
    solver=SolverState(
        np.array([0.1, -2.0, 1e-300]),
        np.array([4, 2]),
        iteration=12,
        restarts=1,
        rank=2,
        seconds=3.5,
        history=(HistoryPoint(1, 0.5, 0.9, None, 2), HistoryPoint(12, 3.5, 0.1, 0.02, 2)),
        relative_residual=0.1,
    ),
)


@pytest.fixture(scope="module")
def parts(ethanol):
    return kraft.split(ethanol, n_train=60, n_valid=20, n_test=30, seed=4)


@pytest.fixture(scope="module")
def uninterrupted(parts):
    return kraft.train(parts.train, parts.valid, solver_options=SLOW, **PAPERS)


class StopAt:
    """An observer that asks for a stop after some steps."""

    def __init__(self, n_steps):
        self.n_steps = n_steps
        self.reports = []

    @property
    def stop_requested(self):
        self.n_steps -= 1
        return self.n_steps <= 0

    def solving(self):
        return nullcontext()

    def __call__(self, report):
        self.reports.append(report)


class LateClock:
    """A clock that is far in the future after some looks at it, as the monitor of a solution does.

    So a time limit ends the iteration after a number of steps, however slow the machine is.
    """

    def __init__(self, n_looks):
        self.n_looks = n_looks

    def perf_counter(self):
        self.n_looks -= 1
        return time.perf_counter() + (1e6 if self.n_looks < 0 else 0.0)


def _same(one, other):
    for item in fields(one):
        left, right = getattr(one, item.name), getattr(other, item.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
        elif isinstance(left, SolverState):
            _same(left, right)
        else:
            assert left == right, item.name


@pytest.mark.parametrize(
    "state",
    [
        STATE,
        replace(STATE, solver=None),
        replace(STATE, solver=None, plan=None),
        replace(STATE, feature_weights=np.arange(3.0), feature_mixing=np.eye(3) + 0.1),
    ],
    ids=["iterating", "planned", "chosen", "learned"],
)
def test_everything_comes_back(state, tmp_path):
    write_state(state, tmp_path / "s.safetensors")
    _same(state, read_state(tmp_path / "s.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_failed_write_leaves_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    write_state(STATE, path)
    before = path.read_bytes()

    def fail(*_args, **_options):
        raise OSError("disk full")

    monkeypatch.setattr(module, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_state(replace(STATE, plan=None), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_damaged_and_foreign_files_are_refused(tmp_path, ethanol_force_field):
    path = tmp_path / "s.safetensors"
    with pytest.raises(FileNotFoundError, match="no state"):
        read_state(path)
    write_state(STATE, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], b"nonsense" * 50):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match="start anew"):
            read_state(path)
    ethanol_force_field.save(path)
    with pytest.raises(ModelFileError, match="no readable state"):
        read_state(path)


def _rewrite(path, edit):
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()[module.METADATA_KEY])
    edit(arrays, content)
    save_file(arrays, path, metadata={module.METADATA_KEY: json.dumps(content)})


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda _, c: c.update(state_version=99), "version 99"),
        (lambda _, c: c.pop("choice"), "choice"),
        (lambda _, c: c["solver"].update(unknown=1), "unknown"),
        (lambda a, _: a.update(coefficients=np.array([np.nan])), "finite"),
        (lambda a, _: a.update(permutations=np.array([[0, 0]])), "readable"),
        (lambda a, _: a.pop("landmarks"), "landmarks"),
    ],
)
def test_wrong_content_is_refused(edit, words, tmp_path):
    write_state(STATE, tmp_path / "s.safetensors")
    _rewrite(tmp_path / "s.safetensors", edit)
    with pytest.raises(ModelFileError, match=words):
        read_state(tmp_path / "s.safetensors")


def _interrupt(parts, path, options=SLOW, n_steps=60, **changed):
    observer = StopAt(n_steps)
    with pytest.raises(UnfinishedError, match="--resume") as caught:
        kraft.train(
            parts.train, parts.valid, solver_options=options, checkpoint=path, observer=observer,
            **{**PAPERS, **changed},
        )  # fmt: skip
    assert caught.value.reason == "interrupted"
    return observer


def _difference(one, other, parts):
    positions = parts.test.positions
    left, right = one.predict(positions).forces, other.predict(positions).forces
    return np.abs(left - right).mean() / np.abs(right).mean()


def test_resuming_gives_what_the_uninterrupted_training_gives(parts, uninterrupted, tmp_path):
    path = tmp_path / "s.safetensors"
    observer = _interrupt(parts, path)
    report = observer.reports[-1]
    assert report.target == SLOW.tolerance and report.rank >= 120
    stopped = read_state(path)
    assert stopped.solver.iteration > 0 and stopped.solver.relative_residual > SLOW.tolerance
    model, result = kraft.train(
        parts.train, parts.valid, solver_options=SLOW, checkpoint=path, resume=True, **PAPERS
    )
    assert result.outcome.status == "converged"
    assert result.outcome.relative_residual <= SLOW.tolerance
    assert result.outcome.iterations > stopped.solver.iteration
    assert result.symmetry is None and len(result.permutations) == 6
    assert result.outcome.history[: len(stopped.solver.history)] == stopped.solver.history
    assert _difference(model, uninterrupted[0], parts) < 1e-5
    # the state stays until the caller has saved the model; from it the end is reached at once
    _, again = kraft.train(
        parts.train, parts.valid, solver_options=SLOW, checkpoint=path, resume=True, **PAPERS
    )
    assert again.outcome.iterations <= result.outcome.iterations + 5


def test_a_time_limit_stops_cleanly_and_can_be_resumed_from(
    parts, uninterrupted, tmp_path, monkeypatch
):
    path = tmp_path / "s.safetensors"
    given = {"permutations": uninterrupted[1].permutations, "checkpoint": path, **PAPERS}
    with monkeypatch.context() as patch:
        patch.setattr(solve_monitor, "time", LateClock(60))
        with pytest.raises(UnfinishedError, match="time limit") as caught:
            kraft.train(
                parts.train, parts.valid, solver_options=replace(SLOW, max_time=1e5), **given
            )
    assert caught.value.reason == "max_time"
    assert 10 < read_state(path).solver.iteration < 100
    model, _ = kraft.train(parts.train, parts.valid, solver_options=SLOW, resume=True, **given)
    assert _difference(model, uninterrupted[0], parts) < 1e-5


def test_a_time_limit_before_the_solver(parts, tmp_path):
    path = tmp_path / "s.safetensors"
    with pytest.raises(UnfinishedError, match="start again"):
        kraft.train(parts.train, solver_options=replace(SLOW, max_time=1e-3), checkpoint=path)
    assert not path.exists()


def test_a_time_limit_with_an_accepted_model_keeps_the_state(parts, tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    monkeypatch.setattr(solve_monitor, "time", LateClock(30))
    options = replace(SLOW, max_time=1e5, accept_unconverged=True)
    model, result = kraft.train(
        parts.train, permutations=None, solver_options=options, checkpoint=path, **PAPERS
    )
    assert result.outcome.status == "max_time" and not model.record.converged
    assert read_state(path).solver.iteration == result.outcome.iterations


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 1}, "seed differs: expected 0 .* got 1"),
        ({"length_scale": 11.0}, "length scale"),
        ({"energy_weight": 0.5}, "energy weight"),
        ({"permutations": None}, "permutations"),
        ({"solver_options": replace(SLOW, rank=121)}, "rank differs: expected 120 .* got 121"),
        ({"solver_options": replace(SLOW, preconditioner="uniform")}, "preconditioner"),
        ({"feature_weights": np.full(36, 2.0)}, "feature weights"),
    ],
)
def test_another_training_is_not_resumed(changed, words, parts, tmp_path):
    path = tmp_path / "s.safetensors"
    _interrupt(parts, path, n_steps=1)
    before = path.read_bytes()
    given = {**PAPERS, "solver_options": SLOW, **changed}
    with pytest.raises(OptionError, match=words):
        kraft.train(parts.train, parts.valid, checkpoint=path, resume=True, **given)
    assert path.read_bytes() == before


def test_other_data_are_not_resumed(parts, tmp_path):
    path = tmp_path / "s.safetensors"
    _interrupt(parts, path, n_steps=1)
    again = {"solver_options": SLOW, "checkpoint": path, "resume": True, **PAPERS}
    with pytest.raises(OptionError, match="validation set"):
        kraft.train(parts.train, None, **again)
    with pytest.raises(OptionError, match="training set"):
        kraft.train(parts.test, parts.valid, **again)


def test_resuming_without_a_state(parts, tmp_path):
    few = parts.train.subset(range(10))
    _, result = kraft.train(few, checkpoint=tmp_path / "none.safetensors", resume=True, **PAPERS)
    assert result.outcome.status == "exact"
    with pytest.raises(OptionError, match="checkpoint"):
        kraft.train(few, resume=True, **PAPERS)
    with pytest.raises(OptionError, match="interval"):
        kraft.train(few, checkpoint_interval=0.0, **PAPERS)


def test_a_training_that_cannot_begin_leaves_no_state(parts, tmp_path):
    path = tmp_path / "s.safetensors"
    with pytest.raises(MemoryLimitError):
        kraft.train(parts.train, checkpoint=path, max_memory=100_000, **PAPERS)
    assert not path.exists()


_CHILD = """
import sys
import torch
torch.set_num_threads(1)
import kraft
from importlib.resources import files
data = kraft.read(files("kraft") / "datasets" / "ethanol_gfn2.npz")
parts = kraft.split(data, n_train=60, n_valid=20, n_test=30, seed=4)
kraft.train(parts.train, parts.valid, kernel="matern52", length_scale=10.0, regularization=1e-10,
            solver_options=kraft.SolverOptions("iterative", rank=120, tolerance=1e-6),
            checkpoint=sys.argv[1], checkpoint_interval=0.01)
"""


def test_kill_9_loses_at_most_the_last_interval(parts, uninterrupted, tmp_path):
    path = tmp_path / "s.safetensors"
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)])
    try:
        state = _wait_for_iterate(path, child)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    left = read_state(path)
    assert left.solver.iteration >= state.solver.iteration > 0
    model, result = kraft.train(
        parts.train, parts.valid, solver_options=SLOW, checkpoint=path, resume=True, **PAPERS
    )
    assert result.outcome.status == "converged"
    assert _difference(model, uninterrupted[0], parts) < 1e-5


def _wait_for_iterate(path, child):
    """Return the first state that has an iterate; every state on the way must be whole."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and child.poll() is None:
        if path.exists() and (state := read_state(path)).solver is not None:
            return state
        time.sleep(0.005)
    raise AssertionError("no state was written")
