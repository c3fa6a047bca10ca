"""Path-integral molecular dynamics by i-PI in a folder, with exact inputs and safe restarts.

The folder holds everything that i-PI needs, so ``i-pi input.xml`` in it does the same. i-PI runs in
a process of its own with kraft inside it: no data travel between processes, and all beads are
predicted at once.
"""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

import kraft
from kraft.core.errors import GeometryError, KraftError, UnfinishedError
from kraft.core.progress import Progress, silent
from kraft.interfaces.ipi.bead_watch import BeadAlarm, read_alarms
from kraft.interfaces.ipi.folder import (
    LOCK,
    LOG,
    RECORD,
    STOP,
    DriverOptions,
    check_identity,
    checked_start,
    clear,
    identity,
    lock,
    prepare,
)
from kraft.interfaces.ipi.input_file import ALARMS, INPUT, PathIntegral, input_text
from kraft.interfaces.ipi.results import PimdRun
from kraft.interfaces.ipi.states import (
    RESTART,
    RESUME,
    checkpoints,
    last_step,
    outputs,
    prune_checkpoints,
    rewind,
)
from kraft.models import ForceField

INSTALL = "pip install 'kraft[ipi]' (or: pip install ipi)"

_LAUNCHER = "kraft.interfaces.ipi.launch"
_TAIL = 2000


class IpiError(KraftError, RuntimeError):
    """i-PI is missing or has failed."""


def run_pimd(
    force_field: ForceField,
    start: ArrayLike,
    folder: str | os.PathLike[str],
    run: PathIntegral,
    driver: DriverOptions = DriverOptions(),  # noqa: B008
    *,
    overwrite: bool = False,
    resume: bool = False,
    max_time: float | None = None,
    progress: Progress = silent,
    stop_requested: Callable[[], bool] = lambda: False,
    on_alarm: Callable[[BeadAlarm], None] = lambda _: None,
) -> PimdRun:
    """Simulate a molecule with quantum nuclei (or classical ones, with one bead) by i-PI.

    Parameters
    ----------
    force_field, start, folder, run, driver, overwrite
        As for :func:`kraft.interfaces.ipi.prepare`.
    resume
        Go on with the simulation in the folder, if there is one; ``run`` must be the same but for
        the number of steps.
    max_time
        Seconds after which to stop, so that the run can be resumed.
    progress
        Told about steps.
    stop_requested
        Asked now and then; i-PI stops cleanly, after a step, when it says True.
    on_alarm
        Told about alarms when they occur.

    Returns
    -------
    PimdRun
        What was done.

    Raises
    ------
    IpiError
        When i-PI is not installed, or fails; the message has the end of what it said.
    OptionError
        When the folder holds another simulation, or one that is running.
    GeometryError
        When the start does not fit the model or is unsound itself, or the simulation was stopped
        by ``on_extrapolation``.
    UnfinishedError
        When it was stopped; the state is saved.
    """
    require_ipi()
    target = Path(folder)
    text = checked_start(force_field, start, driver)
    resume = resume and (target / RECORD).exists()
    if not resume:
        clear(target, overwrite=overwrite, look_only=True)
    target.mkdir(parents=True, exist_ok=True)
    with (target / LOCK).open("w") as file:
        lock(file.fileno(), target)
        if resume:
            check_identity(target, identity(force_field, text, run, driver))
            script, first = _continued(target, force_field, run, driver)
        else:
            prepare(force_field, start, target, run, driver, overwrite=overwrite)
            script, first = INPUT, 0
        seconds, reason = 0.0, None
        if first < run.n_steps:
            child = _Child(target, script, file.fileno(), on_alarm)
            seconds, reason = child.watch(run.n_steps, max_time, progress, stop_requested)
    return _outcome(target, run, first, seconds, reason)


def _continued(
    folder: Path, force_field: ForceField, run: PathIntegral, driver: DriverOptions
) -> tuple[str, int]:
    """Bring a folder to its newest usable state; return the input from there and its step."""
    state = rewind(folder, run.frame_interval)
    if state is None:  # killed, or stopped by an alarm, before the first checkpoint
        for path in (*outputs(folder), *checkpoints(folder)):
            path.unlink()
        parameters = driver.parameters(force_field, run.frame_interval)
        text = input_text(run, parameters, driver.extras)  # steps and limits may be others now
        (folder / INPUT).write_text(text, encoding="utf-8")
        return INPUT, 0
    parameters = driver.parameters(force_field, run.frame_interval, state.step)
    state.write_input(folder / RESUME, run.n_steps, parameters)
    if state.step < run.n_steps:
        (folder / RESTART).unlink(missing_ok=True)
    return RESUME, state.step


def require_ipi() -> None:
    """Raise IpiError, with how to install it, unless there is i-PI."""
    if importlib.util.find_spec("ipi") is None:
        raise IpiError(
            "i-PI is not installed in the environment of kraft. Install it by: " + INSTALL
        )


class _Child:
    """i-PI while it runs."""

    def __init__(
        self, folder: Path, script: str, lock: int, on_alarm: Callable[[BeadAlarm], None]
    ) -> None:
        self._folder, self._on_alarm = folder, on_alarm
        self._n_told = len(read_alarms(folder / ALARMS))
        reading, writing = os.pipe()
        path = [str(Path(kraft.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, path)))
        with (folder / LOG).open("wb" if script == INPUT else "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _LAUNCHER, script, str(writing)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing, lock),  # the lock is held as long as i-PI runs
                start_new_session=True,  # Ctrl-C is for kraft, which then stops i-PI cleanly
            )
        os.close(writing)
        self._reading = reading

    def watch(
        self,
        n_steps: int,
        max_time: float | None,
        progress: Progress,
        stop_requested: Callable[[], bool],
    ) -> tuple[float, Literal["interrupted", "max_time"] | None]:
        """Wait until i-PI ends; return seconds since its first step and why it was stopped."""
        started, first_step = time.perf_counter(), None
        reason: Literal["interrupted", "max_time"] | None = None
        try:
            while told := self._told():
                if told.strip():
                    first_step = first_step or time.perf_counter()
                    progress("path integrals", int(told.split()[-1]), n_steps)
                    prune_checkpoints(self._folder)
                    self._tell_alarms()
                if reason is None:
                    late = max_time is not None and time.perf_counter() - started > max_time
                    reason = "interrupted" if stop_requested() else "max_time" if late else None
                    if reason is not None:
                        (self._folder / STOP).touch()
            self._process.wait()
            self._tell_alarms()
        except BaseException:
            self._process.terminate()  # a second Ctrl-C
            raise
        finally:
            os.close(self._reading)
            (self._folder / STOP).unlink(missing_ok=True)
        return time.perf_counter() - (first_step or started), reason

    def _tell_alarms(self) -> None:
        """Tell what has come into the file of alarms."""
        alarms = read_alarms(self._folder / ALARMS)
        for alarm in alarms[self._n_told :]:
            self._on_alarm(alarm)
        self._n_told = len(alarms)

    def _told(self) -> bytes:
        """Return what came through the pipe, a space when nothing did, empty at its end."""
        ready, _, _ = select.select([self._reading], [], [], 0.5)
        return os.read(self._reading, 4096) if ready else b" "


def _outcome(
    folder: Path,
    run: PathIntegral,
    first: int,
    seconds: float,
    reason: Literal["interrupted", "max_time"] | None,
) -> PimdRun:
    """Return what was done, or raise what went wrong."""
    done = last_step(folder)
    alarms = folder / ALARMS
    if done >= run.n_steps:
        found = alarms if alarms.exists() else None
        return PimdRun(folder, done, done - first, seconds, found)
    if reason is not None:
        cause = "The time limit was reached" if reason == "max_time" else "Stopped as asked"
        raise UnfinishedError(
            f"{cause} after {done} steps. The state is in {folder}: go on with the same command "
            "and --resume.",
            reason,
        )
    said = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    ours = [line for line in said.splitlines() if line.startswith("kraft.core.errors.")]
    if ours:
        kept = f" The geometries are in {alarms}." if alarms.exists() else ""
        message = ours[-1].partition(": ")[2]
        raise GeometryError(f"i-PI was stopped. {message}{kept} Its output is in {folder / LOG}.")
    raise IpiError(
        f"i-PI failed or was killed after {done} saved steps; --resume goes on from there. The end "
        f"of {folder / LOG} says:\n{said[-_TAIL:].strip()}"
    )
